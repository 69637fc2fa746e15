//! What a worker knows by number: bodies and heads that stay in the agent.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Uri};
use http_body::Body as _;
use tokio::sync::mpsc::unbounded_channel;

use super::super::super::Failure;
use super::super::message::{Content, Fields, Octets};
use super::body::{Unfinished, Written};
use super::held::Held;
use super::{Link, Pending, State, no_head};
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

    /// Keeps a head, so that a worker that does not change it need not send it back; gives its
    /// number too.
    pub(super) fn keep(
        &self,
        (state, pending): (&mut State, &mut Pending),
        headers: HeaderMap,
    ) -> (u64, Fields) {
        let number = self.number();
        let fields = Fields::numbered(number, &headers);
        state.heads.insert(number, headers);
        pending.held.push(number);
        (number, fields)
    }

    /// A call's request as it came.
    pub(super) fn pass(
        &self,
        (method, uri, head): (Method, Uri, u64),
        body: Option<u64>,
    ) -> Result<Request<Source>, Failure> {
        let mut state = self.state();
        let headers = state.heads.remove(&head);
        let source = match body {
            None => Some(Source::empty()),
            Some(body) => state.bodies.remove(&body).and_then(Held::into_source),
        };
        drop(state);
        let (headers, source) = headers.zip(source).ok_or_else(no_head)?;
        let mut request = Request::new(source);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    pub(super) fn headers(&self, fields: Fields) -> Option<HeaderMap> {
        match fields {
            // A number is used once.
            Fields::Kept(number) => self.state().heads.remove(&number),
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
