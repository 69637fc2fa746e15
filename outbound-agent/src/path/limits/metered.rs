//! Bytes on their way, each counted before the next may follow.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::timeout_at;

use super::rate::Rate;
use super::{Account, Meters, Place, has_quota, locked};
use crate::model::limits::Limits;
use crate::model::reason::Reason;
use crate::model::stop::{Stop, Waits};
use crate::model::traffic::{Pace, Traffic};

/// The payload of one exchange or tunnel, held against its tenant's limits.
pub struct Metered {
    inner: Arc<dyn Traffic>,
    account: Arc<Account>,
    limits: Limits,
    sent: AtomicU64,
    received: AtomicU64,
    until: Option<Instant>,
    stop: Arc<Stop>,
    /// Whatever has to last as long as it does.
    held: OnceLock<Box<dyn Any + Send + Sync>>,
    _place: Option<Place>,
    _exchange: Option<Arc<Self>>,
}

impl Metered {
    /// An exchange, which began when `place` was given; keeps that until it is dropped. Counts in
    /// `inner` as well.
    pub fn exchange(
        inner: Arc<dyn Traffic>,
        account: &Arc<Account>,
        limits: Limits,
        place: Place,
    ) -> Self {
        Self::new(inner, account, limits, Some(place))
    }

    /// A tunnel: what it carries has neither bodies nor an end that is known. Counts in `inner` as
    /// well.
    pub fn tunnel(inner: Arc<dyn Traffic>, account: &Arc<Account>, limits: Limits) -> Self {
        let limits = Limits {
            request_body: None,
            response_body: None,
            request_duration: None,
            ..limits
        };
        Self::new(inner, account, limits, None)
    }

    fn new(
        inner: Arc<dyn Traffic>,
        account: &Arc<Account>,
        limits: Limits,
        place: Option<Place>,
    ) -> Self {
        let lasts = limits.request_duration;
        Self {
            inner,
            account: Arc::clone(account),
            limits,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            until: lasts.and_then(|limit| Instant::now().checked_add(limit)),
            stop: Arc::default(),
            held: OnceLock::new(),
            _place: place,
            _exchange: None,
        }
    }

    /// What `work` gives, if it is done before the exchange is to have ended, or is told to stop.
    pub async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Reason> {
        let in_time = async {
            match self.until {
                None => Ok(work.await),
                Some(until) => timeout_at(until.into(), work)
                    .await
                    .map_err(|_elapsed| Reason::TooLong),
            }
        };
        tokio::select! {
            biased; // What may not go on does not, whatever has come of it.
            reason = self.stop.wait(Waits::Whole) => Err(reason),
            worked = in_time => worked,
        }
    }

    /// By what it is told that it may not go on.
    pub const fn stop(&self) -> &Arc<Stop> {
        &self.stop
    }

    /// Keeps something for as long as it lasts itself; once.
    pub fn hold(&self, held: impl Any + Send + Sync) {
        let _first = self.held.set(Box::new(held));
    }

    /// `wait`, or what is left of the exchange's time where that is less.
    pub fn at_most(&self, wait: Duration) -> Duration {
        let left = self
            .until
            .map(|until| until.saturating_duration_since(Instant::now()));
        left.map_or(wait, |left| left.min(wait))
    }

    /// What is counted of it once it is a tunnel: it keeps its place.
    pub fn upgraded(self: Arc<Self>) -> Self {
        let (inner, account) = (Arc::clone(&self.inner), Arc::clone(&self.account));
        Self {
            stop: Arc::clone(&self.stop),
            _exchange: Some(self.clone()),
            ..Self::tunnel(inner, &account, self.limits)
        }
    }

    fn count(&self, passed: &AtomicU64, side: Side, bytes: usize) {
        passed.fetch_add(bytes as u64, Ordering::Relaxed);
        let has_rate = side.per_second(&self.limits).is_some();
        if !has_rate && !has_quota(&self.limits) {
            return;
        }
        let mut meters = locked(&self.account.meters);
        meters.usage.bytes(bytes as u64);
        if has_rate {
            side.rate(&mut meters).take(bytes);
        }
    }

    fn pace(&self, passed: &AtomicU64, side: Side) -> Pace {
        if let Some(reason) = self.stop.reason() {
            return Pace::Stop(reason);
        }
        let passed = passed.load(Ordering::Relaxed);
        let is_too_large = side
            .most(&self.limits)
            .is_some_and(|most| passed > most as u64);
        if is_too_large {
            return self.end(side.too_large());
        }
        if self.until.is_some_and(|until| until <= Instant::now()) {
            return self.end(Reason::TooLong);
        }
        let per_second = side.per_second(&self.limits);
        if per_second.is_none() && !has_quota(&self.limits) {
            return Pace::Go;
        }
        let mut meters = locked(&self.account.meters);
        let quota = has_quota(&self.limits)
            .then(|| meters.usage.check_bytes(&self.limits, SystemTime::now()));
        if quota.is_some_and(|left| left.is_err()) {
            return self.end(Reason::Quota);
        }
        let wait = per_second.and_then(|per_second| {
            side.rate(&mut meters)
                .wait(per_second, per_second, Instant::now())
        });
        wait.map_or(Pace::Go, Pace::Wait)
    }

    fn end(&self, reason: Reason) -> Pace {
        self.stop.stop(reason);
        Pace::Stop(self.stop.reason().unwrap_or(reason))
    }
}

impl Traffic for Metered {
    fn count_sent(&self, bytes: usize) {
        self.inner.count_sent(bytes);
        self.count(&self.sent, Side::Sent, bytes);
    }

    fn count_received(&self, bytes: usize) {
        self.inner.count_received(bytes);
        self.count(&self.received, Side::Received, bytes);
    }

    fn passed(&self) -> u64 {
        self.inner.passed()
    }

    fn stopped(&self) -> Option<Reason> {
        self.stop.reason()
    }

    fn poll_stopped(&self, who: Waits, cx: &mut Context<'_>) -> Poll<Reason> {
        self.stop.poll(who, cx)
    }

    fn pace_sent(&self) -> Pace {
        self.pace(&self.sent, Side::Sent)
    }

    fn pace_received(&self) -> Pace {
        self.pace(&self.received, Side::Received)
    }
}

/// Which way bytes go.
#[derive(Clone, Copy)]
enum Side {
    Sent,
    Received,
}

impl Side {
    const fn per_second(self, limits: &Limits) -> Option<usize> {
        match self {
            Self::Sent => limits.sent_per_second,
            Self::Received => limits.received_per_second,
        }
    }

    const fn most(self, limits: &Limits) -> Option<usize> {
        match self {
            Self::Sent => limits.request_body,
            Self::Received => limits.response_body,
        }
    }

    const fn too_large(self) -> Reason {
        match self {
            Self::Sent => Reason::BodyTooLarge,
            Self::Received => Reason::ResponseTooLarge,
        }
    }

    const fn rate(self, meters: &mut Meters) -> &mut Rate {
        match self {
            Self::Sent => &mut meters.sent,
            Self::Received => &mut meters.received,
        }
    }
}
