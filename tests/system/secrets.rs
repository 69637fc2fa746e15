//! Every kind of credential, from every kind of source, used and failing, with everything told that
//! the agent can tell: none of it tells a secret.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::host::{Host, ORIGIN_V4};
use serde_json::{Value, json};

/// In every secret, so that a part of one is found as well.
const MARK: &str = "5ecret";

/// Files with secrets.
const FILES: [(&str, &str); 8] = [
    ("header", "header-5ecret-of-the-agent"),
    ("password", "basic-5ecret-of-the-agent"),
    ("jwt", "jwt-5ecret-of-the-agent-and-of-nobody-else"),
    ("oauth", "oauth-5ecret-of-the-agent"),
    ("aws", "aws-5ecret-of-the-agent"),
    ("session", "session-5ecret-of-the-agent"),
    ("swap", "swap-5ecret-of-the-agent"),
    ("lines", "one-5ecret-line"),
];

/// A credential of each kind for a host of its own; DIR is where the files are.
const CREDENTIALS: [(&str, &str); 12] = [
    ("header", "type = \"header\"\nsecret = \"file:DIR/header\""),
    (
        "basic",
        "type = \"basic\"\nusername = \"u\"\nsecret = \"file:DIR/password\"",
    ),
    ("env", "type = \"bearer\"\nsecret = \"env:BEARER\""),
    (
        "systemd",
        "type = \"bearer\"\nsecret = \"credential:token\"",
    ),
    (
        "command",
        "type = \"bearer\"\nsecret = \"cmd:/bin/cat DIR/header\"",
    ),
    (
        "jwt",
        "type = \"jwt\"\nkey = \"file:DIR/jwt\"\nalgorithm = \"HS256\"\nclaims = { sub = \"{tenant}\" }",
    ),
    (
        "oauth",
        "type = \"oauth2-client-credentials\"\ntoken_url = \"https://login.test/token\"\n\
         client_id = \"id\"\nclient_secret = \"file:DIR/oauth\"",
    ),
    (
        "aws",
        "type = \"aws-sigv4\"\naccess_key_id = \"file:DIR/id\"\nsecret_access_key = \"file:DIR/aws\"\n\
         session_token = \"file:DIR/session\"\nregion = \"r\"\nservice = \"s3\"",
    ),
    (
        "swap",
        "type = \"placeholder\"\nplaceholder = \"DUMMY-TEXT\"\nsecret = \"file:DIR/swap\"\n\
         in_query = true\nin_body = true",
    ),
    ("lines", "type = \"header\"\nsecret = \"file:DIR/lines\""),
    (
        "failing",
        "type = \"bearer\"\nsecret = \"cmd:/bin/sh -c DIR/fails\"",
    ),
    (
        "refused",
        "type = \"oauth2-client-credentials\"\ntoken_url = \"https://login.test/refuses\"\n\
         client_id = \"id\"\nclient_secret = \"file:DIR/oauth\"",
    ),
];

/// Those that come to nothing.
const FAILING: [&str; 3] = ["lines", "failing", "refused"];

/// Says everything back that it was sent; gives out tokens, or refuses them with all that it was
/// told.
const ORIGIN: &str = r#"
import http.server, json, ssl, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def serve(self):
        body = self.rfile.read(int(self.headers.get('content-length', 0))).decode()
        told = f'{self.command} {self.path} {dict(self.headers)} {body}'
        status = 200
        if self.path == '/token':
            told = json.dumps({'access_token': 't0ken-5ecret-given-out', 'token_type': 'bearer'})
        elif self.path == '/refuses':
            status, told = 400, json.dumps({'error': told, 'error_description': told})
        else:
            print('seen', told, flush=True)
        self.send_response(status)
        for name, value in self.headers.items():
            self.send_header('x-echo-' + name, value)
        self.send_header('content-length', str(len(told.encode())))
        self.end_headers()
        self.wfile.write(told.encode())
    do_GET = do_POST = serve
    def log_message(self, *ignored):
        pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + '/origin.pem', sys.argv[1] + '/origin.key')
