//! Queries and answers: whatever is asked gets an answer that can be read and belongs to it, and
//! nothing is told that leads past the agent.

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::HTTPS;
use hickory_proto::rr::rdata::svcb::SvcParamKey;
use hickory_proto::rr::{RData, Record};
use outbound_agent::model::rcode::Rcode;
use outbound_agent::path::dns::message::{Asked, Reply, Transport};
use outbound_agent::path::dns::service;
use outbound_agent::path::upstream::resolve::Found;

use crate::{Target, hash};

pub(crate) const TARGET: Target = Target {
    name: "dns",
    dictionary: &[
        b"\x03api\x04test\x00\x00\x01\x00\x01",
        b"\xc0\x0c",
        b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00",
        b"\x00\x41\x00\x01",
        b"\x00\x01\x00\x00\x05\x00\x03\x00\x01\x02",
        b"\x07in-addr\x04arpa\x00",
        b"\x3f",
    ],
    run,
};

fn run(input: &[u8]) -> u64 {
    let records = Message::from_vec(input).map(|message| message.answers);
    let records = records.unwrap_or_default();
    let told = records.iter().filter_map(told).count();
    match Asked::read(input) {
        Err(unusable) => {
            let code = unusable
                .reply
                .as_ref()
                .map(|reply| read(reply, input).code());
            hash(("unusable", format!("{:?} {code:?}", unusable.reason), told))
        }
        Ok(asked) => {
            assert!(asked.name().is_ascii(), "a name for the log");
            if let Some(host) = asked.host() {
                let again = host.to_string().parse();
                assert_eq!(again, Ok(host), "a name of two forms");
            }
            read(&asked.reply(Rcode::Refused), input);
            let answered = read(&asked.answer(Found::Records(records)), input)
                .answers()
                .min(3);
            let service = format!("{:?}", asked.service());
            hash((asked.host().is_some(), service, told, answered))
        }
    }
}

/// An answer can be read, is the query's, and fits.
fn read<'a>(reply: &'a Reply, query: &[u8]) -> &'a Reply {
    for transport in [Transport::Udp, Transport::Tcp] {
        let Some(bytes) = reply.to_bytes(transport) else {
            continue;
        };
        assert!(
            transport == Transport::Tcp || bytes.len() <= 1232,
            "too long"
        );
        let message = Message::from_vec(&bytes).unwrap();
        assert_eq!(bytes[..2], query[..2], "another query's");
        assert!(bytes[2] & 0x80 != 0, "no answer");
        assert_eq!(message.metadata.response_code.low(), bytes[3] & 0xf);
    }
    reply
}

/// A service binding as it is told, which has to be one that can be written and read again.
fn told(record: &Record) -> Option<Record> {
    let told = service::told(record, |ip| !ip.is_loopback())?;
    let (RData::HTTPS(HTTPS(binding)) | RData::SVCB(binding)) = &told.data else {
        panic!("{told:?} is another record");
    };
    for (key, _value) in &binding.svc_params {
        let is_known = u16::from(*key) <= 6 && *key != SvcParamKey::EchConfigList;
        assert!(is_known, "{key:?} was told");
    }
    Some(told)
}
