//! The origin sees what the tenant never held.

mod oauth2;
mod placeholder;
mod scrub;
mod sigv4;

use std::path::PathBuf;

use harness::agent::{Agent, Reply};
use harness::origin::{Origin, Seen};
use tempfile::TempDir;

/// Secrets in files, and the credential `c` of tenants that have nothing else.
struct Scene {
    secrets: TempDir,
}

impl Scene {
    fn new(files: &[(&str, &str)]) -> Self {
        let secrets = tempfile::tempdir().unwrap();
        for (name, value) in files {
            std::fs::write(secrets.path().join(name), value).unwrap();
        }
        Self { secrets }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.secrets.path().join(name)
    }

    /// `keys` are those of the credential; `DIR` in them is where the secrets are.
    fn agent(&self, keys: &str) -> Agent {
        self.agent_with("", keys)
    }

    /// As [`Self::agent`], with other tables as well.
    fn agent_with(&self, tables: &str, keys: &str) -> Agent {
        let keys = keys.replace("DIR", self.secrets.path().to_str().unwrap());
        Agent::start(&format!(
            r#"
            [resolver]
            hosts = {{ "api.test" = ["127.0.0.1"], "login.test" = ["127.0.0.1"] }}
            {tables}
            [policies.p]
            allow = ["api.test:*", "127.0.0.0/8:*"]
            credentials = ["c"]
            [[tenants]]
            name = "acme"
            policy = "p"
            cgroup = "/acme"
            [[tenants]]
            name = "globex"
            policy = "p"
            cgroup = "/globex"
            [credentials.c]
            {keys}
            "#
        ))
    }
}

const HEADER: &str = "type = \"header\"\nvalue = \"Bearer {secret}\"\nsecret = \"file:DIR/token\"";

async fn get(agent: &Agent, tenant: &str, origin: &Origin, path: &str) -> Reply {
    let host = format!("api.test:{}", origin.address.port());
    agent.get(tenant, origin.address, &host, path).await
}