secure, plain = (http.server.ThreadingHTTPServer(('203.0.113.10', port), Handler) for port in (443, 80))
secure.socket = context.wrap_socket(secure.socket, server_side=True)
threading.Thread(target=secure.serve_forever, daemon=True).start()
print('listening', flush=True)
plain.serve_forever()
"#;

/// Asks every host, and says all that comes back.
const CLIENT: &str = r#"
import sys, urllib.error, urllib.request
for name in sys.argv[1:]:
    request = urllib.request.Request('http://203.0.113.10/echo?key=DUMMY-TEXT', b'body DUMMY-TEXT', {
        'Host': name + '.test', 'X-Key': 'DUMMY-TEXT', 'Authorization': 'of the tenant',
        'Content-Type': 'text/plain'})
    try: reply = urllib.request.urlopen(request, timeout=50)
    except urllib.error.HTTPError as error: reply = error
    print(name, reply.status, reply.headers, reply.read().decode())
"#;

fn host() -> Option<Host> {
    let host = Host::new()?;
    let directory = host.path("").display().to_string();
    for (name, secret) in FILES {
        host.write(name, secret);
    }
    host.write("id", "AKIDEXAMPLE");
    fs::create_dir(host.path("systemd")).unwrap();
    host.write("systemd/token", "systemd-5ecret-of-the-agent");
    host.write(
        "fails",
        "#!/bin/sh\necho failing-5ecret\necho failing-5ecret >&2\nexit 3\n",
    );
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(host.path("fails"), executable).unwrap();
    let (mut hosts, mut tables) = (String::new(), String::new());
    for (name, keys) in CREDENTIALS {
        let keys = keys.replace("DIR/", &directory);
        hosts.push_str(&format!("\"{name}.test\" = [{ORIGIN_V4:?}]\n"));
        tables.push_str(&format!(
            "[credentials.{name}]\n{keys}\nhosts = [\"{name}.test\"]\nallow_plaintext = true\n\
             scrub_bodies = true\n"
        ));
    }
    let names = CREDENTIALS.map(|(name, _keys)| name);
    let targets = names.map(|name| format!("{name}.test"));
    host.configure(
        "policies",
        &format!(
            "[agent]\nlog_level = \"trace\"\n[resolver.hosts]\n\"login.test\" = [{ORIGIN_V4:?}]\n{hosts}\n\
             [policies.p]\ncredentials = {names:?}\n[[policies.p.rules]]\nname = \"all\"\n\
             host = {targets:?}\naction = \"allow\"\nlog = \"full\"\n\
             log_headers = [\"authorization\", \"x-key\", \"x-amz-security-token\"]\n{tables}"
        ),
    );
    host.tenant("acme", "p");
    Some(host)
}

/// Everything below a directory, read.
fn files(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            found.push((path.display().to_string(), text));
        }
    }
}

/// Everything that operators can ask for.
fn told_to_operators(host: &Host) -> Vec<(String, String)> {
    let mut told = vec![("/metrics".to_owned(), host.get("/metrics").1)];
    for path in [
        "/v1/status",
        "/v1/tenants",
        "/v1/tenants/acme",
        "/v1/assignments",
    ] {
        told.push((path.to_owned(), host.admin(path).1));
    }
    for (name, _keys) in CREDENTIALS {
        let url = format!("http://{name}.test/echo");
        let question = json!({ "tenant": "acme", "method": "POST", "url": url });
        let (status, judged) = host.ask_admin("POST", "/v1/policy:check", &question);
        assert_eq!(
            (status, &judged["credentials"]),
            (200, &json!([name])),
            "{judged}"
        );
        told.push((url, judged.to_string()));
    }
    for words in [
        &["status"][..],
        &["tenants", "--json"],
        &["check"],
        &["check", "--tenant", "acme", "GET", "http://basic.test/"],
        &["suggest", "--tenant", "acme"],
        &["reload"],
    ] {
        let ended = host.outbound(words).end();
        told.push((words.join(" "), ended.stdout + &ended.stderr));
    }
    told
}

