//! What a tenant has taken of its quotas, in this day and month (UTC), and over a restart.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::{Month, OffsetDateTime};

use super::Over;
use crate::model::limits::Limits;
use crate::model::reason::Reason;

/// What every tenant has taken, by its name.
pub(super) type Usages = BTreeMap<String, Usage>;

/// What one tenant has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Usage {
    day: Period,
    month: Period,
}

/// A day or a month, and what was taken in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Period {
    /// Days since 1970, or months since the year 0.
    number: u64,
    requests: u64,
    bytes: u64,
}

/// Why what tenants have taken cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it.
    #[error("{} is damaged; remove it, and every quota begins anew", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Its file.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Usage {
    /// Whether something is left of every quota on bytes: what has begun may go on without one on
    /// requests.
    pub(super) fn check_bytes(&mut self, limits: &Limits, now: SystemTime) -> Result<(), Over> {
        let bytes_alone = Limits {
            requests_per_day: None,
            requests_per_month: None,
            ..*limits
        };
        self.check(&bytes_alone, now)
    }

    /// Whether something is left of every quota.
    pub(super) fn check(&mut self, limits: &Limits, now: SystemTime) -> Result<(), Over> {
        let now = self.roll(now);
        let is_used = |used: u64, quota: Option<u64>| quota.is_some_and(|quota| used >= quota);
        let month = is_used(self.month.requests, limits.requests_per_month)
            || is_used(self.month.bytes, limits.bytes_per_month);
        let day = is_used(self.day.requests, limits.requests_per_day)
            || is_used(self.day.bytes, limits.bytes_per_day);
        let until = match (month, day) {
            (true, _) => next_month(now),
            (false, true) => next_day(now),
            (false, false) => return Ok(()),
        };
        Err(Over {
            reason: Reason::Quota,
            retry_after: Some(until),
        })
    }

    pub(super) const fn requests(&mut self, requests: u64) {
        self.day.requests += requests;
        self.month.requests += requests;
    }

    pub(super) const fn bytes(&mut self, bytes: u64) {
        self.day.bytes += bytes;
        self.month.bytes += bytes;
    }

    /// Begins anew where a day or a month is over.
    fn roll(&mut self, now: SystemTime) -> OffsetDateTime {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let now = OffsetDateTime::UNIX_EPOCH + since;
        let day = since.as_secs() / DAY;
        let year = u64::try_from(now.year()).unwrap_or_default();
        let month = year * 12 + u64::from(u8::from(now.month())) - 1;
        for (period, number) in [(&mut self.day, day), (&mut self.month, month)] {
            if period.number != number {
                *period = Period {
                    number,
                    ..Period::default()
                };
            }
        }
        now
    }
}

fn next_day(now: OffsetDateTime) -> Duration {
    Duration::from_secs(DAY - now.unix_timestamp().unsigned_abs() % DAY)
}

fn next_month(now: OffsetDateTime) -> Duration {
    let (year, month) = match now.month() {
        Month::December => (now.year() + 1, Month::January),
        month => (now.year(), month.next()),
    };
    let first = now
        .replace_day(1)
        .and_then(|date| date.replace_year(year))
        .and_then(|date| date.replace_month(month))
        .map(|date| date.replace_time(time::Time::MIDNIGHT));
    let until = first.map(|first| first - now);
    until.map_or(Duration::from_secs(DAY), time::Duration::unsigned_abs)
}

/// Reads a file that need not be there.
pub(super) fn read(path: &Path) -> Result<Usages, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Usages::new()),
        Err(source) => {
            let path = path.into();
            return Err(Error::Read { path, source });
        }
    };
    serde_json::from_slice(&text).map_err(|source| Error::Damaged {
        path: path.into(),
        source,
    })
}

/// Writes a file that is either the old one or the new one, whenever somebody looks.
pub(super) fn write(path: &Path, usages: &Usages) -> Result<(), Error> {
    let failed = |source| Error::Write {
        path: path.into(),
        source,
    };
    let text = serde_json::to_vec(usages).map_err(|error| failed(error.into()))?;
    let beside = path.with_extension("json.new");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(failed)
}

const DAY: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-12-31T23:00:00Z
    const EVE: u64 = 1_798_758_000;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_quota_is_whole_again_when_its_time_is_over() {
        let limits = Limits {
            requests_per_day: Some(2),
            bytes_per_month: Some(100),
            ..Limits::default()
        };
        let mut usage = Usage::default();
        assert_eq!(usage.check(&limits, at(EVE)), Ok(()));
        usage.requests(2);
        let hour = Some(Duration::from_secs(3600));
        let over = usage.check(&limits, at(EVE)).unwrap_err();
        assert_eq!((over.reason, over.retry_after), (Reason::Quota, hour));
        assert_eq!(usage.check(&limits, at(EVE + 3600)), Ok(()));
        usage.bytes(100);
        let over = usage.check(&limits, at(EVE + 3600)).unwrap_err();
        let january = Some(Duration::from_secs(31 * DAY));
        assert_eq!(over.retry_after, january);
    }

    #[test]
    fn a_month_is_over_after_its_last_day() {
        let limits = Limits {
            bytes_per_month: Some(1),
            ..Limits::default()
        };
        let mut usage = Usage::default();
        // 2028-01-31T12:00:00Z: there is no 31st of February to go to.
        let noon = at(1_832_932_800);
        assert_eq!(usage.check(&limits, noon), Ok(()));
        usage.bytes(1);
        let over = usage.check(&limits, noon).unwrap_err();
        assert_eq!(over.retry_after, Some(Duration::from_secs(DAY / 2)));
    }

    #[test]
    fn what_was_taken_is_still_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("usage.json");
        assert_eq!(read(&file).unwrap(), Usages::new());
        let mut usage = Usage::default();
        usage.roll(at(EVE));
        usage.requests(7);
        let usages = Usages::from([("acme".to_owned(), usage)]);
        write(&file, &usages).unwrap();
        assert_eq!(read(&file).unwrap(), usages);
        fs::write(&file, "{").unwrap();
        let told = read(&file).unwrap_err().to_string();
        assert!(
            told.ends_with("remove it, and every quota begins anew"),
            "{told}"
        );
    }
}
