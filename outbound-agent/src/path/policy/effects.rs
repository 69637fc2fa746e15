//! What a permit's rule does to what it allows.

use std::borrow::Cow;

use super::Permit;
use crate::model::policy::Addressing;
use crate::model::rule::{Edit, Effects, Worker};
use crate::model::worker::Outbound;

impl Permit {
    /// What the rule does to what it allows.
    pub fn effects(&self) -> Option<&Effects> {
        Some(&self.effects.as_ref()?.effects)
    }

    /// How it meets an outbound worker, where its tenant's requests meet that of a namespace: as
    /// they do, by another worker, or not at all.
    pub fn through<'a>(&self, namespaces: &'a Outbound) -> Option<Cow<'a, Outbound>> {
        match self.effects().map(|effects| &effects.worker) {
            None | Some(Worker::Namespace) => Some(Cow::Borrowed(namespaces)),
            Some(Worker::Named(service)) => Some(Cow::Owned(namespaces.by(service))),
            Some(Worker::None) => None,
        }
    }

    /// Whether a credential that is bound to the destination goes with it.
    pub fn takes(&self, credential: &str) -> bool {
        let effects = self.effects();
        let named = effects.and_then(|effects| effects.credentials.as_ref());
        named.is_none_or(|names| names.iter().any(|name| **name == *credential))
    }

    /// What the rule changes of the response's header.
    pub fn response_edits(&self) -> Vec<Edit> {
        let effects = self.effects();
        effects.map_or_else(Vec::new, |effects| effects.response.clone())
    }

    /// For what the rule of `first` has rewritten: that rule's effects, and nothing of those of
    /// its own rule.
    #[must_use]
    pub fn rewritten_by(mut self, first: Self) -> Self {
        if self.destination.host != first.destination.host {
            // What the workload connected to says nothing of a name that it never said.
            self.addressing = Addressing::Resolve;
        }
        self.effects = first.effects;
        self.would_deny = first.would_deny.or(self.would_deny);
        self
    }
}
