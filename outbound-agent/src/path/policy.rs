//! Stage 6, `policy`: may this tenant do that?
//!
//! Takes [`Facts`], gives a [`Verdict`]. It is the only maker of a [`Permit`], and a permit is
//! the only way to an [`UpstreamAddr`]: what was not decided here cannot be dialled. A verdict
//! on a name is half of the answer; the address that the name turns out to have is judged by
//! [`Permit::check_address`], so that no name leads where its address would not be allowed.

mod binding;
mod condition;
mod denied;
mod effects;
mod expression;
pub mod foresee;
mod held;
mod judge;
mod matcher;
mod name;
pub mod rate;
mod reading;
pub mod rewrite;
mod special;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use self::binding::{Fit, fit};
pub use self::condition::pairs;
pub use self::name::{NamePermit, decide_name};
pub use self::reading::Readings;

use self::condition::Truth;
use self::held::Held;
use self::judge::{Judged, judge, judge_address, judge_floor, judge_floor_address};
use self::matcher::Way;
use crate::model::addr::UpstreamAddr;
use crate::model::expression::Failure;
use crate::model::host::Host;
use crate::model::place::Place;
use crate::model::policy::{Addressing, Mode, Policy, Tls};
use crate::model::reason::Reason;
use crate::model::rule::{Clause, Face};
use crate::model::target::Scheme;
use crate::model::targets::{Rule, Targets};
use crate::model::tenant::Tenant;

/// What policy may look at; nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Whose it is, where it is a tenant's.
    pub tenant: Option<&'a Tenant>,
    /// The name of the process, as the kernel has it; empty where it has none.
    pub executable: &'a str,
    /// What is spoken.
    pub scheme: Scheme,
    /// With whom.
    pub host: &'a Host,
    /// On which port; 0 in a look-up, which is for every port and scheme.
    pub port: u16,
    /// What is asked, where that is seen.
    pub request: Option<Request<'a>>,
    /// Whether more will be known: a rule of which it cannot be told yet denies nothing.
    pub is_foreseen: bool,
}

/// A request, as far as rules ask for it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a http::Method,
    /// The path.
    pub path: &'a Readings<'a>,
    /// The query, as it is written.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a http::HeaderMap,
}

impl Facts<'_> {
    const fn way(&self) -> Way {
        Way {
            scheme: self.scheme,
            port: self.port,
        }
    }
}

/// Where a permit leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// What is spoken.
    pub scheme: Scheme,
    /// With whom.
    pub host: Host,
    /// On which port.
    pub port: u16,
}

