//! What a worker knows by number: bodies and heads that stay in the agent.

use std::sync::Arc;

use http::HeaderMap;
use http_body::Body as _;
use tokio::sync::mpsc::unbounded_channel;

use super::super::message::{Content, Fields, Octets};
use super::body::{Unfinished, Written};
use super::held::Held;
use super::{Link, Pending, State};
use crate::path::http::body::Source;

impl Link {
    /// Keeps a call's own body for the worker, by number.
    pub(super) fn hold(
        &self,
        state: &mut State,
        (call, held): (u64, &mut Vec<u64>),
        source: Source,
    ) -> Content {
        if source.is_end_stream() {
            return Content::Empty;
        }
        let number = self.number();
        state.bodies.insert(number, Held::new(source, Some(call)));
        held.push(number);
        Content::Handle(number)
    }

    /// Keeps a head, so that a worker that does not change it need not send it back.
    pub(super) fn keep(
        &self,
        (state, pending): (&mut State, &mut Pending),
        headers: HeaderMap,
    ) -> Fields {
        let number = self.number();
        let fields = Fields::numbered(number, &headers);
        state.heads.insert(number, headers);
        pending.held.push(number);
        fields
    }

    pub(super) fn headers(&self, fields: Fields) -> Option<HeaderMap> {
        match fields {
            Fields::Kept(number) => self.state().heads.get(&number).cloned(),
            fields @ (Fields::Lines(_) | Fields::Numbered(..)) => {
                outbound_javascript::Fields::from(fields).to_map()
            }
        }
    }

    /// The body that the worker names.
    pub(super) fn source(self: &Arc<Self>, content: Content) -> Source {
        match content {
            Content::Empty => Source::empty(),
            Content::Whole(Octets(octets)) => Source::Whole(octets),
            Content::Handle(handle) => self
                .take_body(handle)
                .unwrap_or_else(|| Source::Made(Box::pin(Unfinished))),
            Content::Stream(stream) => {
                let (pieces, reader) = unbounded_channel();
                self.state().streams.insert(stream, pieces);
                Source::Made(Box::pin(Written::new(Arc::clone(self), stream, reader)))
            }
        }
    }
}
