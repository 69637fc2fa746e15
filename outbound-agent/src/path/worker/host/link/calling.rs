//! A call that is waited for.

use std::sync::Arc;

use super::super::message::{ToWorker, Usage};
use super::Link;

/// A call, as its caller holds it: dropped before it is answered, it is abandoned.
pub(super) struct Calling {
    pub(super) link: Arc<Link>,
    pub(super) number: u64,
    pub(super) is_answered: bool,
}

impl Drop for Calling {
    fn drop(&mut self) {
        if !self.is_answered {
            let call = self.number;
            self.link.say(ToWorker::Abandon { call });
            self.link.over(call, Usage::default());
        }
    }
}
