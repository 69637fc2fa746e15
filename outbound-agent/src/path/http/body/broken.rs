//! Why a body breaks off, in the words of the log.

use std::io;

use super::Error;
use crate::model::reason::Reason;
use crate::path::http::guard::Broken;

impl Error {
    /// Whether a connection ended because its peer gave no sign of life.
    pub fn is_dead(error: &hyper::Error) -> bool {
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
        let is_late = |io: &io::Error| io.kind() == io::ErrorKind::TimedOut;
        error.is_timeout() || causes.filter_map(|e| e.downcast_ref()).any(is_late)
    }

    /// Why a response breaks off.
    pub(super) fn in_response(&self) -> Reason {
        match self {
            Self::Broken(error) if Self::is_dead(error) => Reason::UpstreamDead,
            Self::Broken(_) => Reason::UpstreamReset,
            Self::Idle => Reason::ResponseBodyTimeout,
            Self::Unfinished => Reason::WorkerException,
            Self::Stopped(reason) => *reason,
            Self::Filtered => Reason::UpstreamMalformed,
        }
    }

    /// Why a request breaks off.
    pub(super) fn in_request(&self) -> Reason {
        match self {
            Self::Broken(error) if Self::is_dead(error) => Reason::DownstreamDead,
            Self::Broken(error) => Broken::within(error).unwrap_or(Reason::DownstreamAborted),
            Self::Idle => Reason::RequestBodyTimeout,
            Self::Unfinished => Reason::WorkerException,
            Self::Stopped(reason) => *reason,
            Self::Filtered => Reason::CredentialUnavailable,
        }
    }
}
