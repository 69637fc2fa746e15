//! Which services a request has come about through. A worker's own request names the worker and
//! those that its tenant's request named: one that comes back to any of them goes in a circle,
//! however many lie between.
//!
//! A tenant may write the field as well. That ends its own requests, and nothing else: no request
//! goes on without a worker for it.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Failure;
use crate::model::reason::Reason;
use crate::model::tenant::TenantId;

/// Lists the services that a worker's own request has come about through.
pub const WORKER: HeaderName = HeaderName::from_static("outbound-worker");

/// How many a request may name.
const MOST: usize = 16;

/// The services that a request has come about through, the last one last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain(Option<HeaderValue>);

impl Chain {
    /// That of a request which `service` is to answer. What is no name of a service is none.
    pub fn leading_to(service: &str, headers: &HeaderMap) -> Result<Self, Failure> {
        let mut names = Vec::new();
        for value in headers.get_all(WORKER) {
            let listed = value.as_bytes().split(|octet| *octet == b',');
            let listed = listed.map(<[u8]>::trim_ascii);
            names.extend(listed.filter(|name| !name.is_empty()));
        }
        if names.len() >= MOST {
            let text = format!("the request names {MOST} services in {WORKER}, or more");
            return Err(circle(&text));
        }
        if names.contains(&service.as_bytes()) {
            return Err(circle("the worker itself led to this request"));
        }
        let names = names.into_iter().filter_map(|name| {
            let name = str::from_utf8(name).ok()?;
            // Services are named as tenants are.
            TenantId::new(name).map(|_is_one| name)
        });
        let value = names.collect::<Vec<_>>().join(", ");
        // Names are text that a field may have.
        let value = HeaderValue::try_from(value).ok();
        Ok(Self(value.filter(|value| !value.is_empty())))
    }

    /// What a request says that goes on as it came.
    pub const fn said(&self) -> Option<&HeaderValue> {
        self.0.as_ref()
    }

    /// What a request of `service`'s own says, which one with this chain led to.
    pub fn and(&self, service: &str) -> Option<HeaderValue> {
        let value = match self.0.as_ref().and_then(|names| names.to_str().ok()) {
            Some(names) => HeaderValue::try_from(format!("{names}, {service}")),
            None => HeaderValue::from_str(service),
        };
        value.ok()
    }
}

fn circle(text: &str) -> Failure {
    Failure::new(Reason::WorkerLoop, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Result<Chain, Reason> {
        let values = values.iter().map(|value| (WORKER, value.parse().unwrap()));
        let chain = Chain::leading_to("egress", &values.collect());
        chain.map_err(|failure| failure.reason)
    }

    fn own(values: &[&str]) -> HeaderValue {
        of(values).unwrap().and("egress").unwrap()
    }

    #[test]
    fn a_workers_own_request_names_it_and_those_before_it() {
        assert_eq!(own(&[]), "egress");
        assert_eq!(own(&["a"]), "a, egress");
        assert_eq!(own(&["a ,b", "c"]), "a, b, c, egress");
        assert_eq!(of(&["a ,b", "c"]).unwrap().said().unwrap(), "a, b, c");
        assert_eq!(of(&[]).unwrap().said(), None);
    }

    #[test]
    fn a_request_that_names_who_is_to_answer_it_goes_in_a_circle() {
        for values in [&["egress"][..], &["a,egress,b"], &["a", " egress "]] {
            assert_eq!(of(values), Err(Reason::WorkerLoop), "{values:?}");
        }
        for values in [&["egress2"][..], &["Egress"], &["e,gress"]] {
            assert!(of(values).is_ok(), "{values:?}");
        }
    }

    #[test]
    fn what_no_agent_has_written_goes_no_further() {
        let long = "x".repeat(64);
        let value = ["", ",", "a b", "ä", "-", "a;q=1", &long].join(",");
        assert_eq!(own(&[&value]), "egress");
        assert_eq!(of(&[&value]).unwrap().said(), None);
    }

    #[test]
    fn no_request_names_more_than_one_may() {
        let names = |count| vec!["a"; count];
        let longest = own(&names(MOST - 1));
        assert_eq!(longest.to_str().unwrap().split(", ").count(), MOST);
        assert_eq!(of(&names(MOST)), Err(Reason::WorkerLoop));
        // Whether or not they are names.
        assert_eq!(of(&["?,".repeat(MOST).as_str()]), Err(Reason::WorkerLoop));
    }
}