impl Destination {
    /// Host and, where the scheme does not imply it, port: what stands in a `Host` field.
    pub fn authority(&self) -> String {
        let implied = match self.scheme {
            Scheme::Http => Some(80),
            Scheme::Https => Some(443),
            Scheme::Tcp => None,
        };
        let host = match &self.host {
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
            host => host.to_string(),
        };
        if implied == Some(self.port) {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

/// Policy's answer.
#[derive(Debug)]
pub enum Verdict {
    /// It may.
    Allow(Permit),
    /// It may not.
    Deny(Denial),
}

/// Why something may not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// The rule that says so, as in `deny *.evil.example`; none where the lack of one does.
    pub rule: Option<Box<str>>,
    /// Where the rule is written.
    pub place: Option<Place>,
    /// Where the entry of its set is written, if it is for one.
    pub entry: Option<Place>,
    /// What the workload reads of it, if the rule says.
    pub face: Option<Arc<Face>>,
    /// Where the rule cannot be evaluated, why.
    pub failure: Option<Failure>,
}

/// Proof that one destination was allowed.
#[derive(Debug)]
pub struct Permit {
    policy: Arc<Policy>,
    destination: Destination,
    addressing: Addressing,
    rule: Option<Allowing>,
    effects: Option<Arc<Clause>>,
    would_deny: Option<Denial>,
    held: Held,
}

/// The rule of a permit.
#[derive(Debug)]
struct Allowing {
    label: Arc<str>,
    place: Option<Place>,
    entry: Option<Place>,
    clause: Option<Arc<Clause>>,
}

impl Permit {
    /// Where it leads.
    pub const fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Which address it may be reached at.
    pub const fn addressing(&self) -> Addressing {
        self.addressing
    }

    /// What carries a credential does not leave for an address that may be anybody's.
    pub fn prove_address(&mut self) {
        if self.addressing == Addressing::Original {
            self.addressing = Addressing::Verify;
        }
    }

    /// The rule that allowed it, as in `allow api.example.com`; none where the default did.
    pub fn rule(&self) -> Option<&str> {
        Some(&*self.rule.as_ref()?.label)
    }

    /// Where the rule is written.
    pub fn place(&self) -> Option<&Place> {
        self.rule.as_ref()?.place.as_ref()
    }

    /// Where the entry of the rule's set is written, if it is for one.
    pub fn entry(&self) -> Option<&Place> {
        self.rule.as_ref()?.entry.as_ref()
    }

    /// What an enforcing policy would have answered, where this one only watches.
    pub const fn would_deny(&self) -> Option<&Denial> {
        self.would_deny.as_ref()
    }

    fn clause(&self) -> Option<&Arc<Clause>> {
        self.rule.as_ref()?.clause.as_ref()
    }

    /// Judges an address that the destination's host turned out to have, right before it is
    /// dialled. A refused address may be followed by another that is not.
    pub fn check_address(&mut self, ip: IpAddr) -> Result<UpstreamAddr, Denial> {
        let Destination { scheme, host, port } = &self.destination;
        let way = Way {
            scheme: *scheme,
            port: *port,
        };
        let Held { own, floor } = &self.held;
        let mut watched = None;
        if let Some(policy) = &self.policy.floor {
            let (judged, watching) = judge_floor_address(policy, way, host, ip, floor);
            judged?;
            watched = watching;
        }
        if self.policy.mode != Mode::Off {
            let (mut judged, watching) = judge_address(&self.policy, way, host, ip, own);
            watched = watched.or(watching);
            if judged.is_ok()
                && let Some(clause) = self.clause()
                && clause.conditions.ask_address()
                && own.of_clause(clause, ip) != Truth::Yes
            {
                judged = Err(self.elsewhere());
            }
            if let Err(denial) = judged {
                match self.policy.mode {
                    // What a rule denies it denies in its own mode.
                    Mode::Enforce => return Err(denial),
                    Mode::Audit | Mode::Off if denial.is_by_rule() => return Err(denial),
                    Mode::Audit | Mode::Off => watched = watched.or(Some(denial)),
                }
            }
        }
        self.would_deny = self.would_deny.take().or(watched);
        Ok(UpstreamAddr(SocketAddr::new(ip.to_canonical(), *port)))
    }

    /// The rule is for other addresses.
    fn elsewhere(&self) -> Denial {
        Denial {
            rule: self.rule().map(Into::into),
            place: self.place().cloned(),
            ..Denial::without_rule(Reason::NoRule)
        }
    }
}

/// Whether something may happen under a policy.
pub fn decide(policy: &Arc<Policy>, facts: &Facts<'_>) -> Verdict {
    let held = Held::of(policy, facts);
    let (judged, watched) = match under_floor(policy, facts, &held) {
        Ok(judged) => judged,
        Err(denial) => return Verdict::Deny(denial),
    };
    let covering = match judged.verdict {
        Ok(covering) => covering,
        Err(denial) => return Verdict::Deny(denial),
    };
    Verdict::Allow(Permit {
        policy: Arc::clone(policy),
        addressing: policy.destination,
        destination: Destination {
            scheme: facts.scheme,
            host: facts.host.clone(),
            port: facts.port,
        },
        rule: covering.map(|covering| Allowing {
            label: Arc::clone(&covering.rule.label),
            place: covering.place(),
            entry: covering.entry(),
            clause: covering.rule.clause.as_ref().map(Arc::clone),
        }),
        effects: covering.and_then(|covering| covering.rule.clause.as_ref().map(Arc::clone)),
        would_deny: watched.or(judged.would_deny),
        held,
    })
}

/// What a policy says, once its floor has nothing against it; and what the floor watches.
fn under_floor<'a>(
    policy: &'a Policy,
    facts: &Facts<'_>,
    held: &Held,
) -> Result<(Judged<'a>, Option<Denial>), Denial> {
    let floor = policy.floor.as_ref();
    let mut watched = None;
    if let Some(floor) = floor {
        let judged = judge_floor(floor, facts, &held.floor);
        judged.verdict?;
        watched = judged.would_deny;
    }
    Ok((judge(policy, facts, &held.own), watched))
}

/// The names that an opaque connection to `port` may have been meant for: those of `tcp://`
/// allows. What such a connection carries does not say its host; its address may be one of
/// theirs.
pub fn opaque_names(policy: &Policy, port: u16) -> impl Iterator<Item = &Host> {
    let names = policy.allow.opaque.iter();
    names.filter_map(move |(host, ports)| ports.contain(port).then_some(host))
}

/// Whether a `tcp://` allow names this very address, or a network that contains it.
pub fn names_opaque_address(policy: &Policy, address: IpAddr, port: u16) -> bool {
    let way = Way {
        scheme: Scheme::Tcp,
        port,
    };
    matcher::find_address(&policy.allow, address.to_canonical(), |rule| way.fits(rule)).is_some()
}

/// Whether TLS to a host has to end at the agent, so that its requests are seen.
pub fn terminates(tenant: &Tenant, host: &Host, port: u16) -> bool {
    let way = Way {
        scheme: Scheme::Https,
        port,
    };
    let policy = &tenant.policy;
    if is_listed(&policy.passthrough, way, host) {
        return false;
    }
    match policy.tls {
        Tls::Terminate => true,
        Tls::Passthrough => false,
        Tls::Auto => {
            // A worker sees every request.
            let namespace = tenant.namespace.as_ref();
            let mut bound = tenant.credentials.iter();
            namespace.is_some_and(|namespace| namespace.outbound.is_some())
                || bound.any(|credential| is_listed(&credential.binding.hosts, way, host))
                || asks_for_requests(policy, way, host)
                || policy
                    .floor
                    .as_ref()
                    .is_some_and(|floor| asks_for_requests(floor, way, host))
        }
    }
}

/// Whether a rule for a host is about the requests to it.
fn asks_for_requests(policy: &Policy, way: Way, host: &Host) -> bool {
    let asks = |rule: &Rule| {
        let clause = rule.clause.as_ref();
        clause.is_some_and(|clause| {
            clause.mode != Some(Mode::Off)
                && (clause.conditions.need_request() || clause.effects.need_request())
        })
    };
    [&policy.allow, &policy.deny]
        .into_iter()
        .any(|list| matcher::find(list, way, host, asks).is_some())
}

fn is_listed(targets: &Targets, way: Way, host: &Host) -> bool {
    matcher::find(targets, way, host, |_rule| true).is_some()
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        Self::without_rule(reason)
    }
}
