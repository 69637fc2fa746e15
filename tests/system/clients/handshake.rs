use harness::host::{Invocation, ORIGIN_V4};

use super::{NAMES, SECRET, Stage, expect_told, host};

/// A request inside what `program` makes of its standard input, and its answer.
fn inside(stage: &Stage, program: &str, path: &str, end: &str) -> Invocation {
    let shell = format!(
        "(printf 'GET {path} HTTP/1.1\\r\\nhost: api.test\\r\\nconnection: close\\r\\n\\r\\n'; \
          cat) | {program} {end}"
    );
    stage.client(&["sh", "-c", &shell])
}

#[test]
fn openssl_verifies_shakes_hands_and_resumes() {
    let Some(stage) = Stage::new() else { return };
    let session = stage.host.path("session").display().to_string();
    for (version, resumes) in [
        ("-tls1_2", false),
        ("-tls1_2", true),
        ("-tls1_3", false),
        ("-tls1_3", true),
    ] {
        let path = format!("/openssl{version}-{resumes}");
        let session = format!("-sess_{} {session}", if resumes { "in" } else { "out" });
        let program = format!(
            "openssl s_client {version} {session} -CAfile $SSL_CERT_FILE -verify_return_error \
             -verify_hostname api.test -servername API.test -alpn http/1.1 -ign_eof"
        );
        let ended = inside(&stage, &program, &path, "-connect api.test:443").end();
        assert_eq!(ended.code, 0, "{ended:?}");
        let resumed = if resumes {
            "Reused, TLSv1."
        } else {
            "New, TLSv1."
        };
        let words = [
            resumed,
            "Verification: OK",
            "ALPN protocol: http/1.1",
            "HTTP/1.1 200",
        ];
        expect_told(&ended, &words);
        stage.expect_carried(&path, "openssl");
    }
}

#[test]
fn openssl_finds_an_addresss_certificate_where_it_names_no_server() {
    let Some(host) = host() else { return };
    host.configure(
        "policies",
        "[policies.acme]\ntls = \"terminate\"\nallow = [\"203.0.113.10\"]\n",
    );
    let names = [&NAMES[..], &[ORIGIN_V4]].concat();
    let _site = host.site(&names);
    let _agent = host.agent();
    let url = format!("https://{ORIGIN_V4}/address");
    let curl = ["curl", "-sS", "--max-time", "50", &url];
    assert_eq!(
        host.run("acme", &curl).output(),
        format!("hello from {ORIGIN_V4}/address\n")
    );
    let shell = format!(
        "openssl s_client -CAfile $SSL_CERT_FILE -verify_return_error -verify_ip {ORIGIN_V4} \
         -noservername -connect {ORIGIN_V4}:443 </dev/null"
    );
    let ended = host.run("acme", &["sh", "-c", &shell]).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    expect_told(&ended, &["Verification: OK"]);
    let line = host.expect_log(&[("url.path", "/address")]);
    assert_eq!(line["rule"], "allow 203.0.113.10");
}

#[test]
fn gnutls_verifies_and_shakes_hands() {
    let Some(stage) = Stage::new() else { return };
    for (version, name) in [("VERS-TLS1.2", "TLS1.2"), ("VERS-TLS1.3", "TLS1.3")] {
        let path = format!("/gnutls-{name}");
        // It reads a line whenever there is something to read, and buffers all that there is.
        let program = format!(
            "stdbuf -i0 gnutls-cli --alpn=http/1.1 \
             --priority=NORMAL:-VERS-ALL:+{version}"
        );
        let client = inside(&stage, &program, &path, "api.test").start();
        client.expect("HTTP/1.1 200");
        let ended = client.end();
        assert_eq!(ended.code, 0, "{ended:?}");
        let words = [
            "The certificate is trusted",
            name,
            "Application protocol: http/1.1",
        ];
        expect_told(&ended, &words);
        stage.expect_carried(&path, "gnutls-cli");
    }
}

#[test]
fn go_verifies_and_is_told() {
    let Some(stage) = Stage::new() else { return };
    // A client of `net/http`, which reads JSON.
    let told = stage
        .client(&["gron", "https://api.test/hello.json"])
        .output();
    assert_eq!(told, "json = {};\njson.hello = \"api.test\";\n");
    stage.expect_carried("/hello.json", "gron");
    let by_name = stage.client(&["gron", "https://evil.test/"]).end();
    expect_told(&by_name, &["lookup evil.test"]);
    let by_port = stage.client(&["gron", "https://api.test:8443/"]).end();
    expect_told(&by_port, &["no_rule", "acme"]);
    stage.expect_denied();
}

#[test]
fn go_asks_for_much_at_once_in_both_versions_of_http() {
    let Some(stage) = Stage::new() else { return };
    for version in [&["-h2"][..], &[]] {
        let words = ["hey", "-n", "400", "-c", "20", "-t", "40"];
        let words = [&words[..], version, &["https://api.test/hey"]].concat();
        let ended = stage.client(&words).end();
        expect_told(&ended, &["[200]\t400 responses"]);
    }
    let visit = stage.expect_carried("/hey", "hey");
    assert!(visit.header("authorization").unwrap().contains(SECRET));
    assert_eq!(stage.site.visits().len(), 800);
}