/// A secret that somebody has written where its reference belongs.
fn told_of_a_secret_in_the_configuration(host: &Host) -> Vec<(String, String)> {
    let wrong = "[credentials.inline]\ntype = \"bearer\"\nhosts = [\"a.test\"]\nsecret = \"inline-5ecret\"\n";
    host.configure("inline", wrong);
    let ended = ["reload", "check"].map(|word| host.outbound(&[word]).end());
    fs::remove_file(host.path("conf.d/inline.toml")).unwrap();
    let told = ended.into_iter().map(|ended| {
        assert!(
            ended.stderr.contains("credentials.inline.secret"),
            "{ended:?}"
        );
        ("inline".to_owned(), ended.stdout + &ended.stderr)
    });
    told.collect()
}

/// They have arrived: without that, that they are nowhere else would prove nothing.
#[track_caller]
fn expect_arrived(seen: &str) {
    for secret in ["header-", "env-", "systemd-", "session-", "swap-", "t0ken-"] {
        assert!(
            seen.contains(&format!("{secret}{MARK}")),
            "{secret}: {seen}"
        );
    }
    assert!(
        seen.contains(&STANDARD.encode("u:basic-5ecret-of-the-agent")),
        "{seen}"
    );
    assert!(
        seen.contains("Bearer eyJ") && seen.contains("AWS4-HMAC-SHA256"),
        "{seen}"
    );
    // Only a placeholder leaves the tenant's own header where it is.
    assert_eq!(seen.matches("of the tenant").count(), 1, "{seen}");
}

#[track_caller]
fn expect_no_secret(told: Vec<(String, String)>) {
    let basic = STANDARD.encode("u:basic-5ecret-of-the-agent");
    for (place, text) in told {
        for secret in [
            MARK,
            &STANDARD.encode("header-5ecre"),
            &basic,
            "eyJhbGci",
            "NWVjcmV0",
        ] {
            let at = text.find(secret).map(|at| &text[at.saturating_sub(200)..]);
            let around = at.map(|text| text.chars().take(400).collect::<String>());
            assert_eq!(around, None, "{place} tells {secret}");
        }
    }
}

#[test]
fn no_secret_is_in_anything_that_the_agent_tells() {
    let Some(host) = host() else { return };
    host.identity(&["login.test"]);
    let directory = host.path("").display().to_string();
    let origin = host
        .program("python3", &["-u", "-c", ORIGIN, &directory])
        .start();
    origin.expect("listening\n");
    let agent = host.start_agent().env("BEARER", "env-5ecret-of-the-agent");
    let agent = host.agent_of(agent.env("CREDENTIALS_DIRECTORY", host.path("systemd")));
    // No header can carry it any more.
    host.write("lines", "two-5ecret\nlines-5ecret");
    let names = CREDENTIALS.map(|(name, _keys)| name);
    let words = [&["python3", "-c", CLIENT][..], &names].concat();
    let tenant = host.run("acme", &words).end();
    assert_eq!(tenant.code, 0, "{tenant:?}");
    for name in names {
        let status = if FAILING.contains(&name) { 502 } else { 200 };
        let line = format!("{name} {status} ");
        assert!(tenant.stdout.contains(&line), "{line}: {tenant:?}");
    }
    expect_arrived(&origin.output());

    let mut told = told_to_operators(&host);
    told.extend(told_of_a_secret_in_the_configuration(&host));
    told.push(("the tenant".to_owned(), tenant.stdout + &tenant.stderr));
    let ended = agent.stop();
    assert!(
        ended.stderr.contains("credential unavailable"),
        "{}",
        ended.stderr
    );
    told.push(("the agent".to_owned(), ended.stdout + &ended.stderr));
    let log = fs::read_to_string(host.path("access.jsonl")).unwrap();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let captured = lines.filter(|line| line.to_string().contains("of the tenant"));
    assert!(
        captured.count() >= names.len(),
        "what the tenant sent is logged: {log}"
    );
    told.push(("the access log".to_owned(), log));
    files(&host.path("state"), &mut told);
    expect_no_secret(told);
}
