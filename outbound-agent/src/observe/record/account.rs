//! What was decided and done, while it is still going on.

use std::sync::Arc;

use super::super::labels::Verdict;
use super::super::metrics::TenantMetrics;
use super::claim;
use crate::model::addr::UpstreamAddr;
use crate::model::reason::{Ending, Outcome, Reason};
use crate::observe::access_log::Claim;

/// What policy, credentials and upstream did.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) is_allowed: bool,
    pub(super) rule: Option<Box<str>>,
    pub(super) would_deny: Option<(Reason, Option<Box<str>>)>,
    pub(super) credential: Option<Arc<str>>,
    pub(super) upstream: Option<UpstreamAddr>,
}

impl Account {
    pub(super) fn allowed(&mut self, rule: Option<&str>, would_deny: Option<Watched<'_>>) {
        self.is_allowed = true;
        self.rule = rule.map(Into::into);
        self.would_deny = would_deny.map(|watched| (watched.reason, watched.rule.map(Into::into)));
    }

    /// A denial stands, also where something was allowed before it.
    pub(super) const fn verdict(&self, ending: Ending) -> Verdict {
        match ending.outcome {
            Outcome::Denied => Verdict::Deny,
            Outcome::Completed
            | Outcome::Refused
            | Outcome::Failed
            | Outcome::TimedOut
            | Outcome::Aborted => {
                if self.is_allowed {
                    Verdict::Allow
                } else {
                    Verdict::None
                }
            }
        }
    }

    pub(super) fn count(&self, metrics: &TenantMetrics, ending: Ending) {
        if claim(ending) == Claim::Refused
            && let Some(reason) = ending.reason
        {
            metrics.denied(reason);
            return;
        }
        if let (Outcome::Failed | Outcome::TimedOut | Outcome::Aborted, Some(reason)) =
            (ending.outcome, ending.reason)
        {
            metrics.failed(reason);
        }
        if let Some((reason, _rule)) = &self.would_deny {
            metrics.would_deny(*reason);
        }
    }
}

/// What enforce mode would have denied.
#[derive(Clone, Copy, Debug)]
pub struct Watched<'a> {
    /// Why.
    pub reason: Reason,
    /// By which rule, if by one.
    pub rule: Option<&'a str>,
}
