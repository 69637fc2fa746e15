//! What a module made of a call, and what becomes of that.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use tokio::sync::oneshot;

use super::super::super::Failure;
use super::super::message::{Answer, Content, Fault, ResponseHead};
use super::{Link, no_head};
use crate::path::http::body::Source;

/// What a module made of a call.
pub(in super::super) enum Answered {
    Response(Response<Source>),
    /// Whatever this request is answered.
    Fetch(Request<Source>),
    Refused(String),
    Forwarded(String, u16),
    /// What the workload of a tunnel receives.
    Tunnel(Source),
    /// There is no such handler.
    Nothing,
}

impl Link {
    /// Gives a call its response. Whose body it is is settled here: where nothing of the call is
    /// left, all that it had is forgotten next.
    pub(super) fn answer(
        self: &Arc<Self>,
        call: u64,
        result: Result<Answer, (Fault, String)>,
        lives_on: bool,
    ) {
        let taken = self.state().calls.get_mut(&call).and_then(|pending| {
            let reply = pending.reply.take()?;
            let ended = lives_on.then(|| {
                let (over, ended) = oneshot::channel();
                pending.over = Some(over);
                ended
            });
            Some((reply, pending.body, pending.asked.take(), ended))
        });
        let Some((reply, body, asked, ended)) = taken else {
            return;
        };
        if let Some(ended) = ended {
            // What lives on after the response is waited for by a drain.
            self.tasks.spawn("worker", async move { drop(ended.await) });
        }
        let left = body.and_then(|body| self.settle(body, result.is_err()));
        let result = match result {
            Ok(Answer::Response(head, content)) => {
                self.response(head, content).map(Answered::Response)
            }
            Ok(Answer::Fetch(head, content)) => {
                let request = self.request(head, content).ok_or_else(no_head);
                request.map(Answered::Fetch)
            }
            Ok(Answer::Pass) => {
                let asked = asked.ok_or_else(no_head);
                let request = asked.and_then(|asked| self.pass(asked, body));
                request.map(Answered::Fetch)
            }
            Ok(Answer::Refuse(reason)) => Ok(Answered::Refused(reason)),
            Ok(Answer::Forward(host, port)) => Ok(Answered::Forwarded(host, port)),
            Ok(Answer::Tunnel(content)) => Ok(Answered::Tunnel(self.source(content))),
            Err((Fault::NoHandler, _)) => Ok(Answered::Nothing),
            Err((fault, text)) => Err(Failure {
                unused: left,
                ..Failure::new(fault.reason(), text)
            }),
        };
        // The tenant may have gone.
        let _sent = reply.send(result);
    }

    fn response(
        self: &Arc<Self>,
        head: ResponseHead,
        content: Content,
    ) -> Result<Response<Source>, Failure> {
        let mut response = Response::new(self.source(content));
        let status = StatusCode::from_u16(head.status);
        *response.status_mut() = status.map_err(|_invalid| no_head())?;
        *response.headers_mut() = self.headers(head.fields).ok_or_else(no_head)?;
        Ok(response)
    }
}
