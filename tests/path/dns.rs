//! The tenants' resolver: what policy lets them know, from whatever server they ask.

mod carriage;
mod answers;

use harness::agent::Agent;
use harness::nameserver::{Nameserver, Says, address, alias, query, text};
use harness::origin::Origin;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A name server with a zone, and an agent that asks it.
async fn zone() -> (Nameserver, Agent) {
    let server = Nameserver::start(say).await;
    let agent = agent(&server, "", "");
    (server, agent)
}

fn say(name: &str, kind: RecordType) -> Says {
    Says::Records(match (name, kind) {
        ("www.api.test", RecordType::A) => vec![
            alias("www.api.test", "edge.cdn.test"),
            address("edge.cdn.test", "192.0.2.80"),
            address("edge.cdn.test", "192.0.2.81"),
        ],
        ("www.api.test", RecordType::AAAA) => vec![address("www.api.test", "2001:db8::80")],
        ("www.api.test", RecordType::TXT) => vec![text("www.api.test", "v=1")],
        ("rebound.api.test", RecordType::A) => vec![address("rebound.api.test", "10.0.0.1")],
        ("mixed.api.test", RecordType::A) => vec![
            address("mixed.api.test", "192.0.2.1"),
            address("mixed.api.test", "169.254.169.254"),
        ],
        ("local.api.test", RecordType::A) => vec![address("local.api.test", "127.0.0.1")],
        ("big.api.test", RecordType::TXT) => {
            vec![text("big.api.test", &"x".repeat(200)); 30]
        }
        ("7.2.0.192.in-addr.arpa", RecordType::PTR) => {
            vec![alias("7.2.0.192.in-addr.arpa", "seven.test")]
        }
        ("none.api.test", _) => return Says::NoName,
        ("broken.api.test", _) => return Says::Failure,
        ("silent.api.test", _) => return Says::Silence,
        _ => Vec::new(),
    })
}

fn agent(server: &Nameserver, limits: &str, policy: &str) -> Agent {
    Agent::start(&format!(
        r#"
        [limits]
        resolve = "700ms"
        detect = "50ms"
        {limits}
        [resolver]
        hosts = {{ "fixed.test" = ["192.0.2.7", "192.0.2.8"] }}
        servers = ["{}"]
        [policies.p]
        allow = ["*.api.test", "fixed.test:8443", "tcp://*.api.test:*", "192.0.2.0/24"]
        deny = ["secret.api.test"]
        {policy}
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        [[tenants]]
        name = "globex"
        policy = "p"
        cgroup = "/globex"
        "#,
        server.address
    ))
}

fn code(message: &Message) -> ResponseCode {
    message.metadata.response_code
}

