use harness::host::{Daemon, Ended, Host, Invocation, ORIGIN_V4, Running, Site, Visit, clients};
use serde_json::Value;

/// curl, in each version of HTTP.
mod curl;
/// GNU wget.
mod wget;
/// Python's `requests`, `httpx` and `urllib`.
mod python;
/// Node's `fetch` and `http2`, and `undici`.
mod node;
/// Server-Sent Events and long polling.
mod stream;
/// WebSocket, from Python and from Node.
mod websocket;
/// gRPC.
mod grpc;
/// git over HTTP.
mod git;
/// What is no HTTP: PostgreSQL, Redis, SSH, SMTP, MQTT.
mod raw;
/// Who tries QUIC first.
mod quic;
/// PyJWT, which reads what the agent signs.
mod jwt;
/// boto3, and S3 by moto, which knows signatures by botocore.
mod s3;
/// jsonschema, which reads the configuration as editors do.
mod schema;
/// Java.
mod java;
/// pip, npm and apt.
mod packages;
/// What handshakes look like to OpenSSL, GnuTLS and Go.
mod handshake;

/// What no client may ever see.
const SECRET: &str = "5ecret-0f-the-agent";

/// A host whose tenant `acme` may reach `api.test`, with a credential, and `bulk.test`, on ports
/// 80 and 443; not `evil.test`, and nothing on port 8443. Its TLS ends at the agent.
const POLICIES: &str = r#"
[policies.acme]
tls = "terminate"
allow = ["api.test", "bulk.test"]
deny = ["evil.test"]
credentials = ["token"]

[credentials.token]
type = "header"
hosts = ["api.test"]
value = "Bearer {secret}"
secret = "file:TOKEN"
"#;

const NAMES: [&str; 3] = ["api.test", "bulk.test", "evil.test"];

/// A host as [`POLICIES`] says. Its agent is still to be started.
fn host() -> Option<Host> {
    let host = Host::new()?;
    host.resolve(&NAMES);
    be_patient(&host);
    host.write("token", SECRET);
    let token = host.path("token").display().to_string();
    host.configure("policies", &POLICIES.replace("TOKEN", &token));
    host.tenant("acme", "acme");
    Some(host)
}

/// A client is slow to start where many do.
fn be_patient(host: &Host) {
    let patient = "detect = \"30s\"\nclient_hello = \"30s\"\ntls_handshake = \"30s\"\n";
    host.configure("limits", &format!("[limits]\n{patient}"));
}

/// A program as `acme`'s workload.
fn client(host: &Host, words: &[&str]) -> Invocation {
    host.run("acme", words)
}

/// As [`client`], one of Python's, with the packages of `tests/clients/requirements.txt`.
fn python(host: &Host, program: &str) -> Invocation {
    client(host, &[&interpreter(), "-u", "-c", program])
}

/// As [`client`], one of Node's, with the packages of `tests/clients/package.json`.
fn node(host: &Host, program: &str) -> Invocation {
    let modules = clients().join("node/node_modules");
    client(host, &["node", "-e", program]).env("NODE_PATH", modules)
}

/// An origin in Python, once it has said that it is listening. It finds certificate and key of
/// [`NAMES`] in the directory that is its first argument.
#[track_caller]
fn origin(host: &Host, program: &str) -> Running {
    host.identity(&NAMES);
    let directory = host.path("").display().to_string();
    let words = ["-u", "-c", program, &directory];
    let origin = host.program(&interpreter(), &words).start();
    origin.expect("listening\n");
    origin
}

/// Python, with the packages of `tests/clients/requirements.txt`.
pub(crate) fn interpreter() -> String {
    clients().join("python/bin/python").display().to_string()
}

/// What `api.test` was asked for at a path was attributed, judged, given the credential, and
/// logged.
#[track_caller]
fn expect_logged(host: &Host, path: &str, program: &str, status: u16) -> Value {
    let line = host.expect_log(&[("kind", "http"), ("url.path", path)]);
    for (field, expected) in [
        ("tenant", "acme"),
        ("server.address", "api.test"),
        ("url.scheme", "https"),
        ("network.peer.address", ORIGIN_V4),
        ("process.executable.name", program),
        ("verdict", "allow"),
        ("rule", "allow api.test"),
        ("outcome", "completed"),
        ("credential", "token"),
    ] {
        assert_eq!(line[field], expected, "{field} of {line:#}");
    }
    assert_eq!(line["http.response.status_code"], status, "{line:#}");
    line
}

/// `https://evil.test/` had no address for a client; `https://api.test:8443/`, which is not
/// allowed, gave it the agent's own answer.
#[track_caller]
fn expect_denied(host: &Host, status: u16) {
    let line = host.expect_log(&[("kind", "dns"), ("dns.question.name", "evil.test")]);
    assert_eq!(line["dns.response.code"], "REFUSED", "{line:#}");
    let line = host.expect_log(&[("kind", "http"), ("server.port", "8443")]);
    for (field, expected) in [
        ("tenant", "acme"),
        ("server.address", "api.test"),
        ("verdict", "deny"),
        ("reason", "no_rule"),
    ] {
        assert_eq!(line[field], expected, "{field} of {line:#}");
    }
    assert_eq!(line["http.response.status_code"], status, "{line:#}");
    assert_eq!(line["credential"], Value::Null, "{line:#}");
}

/// Such a host with a web site behind all names, and an agent.
struct Stage {
    host: Host,
    site: Site,
    _agent: Daemon,
}

impl Stage {
    fn new() -> Option<Self> {
        let host = host()?;
        let site = host.site(&NAMES);
        let agent = host.agent();
        Some(Self {
            host,
            site,
            _agent: agent,
        })
    }

    fn client(&self, words: &[&str]) -> Invocation {
        client(&self.host, words)
    }

    fn python(&self, program: &str) -> Invocation {
        python(&self.host, program)
    }

    fn node(&self, program: &str) -> Invocation {
        node(&self.host, program)
    }

    /// As [`expect_logged`], and the site saw the credential.
    #[track_caller]
    fn expect_carried(&self, path: &str, program: &str) -> Visit {
        expect_logged(&self.host, path, program, 200);
        let visit = self.site.visit(path);
        assert!(visit.is_secure, "{visit:?}");
        let expected = format!("Bearer {SECRET}");
        assert_eq!(visit.header("authorization"), Some(expected.as_str()));
        visit
    }

    #[track_caller]
    fn expect_denied(&self) {
        expect_denied(&self.host, 403);
    }
}

/// What a client says of what was denied, and nothing of a secret.
#[track_caller]
fn expect_told(ended: &Ended, words: &[&str]) {
    let told = format!("{}{}", ended.stdout, ended.stderr);
    for word in words {
        assert!(told.contains(word), "{word:?} is not in {ended:?}");
    }
    assert!(!told.contains(SECRET), "{ended:?}");
}
