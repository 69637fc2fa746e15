//! Service bindings (SVCB and HTTPS records, RFC 9460), without what leads past the agent.
//!
//! Taken out are encrypted ClientHellos, which would hide the name that policy judges; HTTP/3,
//! which goes over datagrams; addresses that the tenant may not reach; and every parameter that
//! is not known here, since it could carry anything.

use std::net::IpAddr;

use hickory_proto::rr::rdata::svcb::{IpHint, SVCB, SvcParamKey as Key, SvcParamValue as Value};
use hickory_proto::rr::rdata::{A, AAAA, HTTPS};
use hickory_proto::rr::{RData, Record};

/// The record as the tenant is told it; `None` where nothing is left that it could use. `may_reach`
/// is asked of each address that it hints at.
pub fn told(record: &Record, may_reach: impl FnMut(IpAddr) -> bool) -> Option<Record> {
    let data = match &record.data {
        RData::HTTPS(HTTPS(binding)) => RData::HTTPS(HTTPS(reduced(binding, may_reach)?)),
        RData::SVCB(binding) => RData::SVCB(reduced(binding, may_reach)?),
        _ => return None,
    };
    Some(Record::from_rdata(record.name.clone(), record.ttl, data))
}

fn reduced(binding: &SVCB, mut may_reach: impl FnMut(IpAddr) -> bool) -> Option<SVCB> {
    let mut parameters = Vec::new();
    for (key, value) in &binding.svc_params {
        let value = match value {
            Value::Alpn(alpn) => {
                let mut alpn = alpn.clone();
                alpn.0.retain(|protocol| !is_over_datagrams(protocol));
                Some(alpn)
                    .filter(|alpn| !alpn.0.is_empty())
                    .map(Value::Alpn)
            }
            Value::Ipv4Hint(IpHint(hints)) => {
                hints_of(hints, |A(ip)| may_reach((*ip).into())).map(Value::Ipv4Hint)
            }
            Value::Ipv6Hint(IpHint(hints)) => {
                hints_of(hints, |AAAA(ip)| may_reach((*ip).into())).map(Value::Ipv6Hint)
            }
            Value::Mandatory(_) | Value::NoDefaultAlpn | Value::Port(_) => Some(value.clone()),
            Value::EchConfigList(_) | Value::Unknown(_) => None,
        };
        parameters.extend(value.map(|value| (*key, value)));
    }
    let has = |key| parameters.iter().any(|(known, _)| *known == key);
    let is_whole = parameters.iter().all(|(_, value)| match value {
        // Whoever has to understand what is gone understands nothing of the rest.
        Value::Mandatory(mandatory) => mandatory.0.iter().all(|key| has(*key)),
        // It spoke HTTP/3 and nothing else.
        Value::NoDefaultAlpn => has(Key::Alpn),
        _ => true,
    });
    is_whole.then(|| {
        SVCB::new(
            binding.svc_priority,
            binding.target_name.clone(),
            parameters,
        )
    })
}

fn hints_of<T: Clone>(hints: &[T], mut may_reach: impl FnMut(&T) -> bool) -> Option<IpHint<T>> {
    let kept: Vec<T> = hints
        .iter()
        .filter(|hint| may_reach(hint))
        .cloned()
        .collect();
    Some(IpHint(kept)).filter(|hints| !hints.0.is_empty())
}

/// HTTP/3 and its drafts, and DNS over QUIC.
fn is_over_datagrams(protocol: &str) -> bool {
    protocol == "h3" || protocol.starts_with("h3-") || protocol == "doq"
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Name;
    use hickory_proto::rr::rdata::svcb::{Alpn, EchConfigList, Mandatory, Unknown};

    use super::*;

    fn record(parameters: Vec<(Key, Value)>) -> Record {
        let name = Name::from_ascii("api.test.").unwrap();
        let binding = SVCB::new(1, Name::root(), parameters);
        Record::from_rdata(name, 300, RData::HTTPS(HTTPS(binding)))
    }

    fn alpn(protocols: &[&str]) -> (Key, Value) {
        let protocols = protocols.iter().map(ToString::to_string).collect();
        (Key::Alpn, Value::Alpn(Alpn(protocols)))
    }

    fn hint(ip: &str) -> (Key, Value) {
        (
            Key::Ipv4Hint,
            Value::Ipv4Hint(IpHint(vec![A(ip.parse().unwrap())])),
        )
    }

    fn ech() -> (Key, Value) {
        (
            Key::EchConfigList,
            Value::EchConfigList(EchConfigList(vec![1])),
        )
    }

    fn left(parameters: Vec<(Key, Value)>) -> Option<Vec<(Key, Value)>> {
        let told = told(&record(parameters), |ip| !ip.is_loopback())?;
        let RData::HTTPS(HTTPS(binding)) = told.data else {
            panic!("another record");
        };
        Some(binding.svc_params)
    }

    #[test]
    fn what_leads_past_the_agent_is_taken_out_and_the_rest_stays() {
        let unknown = (Key::Key(65_280), Value::Unknown(Unknown(b"data".into())));
        let port = (Key::Port, Value::Port(8443));
        let all = vec![
            alpn(&["h3", "h2", "h3-29"]),
            port.clone(),
            hint("192.0.2.1"),
            ech(),
            unknown,
        ];
        assert_eq!(
            left(all),
            Some(vec![alpn(&["h2"]), port, hint("192.0.2.1")])
        );
        assert_eq!(left(vec![hint("127.0.0.1")]), Some(Vec::new()));
        assert_eq!(left(vec![alpn(&["h3"])]), Some(Vec::new()));
    }

    #[test]
    fn a_record_that_means_nothing_without_is_not_told() {
        let only = (Key::NoDefaultAlpn, Value::NoDefaultAlpn);
        assert_eq!(left(vec![alpn(&["h3"]), only.clone()]), None);
        assert!(left(vec![alpn(&["h3", "h2"]), only]).is_some());
        let mandatory = (
            Key::Mandatory,
            Value::Mandatory(Mandatory(vec![Key::EchConfigList])),
        );
        assert_eq!(left(vec![mandatory, ech()]), None);
    }
}
