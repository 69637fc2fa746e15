//! What tenants are told of what there is: nothing that leads past the agent, and nothing anew
//! that is known already.

use harness::agent::Agent;
use harness::nameserver::{Nameserver, Says, address, alias, binding, query};
use hickory_proto::op::{Edns, ResponseCode};
use hickory_proto::rr::rdata::svcb::{
    Alpn, EchConfigList, IpHint, SvcParamKey as Key, SvcParamValue as Value, Unknown,
};
use hickory_proto::rr::rdata::{A, HTTPS};
use hickory_proto::rr::{RData, RecordType};

use super::{addresses, agent, code};

async fn zone() -> (Nameserver, Agent) {
    let server = Nameserver::start(say).await;
    let agent = agent(&server, "", "");
    (server, agent)
}

fn say(name: &str, kind: RecordType) -> Says {
    Says::Records(match (name, kind) {
        ("www.api.test", RecordType::A) => vec![address(name, "192.0.2.80")],
        ("www.api.test", RecordType::HTTPS) => {
            let hints = ["192.0.2.80", "10.0.0.1"].map(|ip| A(ip.parse().unwrap()));
            vec![
                alias("www.api.test", "edge.cdn.test"),
                binding(
                    "edge.cdn.test",
                    vec![
                        (Key::Alpn, Value::Alpn(Alpn(vec!["h3".into(), "h2".into()]))),
                        (Key::Ipv4Hint, Value::Ipv4Hint(IpHint(hints.into()))),
                        (
                            Key::EchConfigList,
                            Value::EchConfigList(EchConfigList(vec![0, 1, 2])),
                        ),
                        (Key::Key(65_280), Value::Unknown(Unknown(b"x".into()))),
                    ],
                ),
            ]
        }
        ("chain.api.test", RecordType::A) => vec![
            alias("chain.api.test", "one.cdn.test"),
            alias("one.cdn.test", "two.cdn.test"),
            address("two.cdn.test", "192.0.2.90"),
        ],
        ("inside.api.test", RecordType::A) => vec![
            alias("inside.api.test", "one.corp.test"),
            address("one.corp.test", "10.0.0.9"),
        ],
        ("mapped.api.test", RecordType::AAAA) => vec![address(name, "::ffff:10.0.0.1")],
        ("nat64.api.test", RecordType::AAAA) => vec![address(name, "64:ff9b::a00:1")],
        ("local.api.test", RecordType::AAAA) => vec![address(name, "fd00::1")],
        ("link.api.test", RecordType::AAAA) => vec![address(name, "fe80::1")],
        ("loop.api.test", RecordType::AAAA) => vec![address(name, "::1")],
        ("zero.api.test", RecordType::A) => vec![address(name, "0.0.0.0")],
        ("none.api.test", _) => return Says::NoName,
        _ => Vec::new(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_binding_is_told_without_what_leads_past_the_agent() {
    let (_server, agent) = zone().await;
    let answer = agent
        .look_up("acme", &query("www.api.test", RecordType::HTTPS))
        .await;
    assert_eq!(code(&answer), ResponseCode::NoError);
    let [alias, told] = &answer.answers[..] else {
        panic!("{answer:?}");
    };
    assert_eq!(alias.record_type(), RecordType::CNAME);
    let RData::HTTPS(HTTPS(told)) = &told.data else {
        panic!("{told:?}");
    };
    assert_eq!(
        told.svc_params,
        [
            (Key::Alpn, Value::Alpn(Alpn(vec!["h2".into()]))),
            (
                Key::Ipv4Hint,
                Value::Ipv4Hint(IpHint(vec![A("192.0.2.80".parse().unwrap())]))
            ),
        ]
    );
    agent.expect_log(&[("dns.question.type", "HTTPS"), ("dns.answers.count", "2")]);
    // Names that may not be reached are told of nothing, as with every other type.
    let answer = agent
        .look_up("acme", &query("evil.test", RecordType::HTTPS))
        .await;
    assert_eq!(code(&answer), ResponseCode::Refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_is_not_asked_again_also_that_there_is_nothing() {
    let (server, agent) = zone().await;
    for (name, kind) in [
        ("www.api.test", RecordType::A),
        ("none.api.test", RecordType::A),
        ("www.api.test", RecordType::TXT),
    ] {
        let first = agent.look_up("acme", &query(name, kind)).await;
        // Another tenant, with the same right.
        let second = agent.look_up("globex", &query(name, kind)).await;
        assert_eq!(code(&first), code(&second), "{name}");
        let ttl = |answer: &hickory_proto::op::Message| {
            let mut records = answer.answers.iter().chain(&answer.authorities);
            records.next().unwrap().ttl
        };
        assert!(ttl(&second) <= ttl(&first), "{name}");
        let asked = server.asked();
        let asked = asked
            .iter()
            .filter(|(asked, of)| asked == name && *of == kind);
        assert_eq!(asked.count(), 1, "{name} {kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aliases_are_followed_and_the_end_of_the_chain_is_judged() {
    let (_server, agent) = zone().await;
    let answer = agent
        .look_up("acme", &query("chain.api.test", RecordType::A))
        .await;
    assert_eq!(answer.answers.len(), 3);
    assert_eq!(addresses(&answer), ["192.0.2.90"]);
    let answer = agent
        .look_up("acme", &query("inside.api.test", RecordType::A))
        .await;
    assert_eq!(
        (code(&answer), answer.answers.len()),
        (ResponseCode::Refused, 0)
    );
    agent.expect_log(&[
        ("dns.question.name", "inside.api.test"),
        ("reason", "private_address"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_a_private_address_is_told() {
    let (_server, agent) = zone().await;
    for (name, kind) in [
        ("mapped.api.test", RecordType::AAAA),
        ("nat64.api.test", RecordType::AAAA),
        ("local.api.test", RecordType::AAAA),
        ("link.api.test", RecordType::AAAA),
        ("loop.api.test", RecordType::AAAA),
        ("zero.api.test", RecordType::A),
    ] {
        let answer = agent.look_up("acme", &query(name, kind)).await;
        assert_eq!(
            (code(&answer), answer.answers.len()),
            (ResponseCode::Refused, 0),
            "{name}: {answer:?}"
        );
        let line = agent.expect_log(&[("dns.question.name", name)]);
        assert_eq!(line["outcome"], "denied", "{line:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extensions_are_answered_and_those_of_the_client_stay_here() {
    let (_server, agent) = zone().await;
    let mut asked = query("www.api.test", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    asked.set_edns(edns);
    let answer = agent.look_up("acme", &asked).await;
    let edns = answer.edns.as_ref().unwrap();
    assert_eq!((edns.version(), edns.max_payload()), (0, 1232));
    let plain = agent
        .look_up("acme", &query("www.api.test", RecordType::A))
        .await;
    assert!(plain.edns.is_none());
    asked.edns.as_mut().unwrap().set_version(1);
    let answer = agent.look_up("acme", &asked).await;
    // BADVERS, which hickory reads as BADSIG: both are 16.
    assert_eq!(u16::from(code(&answer)), 16);
}
