//! How queries come and answers go, and how many.

use std::net::SocketAddr;
use std::time::Duration;

use harness::agent::Agent;
use harness::nameserver::{self, Nameserver, query};
use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::RecordType;
use outbound_agent::model::tenant::CgroupId;
use tokio::net::UdpSocket;

use super::{agent, code, say, zone};

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
    agent.expect_log(&[("kind", "dns"), ("reason", "resolve_timeout")]);
    let answer = agent
        .look_up("acme", &query("fixed.test", RecordType::A))
        .await;
    assert_eq!(code(&answer), ResponseCode::NoError);
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
