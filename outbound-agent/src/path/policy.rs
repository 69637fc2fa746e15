//! Stage 6, `policy`: may this tenant do that?
//!
//! Takes [`Facts`], gives a [`Verdict`]. It is the only maker of a [`Permit`], and a permit is
//! the only way to an [`UpstreamAddr`]: what was not decided here cannot be dialled. A verdict
//! on a name is half of the answer; the address that the name turns out to have is judged by
//! [`Permit::check_address`], so that no name leads where its address would not be allowed.

mod binding;
pub mod foresee;
mod matcher;
mod name;
mod special;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use self::binding::{Fit, fit};
pub use self::name::{NamePermit, decide_name};

use self::matcher::Way;
use self::special::Guard;
use crate::model::addr::UpstreamAddr;
use crate::model::host::Host;
use crate::model::policy::{Addressing, Fallback, Mode, Policy, Tls};
use crate::model::reason::Reason;
use crate::model::target::{Rule, Scheme};
use crate::model::tenant::Tenant;

/// What policy may look at; nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What is spoken.
    pub scheme: Scheme,
    /// With whom.
    pub host: &'a Host,
    /// On which port.
    pub port: u16,
    /// The request's method, where there is a request.
    pub method: Option<&'a http::Method>,
    /// The request's path, where there is a request.
    pub path: Option<&'a str>,
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
}

/// Proof that one destination was allowed.
#[derive(Debug)]
pub struct Permit {
    policy: Arc<Policy>,
    destination: Destination,
    addressing: Addressing,
    rule: Option<Arc<str>>,
    would_deny: Option<Denial>,
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
        self.rule.as_deref()
    }

    /// What an enforcing policy would have answered, where this one only watches.
    pub const fn would_deny(&self) -> Option<&Denial> {
        self.would_deny.as_ref()
    }

    /// Judges an address that the destination's host turned out to have, right before it is
    /// dialled. A refused address may be followed by another that is not.
    pub fn check_address(&mut self, ip: IpAddr) -> Result<UpstreamAddr, Denial> {
        let Destination { scheme, host, port } = &self.destination;
        let way = Way {
            scheme: *scheme,
            port: *port,
        };
        let judged = match self.policy.mode {
            Mode::Off => Ok(()),
            Mode::Enforce | Mode::Audit => judge_address(&self.policy, way, host, ip),
        };
        if let Err(denial) = judged {
            match self.policy.mode {
                Mode::Enforce => return Err(denial),
                Mode::Audit | Mode::Off => _ = self.would_deny.get_or_insert(denial),
            }
        }
        Ok(UpstreamAddr(SocketAddr::new(ip.to_canonical(), *port)))
    }
}

/// Whether `facts` may happen under `policy`.
pub fn decide(policy: &Arc<Policy>, facts: &Facts<'_>) -> Verdict {
    let judged = match policy.mode {
        Mode::Off => Ok(None),
        Mode::Enforce | Mode::Audit => judge(policy, facts),
    };
    let (rule, would_deny) = match judged {
        Ok(rule) => (rule.map(|rule| Arc::clone(&rule.label)), None),
        Err(denial) => match policy.mode {
            Mode::Enforce => return Verdict::Deny(denial),
            Mode::Audit | Mode::Off => (None, Some(denial)),
        },
    };
    Verdict::Allow(Permit {
        policy: Arc::clone(policy),
        addressing: policy.destination,
        destination: Destination {
            scheme: facts.scheme,
            host: facts.host.clone(),
            port: facts.port,
        },
        rule,
        would_deny,
    })
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
    matcher::find_address(&policy.allow, way, address.to_canonical()).is_some()
}

/// Whether TLS to a host has to end at the agent, so that its requests are seen.
pub fn terminates(tenant: &Tenant, host: &Host, port: u16) -> bool {
    let way = Way {
        scheme: Scheme::Https,
        port,
    };
    if matcher::find(&tenant.policy.passthrough, way, host).is_some() {
        return false;
    }
    match tenant.policy.tls {
        Tls::Terminate => true,
        Tls::Passthrough => false,
        Tls::Auto => {
            let mut bound = tenant.credentials.iter();
            bound.any(|credential| matcher::find(&credential.binding.hosts, way, host).is_some())
        }
    }
}

/// Deny first, then what needs a rule of its own, then allow, then the default.
fn judge<'a>(policy: &'a Policy, facts: &Facts<'_>) -> Result<Option<&'a Rule>, Denial> {
    let way = Way {
        scheme: facts.scheme,
        port: facts.port,
    };
    if let Some(rule) = matcher::find(&policy.deny, way, facts.host) {
        return Err(Denial::by(rule));
    }
    if let Host::Address(address) = facts.host {
        judge_address(policy, way, facts.host, *address)?;
    }
    if special::is_metadata_name(facts.host)
        && matcher::find_name(&policy.allow, way, facts.host).is_none()
    {
        return Err(Denial::without_rule(Reason::MetadataAddress));
    }
    match (
        matcher::find(&policy.allow, way, facts.host),
        policy.default,
    ) {
        (Some(rule), _) => Ok(Some(rule)),
        (None, Fallback::Allow) => Ok(None),
        (None, Fallback::Deny) => Err(Denial::without_rule(Reason::NoRule)),
    }
}

/// An address is judged in each of its forms, so that none hides another. A rule that opens
/// it names the form in question or the address as it is dialled.
fn judge_address(policy: &Policy, way: Way, host: &Host, address: IpAddr) -> Result<(), Denial> {
    let forms = special::forms(address);
    let denied = forms
        .clone()
        .find_map(|form| matcher::find_address(&policy.deny, way, form));
    if let Some(rule) = denied {
        return Err(Denial::by(rule));
    }
    let literal = address.to_canonical();
    for form in forms {
        match special::guard(form) {
            Guard::Ordinary => {}
            Guard::Private => {
                let named = |ip| matcher::find_address(&policy.allow, way, ip).is_some();
                if !named(form) && !named(literal) {
                    return Err(Denial::without_rule(Reason::PrivateAddress));
                }
            }
            Guard::Metadata => {
                let named = |host: &Host| matcher::find_name(&policy.allow, way, host).is_some();
                let by_service_name = special::is_metadata_name(host) && named(host);
                if !by_service_name && !named(&form.into()) && !named(&literal.into()) {
                    return Err(Denial::without_rule(Reason::MetadataAddress));
                }
            }
        }
    }
    Ok(())
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        Self::without_rule(reason)
    }
}

impl Denial {
    fn by(rule: &Rule) -> Self {
        Self {
            reason: Reason::RuleDeny,
            rule: Some(rule.label.as_ref().into()),
        }
    }

    const fn without_rule(reason: Reason) -> Self {
        Self { reason, rule: None }
    }
}