#[track_caller]
fn sent(seen: &Seen) -> Vec<&str> {
    let values = seen.headers.get_all("authorization").iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

fn used(what: &str) -> String {
    format!("outbound_credentials_total{{credential=\"c\",use=\"{what}\"}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_replaces_the_tenants_own_header() {
    let origin = Origin::http().await;
    let scene = Scene::new(&[("token", "s3cr3t\n")]);
    let agent = scene.agent(&format!(
        "{HEADER}\nhosts = [\"api.test:*\"]\nallow_plaintext = true"
    ));
    let request = format!(
        "GET / HTTP/1.1\r\nhost: api.test:{}\r\nAuthorization: mine\r\nauthorization: mine too\r\nconnection: close\r\n\r\n",
        origin.address.port()
    );
    let reply = agent.ask("acme", origin.address, &request).await;
    assert_eq!(reply.status, 200);
    assert_eq!(sent(&origin.seen()[0]), ["Bearer s3cr3t"]);
    let line = agent.expect_log(&[("credential", "c"), ("outcome", "completed")]);
    assert!(!line.to_string().contains("s3cr3t"));
    agent.expect_metric(&used("injected"), 1.0);
}

/// Each way in which the credential does not go, though the request does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_goes_only_where_and_how_it_is_bound() {
    let origin = Origin::http().await;
    let scene = Scene::new(&[("token", "s3cr3t")]);
    for (keys, skipped) in [
        ("hosts = [\"api.test:*\"]", true),
        ("hosts = [\"other.test:*\"]\nallow_plaintext = true", false),
        (
            "hosts = [\"api.test:*\"]\nallow_plaintext = true\nmethods = [\"POST\"]",
            true,
        ),
        (
            "hosts = [\"api.test:*\"]\nallow_plaintext = true\npaths = [\"/repos/**\"]",
            true,
        ),
    ] {
        let agent = scene.agent(&format!("{HEADER}\n{keys}"));
        assert_eq!(get(&agent, "acme", &origin, "/users").await.status, 200);
        assert!(sent(origin.seen().last().unwrap()).is_empty(), "{keys}");
        if skipped {
            agent.expect_metric(&used("skipped"), 1.0);
        }
        let line = agent.expect_log(&[("outcome", "completed")]);
        assert!(line["credential"].is_null(), "{line}");
    }
    let agent = scene.agent(&format!(
        "{HEADER}\nhosts = [\"api.test:*\"]\nallow_plaintext = true\nmethods = [\"GET\"]\npaths = [\"/repos/**\"]"
    ));
    assert_eq!(get(&agent, "acme", &origin, "/repos/a").await.status, 200);
    assert_eq!(sent(origin.seen().last().unwrap()), ["Bearer s3cr3t"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_is_not_there_fails_the_request_before_it_leaves() {
    let origin = Origin::http().await;
    let scene = Scene::new(&[("token", "s3cr3t")]);
    let agent = scene.agent(&format!(
        "{HEADER}\nhosts = [\"api.test:*\"]\nallow_plaintext = true"
    ));
    std::fs::remove_file(scene.file("token")).unwrap();
    let reply = get(&agent, "acme", &origin, "/").await;
    assert_eq!(reply.status, 502);
    assert_eq!(reply.json()["reason"], "credential_unavailable");
    assert_eq!(origin.connections(), 0);
    agent.expect_log(&[("reason", "credential_unavailable"), ("outcome", "failed")]);
    agent.expect_metric(&used("failed"), 1.0);
}

/// A rotated secret is in use without a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secrets_file_is_read_again_when_it_has_changed() {
    let origin = Origin::http().await;
    let scene = Scene::new(&[("token", "old")]);
    let agent = scene.agent(&format!(
        "{HEADER}\nhosts = [\"api.test:*\"]\nallow_plaintext = true"
    ));
    get(&agent, "acme", &origin, "/").await;
    assert_eq!(sent(&origin.seen()[0]), ["Bearer old"]);
    std::fs::write(scene.file("token"), "new").unwrap();
    let deadline = tokio::time::Instant::now() + harness::DEADLINE;
    loop {
        get(&agent, "acme", &origin, "/").await;
        let seen = origin.seen();
        match sent(seen.last().unwrap())[..] {
            ["Bearer new"] => break,
            ["Bearer old"] => assert!(tokio::time::Instant::now() < deadline),
            ref other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn basic_and_bearer_are_written_as_their_standards_say() {
    let origin = Origin::http().await;
    let scene = Scene::new(&[("token", "open sesame")]);
    for (keys, expected) in [
        (
            "type = \"basic\"\nusername = \"Aladdin\"\nsecret = \"file:DIR/token\"",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
        (
            "type = \"bearer\"\nsecret = \"cmd:/bin/cat DIR/token\"",
            "Bearer open sesame",
        ),
    ] {
        let agent = scene.agent(&format!(
            "{keys}\nhosts = [\"api.test:*\"]\nallow_plaintext = true"
        ));
        assert_eq!(get(&agent, "acme", &origin, "/").await.status, 200);
        assert_eq!(sent(origin.seen().last().unwrap()), [expected]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_minted_once_for_each_tenant() {
    let origin = Origin::http().await;
    let scene = Scene::new(&[("key", &"k".repeat(32))]);
    let agent = scene.agent(
        "type = \"jwt\"\nkey = \"file:DIR/key\"\nalgorithm = \"HS256\"\nclaims = { sub = \"{tenant}\" }\n\
         hosts = [\"api.test:*\"]\nallow_plaintext = true",
    );
    for tenant in ["acme", "acme", "globex"] {
        assert_eq!(get(&agent, tenant, &origin, "/").await.status, 200);
    }
    let seen = origin.seen();
    let tokens: Vec<&str> = seen.iter().map(|seen| sent(seen)[0]).collect();
    assert!(tokens[0].starts_with("Bearer eyJ"), "{tokens:?}");
    assert_eq!(tokens[0], tokens[1]);
    assert_ne!(tokens[0], tokens[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_says_which_credentials_go_with_what_it_allows() {
    let origin = Origin::http().await;
    let scene = Scene::new(&[("token", "s3cr3t")]);
    let agent = scene.agent_with(
        "[[policies.p.rules]]\nname = \"bare\"\naction = \"allow\"\nhost = \"api.test\"\nport = \"*\"\n\
         paths = \"/public/**\"\ncredentials = []\n\
         [[policies.p.rules]]\nname = \"signed\"\naction = \"allow\"\nhost = \"api.test\"\nport = \"*\"\n\
         paths = \"/own/**\"\ncredentials = [\"c\"]\n",
        &format!("{HEADER}\nhosts = [\"api.test:*\"]\nallow_plaintext = true"),
    );
    for (path, expected) in [
        ("/public/a", &[][..]),
        ("/own/a", &["Bearer s3cr3t"]),
        ("/", &["Bearer s3cr3t"]),
    ] {
        assert_eq!(get(&agent, "acme", &origin, path).await.status, 200);
        assert_eq!(sent(origin.seen().last().unwrap()), expected, "{path}");
    }
    agent.expect_metric(&used("skipped"), 1.0);
}
