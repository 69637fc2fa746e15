//! What a dispatch gave decides rules and stands in credentials.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::agent::Agent;
use harness::origin::{Origin, Seen};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::hosted::PASS;

/// Three tenants of a namespace whose worker passes everything; each has another plan.
struct Scene {
    agent: Agent,
    origin: Origin,
    _directory: TempDir,
}

impl Scene {
    async fn start(policy: &str) -> Self {
        Self::with(PASS, policy).await
    }

    async fn with(module: &str, policy: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let main = directory.path().join("egress.js");
        std::fs::write(&main, module).unwrap();
        let key = directory.path().join("key");
        std::fs::write(&key, "k".repeat(32)).unwrap();
        let mut config = format!(
            r#"
            [resolver]
            hosts = {{ "api.test" = ["127.0.0.1"] }}
            [[dispatch_namespaces]]
            binding = "dispatcher"
            namespace = "production"
            outbound = {{ service = "egress", parameters = ["plan", "object"] }}
            [services.egress]
            main = {main:?}
            hosting = "thread"
            limits = {{ cpu = "5s" }}
            [policies.p]
            allow = ["127.0.0.0/8:*"]
            {}
            "#,
            policy.replace("KEY", key.to_str().unwrap())
        );
        for (tenant, plan, object) in [
            (
                "acme",
                "\"pro\"",
                "{ seats = 7, roles = [\"admin\", \"dev\"], region = \"eu\" }",
            ),
            ("globex", "\"free\"", "{ seats = 1 }"),
            ("initech", "3", "{}"),
        ] {
            config.push_str(&format!(
                "[[tenants]]\nname = {tenant:?}\npolicy = \"p\"\ncgroup = \"/{tenant}\"\n\
                 namespace = \"production\"\noutbound = {{ plan = {plan}, object = {object} }}\n"
            ));
        }
        config.push_str("[[tenants]]\nname = \"waiting\"\npolicy = \"p\"\ncgroup = \"/waiting\"\nnamespace = \"production\"\n");
        Self {
            agent: Agent::start(&config),
            origin: Origin::http().await,
            _directory: directory,
        }
    }

    /// Status, and the reason where there is one.
    async fn get(&self, tenant: &str) -> (u16, Value) {
        let host = format!("api.test:{}", self.origin.address.port());
        let reply = self
            .agent
            .get(tenant, self.origin.address, &host, "/")
            .await;
        let reason = if reply.status == 200 {
            Value::Null
        } else {
            reply.json()["reason"].clone()
        };
        (reply.status, reason)
    }
}

const RULE: &str = "[[policies.p.rules]]\nname = \"of-plan\"\naction = \"allow\"\nhost = \"api.test\"\nport = \"*\"\n";

fn passed() -> (u16, Value) {
    (200, Value::Null)
}

