//! What a module asks of its surroundings, asked of the agent.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use outbound_javascript::{self as javascript, Body, Host, HostError, Jwt, Level, Local};
use serde_json::Value;

use super::super::message::{Octets, ToAgent, ToWorker, level_number};
use super::to_body;
use super::wire::Wire;

/// What an isolate's module asks of its surroundings, asked of the agent.
pub(super) struct Outside(pub(super) Rc<Wire>);

impl Host for Outside {
    fn fetch(
        &self,
        call: u64,
        head: javascript::RequestHead,
        body: Body,
    ) -> Local<Result<(javascript::ResponseHead, Body), HostError>> {
        let errand = self.0.number();
        let content = self.0.content(body);
        let head = head.into();
        let wait = self.0.wait(errand);
        self.0.say(ToAgent::Fetch {
            errand,
            call,
            head,
            content,
        });
        Box::pin(async move {
            let ToWorker::Fetched { result, .. } = wait.answer().await? else {
                return Err(HostError::new("the agent gave another answer"));
            };
            let (head, content) = result.map_err(HostError::new)?;
            let head = javascript::ResponseHead {
                status: StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY),
                status_text: None,
                headers: head.fields.into(),
            };
            Ok((head, to_body(content)))
        })
    }

    fn read(&self, handle: u64) -> Local<Result<Option<Bytes>, HostError>> {
        let errand = self.0.number();
        let wait = self.0.wait(errand);
        self.0.say(ToAgent::Read { errand, handle });
        Box::pin(async move {
            let ToWorker::Chunk { result, .. } = wait.answer().await? else {
                return Err(HostError::new("the agent gave another answer"));
            };
            let octets = result.map_err(HostError::new)?;
            Ok(octets.map(|Octets(octets)| octets))
        })
    }

    fn cancel(&self, handle: u64) {
        self.0.say(ToAgent::Cancel { handle });
    }

    fn console(&self, call: u64, level: Level, text: &str) {
        let (level, text) = (level_number(level), text.to_owned());
        self.0.say(ToAgent::Console { call, level, text });
    }

    fn sign_jwt(
        &self,
        secret: &str,
        claims: Value,
        expires_in: Option<Duration>,
    ) -> Local<Result<Jwt, HostError>> {
        let errand = self.0.number();
        let wait = self.0.wait(errand);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.0.say(ToAgent::Sign {
            errand,
            secret: secret.to_owned(),
            claims: claims.to_string(),
            expires_in_ms: expires_in.map(millis),
        });
        Box::pin(async move {
            let ToWorker::Signed { result, .. } = wait.answer().await? else {
                return Err(HostError::new("the agent gave another answer"));
            };
            let (token, reusable) = result.map_err(HostError::new)?;
            let reusable = Duration::from_millis(reusable);
            Ok(Jwt { token, reusable })
        })
    }
}
