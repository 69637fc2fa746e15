//! Rules and credentials that say what a dispatch gave: the next request is under the next dispatch.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::host::Host;
use serde_json::{Value, json};

use super::{Asker, PATH, origin};

/// A host whose namespace has a worker that passes everything, and rules about parameters.
fn host(rule: &str) -> Option<Host> {
    let host = Host::new()?;
    host.resolve(&["api.example.com"]);
    host.write("signing.key", &"k".repeat(32));
    let key = host.path("signing.key").display().to_string();
    host.configure(
        "dispatch",
        &format!(
            r#"
[[dispatch_namespaces]]
binding = "dispatcher"
namespace = "production"
outbound = {{ service = "egress", parameters = ["plan", "params_object"] }}
[services.egress]
main = "egress/worker.js"
limits = {{ cpu = "5s" }}
[policies.p]
credentials = ["token"]
[[policies.p.rules]]
name = "of-plan"
action = "allow"
host = "api.example.com"
{rule}
[credentials.token]
type = "jwt"
hosts = ["api.example.com"]
key = "file:{key}"
algorithm = "HS256"
claims = {{ sub = "{{tenant}}", plan = "{{params.plan}}", region = "{{params.params_object.region}}" }}
allow_plaintext = true
"#
        ),
    );
    std::fs::create_dir_all(host.path("conf.d/egress")).unwrap();
    host.write(
        "conf.d/egress/worker.js",
        "export default { fetch(request) { return fetch(request) } }",
    );
    host.tenant_with("acme", "p", "namespace = \"production\"");
    Some(host)
}

fn dispatch(host: &Host, asker: &std::path::Path, plan: &Value) {
    let outbound = json!({ "plan": plan, "params_object": { "region": "eu" } });
    let question = json!({ "worker": "acme", "cgroup": asker, "outbound": outbound });
    let (status, answer) = host.ask_admin("POST", PATH, &question);
    assert_eq!(status, 201, "{answer}");
}

#[test]
fn what_a_dispatch_gives_decides_the_next_request_and_stands_in_its_token() {
    for (rule, undispatched) in [
        (
            "parameters = { plan = \"pro*\", \"params_object.region\" = \"eu\" }",
            "no_rule",
        ),
        (
            "when = \"params.plan.startsWith('pro') && params.params_object.region == 'eu'\"",
            "condition_failed",
        ),
    ] {
        let Some(host) = host(rule) else { return };
        let origin = origin(&host);
        let _agent = host.agent();
        let cgroup = host.tenant_cgroup("acme");
        let asker = Asker::start(&host, &cgroup);
        let denied = asker.ask();
        assert!(
            denied.starts_with("403 ") && denied.contains(undispatched),
            "{rule}: {denied}"
        );
        dispatch(&host, &cgroup, &json!("pro"));
        let answer = asker.ask();
        assert!(answer.starts_with("200 "), "{rule}: {answer}");
        dispatch(&host, &cgroup, &json!("free"));
        let denied = asker.ask();
        assert!(
            denied.starts_with("403 ") && denied.contains("no_rule"),
            "{rule}: {denied}"
        );
        dispatch(&host, &cgroup, &json!("pro-2"));
        let answer = asker.ask();
        assert!(answer.starts_with("200 "), "{rule}: {answer}");

        let requests = origin.requests();
        let plans = requests.iter().map(|request| {
            let token = request.header("authorization").unwrap();
            let claims = token
                .strip_prefix("Bearer ")
                .unwrap()
                .split('.')
                .nth(1)
                .unwrap();
            let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
            let claims: Value = serde_json::from_slice(&claims).unwrap();
            assert_eq!(
                (&claims["sub"], &claims["region"]),
                (&json!("acme"), &json!("eu"))
            );
            claims["plan"].clone()
        });
        let plans: Vec<_> = plans.collect();
        assert_eq!(plans, [json!("pro"), json!("pro-2")], "{rule}");
    }
}

#[test]
fn a_parameter_of_another_type_denies_where_an_expression_needs_it() {
    let Some(host) = host("when = \"params.plan.startsWith('pro')\"") else {
        return;
    };
    let origin = origin(&host);
    let _agent = host.agent();
    let cgroup = host.tenant_cgroup("acme");
    let asker = Asker::start(&host, &cgroup);
    dispatch(&host, &cgroup, &json!(7));
    let denied = asker.ask();
    assert!(
        denied.starts_with("403 ") && denied.contains("condition_failed"),
        "{denied}"
    );
    host.expect_log(&[
        ("reason", "condition_failed"),
        ("rule", "of-plan"),
        ("tenant", "acme"),
    ]);
    host.expect_metric(
        "outbound_denials_total{reason=\"condition_failed\",tenant=\"acme\"}",
        1.0,
    );
    assert_eq!(origin.connections(), 0);
}