fn denied(reason: &str) -> (u16, Value) {
    (403, reason.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_asks_for_what_the_dispatch_gave() {
    for (condition, acme, globex, initech) in [
        (
            "parameters = { plan = \"pro\" }",
            passed(),
            denied("no_rule"),
            denied("no_rule"),
        ),
        (
            "parameters = { \"object.seats\" = \"7\" }",
            passed(),
            denied("no_rule"),
            denied("no_rule"),
        ),
        (
            "parameters = { \"object.region\" = false }",
            denied("no_rule"),
            passed(),
            passed(),
        ),
        (
            "when = \"params.plan == 'pro'\"",
            passed(),
            denied("no_rule"),
            denied("no_rule"),
        ),
        (
            "when = \"params.object.seats >= 7 && 'admin' in params.object.roles\"",
            passed(),
            denied("no_rule"),
            denied("condition_failed"),
        ),
        (
            "when = \"host == 'api.' + (has(params.object.region) ? 'test' : params.plan)\"",
            passed(),
            denied("no_rule"),
            denied("condition_failed"),
        ),
        (
            "namespaces = \"production\"\nwhen = \"dispatch_namespace == 'production'\"",
            passed(),
            passed(),
            passed(),
        ),
    ] {
        let scene = Scene::start(&format!("{RULE}{condition}")).await;
        let told = [
            scene.get("acme").await,
            scene.get("globex").await,
            scene.get("initech").await,
        ];
        let expected = [acme, globex, initech];
        assert_eq!(told, expected, "{condition}");
        let carried = expected.iter().filter(|(status, _)| *status == 200).count();
        assert_eq!(scene.origin.seen().len(), carried, "{condition}");
    }
}

/// The claims of the token that a request came with.
#[track_caller]
fn claims(seen: &Seen) -> Value {
    let token = seen.headers["authorization"].to_str().unwrap();
    let claims = token
        .strip_prefix("Bearer ")
        .unwrap()
        .split('.')
        .nth(1)
        .unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_says_what_the_dispatch_gave() {
    let policy = format!(
        "credentials = [\"c\"]\n{RULE}[credentials.c]\ntype = \"jwt\"\nhosts = [\"api.test:*\"]\n\
         key = \"file:KEY\"\nalgorithm = \"HS256\"\nallow_plaintext = true\n\
         claims = {{ sub = \"{{tenant}}/{{params.plan}}\", seats = \"{{params.object.seats}}\", \
         all = \"{{params.object}}\", list = [\"{{params.plan}}\"] }}\n"
    );
    let scene = Scene::start(&policy).await;
    for tenant in ["acme", "globex", "acme"] {
        assert_eq!(scene.get(tenant).await, passed(), "{tenant}");
    }
    let seen = scene.origin.seen();
    let told: Vec<Value> = seen.iter().map(claims).collect();
    assert_eq!(
        (&told[0]["sub"], &told[1]["sub"]),
        (&json!("acme/pro"), &json!("globex/free"))
    );
    assert_eq!(
        (&told[0]["seats"], &told[1]["seats"]),
        (&json!(7), &json!(1))
    );
    assert_eq!(
        told[0]["all"],
        json!({ "seats": 7, "roles": ["admin", "dev"], "region": "eu" })
    );
    assert_eq!(told[1]["list"], json!(["free"]));
    // One token for one tenant and what it was given.
    assert_eq!(
        seen[0].headers["authorization"],
        seen[2].headers["authorization"]
    );
    // What a claim needs and no dispatch gave is not left out: the request fails.
    let (status, reason) = scene.get("initech").await;
    assert_eq!((status, reason), (502, json!("credential_unavailable")));
    scene
        .agent
        .expect_log(&[("tenant", "initech"), ("reason", "credential_unavailable")]);
    assert_eq!(scene.origin.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_keeps_what_it_allows_from_the_worker() {
    let module = "export default { fetch() { return new Response('mine', { status: 418 }) } }";
    for (key, status, carried) in [("", 418, 0), ("worker = \"none\"", 200, 1)] {
        let scene = Scene::with(module, &format!("{RULE}{key}")).await;
        let host = format!("api.test:{}", scene.origin.address.port());
        let address = scene.origin.address;
        let reply = scene.agent.get("acme", address, &host, "/").await;
        assert_eq!(
            (reply.status, scene.origin.seen().len()),
            (status, carried),
            "{key}"
        );
        let line = scene
            .agent
            .expect_log(&[("tenant", "acme"), ("outcome", "completed")]);
        assert_eq!(line["worker.name"] == "egress", carried == 0, "{key}");
        // Who has not been dispatched has no egress on this way either.
        let reply = scene.agent.get("waiting", address, &host, "/").await;
        assert_eq!(
            (reply.status, &reply.json()["reason"]),
            (503, &json!("not_dispatched")),
            "{key}"
        );
        assert_eq!(scene.origin.seen().len(), carried, "{key}");
    }
}

/// Another worker stands in for that of the namespace: with the same parameters, in the same
/// fence, and for nobody who has not been dispatched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_has_what_it_allows_meet_another_worker() {
    let module = "export default { fetch() { return new Response('mine', { status: 418 }) } }";
    let other = "export default { fetch(request, env) { \
                 return new Response(env.plan + env.seats, { status: 203 }) } }";
    let directory = tempfile::tempdir().unwrap();
    let main = directory.path().join("other.js");
    std::fs::write(&main, other).unwrap();
    let policy = format!(
        "{RULE}worker = \"other\"\n\
         [services.other]\nmain = {main:?}\nhosting = \"thread\"\nlimits = {{ cpu = \"5s\" }}\n"
    );
    let scene = Scene::with(module, &policy).await;
    let host = format!("api.test:{}", scene.origin.address.port());
    let address = scene.origin.address;
    let reply = scene.agent.get("acme", address, &host, "/").await;
    assert_eq!((reply.status, &*reply.body), (203, "pro7"));
    scene
        .agent
        .expect_log(&[("tenant", "acme"), ("worker.name", "other")]);
    let reply = scene.agent.get("waiting", address, &host, "/").await;
    assert_eq!(
        (reply.status, &reply.json()["reason"]),
        (503, &json!("not_dispatched"))
    );
    assert_eq!(scene.origin.seen().len(), 0);
}
