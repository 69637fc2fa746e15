//! `when` of rules: an expression decides what passes, and one that says nothing denies.

mod meaning;

use std::net::SocketAddr;

use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use harness::nameserver::query;

/// A policy whose rules stand in `rules`, for `api.test` on two addresses.
fn agent(mode: &str, rules: &str) -> Agent {
    Agent::start(&format!(
        r#"
        [resolver]
        hosts = {{ "api.test" = ["127.0.0.1"], "other.test" = ["127.0.0.2"] }}
        [policies.p]
        mode = "{mode}"
        allow = ["127.0.0.0/8:*"]
        {rules}
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        [[tenants]]
        name = "globex"
        policy = "p"
        cgroup = "/globex"
        "#
    ))
}

/// An allow for every name, with this expression.
fn allow(when: &str) -> String {
    format!(
        "[[policies.p.rules]]\nname = \"asked\"\naction = \"allow\"\nhost = \"*.test\"\nport = \"*\"\nwhen = {when:?}\n"
    )
}

async fn ask(agent: &Agent, origin: SocketAddr, name: &str, target: &str, headers: &str) -> Reply {
    let request = format!(
        "GET {target} HTTP/1.1\r\nhost: {name}:{}\r\n{headers}connection: close\r\n\r\n",
        origin.port()
    );
    agent.ask("acme", origin, &request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_lets_through_what_it_is_for_and_nothing_else() {
    let origin = Origin::http().await;
    let agent = agent(
        "enforce",
        &allow(
            "method == 'GET' && path.matches('^/v[0-9]+/') && tenant == 'acme' && \
             'pro' in headers['x-plan'] && !query.exists(key, key.startsWith('debug'))",
        ),
    );
    let ask = async |target: &str, headers: &str| {
        ask(&agent, origin.address, "api.test", target, headers).await
    };
    let pro = "x-plan: free\r\nX-Plan: pro\r\n";
    assert_eq!(ask("/v1/users?page=2", pro).await.status, 200);
    for (target, headers) in [
        ("/users", pro),
        ("/v1/../users", pro),
        ("/%76x/users", pro),
        ("/v1/users?a=b&%64ebug_all=1", pro),
        ("/v1/users", "x-plan: enterprise\r\n"),
    ] {
        let denied = ask(target, headers).await;
        assert_eq!(denied.json()["reason"], "no_rule", "{target} {headers}");
    }
    let host = format!("api.test:{}", origin.address.port());
    let globex = agent.get("globex", origin.address, &host, "/v1/x").await;
    assert_eq!(globex.json()["reason"], "no_rule");
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_evaluated_is_denied_with_a_reason_of_its_own() {
    let origin = Origin::http().await;
    let rules = format!(
        "{}[[policies.p.rules]]\nname = \"open\"\naction = \"allow\"\nhost = \"api.test\"\nport = \"*\"\n",
        allow("headers['x-plan'][0] == 'pro'")
    );
    for action in ["allow", "deny"] {
        let rules = rules.replacen("\"allow\"", &format!("{action:?}"), 1);
        let agent = agent("enforce", &rules);
        let denied = ask(&agent, origin.address, "api.test", "/", "").await;
        assert_eq!(denied.status, 403, "{action}");
        let document = denied.json();
        assert_eq!(
            (&document["reason"], &document["rule"]),
            (&"condition_failed".into(), &"asked".into())
        );
        let logged = [
            ("outcome", "denied"),
            ("reason", "condition_failed"),
            ("rule", "asked"),
        ];
        agent.expect_log(&logged);
        agent.expect_metric(
            r#"outbound_denials_total{reason="condition_failed",tenant="acme"}"#,
            1.0,
        );
        assert_eq!(origin.connections(), 0, "{action}");
    }
    let agent = agent("audit", &rules);
    assert_eq!(
        ask(&agent, origin.address, "api.test", "/", "")
            .await
            .status,
        200
    );
    let marked = [
        ("would_deny", "condition_failed"),
        ("would_deny.rule", "asked"),
    ];
    let line = agent.expect_log(&marked);
    assert_eq!(line["rule"], "open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_is_held_to_the_address_that_is_dialled() {
    let origin = Origin::http().await;
    let agent = agent(
        "enforce",
        &allow("cidr('127.0.0.1/32').containsIP(address) && path != '/no'"),
    );
    let ask = async |name: &str, target: &str| ask(&agent, origin.address, name, target, "").await;
    assert_eq!(ask("api.test", "/").await.status, 200);
    assert_eq!(ask("api.test", "/no").await.json()["reason"], "no_rule");
    let elsewhere = ask("other.test", "/").await.json();
    assert_eq!(
        (&elsewhere["reason"], &elsewhere["rule"]),
        (&"no_rule".into(), &"asked".into())
    );
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_told_where_its_expression_may_hold() {
    let agent = agent(
        "enforce",
        &allow("host != 'other.test' && (port == 443 || method == 'GET')"),
    );
    for (name, code) in [
        ("api.test.", ResponseCode::NoError),
        ("other.test.", ResponseCode::Refused),
    ] {
        let answer = agent.look_up("acme", &query(name, RecordType::A)).await;
        assert_eq!(answer.metadata.response_code, code, "{name}");
    }
    let broken = self::agent("enforce", &allow("params.plan == 'pro'"));
    let answer = broken
        .look_up("acme", &query("api.test.", RecordType::A))
        .await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_expression_holds_from_the_next_request_on() {
    let origin = Origin::http().await;
    let port = origin.address.port();
    let agent = agent("enforce", &allow("path.startsWith('/a')"));
    let of = |when: &str| {
        format!(
            "[resolver]\nhosts = {{ \"api.test\" = [\"127.0.0.1\"], \"other.test\" = [\"127.0.0.2\"] }}\n\
             [policies.p]\nmode = \"enforce\"\nallow = [\"127.0.0.0/8:*\"]\n{}\
             [[tenants]]\nname = \"acme\"\npolicy = \"p\"\ncgroup = \"/acme\"\n\
             [[tenants]]\nname = \"globex\"\npolicy = \"p\"\ncgroup = \"/globex\"\n",
            allow(when)
        )
    };
    let host = format!("api.test:{port}");
    assert_eq!(
        agent.get("acme", origin.address, &host, "/a").await.status,
        200
    );
    agent.reload(&of("path.startsWith('/b')"));
    assert_eq!(
        agent.get("acme", origin.address, &host, "/a").await.status,
        403
    );
    assert_eq!(
        agent.get("acme", origin.address, &host, "/b").await.status,
        200
    );
}
