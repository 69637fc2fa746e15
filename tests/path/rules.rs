//! Rules do to requests and responses what they say, and the log tells.

use harness::agent::Agent;
use harness::origin::Origin;
use http::Response;
use http_body_util::Full;

/// A policy whose rules stand in `rules`, for `api.test` and `other.test` on loopback.
fn agent(rules: &str) -> Agent {
    Agent::start(&format!(
        r#"
        [resolver]
        hosts = {{ "api.test" = ["127.0.0.1"], "other.test" = ["127.0.0.1"] }}
        [policies.p]
        allow = ["127.0.0.0/8:*"]
        {rules}
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_denies_by_method_and_path_with_its_own_words() {
    let origin = Origin::http().await;
    let agent = agent(
        r#"
        [[policies.p.rules]]
        name = "read-repos"
        action = "allow"
        host = "api.test"
        port = "*"
        methods = "GET"
        paths = "/repos/**"
        [[policies.p.rules]]
        name = "no-secrets"
        action = "deny"
        host = "api.test"
        paths = "/**/secrets/**"
        status = 404
        message = "secrets stay here"
        "#,
    );
    let host = format!("api.test:{}", origin.address.port());
    let ask = async |path: &str| agent.get("acme", origin.address, &host, path).await;
    assert_eq!(ask("/repos/a").await.status, 200);
    assert_eq!(ask("/users").await.json()["reason"], "no_rule");
    for path in ["/repos/a/secrets/1", "/repos/a/./%73ecrets//1"] {
        let denied = ask(path).await;
        assert_eq!(denied.status, 404, "{path}");
        let document = denied.json();
        assert_eq!(document["rule"], "no-secrets");
        assert_eq!(document["hint"], "secrets stay here");
        agent.expect_log(&[("rule", "no-secrets"), ("reason", "rule_deny")]);
    }
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_edits_headers_both_ways_and_logs_what_it_captures() {
    let origin = Origin::answering(|_seen| {
        let mut response = Response::new(Full::from("hello"));
        let headers = response.headers_mut();
        headers.insert("server", "secret/1".parse().unwrap());
        response
    })
    .await;
    let agent = agent(
        r#"
        [[policies.p.rules]]
        name = "edit"
        action = "allow"
        host = "api.test"
        port = "*"
        request_headers = { set = { x-env = "prod" }, remove = ["cookie"] }
        response_headers = { remove = ["server"], append = { x-by = "us" } }
        log_headers = ["x-trace"]
        log_query = ["page"]
        "#,
    );
    let request = format!(
        "GET /?page=2&token=t HTTP/1.1\r\nhost: api.test:{}\r\nx-env: mine\r\ncookie: a=b\r\nx-trace: 7\r\nconnection: close\r\n\r\n",
        origin.address.port()
    );
    let reply = agent.ask("acme", origin.address, &request).await;
    assert_eq!(reply.status, 200);
    let head = reply.head.to_ascii_lowercase();
    assert!(
        !head.contains("secret/1") && head.contains("x-by: us"),
        "{head}"
    );
    let seen = origin.seen().remove(0);
    assert_eq!(seen.headers["x-env"], "prod");
    assert!(!seen.headers.contains_key("cookie"));
    let line = agent.expect_log(&[("rule", "edit"), ("outcome", "completed")]);
    assert_eq!(line["url.query"], "page=2");
    assert_eq!(line["http.request.headers"]["x-trace"][0], "7");
    assert!(!line.to_string().contains("token"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_rule_rewrites_is_decided_again() {
    let (api, other) = (Origin::http().await, Origin::http().await);
    let agent = agent(&format!(
        r#"
        [[policies.p.rules]]
        name = "moved"
        action = "allow"
        host = "api.test"
        port = "*"
        paths = "/v1/**"
        rewrite_host = "other.test:{port}"
        rewrite_path = {{ prefix = "/v1", with = "/v2" }}
        [[policies.p.rules]]
        name = "target"
        action = "allow"
        host = "other.test"
        port = "*"
        paths = "/v2/public/**"
        "#,
        port = other.address.port()
    ));
    let host = format!("api.test:{}", api.address.port());
    let ask = async |path: &str| agent.get("acme", api.address, &host, path).await;
    assert_eq!(ask("/v1/public/x?q=1").await.status, 200);
    assert_eq!(ask("/v1/private/x").await.json()["reason"], "no_rule");
    assert_eq!(api.connections(), 0);
    let seen = other.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].target, "/v2/public/x?q=1");
    assert_eq!(
        seen[0].headers["host"],
        format!("other.test:{}", other.address.port())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_lets_so_many_through_and_says_when_to_come_again() {
    let origin = Origin::http().await;
    let agent = agent(
        r#"
        [[policies.p.rules]]
        name = "slow"
        action = "allow"
        host = "api.test"
        port = "*"
        rate = "1/h"
        burst = 2
        "#,
    );
    let host = format!("api.test:{}", origin.address.port());
    let ask = async || agent.get("acme", origin.address, &host, "/").await;
    assert_eq!((ask().await.status, ask().await.status), (200, 200));
    let limited = ask().await;
    assert_eq!(limited.status, 429);
    assert_eq!(limited.json()["reason"], "rate_limit");
    assert!(
        limited.head.to_ascii_lowercase().contains("retry-after: "),
        "{}",
        limited.head
    );
    agent.expect_log(&[
        ("reason", "rate_limit"),
        ("rule", "slow"),
        ("outcome", "refused"),
    ]);
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_has_a_time_limit_and_may_leave_lines_out() {
    let silent = Origin::raw(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let quick = Origin::http().await;
    let agent = agent(
        r#"
        [[policies.p.rules]]
        name = "impatient"
        action = "allow"
        host = "api.test"
        port = "*"
        timeout = "10ms"
        [[policies.p.rules]]
        name = "unlogged"
        action = "allow"
        host = "other.test"
        port = "*"
        log = "none"
        "#,
    );
    let to = |name: &str, origin: &Origin| format!("{name}:{}", origin.address.port());
    let quiet = agent
        .get("acme", quick.address, &to("other.test", &quick), "/")
        .await;
    assert_eq!(quiet.status, 200);
    let late = agent
        .get("acme", silent.address, &to("api.test", &silent), "/")
        .await;
    assert_eq!(late.status, 504);
    agent.expect_log(&[("reason", "response_header_timeout")]);
    let mut lines = agent.log().into_iter();
    assert!(!lines.any(|line| line["server.address"] == "other.test"));
    agent.expect_metric(
        r#"outbound_exchanges_total{outcome="completed",tenant="acme",verdict="allow"}"#,
        1.0,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watching_rule_lets_through_and_names_itself() {
    let origin = Origin::http().await;
    let agent = agent(
        r#"
        [[policies.p.rules]]
        name = "try-it"
        action = "deny"
        host = "127.0.0.1"
        methods = "GET"
        mode = "audit"
        "#,
    );
    let reply = agent
        .get("acme", origin.address, &origin.address.to_string(), "/")
        .await;
    assert_eq!(reply.status, 200);
    agent.expect_log(&[("would_deny", "rule_deny"), ("would_deny.rule", "try-it")]);
}

/// What a rule asks, a request for which it holds, and one for which it does not.
const ASKED: &[(&str, &str, &str)] = &[
    (
        "headers = { x-a = true }",
        "GET / HTTP/1.1\r\nX-A: 1\r\n",
        "GET / HTTP/1.1\r\n",
    ),
    (
        "headers = { x-a = false }",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nx-a:\r\n",
    ),
    (
        "headers = { x-a = \"v1-*\" }",
        "GET / HTTP/1.1\r\nx-a: v1-b\r\n",
        "GET / HTTP/1.1\r\nx-a: v1-b\r\nx-a: v2\r\n",
    ),
    (
        "query = { q = true }",
        "GET /?q HTTP/1.1\r\n",
        "GET /?r=q HTTP/1.1\r\n",
    ),
    (
        "query = { q = false }",
        "GET / HTTP/1.1\r\n",
        "GET /?%71=1 HTTP/1.1\r\n",
    ),
    (
        "query = { q = \"a b*\" }",
        "GET /?q=a+bc HTTP/1.1\r\n",
        "GET /?q=a+b&q=c HTTP/1.1\r\n",
    ),
    (
        "methods = \"HEAD\"",
        "HEAD / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\n",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_is_asked_of_real_requests() {
    let origin = Origin::http().await;
    let rule = |condition: &str| {
        format!(
            "[[policies.p.rules]]\nname = \"asked\"\naction = \"allow\"\nhost = \"api.test\"\n\
             port = \"*\"\n{condition}\n"
        )
    };
    let host = format!("api.test:{}", origin.address.port());
    for (condition, holding, other) in ASKED {
        let agent = agent(&rule(condition));
        for (request, status) in [(holding, 200), (other, 403)] {
            let request = format!("{request}host: {host}\r\nconnection: close\r\n\r\n");
            let reply = agent.ask("acme", origin.address, &request).await;
            assert_eq!(reply.status, status, "{condition}: {request}");
        }
    }
    for (condition, status) in [
        ("executables = \"work*\"", 200),
        ("executables = [\"curl\", \"git*\"]", 403),
        ("tenants = [\"ac*\"]", 200),
        ("tenants = \"globex\"", 403),
        ("namespaces = \"*\"", 403),
        ("addresses = \"127.0.0.0/30\"", 200),
        ("addresses = [\"127.0.0.2\", \"192.0.2.0/24\"]", 403),
        ("scheme = \"http\"", 200),
        ("scheme = \"https\"", 403),
    ] {
        let agent = agent(&rule(condition));
        let reply = agent.get("acme", origin.address, &host, "/").await;
        assert_eq!(reply.status, status, "{condition}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_the_workloads_to_follow_and_a_name_is_dialled_where_it_may_be() {
    let origin = Origin::answering(|_seen| {
        let mut response = Response::new(Full::from(""));
        *response.status_mut() = http::StatusCode::FOUND;
        let location = "http://169.254.169.254/latest/meta-data/";
        response
            .headers_mut()
            .insert("location", location.parse().unwrap());
        response
    })
    .await;
    let agent = Agent::start(
        r#"
        [resolver]
        hosts = { "both.test" = ["10.0.0.1", "127.0.0.1"], "inside.test" = ["10.0.0.1", "::ffff:10.0.0.2"] }
        [policies.p]
        allow = ["127.0.0.0/8:*", "*.test:*"]
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#,
    );
    let to = |name: &str| format!("{name}:{}", origin.address.port());
    let reply = agent
        .get("acme", origin.address, &to("both.test"), "/")
        .await;
    assert_eq!(reply.status, 302);
    assert!(reply.head.contains("169.254.169.254"), "{}", reply.head);
    let line = agent.expect_log(&[("outcome", "completed")]);
    assert_eq!(line["network.peer.address"], "127.0.0.1");
    let reply = agent
        .get("acme", origin.address, &to("inside.test"), "/")
        .await;
    assert_eq!(reply.json()["reason"], "private_address");
    let reply = agent
        .get("acme", origin.address, "169.254.169.254", "/")
        .await;
    assert_eq!(reply.json()["reason"], "metadata_address");
    assert_eq!(origin.connections(), 1);
}