fn addresses(message: &Message) -> Vec<String> {
    let ips = message.answers.iter().filter_map(|r| r.data.ip_addr());
    ips.map(|ip| ip.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fixed_name_has_its_addresses_and_nothing_else() {
    let (server, agent) = zone().await;
    let answer = agent
        .look_up("acme", &query("FIXED.test", RecordType::A))
        .await;
    assert_eq!(code(&answer), ResponseCode::NoError);
    assert_eq!(addresses(&answer), ["192.0.2.7", "192.0.2.8"]);
    assert_eq!(answer.answers[0].name.to_ascii(), "FIXED.test.");
    let line = agent.expect_log(&[
        ("kind", "dns"),
        ("tenant", "acme"),
        ("dns.question.name", "fixed.test"),
        ("dns.question.type", "A"),
        ("dns.response.code", "NOERROR"),
        ("dns.answers.count", "2"),
        ("network.transport", "udp"),
        ("original_dst", "192.0.2.53:53"),
        ("rule", "allow fixed.test:8443"),
        ("verdict", "allow"),
        ("outcome", "completed"),
    ]);
    assert!(line["duration_ms"].is_number());
    for kind in [RecordType::AAAA, RecordType::TXT] {
        let answer = agent.look_up("acme", &query("fixed.test", kind)).await;
        assert_eq!(
            (code(&answer), answer.answers.len()),
            (ResponseCode::NoError, 0)
        );
    }
    agent.expect_metric(
        r#"outbound_dns_queries_total{rcode="NOERROR",tenant="acme"}"#,
        3.0,
    );
    assert!(server.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_may_not_be_reached_is_refused_and_asked_of_nobody() {
    let (server, agent) = zone().await;
    for (name, reason, rule) in [
        ("evil.test", "no_rule", None),
        ("api.test", "no_rule", None),
        ("secret.api.test", "rule_deny", Some("deny secret.api.test")),
        ("metadata.google.internal", "metadata_address", None),
        ("9.9.51.198.in-addr.arpa", "no_rule", None),
    ] {
        let answer = agent.look_up("acme", &query(name, RecordType::TXT)).await;
        assert_eq!(
            (code(&answer), answer.answers.len()),
            (ResponseCode::Refused, 0),
            "{name}"
        );
        let line = agent.expect_log(&[
            ("kind", "dns"),
            ("dns.question.name", name),
            ("dns.response.code", "REFUSED"),
            ("outcome", "denied"),
            ("verdict", "deny"),
            ("reason", reason),
        ]);
        assert_eq!(line["rule"].as_str(), rule);
    }
    agent.expect_metric(
        r#"outbound_denials_total{reason="no_rule",tenant="acme"}"#,
        3.0,
    );
    assert!(server.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_agents_own_server_says_is_passed_on() {
    let (_server, agent) = zone().await;
    let answer = agent
        .look_up("acme", &query("wWw.API.test", RecordType::A))
        .await;
    let names: Vec<String> = answer.answers.iter().map(|r| r.name.to_ascii()).collect();
    assert_eq!(names, ["wWw.API.test.", "edge.cdn.test.", "edge.cdn.test."]);
    assert_eq!(addresses(&answer), ["192.0.2.80", "192.0.2.81"]);
    assert!(answer.answers.iter().all(|r| (290..=300).contains(&r.ttl)));
    let answer = agent
        .look_up("acme", &query("www.api.test", RecordType::AAAA))
        .await;
    assert_eq!(addresses(&answer), ["2001:db8::80"]);
    let answer = agent
        .look_up("acme", &query("www.api.test", RecordType::TXT))
        .await;
    assert!(matches!(answer.answers[0].data, RData::TXT(_)));
    let name = "7.2.0.192.in-addr.arpa";
    let answer = agent.look_up("acme", &query(name, RecordType::PTR)).await;
    assert_eq!(code(&answer), ResponseCode::NoError);
    agent.expect_log(&[("dns.question.name", name), ("rule", "allow 192.0.2.0/24")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_told_as_what_it_is() {
    let (_server, agent) = zone().await;
    let answer = agent
        .look_up("acme", &query("none.api.test", RecordType::A))
        .await;
    assert_eq!(code(&answer), ResponseCode::NXDomain);
    assert_eq!(answer.authorities[0].record_type(), RecordType::SOA);
    agent.expect_log(&[("dns.response.code", "NXDOMAIN"), ("outcome", "completed")]);
    let answer = agent
        .look_up("acme", &query("nothing.api.test", RecordType::A))
        .await;
    assert_eq!(
        (code(&answer), answer.authorities.len()),
        (ResponseCode::NoError, 1)
    );
    for (name, outcome, reason) in [
        ("broken.api.test", "failed", "upstream_unresolved"),
        ("silent.api.test", "timed_out", "resolve_timeout"),
    ] {
        let answer = agent.look_up("acme", &query(name, RecordType::A)).await;
        assert_eq!(code(&answer), ResponseCode::ServFail, "{name}");
        agent.expect_log(&[
            ("dns.question.name", name),
            ("dns.response.code", "SERVFAIL"),
            ("outcome", outcome),
            ("reason", reason),
            ("fault", "upstream"),
        ]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_may_not_be_dialled_is_not_told() {
    let (_server, agent) = zone().await;
    let answer = agent
        .look_up("acme", &query("mixed.api.test", RecordType::A))
        .await;
    assert_eq!(addresses(&answer), ["192.0.2.1"]);
    let answer = agent
        .look_up("acme", &query("rebound.api.test", RecordType::A))
        .await;
    assert_eq!(
        (code(&answer), answer.answers.len()),
        (ResponseCode::Refused, 0)
    );
    agent.expect_log(&[
        ("dns.question.name", "rebound.api.test"),
        ("outcome", "denied"),
        ("reason", "private_address"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_tells_everything_and_says_what_it_would_have_denied() {
    let server = Nameserver::start(say).await;
    let agent = agent(&server, "", "mode = \"audit\"");
    let answer = agent
        .look_up("acme", &query("rebound.api.test", RecordType::A))
        .await;
    assert_eq!(addresses(&answer), ["10.0.0.1"]);
    agent.expect_log(&[("outcome", "completed"), ("would_deny", "private_address")]);
    agent
        .look_up("acme", &query("evil.test", RecordType::A))
        .await;
    agent.expect_log(&[
        ("dns.question.name", "evil.test"),
        ("would_deny", "no_rule"),
    ]);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_question_is_told_so() {
    let (_server, agent) = zone().await;
    let mut none = query("www.api.test", RecordType::A);
    none.queries.clear();
    assert_eq!(
        code(&agent.look_up("acme", &none).await),
        ResponseCode::FormErr
    );
    agent.expect_log(&[
        ("kind", "dns"),
        ("reason", "malformed"),
        ("fault", "downstream"),
    ]);
    let answer = agent
        .look_up("acme", &query("www.api.test", RecordType::ANY))
        .await;
    assert_eq!(code(&answer), ResponseCode::Refused);
    agent.expect_log(&[
        ("dns.question.type", "ANY"),
        ("reason", "unsupported_protocol"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_the_tenant_was_told_speaks_for_its_address() {
    let server = Nameserver::start(say).await;
    let origin = Origin::raw(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        drop(tokio::io::copy(&mut read, &mut write).await);
    })
    .await;
    let agent = Agent::start(&format!(
        r#"
        [limits]
        detect = "50ms"
        [resolver]
        servers = ["{}"]
        [policies.p]
        allow = ["tcp://*.api.test:*", "tcp://127.0.0.0/8:*"]
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        [[tenants]]
        name = "globex"
        policy = "p"
        cgroup = "/globex"
        "#,
        server.address
    ));
    agent
        .look_up("acme", &query("local.api.test", RecordType::A))
        .await;
    for (tenant, server, rule) in [
        ("acme", "local.api.test", "allow tcp://*.api.test:*"),
        ("globex", "127.0.0.1", "allow tcp://127.0.0.0/8:*"),
    ] {
        let mut stream = agent.connect(tenant, origin.address).await;
        stream.write_all(b"\0hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"\0hello");
        agent.expect_log(&[
            ("kind", "tcp"),
            ("tenant", tenant),
            ("server.address", server),
            ("rule", rule),
        ]);
    }
}
