use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::{CNAME, TXT};

use super::*;

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

#[track_caller]
fn asked(message: &Message) -> Asked {
    Asked::read(&message.to_vec().unwrap()).unwrap()
}

#[track_caller]
fn parsed(reply: &Reply, transport: Transport) -> Message {
    Message::from_vec(&reply.to_bytes(transport).unwrap()).unwrap()
}

fn record(name: &str, data: RData) -> Record {
    Record::from_rdata(Name::from_ascii(name).unwrap(), 300, data)
}

fn edns(message: &mut Message, payload: u16) {
    let mut edns = Edns::new();
    edns.set_max_payload(payload).set_dnssec_ok(true);
    message.set_edns(edns);
}

#[test]
fn an_answer_repeats_the_question_to_the_letters_case() {
    let mut message = query("aPi.TeSt.", RecordType::A);
    message.metadata.authentic_data = true;
    let asked = asked(&message);
    assert_eq!(
        (asked.name().as_str(), asked.kind().as_str()),
        ("api.test", "A")
    );
    assert_eq!(asked.host().unwrap().to_string(), "api.test");
    let found = Found::Records(vec![
        record(
            "api.test.",
            RData::CNAME(CNAME(Name::from_ascii("cdn.test.").unwrap())),
        ),
        record(
            "cdn.test.",
            RData::A(std::net::Ipv4Addr::new(192, 0, 2, 1).into()),
        ),
        record(
            "cdn.test.",
            RData::TXT(TXT::new(vec!["no part of it".into()])),
        ),
    ]);
    let answer = parsed(&asked.answer(found), Transport::Udp);
    assert_eq!(
        (answer.id, answer.response_code),
        (4711, ResponseCode::NoError)
    );
    assert!(answer.recursion_desired && answer.recursion_available);
    assert!(!answer.authentic_data && !answer.authoritative && !answer.truncation);
    assert_eq!(answer.queries[0].name().to_ascii(), "aPi.TeSt.");
    let names: Vec<String> = answer.answers.iter().map(|r| r.name.to_ascii()).collect();
    assert_eq!(names, ["aPi.TeSt.", "cdn.test."]);
    assert!(answer.edns.is_none());
}

#[test]
fn nothing_is_told_with_what_says_how_long_that_holds() {
    let asked = asked(&query("api.test.", RecordType::A));
    for (exists, code) in [
        (true, ResponseCode::NoError),
        (false, ResponseCode::NXDomain),
    ] {
        let authority = Some(Box::new(record(
            "test.",
            RData::A(std::net::Ipv4Addr::new(192, 0, 2, 1).into()),
        )));
        let reply = asked.answer(Found::Nothing { exists, authority });
        assert_eq!(reply.answers(), 0);
        let answer = parsed(&reply, Transport::Udp);
        assert_eq!((answer.response_code, answer.authorities.len()), (code, 1));
    }
}

#[test]
fn what_does_not_fit_a_datagram_is_cut_and_says_so() {
    let records = |count: usize| {
        let text = "x".repeat(100);
        let record = record("api.test.", RData::TXT(TXT::new(vec![text])));
        Found::Records(vec![record; count])
    };
    for (payload, fits, too_many) in [(None, 3, 5), (Some(800), 5, 8), (Some(9000), 9, 12)] {
        let mut message = query("api.test.", RecordType::TXT);
        if let Some(payload) = payload {
            edns(&mut message, payload);
        }
        let asked = asked(&message);
        let whole = parsed(&asked.answer(records(fits)), Transport::Udp);
        assert_eq!((whole.truncation, whole.answers.len()), (false, fits));
        let reply = asked.answer(records(too_many));
        let cut = parsed(&reply, Transport::Udp);
        assert_eq!(
            (cut.truncation, cut.answers.len()),
            (true, 0),
            "{payload:?}"
        );
        assert_eq!(cut.edns.is_some(), payload.is_some());
        let over_tcp = parsed(&reply, Transport::Tcp);
        assert_eq!(
            (over_tcp.truncation, over_tcp.answers.len()),
            (false, too_many)
        );
    }
}

#[test]
fn an_opt_is_answered_by_one_without_the_clients_options() {
    let mut message = query("api.test.", RecordType::A);
    edns(&mut message, 4096);
    let answer = parsed(&asked(&message).reply(Rcode::Refused), Transport::Udp);
    let edns = answer.edns.unwrap();
    assert_eq!((edns.max_payload(), edns.version()), (1232, 0));
    assert!(edns.flags().dnssec_ok);
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
}

