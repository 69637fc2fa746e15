//! A value that is made when it is first asked for, kept for a while, and made by one at a time.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Error;

/// Room for one value.
pub(super) struct Slot<T> {
    kept: ArcSwapOption<Kept<T>>,
    /// Held by whoever makes the value; others wait for that one. When it last failed.
    making: Mutex<Option<Instant>>,
}

/// A value and how long it is good.
pub(super) struct Kept<T> {
    pub(super) value: T,
    pub(super) until: Instant,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            kept: ArcSwapOption::empty(),
            making: Mutex::default(),
        }
    }
}

impl<T> Slot<T> {
    /// The value that is kept, while it is good; otherwise what `make` makes of it. After a
    /// failure nobody tries again for [`PAUSE`].
    pub(super) async fn get<F>(
        &self,
        is_good: impl Fn(&T) -> bool,
        make: impl FnOnce(Option<Arc<Kept<T>>>) -> F,
    ) -> Result<Arc<Kept<T>>, Error>
    where
        F: Future<Output = Result<Kept<T>, Error>>,
    {
        if let Some(kept) = self.good(&is_good) {
            return Ok(kept);
        }
        let mut failed = self.making.lock().await;
        // Somebody else may have made it meanwhile.
        if let Some(kept) = self.good(&is_good) {
            return Ok(kept);
        }
        if failed.is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(Error::Lately);
        }
        match make(self.kept.load_full()).await {
            Ok(made) => {
                let made = Arc::new(made);
                self.kept.store(Some(Arc::clone(&made)));
                *failed = None;
                Ok(made)
            }
            Err(error) => {
                *failed = Some(Instant::now());
                Err(error)
            }
        }
    }

    /// Whether what is kept can still be used.
    pub(super) fn is_live(&self) -> bool {
        self.making.try_lock().is_err() || self.good(|_any| true).is_some()
    }

    fn good(&self, is_good: impl Fn(&T) -> bool) -> Option<Arc<Kept<T>>> {
        let kept = self.kept.load_full()?;
        (kept.until > Instant::now() && is_good(&kept.value)).then_some(kept)
    }
}

/// How long a failure stands before somebody tries again.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
