//! Errands of a worker: requests that it makes, bodies that it reads.

use std::sync::Arc;

use http::{Request, Uri};
use http_body::Body as _;
use tokio::sync::oneshot;

use super::super::message::{Content, Fields, Octets, RequestHead, ResponseHead, ToWorker};
use super::body::next_octets;
use super::held::Held;
use super::{Link, State};
use crate::path::http::body::Source;

impl Link {
    /// Runs an errand until it is done or nobody waits for it.
    pub(super) fn run(
        self: &Arc<Self>,
        errand: u64,
        call: u64,
        head: RequestHead,
        content: Content,
    ) {
        let (cancel, cancelled) = oneshot::channel();
        let errands = {
            let mut state = self.state();
            let errands = state.calls.get(&call).map(|call| Arc::clone(&call.errands));
            state.errands.insert(errand, cancel);
            errands
        };
        let request = self.request(head, content);
        let link = Arc::clone(self);
        self.tasks.spawn("worker errand", async move {
            let fetched = async {
                let errands = errands.ok_or("its invocation is over")?;
                let request = request.ok_or("the request's head is none")?;
                let fetched = errands.fetch(request).await;
                fetched.map_err(|error| error.message)
            };
            let fetched = tokio::select! {
                biased; // What nobody waits for is given up.
                _ = cancelled => return,
                fetched = fetched => fetched,
            };
            let result = fetched.map(|response| {
                let (head, body) = response.into_parts();
                link.receive(call, head, body)
            });
            link.state().errands.remove(&errand);
            link.say(ToWorker::Fetched { errand, result });
        });
    }

    /// Keeps what an errand of a call brought.
    fn receive(
        &self,
        call: u64,
        head: http::response::Parts,
        body: Source,
    ) -> (ResponseHead, Content) {
        let mut state = self.state();
        let State {
            calls,
            heads,
            bodies,
            ..
        } = &mut *state;
        let Some(pending) = calls.get_mut(&call) else {
            let fields = Fields::Lines(Octets::default());
            let status = head.status.as_u16();
            return (ResponseHead { status, fields }, Content::Empty);
        };
        let number = self.number();
        let fields = Fields::numbered(number, &head.headers);
        heads.insert(number, head.headers);
        pending.held.push(number);
        let status = head.status.as_u16();
        let content = match body.is_end_stream() {
            true => Content::Empty,
            false => {
                let number = self.number();
                bodies.insert(number, Held::new(body, None));
                pending.held.push(number);
                Content::Handle(number)
            }
        };
        (ResponseHead { status, fields }, content)
    }

    pub(super) fn request(
        self: &Arc<Self>,
        head: RequestHead,
        content: Content,
    ) -> Option<Request<Source>> {
        let mut request = Request::new(self.source(content));
        *request.method_mut() = head.method.parse().ok()?;
        *request.uri_mut() = Uri::try_from(head.url).ok()?;
        *request.headers_mut() = self.headers(head.fields)?;
        Some(request)
    }

    /// Reads one piece of a body.
    pub(super) fn read(self: &Arc<Self>, errand: u64, handle: u64) {
        let held = |state: &mut State| state.bodies.get_mut(&handle)?.take_to_read();
        let taken = held(&mut self.state());
        let Some(mut source) = taken else {
            let result = Err("the body is gone".to_owned());
            return self.say(ToWorker::Chunk { errand, result });
        };
        let link = Arc::clone(self);
        self.tasks.spawn("worker body", async move {
            let result = next_octets(&mut source).await;
            let is_over = !matches!(result, Ok(Some(_)));
            {
                let mut state = link.state();
                match state.bodies.get_mut(&handle) {
                    Some(held) if !is_over => held.give_back(source),
                    Some(_) => drop(state.bodies.remove(&handle)),
                    // Cancelled meanwhile.
                    None => {}
                }
            }
            let result = result.map(|octets| octets.map(Octets));
            let result = result.map_err(|error| error.to_string());
            link.say(ToWorker::Chunk { errand, result });
        });
    }

    /// `console`, for the operator.
    pub(super) fn print(&self, call: u64, level: u8, text: &str) {
        let tenant = self
            .state()
            .calls
            .get(&call)
            .map(|call| call.tenant.to_string());
        let (service, tenant) = (&*self.service, tenant.unwrap_or_default());
        match level {
            0 => tracing::debug!(service, tenant, text, "console"),
            1 => tracing::info!(service, tenant, text, "console"),
            2 => tracing::warn!(service, tenant, text, "console"),
            _ => tracing::error!(service, tenant, text, "console"),
        }
    }
}
