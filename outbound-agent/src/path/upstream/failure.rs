//! Why an upstream gave no answer.

use super::super::policy::Denial;
use crate::model::addr::UpstreamAddr;
use crate::model::reason::Reason;

/// Why nothing came back.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// The rule, where a rule refused the address.
    pub rule: Option<Box<str>>,
    /// The address that was tried last.
    pub peer: Option<UpstreamAddr>,
}

impl Failure {
    pub(super) const fn new(reason: Reason, peer: Option<UpstreamAddr>) -> Self {
        Self {
            reason,
            rule: None,
            peer,
        }
    }
}

impl Failure {
    /// Why, without where.
    pub fn into_denial(self) -> Denial {
        Denial {
            reason: self.reason,
            rule: self.rule,
        }
    }
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        Self {
            reason: denial.reason,
            rule: denial.rule,
            peer: None,
        }
    }
}
