//! The tenants' resolver: what policy lets them know, from whatever server they ask.

use std::net::SocketAddr;
use std::time::Duration;

use harness::agent::Agent;
use harness::nameserver::{self, Nameserver, Says, address, alias, query, text};
use harness::origin::Origin;
use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use outbound_agent::model::tenant::CgroupId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

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
    let (server, agent) = zone().await;
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
    // HTTPS records would tell of HTTP/3.
    let answer = agent
        .look_up("acme", &query("www.api.test", RecordType::HTTPS))
        .await;
    assert_eq!(
        (code(&answer), answer.answers.len()),
        (ResponseCode::NoError, 0)
    );
    assert!(
        server
            .asked()
            .iter()
            .all(|(_, kind)| *kind != RecordType::HTTPS)
    );
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
        ("silent.api.test", "timed_out", "upstream_timeout"),
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
async fn a_long_answer_is_cut_and_comes_whole_over_tcp() {
    let (_server, agent) = zone().await;
    let mut asked = query("big.api.test", RecordType::TXT);
    asked.set_edns(Edns::new().set_max_payload(4096).clone());
    let cut = agent.look_up("acme", &asked).await;
    assert_eq!((cut.truncation, cut.answers.len()), (true, 0));
    let server = SocketAddr::from(([192, 0, 2, 53], 53));
    let mut stream = agent.connect("acme", server).await;
    // One after the other on one connection.
    for name in ["big.api.test", "evil.test", "fixed.test"] {
        let message = query(name, RecordType::TXT).to_vec().unwrap();
        nameserver::send(&mut stream, &message).await;
    }
    for (count, code) in [
        (30, ResponseCode::NoError),
        (0, ResponseCode::Refused),
        (0, ResponseCode::NoError),
    ] {
        let answer = nameserver::receive(&mut stream).await.unwrap();
        let answer = Message::from_vec(&answer).unwrap();
        assert_eq!(
            (answer.answers.len(), answer.metadata.response_code),
            (count, code)
        );
    }
    drop(stream);
    agent.expect_log(&[
        ("kind", "dns"),
        ("network.transport", "tcp"),
        ("dns.question.name", "big.api.test"),
        ("dns.answers.count", "30"),
    ]);
    agent.expect_metric(
        r#"outbound_connections_closed_total{outcome="completed",protocol="dns",tenant="acme"}"#,
        1.0,
    );
    assert!(agent.log().iter().all(|line| line["kind"] == "dns"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_a_tcp_rule_names_is_reached_itself() {
    let server = Nameserver::start(say).await;
    let agent = Agent::start(&format!(
        r#"
        [limits]
        detect = "50ms"
        [resolver]
        servers = ["{}"]
        [policies.p]
        allow = ["tcp://127.9.9.9:53", "tcp://*:*"]
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#,
        server.address
    ));
    let message = query("any.test", RecordType::A).to_vec().unwrap();
    let mut stream = agent.connect("acme", "127.9.9.9:53".parse().unwrap()).await;
    nameserver::send(&mut stream, &message).await;
    assert_eq!(nameserver::receive(&mut stream).await, None);
    agent.expect_log(&[
        ("kind", "tcp"),
        ("reason", "upstream_refused"),
        ("rule", "allow tcp://127.9.9.9:53"),
    ]);
    let mut stream = agent
        .connect("acme", "192.0.2.53:53".parse().unwrap())
        .await;
    nameserver::send(&mut stream, &message).await;
    assert!(nameserver::receive(&mut stream).await.is_some());
    agent.expect_log(&[("kind", "dns"), ("rule", "allow tcp://*:*")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datagram_of_nobody_gets_no_answer() {
    let (server, agent) = zone().await;
    let asked = "192.0.2.53:53".parse().unwrap();
    let message = query("www.api.test", RecordType::A).to_vec().unwrap();
    for (cgroup, reason) in [
        (None, "unknown_flow"),
        (Some(CgroupId(99)), "unknown_tenant"),
    ] {
        let socket = agent.resolver_as(cgroup, asked).await;
        socket.send(&message).await.unwrap();
        let line = agent.expect_log(&[
            ("kind", "security_event"),
            ("reason", reason),
            ("outcome", "refused"),
            ("network.protocol.name", "dns"),
        ]);
        assert!(line.get("dns.response.code").is_none());
        expect_silence(&socket).await;
    }
    assert!(server.asked().is_empty());
}

/// Nothing has come, now that the log says how it ended.
async fn expect_silence(socket: &UdpSocket) {
    assert!(socket.try_recv(&mut [0; 16]).is_err());
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
async fn one_tenant_may_ask_so_much_and_another_is_not_hindered() {
    let server = Nameserver::start(say).await;
    let agent = agent(
        &server,
        "dns_per_tenant_per_second = 1\ndns_name_bytes = 40",
        "",
    );
    let long = format!("{}.api.test", "x".repeat(40));
    let answer = agent.look_up("globex", &query(&long, RecordType::A)).await;
    assert_eq!(code(&answer), ResponseCode::Refused);
    agent.expect_log(&[("dns.question.name", &long), ("reason", "dns_limit")]);
    let mut codes = Vec::new();
    for _ in 0..6 {
        let answer = agent
            .look_up("acme", &query("fixed.test", RecordType::A))
            .await;
        codes.push(code(&answer));
    }
    assert_eq!(codes[..2], [ResponseCode::NoError; 2]);
    assert!(codes[2..].contains(&ResponseCode::Refused));
    agent.expect_log(&[
        ("tenant", "acme"),
        ("reason", "dns_limit"),
        ("outcome", "refused"),
    ]);
    let answer = agent
        .look_up("globex", &query("fixed.test", RecordType::A))
        .await;
    assert_eq!(code(&answer), ResponseCode::NoError);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_under_way_have_a_bound() {
    let server = Nameserver::start(say).await;
    let agent = agent(&server, "dns_per_tenant = 1", "");
    let socket = agent
        .resolver("acme", "192.0.2.53:53".parse().unwrap())
        .await;
    let slow = query("silent.api.test", RecordType::A).to_vec().unwrap();
    socket.send(&slow).await.unwrap();
    socket.send(&slow).await.unwrap();
    agent.expect_log(&[("kind", "dns"), ("reason", "dns_limit")]);
    agent.expect_log(&[("kind", "dns"), ("reason", "upstream_timeout")]);
    let answer = agent
        .look_up("acme", &query("fixed.test", RecordType::A))
        .await;
    assert_eq!(code(&answer), ResponseCode::NoError);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_agent_finishes_the_answer_and_takes_no_more() {
    let (server, agent) = zone().await;
    let asked = "192.0.2.53:53".parse().unwrap();
    let mut idle = agent.connect("acme", asked).await;
    let message = query("fixed.test", RecordType::A).to_vec().unwrap();
    nameserver::send(&mut idle, &message).await;
    assert!(nameserver::receive(&mut idle).await.is_some());
    let socket = agent.resolver("acme", asked).await;
    let slow = query("silent.api.test", RecordType::A).to_vec().unwrap();
    socket.send(&slow).await.unwrap();
    let flowing = async {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).await.unwrap();
        Message::from_vec(&bytes[..length]).unwrap()
    };
    let before_the_end = async {
        harness::eventually("the query is under way", || {
            (!server.asked().is_empty()).then_some(())
        });
        agent.stop(Duration::from_secs(10)).await
    };
    let (answer, drained) = tokio::join!(flowing, before_the_end);
    assert_eq!(code(&answer), ResponseCode::ServFail);
    assert!(drained.forced.is_empty(), "{drained:?}");
    assert_eq!(nameserver::receive(&mut idle).await, None);
}