#[test]
fn an_unknown_version_of_edns_is_told_so() {
    let mut message = query("api.test.", RecordType::A);
    message.set_edns(Edns::new().set_version(1).clone());
    let unusable = Asked::read(&message.to_vec().unwrap()).unwrap_err();
    let reply = unusable.reply.unwrap();
    assert_eq!(reply.code(), Rcode::BadVers);
    let answer = parsed(&reply, Transport::Udp);
    assert_eq!(answer.metadata.response_code.high(), 1);
}

#[test]
fn what_is_no_query_is_told_so_or_gets_no_answer() {
    let whole = query("api.test.", RecordType::A).to_vec().unwrap();
    let with = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[at] = value;
        bytes
    };
    let cut = whole[..whole.len() - 1].to_vec();
    for (bytes, code) in [
        (Vec::new(), None),
        (whole[..11].to_vec(), None),
        // A response.
        (with(2, 0x81), None),
        // An update.
        (with(2, 5 << 3), Some(ResponseCode::NotImp)),
        // No question, two, and 65535 of them.
        (with(5, 0), Some(ResponseCode::FormErr)),
        (with(5, 2), Some(ResponseCode::FormErr)),
        (with(4, 0xff), Some(ResponseCode::FormErr)),
        // A record that is not there.
        (with(7, 1), Some(ResponseCode::FormErr)),
        (cut, Some(ResponseCode::FormErr)),
        // A name that points at itself.
        (with(12, 0xc0), Some(ResponseCode::FormErr)),
        (whole[..12].to_vec(), Some(ResponseCode::FormErr)),
    ] {
        let unusable = Asked::read(&bytes).unwrap_err();
        let answer = unusable.reply.map(|reply| parsed(&reply, Transport::Udp));
        assert_eq!(
            answer.as_ref().map(|a| a.metadata.response_code),
            code,
            "{bytes:?}"
        );
        if let Some(answer) = answer {
            assert_eq!((answer.id, answer.queries.len()), (4711, 0));
            assert_eq!(answer.message_type, MessageType::Response);
        }
    }
}

#[test]
fn a_name_stands_for_itself_or_for_the_address_that_is_asked_about() {
    let host = |name: &str| {
        asked(&query(name, RecordType::PTR))
            .host()
            .map(|h| h.to_string())
    };
    for (name, expected) in [
        ("_dmarc.API.test.", Some("_dmarc.api.test")),
        ("7.2.0.192.in-addr.arpa.", Some("192.0.2.7")),
        (
            &reverse("2001:db8::7".parse().unwrap()).to_ascii(),
            Some("2001:db8::7"),
        ),
        // Not in full, not in the one form, or an IPv4 address in disguise.
        ("2.0.192.in-addr.arpa.", None),
        ("007.2.0.192.in-addr.arpa.", None),
        (
            &Name::from("::ffff:192.0.2.7".parse::<std::net::Ipv6Addr>().unwrap()).to_ascii(),
            None,
        ),
        // No names of hosts.
        (".", None),
        ("192.0.2.7.", None),
    ] {
        assert_eq!(host(name).as_deref(), expected, "{name}");
    }
}

#[test]
fn a_label_of_other_octets_is_no_hosts_name() {
    let whole = query("abc.test.", RecordType::A).to_vec().unwrap();
    for octets in [
        *b"a.b",
        *b"a b",
        *b"a\0b",
        [0xc3, 0xa4, b'a'],
        [0xff, 0xfe, 0xfd],
    ] {
        let mut bytes = whole.clone();
        bytes[13..16].copy_from_slice(&octets);
        let asked = Asked::read(&bytes).unwrap();
        assert_eq!(asked.host(), None, "{octets:?}");
        assert!(asked.name().is_ascii());
        assert!(
            asked
                .reply(Rcode::Refused)
                .to_bytes(Transport::Udp)
                .is_some()
        );
    }
}

#[test]
fn what_would_lead_around_the_agent_is_not_looked_up() {
    let service = |kind| asked(&query("api.test.", kind)).service();
    assert_eq!(service(RecordType::TXT), Service::LookUp(RecordType::TXT));
    for kind in [RecordType::HTTPS, RecordType::SVCB] {
        assert_eq!(service(kind), Service::LookUp(kind));
    }
    for kind in [
        RecordType::ANY,
        RecordType::AXFR,
        RecordType::IXFR,
        RecordType::NULL,
        RecordType::Unknown(65_280),
    ] {
        assert_eq!(service(kind), Service::Refuse, "{kind}");
    }
    let mut message = query("version.bind.", RecordType::TXT);
    message.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(asked(&message).service(), Service::Refuse);
}
