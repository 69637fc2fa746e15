use harness::host::{Host, ORIGIN_V4, Running};

use crate::scene::{curl_with, host};

/// Answers each connection once it has seen a request, and counts on its standard output.
const ORIGIN: &str = "
import socket, ssl, sys, threading
directory = sys.argv[1]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(directory + '/origin.pem', directory + '/origin.key')
context.sni_callback = lambda connection, name, context: print('name', name)
listener = socket.create_server(('203.0.113.10', 443))
print('listening')
def serve(raw):
    print('connection')
    with context.wrap_socket(raw, server_side=True) as stream:
        head = stream.recv(65536).decode()
        print('authorization' if 'authorization' in head.lower() else 'bare')
        stream.sendall(b'HTTP/1.1 200 OK\\r\\ncontent-length: 13\\r\\n\\r\\nhello by TLS\\n')
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
";

/// An HTTPS origin with a certificate that it signed itself, for `api.test` and `evil.test`.
fn origin(host: &Host) -> Running {
    let (key, certificate) = (host.path("origin.key"), host.path("origin.pem"));
    let openssl = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
                   -subj /CN=origin -addext basicConstraints=critical,CA:FALSE \
                   -addext subjectAltName=DNS:api.test,DNS:bulk.test,DNS:evil.test";
    let mut arguments: Vec<&str> = openssl.split_whitespace().collect();
    arguments.extend(["-keyout", key.to_str().unwrap()]);
    arguments.extend(["-out", certificate.to_str().unwrap()]);
    host.program("openssl", &arguments).output();
    let directory = host.path("");
    let arguments = ["-u", "-c", ORIGIN, directory.to_str().unwrap()];
    let origin = host.program("python3", &arguments).start();
    origin.expect("listening");
    origin
}

#[test]
fn https_passes_through_by_name_and_the_tenant_verifies_the_origin_itself() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let _agent = host.agent();
    let certificate = host.path("origin.pem").display().to_string();
    let url = "https://bulk.test/secure";
    let answer = curl_with(&host, "acme", url, &["--cacert", &certificate]).output();
    assert_eq!(answer, "hello by TLS\n200");
    origin.expect("name bulk.test");
    origin.expect("bare");

    let line = host.expect_log(&[("kind", "tls")]);
    for (field, expected) in [
        ("tenant", "acme"),
        ("server.address", "bulk.test"),
        ("network.protocol.name", "tls"),
        ("network.peer.address", ORIGIN_V4),
        ("process.executable.name", "curl"),
        ("verdict", "allow"),
        ("rule", "allow bulk.test"),
        ("outcome", "completed"),
    ] {
        assert_eq!(line[field], expected, "{field} of {line:#}");
    }
    assert_eq!(line["server.port"], 443);
    let received = line["bytes.received"].as_u64().unwrap();
    host.expect_metric(
        "outbound_bytes_total{direction=\"received\",tenant=\"acme\"}",
        received as f64,
    );
    assert_eq!(host.log().len(), 1);
}

#[test]
fn a_credential_goes_into_tls_that_the_tenant_trusts_the_agent_for() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let roots = host.path("origin.pem").display().to_string();
    host.configure("tls", &format!("[tls]\nroots = [{roots:?}]\n"));
    let _agent = host.agent();
    let answer = curl_with(&host, "acme", "https://api.test/secure", &[]).output();
    assert_eq!(answer, "hello by TLS\n200");
    origin.expect("name api.test");
    origin.expect("authorization");
    host.expect_log(&[
        ("kind", "http"),
        ("url.scheme", "https"),
        ("credential", "token"),
        ("outcome", "completed"),
    ]);
}

#[test]
fn an_origin_that_nobody_vouches_for_gets_no_credential() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let _agent = host.agent();
    let answer = curl_with(&host, "acme", "https://api.test/secure", &[]).output();
    assert!(
        answer.contains("upstream_tls_unverified") && answer.ends_with("502"),
        "{answer}"
    );
    assert!(!origin.output().contains("authorization"), "{origin:?}");
}

#[test]
fn the_agents_environment_does_not_choose_whom_it_trusts() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let roots = host.path("origin.pem");
    let directory = host.path("");
    let agent = host.start_agent();
    let agent = agent
        .env("SSL_CERT_FILE", &roots)
        .env("SSL_CERT_DIR", &directory)
        .env("CURL_CA_BUNDLE", &roots);
    let _agent = host.agent_of(agent);
    let answer = curl_with(&host, "acme", "https://api.test/secure", &[]).output();
    assert!(
        answer.contains("upstream_tls_unverified") && answer.ends_with("502"),
        "{answer}"
    );
    assert!(!origin.output().contains("authorization"), "{origin:?}");
}

#[test]
fn a_name_that_is_not_allowed_is_reset_and_never_reaches_the_origin() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let _agent = host.agent();
    let url = "https://evil.test/";
    let refused = curl_with(&host, "acme", url, &["--insecure"]).end();
    assert_eq!(refused.code, 35, "{refused:?}");
    assert!(refused.stderr.contains("reset"), "{refused:?}");
    let line = host.expect_log(&[("server.address", "evil.test")]);
    for (field, expected) in [
        ("kind", "tls"),
        ("verdict", "deny"),
        ("reason", "rule_deny"),
        ("rule", "deny evil.test"),
        ("outcome", "denied"),
    ] {
        assert_eq!(line[field], expected, "{field} of {line:#}");
    }
    assert!(!origin.output().contains("connection"), "{origin:?}");
    // The witness sees who gets through.
    curl_with(&host, "acme", "https://api.test/", &["--insecure"]).output();
    origin.expect("connection");
}
