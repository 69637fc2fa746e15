//! Interim responses (RFC 9110 section 15.2): passed on as they come, in front of the answer.
//!
//! `100 (Continue)` is not passed on by itself: it lets the request's body go, of which the
//! first read makes hyper ask the workload for it.

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{EXPECT, HeaderMap};
use http::{Request, StatusCode, Version};
use hyper::ext::on_informational;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Limits;
use super::body::{Outgoing, Sent, Source};
use super::guard::Watch;
use super::headers::strip_hop_by_hop;
use crate::model::traffic::Traffic;

/// Where interim responses to one request go: among its extensions, on HTTP/1.1 alone. HTTP/2's
/// stay here, because hyper has no way to send them.
#[derive(Clone, Debug)]
pub(super) struct Interim {
    pub(super) watch: Watch,
    pub(super) index: u64,
}

/// A body that waits until the upstream wants it.
#[derive(Debug)]
pub struct Expected {
    wanted: Option<oneshot::Receiver<()>>,
    /// Then it goes in any case (RFC 9110 section 10.1.1).
    deadline: Pin<Box<Sleep>>,
    /// How long it is kept where the upstream has answered without wanting it.
    idle: Duration,
}

/// Takes out of a response's fields what the workload may not see.
pub type Clean = Box<dyn Fn(&mut HeaderMap) + Send + Sync>;

/// Makes a request ready to leave: its body is counted and timed, waits where it should, and is
/// known to have been sent. Interim responses to it pass `clean`.
pub fn send_off(
    mut request: Request<Source>,
    traffic: Arc<dyn Traffic>,
    limits: Limits,
    clean: Clean,
) -> (Request<Outgoing>, Sent) {
    let expected = pass_on(&mut request, limits, clean);
    let (head, body) = request.into_parts();
    let (mut body, sent) = Outgoing::new(body, traffic, limits.body_idle);
    body.expect(expected);
    (Request::from_parts(head, body), sent)
}

/// Passes the upstream's interim responses to `request` on to the workload. Where the request
/// says `Expect: 100-continue`, its body waits for that, at most for `expect_continue`; a body
/// that is not wanted is kept for `body_idle`.
fn pass_on<B>(request: &mut Request<B>, limits: Limits, clean: Clean) -> Option<Expected> {
    let interim = request.extensions_mut().remove::<Interim>();
    let is_expected = request.version() >= Version::HTTP_11
        && request
            .headers()
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let (wants, wanted) = oneshot::channel();
    let wants = Mutex::new(is_expected.then_some(wants));
    if interim.is_none() && !is_expected {
        return None;
    }
    on_informational(request, move |response| {
        if response.status() != StatusCode::CONTINUE {
            if let Some(Interim { watch, index }) = &interim {
                let mut headers = response.headers().clone();
                clean(&mut headers);
                watch.interim(*index, head(response.status(), headers).as_bytes());
            }
        } else if let Some(wants) = wants.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A body that is gone is wanted by nobody.
            _ = wants.send(());
        }
    });
    is_expected.then(|| Expected {
        wanted: Some(wanted),
        deadline: Box::pin(sleep_until(Instant::now() + limits.expect_continue)),
        idle: limits.body_idle,
    })
}

impl Expected {
    /// Ready once the body may go.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(wanted) = &mut self.wanted
            && let Poll::Ready(is_wanted) = Pin::new(wanted).poll(cx)
        {
            if is_wanted.is_ok() {
                return Poll::Ready(());
            }
            self.wanted = None;
            self.deadline.as_mut().reset(Instant::now() + self.idle);
        }
        self.deadline.as_mut().poll(cx)
    }
}

/// An interim response as HTTP/1.1 writes it.
fn head(status: StatusCode, mut headers: HeaderMap) -> String {
    strip_hop_by_hop(&mut headers);
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16());
    for (name, value) in &headers {
        if let Ok(value) = value.to_str() {
            // Writing to a String does not fail.
            _ = write!(head, "{name}: {value}\r\n");
        }
    }
    head.push_str("\r\n");
    head
}
