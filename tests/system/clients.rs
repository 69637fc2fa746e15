use harness::host::{Daemon, Ended, Host, Invocation, ORIGIN_V4, Site, Visit, clients};
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
    let names = NAMES.map(|name| format!("{name:?} = [{ORIGIN_V4:?}]\n"));
    host.configure("resolver", &format!("[resolver.hosts]\n{}", names.concat()));
    host.write("token", SECRET);
    let token = host.path("token").display().to_string();
    host.configure("policies", &POLICIES.replace("TOKEN", &token));
    host.tenant("acme", "acme");
    Some(host)
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

    /// A program as `acme`'s workload.
    fn client(&self, words: &[&str]) -> Invocation {
        self.host.run("acme", words)
    }

    /// A program of Python's, with the packages of `tests/clients/requirements.txt`.
    fn python(&self, program: &str) -> Invocation {
        let python = clients().join("python/bin/python");
        self.client(&[python.to_str().unwrap(), "-u", "-c", program])
    }

    /// A program of Node's, with the packages of `tests/clients/package.json`.
    fn node(&self, program: &str) -> Invocation {
        let modules = clients().join("node/node_modules");
        self.client(&["node", "-e", program])
            .env("NODE_PATH", modules)
    }

    /// What `api.test` was asked for at a path went through the agent: attributed, judged, given
    /// the credential, and logged.
    #[track_caller]
    fn expect_carried(&self, path: &str, program: &str) -> Visit {
        let line = self
            .host
            .expect_log(&[("kind", "http"), ("url.path", path)]);
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
        assert_eq!(line["http.response.status_code"], 200, "{line:#}");
        let visit = self.site.visit(path);
        assert!(visit.is_secure, "{visit:?}");
        let expected = format!("Bearer {SECRET}");
        assert_eq!(visit.header("authorization"), Some(expected.as_str()));
        visit
    }

    /// `https://evil.test/` had no address for a client; `https://api.test:8443/`, which is not
    /// allowed, gave it the agent's own answer. Neither reached the site.
    #[track_caller]
    fn expect_denied(&self) {
        let looked_up = [("kind", "dns"), ("dns.question.name", "evil.test")];
        let line = self.host.expect_log(&looked_up);
        assert_eq!(line["dns.response.code"], "REFUSED", "{line:#}");
        let line = self.host.expect_log(&[("server.port", "8443")]);
        for (field, expected) in [
            ("kind", "http"),
            ("tenant", "acme"),
            ("server.address", "api.test"),
            ("verdict", "deny"),
            ("reason", "no_rule"),
        ] {
            assert_eq!(line[field], expected, "{field} of {line:#}");
        }
        assert_eq!(line["http.response.status_code"], 403, "{line:#}");
        assert_eq!(line["credential"], Value::Null, "{line:#}");
    }
}

/// The agent's answer to what is denied, wherever a client writes it.
#[track_caller]
fn expect_told(ended: &Ended, words: &[&str]) {
    let told = format!("{}{}", ended.stdout, ended.stderr);
    for word in words {
        assert!(told.contains(word), "{word:?} is not in {ended:?}");
    }
    assert!(!told.contains(SECRET), "{ended:?}");
}
