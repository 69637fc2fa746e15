//! A request that does not go on, and what the workload and the log are told of it.

use std::time::Duration;

use http::{Method, Response, Uri};

use crate::connection::Session;
use crate::model::reason::{Ending, Reason};
use crate::observe::record::ExchangeRecord;
use crate::path::http::body::Body;
use crate::path::http::normalize::Asked;
use crate::path::http::reply::{self, grpc};
use crate::path::limits::Over;
use crate::path::policy::{Denial, Permit};
use crate::path::upstream::Failure;

/// A request that does not go on.
pub(super) struct Refused {
    denial: Denial,
    retry_after: Option<Duration>,
}

impl Refused {
    pub(super) fn failed(failure: Failure, record: &mut ExchangeRecord) -> Self {
        if let Some(peer) = failure.peer {
            record.upstream(peer);
        }
        failure.denial.into()
    }

    pub(super) fn too_often(permit: &Permit, wait: Duration) -> Self {
        let denial = Denial {
            rule: permit.rule().map(Into::into),
            place: permit.place().cloned(),
            ..Reason::RateLimit.into()
        };
        Self {
            denial,
            retry_after: Some(wait),
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
        let Denial {
            reason, rule, face, ..
        } = &self.denial;
        if let Some(rule) = rule {
            record.denied_by(rule);
        }
        let request_id = record.request_id().to_string();
        let host = asked.map(|asked| asked.host.to_string());
        let refusal = reply::Refusal {
            reason: *reason,
            tenant: session.who.tenant.id.as_str(),
            method,
            host: host.as_deref(),
            port: session.who.flow.original_dst.port(),
            path: target.path(),
            rule: rule.as_deref(),
            face: face.as_deref(),
            retry_after: self.retry_after.map(|wait| wait.as_secs() + 1),
            request_id: &request_id,
        };
        let response = if is_grpc {
            grpc::refusal(&refusal)
        } else {
            reply::refusal(&refusal)
        };
        record.status(response.status());
        record.close(Ending::of(*reason));
        response
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Denial::from(reason).into()
    }
}

impl From<Over> for Refused {
    fn from(over: Over) -> Self {
        Self {
            denial: over.reason.into(),
            retry_after: over.retry_after,
        }
    }
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        Self {
            denial,
            retry_after: None,
        }
    }
}
