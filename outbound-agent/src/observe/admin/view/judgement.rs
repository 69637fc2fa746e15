//! A request to be judged, and what policy says of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Cgroup, one_place};
use crate::model::limits;
use crate::model::rule;

/// What is to be judged: `POST /v1/policy:check`. Whose it is, is said in exactly one way:
/// `tenant`, `cgroup`, `pid` or `unit`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The tenant, as the configuration has it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tenant: Option<String>,
    /// Instead: the cgroup that it would come from, from the cgroup root or absolute. Its tenant
    /// has the parameters that it was dispatched with there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cgroup: Option<PathBuf>,
    /// Instead: the cgroup that this process is in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid: Option<u32>,
    /// Instead: the cgroup of this unit of the service manager.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unit: Option<String>,
    /// The request's method.
    pub method: String,
    /// Where it goes: `http://`, `https://` or `tcp://HOST:PORT`.
    pub url: String,
    /// The request's headers: a value each, or several.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub headers: BTreeMap<String, OneOrMore>,
    /// Dispatch parameters, in place of those that the tenant has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub params: Option<Map<String, Value>>,
    /// The name of the process, as the kernel has it: its first 15 octets.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub executable: Option<String>,
    /// The address that the URL's name leads to. Names are not looked up: without it what is
    /// judged by an address alone is no part of the answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<String>,
}

impl Question {
    /// The cgroup, where it is named in exactly one way.
    pub fn place(&self) -> Option<Cgroup> {
        one_place(self.cgroup.as_ref(), self.pid, self.unit.as_ref())
    }

    /// Whether a cgroup is named, in however many ways.
    pub const fn names_cgroup(&self) -> bool {
        self.cgroup.is_some() || self.pid.is_some() || self.unit.is_some()
    }
}

/// The values of a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
pub enum OneOrMore {
    /// One.
    One(String),
    /// Several, a field each.
    More(Vec<String>),
}

impl OneOrMore {
    /// Each of them.
    pub fn values(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::More(values) => values,
        }
    }
}

/// What would happen to a request, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// Whose it is.
    pub tenant: String,
    /// The innermost assigned cgroup that it would come from, where one was asked about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cgroup_id: Option<u64>,
    /// Which dispatch that cgroup has, if it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dispatch: Option<String>,
    /// The tenant's policy.
    pub policy: String,
    /// That policy's mode: `enforce`, `audit` or `off`.
    pub mode: String,
    /// The request's method.
    pub method: String,
    /// Where it goes.
    pub url: String,
    /// `allow`, `deny`, or `would_deny`: let through by what only watches.
    pub verdict: String,
    /// Why it is denied, or would be: a word of the access log's `reason`.
    pub reason: Option<String>,
    /// Why the rule's `when` could not be evaluated, where it could not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failure: Option<String>,
    /// The rule that decided; none where the policy's default did, or the address.
    pub rule: Option<String>,
    /// Where that rule is written: file, line and column.
    pub place: Option<String>,
    /// Where the entry of the rule's set is written, if it is for one.
    pub entry: Option<String>,
    /// Whether the request is seen. Otherwise it is bytes, or TLS that the agent passes through:
    /// judged by host and port alone.
    pub seen: bool,
    /// Where it goes in the end, where the rule rewrites that; it is decided again for there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rewritten: Option<String>,
    /// The outbound worker that it passes. What that sends is judged by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub worker: Option<String>,
    /// The names of the credentials that are added.
    pub credentials: Vec<String>,
    /// The names of those that are bound to its host, and not to its scheme, method or path.
    pub withheld: Vec<String>,
    /// How often the rule lets the tenant do it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate: Option<Rate>,
    /// How long the rule gives the upstream for its answer, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeout_ms: Option<u64>,
    /// What the tenant may take. How much of it is left is no part of the answer.
    pub limits: Limits,
}

impl Judgement {
    /// Whether it would pass.
    pub fn is_allowed(&self) -> bool {
        self.verdict != "deny"
    }
}

/// How often a rule lets something happen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// Requests in a second, in the long run.
    pub per_second: f64,
    /// Requests at once.
    pub burst: u32,
}

impl From<rule::Rate> for Rate {
    fn from(rate: rule::Rate) -> Self {
        let rule::Rate { per_second, burst } = rate;
        Self { per_second, burst }
    }
}

/// Declares [`Limits`] beside what it is made of, so that neither has a limit that the other lacks.
macro_rules! limits {
    ($($(#[$about:meta])* $name:ident as $shown:ident;)*) => {
        /// A tenant's limits, those that there are: sizes in bytes, times in milliseconds.
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
        )]
        pub struct Limits {
            $(
                $(#[$about])*
                #[serde(skip_serializing_if = "Option::is_none", default)]
                pub $shown: Option<u64>,
            )*
        }

        impl From<limits::Limits> for Limits {
            fn from(limits: limits::Limits) -> Self {
                let limits::Limits { $($name),* } = limits;
                Self { $($shown: $name.map(Shown::shown)),* }
            }
        }
    };
}

limits! {
    /// Connections at once.
    connections as connections;
    /// Requests at once, on all of its connections.
    requests as requests;
    /// Requests and tunnels begun in a second.
    requests_per_second as requests_per_second;
    /// How many of them at once after a pause.
    requests_burst as requests_burst;
    /// Bytes to upstreams in a second.
    sent_per_second as sent_per_second;
    /// Bytes from upstreams in a second.
    received_per_second as received_per_second;
    /// Requests and tunnels begun in a day (UTC).
    requests_per_day as requests_per_day;
    /// Requests and tunnels begun in a month (UTC).
    requests_per_month as requests_per_month;
    /// Bytes in a day (UTC), both ways together.
    bytes_per_day as bytes_per_day;
    /// Bytes in a month (UTC), both ways together.
    bytes_per_month as bytes_per_month;
    /// The header of a request, all names and values together.
    request_header as request_header;
    /// The body of a request.
    request_body as request_body;
    /// The body of a response.
    response_body as response_body;
    /// From the head of a request to the end of its response.
    request_duration as request_duration_ms;
    /// From when a connection is taken to its end.
    connection_duration as connection_duration_ms;
}

/// A limit as a number.
trait Shown {
    fn shown(self) -> u64;
}

impl Shown for usize {
    fn shown(self) -> u64 {
        self as u64
    }
}

impl Shown for u64 {
    fn shown(self) -> u64 {
        self
    }
}

impl Shown for Duration {
    fn shown(self) -> u64 {
        milliseconds(self)
    }
}

/// A time as the admin API shows it.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
