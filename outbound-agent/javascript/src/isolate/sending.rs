//! Requests that a module has made, sent when the engine has been left.

use std::rc::Rc;

use rquickjs::Value;

use super::Given;
use super::invocation::{Answer, Received, Source, Unsent};
use super::shared::Shared;
use crate::message::{Body, RequestHead};

impl Shared {
    /// Keeps a request of the invocation that runs right now until it can be sent; gives the
    /// number under which the prelude waits for its response.
    pub(crate) fn send_later(&self, head: RequestHead, body: Option<Source>, is_own: bool) -> u32 {
        let operation = self.number();
        self.with_current(|invocation| {
            invocation.operations.insert(operation, None);
            invocation.unsent.push(Unsent {
                operation,
                head,
                body,
                is_own,
            });
        });
        operation
    }

    /// Has the response of a request that was not sent yet be the answer, unseen; of number 0,
    /// that of none. Code that lives on after the answer may come to wait for it as well: then
    /// it is not.
    pub(crate) fn give_unseen(&self, invocation: u32, operation: u32) -> bool {
        let given = self.with(invocation, |it| {
            let is_unsent = it.unsent.iter().any(|unsent| unsent.operation == operation);
            let is_last = it.holds == 0 && it.writers.is_empty();
            it.unseen = (is_unsent && is_last).then_some(operation);
            it.unseen.is_some()
        });
        given == Some(true)
    }

    /// Sends what an invocation has made, unless that is over.
    pub(super) fn send_all(self: &Rc<Self>, number: u32) {
        let unsent = self.with(number, |it| match it.is_over() {
            true => (Vec::new(), None),
            false => (std::mem::take(&mut it.unsent), it.unseen.take()),
        });
        let (unsent, unseen) = unsent.unwrap_or_default();
        for request in unsent {
            match unseen == Some(request.operation) {
                true => self.give(number, request),
                false => self.send(number, request),
            }
        }
    }

    fn give(&self, number: u32, request: Unsent) {
        self.with(number, |it| it.operations.remove(&request.operation));
        self.dead.borrow_mut().push(request.operation);
        let body = request.body.map_or(Body::Empty, Source::into_body);
        let given = match request.is_own {
            true => Given::Pass(body),
            false => Given::Fetch(request.head, body),
        };
        self.answer(number, Ok(Answer::Given(given)));
    }

    fn send(self: &Rc<Self>, number: u32, request: Unsent) {
        let call = self.with(number, |it| it.call).unwrap_or_default();
        let url = request.head.url.clone();
        let body = request.body.map_or(Body::Empty, Source::into_body);
        let response = self.host.fetch(call, request.head, body);
        let response = async move { response.await.map_err(|error| error.message) };
        let operation = (number, request.operation);
        self.run(operation, response, |shared, ctx, (head, body)| {
            let (number, fields) = (shared.number(), shared.number());
            shared.with_current(|invocation| {
                invocation.heads.insert(fields, head.headers);
                let received = Received {
                    status: head.status,
                    status_text: head.status_text,
                    url,
                    head: fields,
                    body: shared.keep_body(invocation, body),
                };
                invocation.responses.insert(number, received);
            });
            // The prelude is given the number of the response.
            Ok(Value::new_number(ctx.clone(), f64::from(number)))
        });
    }
}
