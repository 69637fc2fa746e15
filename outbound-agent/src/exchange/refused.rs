//! Requests that do not go on, and what their workload is told.

use std::time::Duration;

use http::{Method, Response, Uri};

use crate::connection::Session;
use crate::model::reason::{Ending, Reason};
use crate::observe::record::ExchangeRecord;
use crate::path::http::body::Body;
use crate::path::http::normalize::Asked;
use crate::path::http::reply::{self, grpc};
use crate::path::limits::Over;
use crate::path::policy::Denial;
use crate::path::upstream::Failure;

/// A request that does not go on.
pub(super) struct Refused {
    reason: Reason,
    rule: Option<Box<str>>,
    retry_after: Option<Duration>,
}

impl Refused {
    pub(super) fn failed(failure: Failure, record: &mut ExchangeRecord) -> Self {
        if let Some(peer) = failure.peer {
            record.upstream(peer);
        }
        Self {
            reason: failure.reason,
            rule: failure.rule,
            retry_after: None,
        }
    }

    pub(super) fn respond(
        &self,
        method: &Method,
        target: &Uri,
        asked: Option<&Asked>,
        is_grpc: bool,
        mut record: ExchangeRecord,
        session: &Session,
    ) -> Response<Body> {
        if let Some(rule) = &self.rule {
            record.denied_by(rule);
        }
        let request_id = record.request_id().to_string();
        let host = asked.map(|asked| asked.host.to_string());
        let refusal = reply::Refusal {
            reason: self.reason,
            tenant: session.who.tenant.id.as_str(),
            method,
            host: host.as_deref(),
            port: session.who.flow.original_dst.port(),
            path: target.path(),
            rule: self.rule.as_deref(),
            retry_after: self.retry_after.map(|wait| wait.as_secs() + 1),
            request_id: &request_id,
        };
        let response = if is_grpc {
            grpc::refusal(&refusal)
        } else {
            reply::refusal(&refusal)
        };
        record.status(response.status());
        record.close(Ending::of(self.reason));
        response
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Over::from(reason).into()
    }
}

impl From<Over> for Refused {
    fn from(over: Over) -> Self {
        Self {
            reason: over.reason,
            rule: None,
            retry_after: over.retry_after,
        }
    }
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        Self {
            reason: denial.reason,
            rule: denial.rule,
            retry_after: None,
        }
    }
}
