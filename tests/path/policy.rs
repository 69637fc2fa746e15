//! What is not allowed does not leave, and says why.

use harness::agent::Agent;
use harness::origin::Origin;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denied_request_never_reaches_upstream() {
    let origin = Origin::http().await;
    let agent = Agent::start(
        r#"
        [resolver]
        hosts = { "evil.test" = ["127.0.0.1"] }
        [policies.p]
        default = "allow"
        allow = ["127.0.0.0/8:*"]
        deny = ["*.evil.test", "evil.test"]
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#,
    );
    let reply = agent
        .get(
            "acme",
            origin.address,
            &format!("evil.test:{}", origin.address.port()),
            "/x?secret=1",
        )
        .await;
    assert_eq!(reply.status, 403);
    let document = reply.json();
    assert_eq!(document["reason"], "rule_deny");
    assert_eq!(document["host"], "evil.test");
    assert_eq!(document["rule"], "deny evil.test");
    assert_eq!(document["path"], "/x");
    let line = agent.expect_log(&[
        ("outcome", "denied"),
        ("reason", "rule_deny"),
        ("http.response.status_code", "403"),
    ]);
    assert_eq!(line["request_id"], document["request_id"]);
    assert!(!line.to_string().contains("secret"));
    agent.expect_metric(
        r#"outbound_denials_total{reason="rule_deny",tenant="acme"}"#,
        1.0,
    );
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_no_rule_names_is_denied_by_default() {
    let origin = Origin::http().await;
    let agent = Agent::start(super::OPEN);
    let reply = agent
        .get(
            "acme",
            origin.address,
            &format!("other.test:{}", origin.address.port()),
            "/",
        )
        .await;
    assert_eq!(
        (reply.status, reply.json()["reason"].as_str()),
        (403, Some("no_rule"))
    );
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowed_name_does_not_lead_to_a_private_address() {
    let origin = Origin::http().await;
    let agent = Agent::start(
        r#"
        [resolver]
        hosts = { "api.test" = ["127.0.0.1"] }
        [policies.p]
        allow = ["api.test:*"]
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#,
    );
    let reply = agent
        .get(
            "acme",
            origin.address,
            &format!("api.test:{}", origin.address.port()),
            "/",
        )
        .await;
    assert_eq!(
        (reply.status, reply.json()["reason"].as_str()),
        (403, Some("private_address"))
    );
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_lets_through_and_says_what_it_would_have_denied() {
    let origin = Origin::http().await;
    let agent = Agent::start(
        r#"
        [resolver]
        hosts = { "api.test" = ["127.0.0.1"] }
        [policies.p]
        mode = "audit"
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#,
    );
    let reply = agent
        .get(
            "acme",
            origin.address,
            &format!("api.test:{}", origin.address.port()),
            "/",
        )
        .await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
    agent.expect_log(&[("outcome", "completed"), ("would_deny", "no_rule")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_that_the_workload_dialled_is_not_believed() {
    let (right, wrong) = (Origin::http().await, Origin::http().await);
    // The workload connects to an address of its own choice, under an allowed name.
    let agent = Agent::start(super::OPEN);
    let forged = std::net::SocketAddr::from(([127, 0, 0, 2], right.address.port()));
    let reply = agent
        .get(
            "acme",
            forged,
            &format!("api.test:{}", right.address.port()),
            "/",
        )
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!((right.connections(), wrong.connections()), (1, 0));
}
