//! A body that is waited for, paced, and told to stop.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Error, Source};
use crate::model::reason::Reason;
use crate::model::stop::Waits;
use crate::model::traffic::{Pace, Traffic};

/// A body that must not stand still while somebody waits for it.
pub(super) struct Timed {
    pub(super) body: Source,
    pub(super) idle: Duration,
    /// Made when a body first has to be waited for: most never have to.
    deadline: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
    /// Nothing more passes before.
    held: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    pub(super) const fn new(body: Source, idle: Duration) -> Self {
        Self {
            body,
            idle,
            deadline: None,
            is_waiting: false,
            held: None,
        }
    }

    /// Does to the next piece what the pace says.
    pub(super) fn follow(&mut self, pace: Pace) -> Result<(), Reason> {
        match pace {
            Pace::Go => Ok(()),
            Pace::Wait(wait) => {
                self.held = Some(Box::pin(sleep_until(Instant::now() + wait)));
                Ok(())
            }
            Pace::Stop(reason) => Err(reason),
        }
    }

    pub(super) fn poll_frame(
        &mut self,
        (traffic, way): (&dyn Traffic, Waits),
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = self.poll_inner(cx);
        if polled.is_pending()
            && let Poll::Ready(reason) = traffic.poll_stopped(way, cx)
        {
            return Poll::Ready(Some(Err(Error::Stopped(reason))));
        }
        polled
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(held) = &mut self.held {
            ready!(held.as_mut().poll(cx));
            self.held = None;
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.is_waiting = false;
            return Poll::Ready(frame);
        }
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + self.idle)));
        if !self.is_waiting {
            self.is_waiting = true;
            deadline.as_mut().reset(Instant::now() + self.idle);
        }
        deadline.as_mut().poll(cx).map(|()| Some(Err(Error::Idle)))
    }
}
