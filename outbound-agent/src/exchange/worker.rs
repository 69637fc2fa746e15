//! Story 2 with a worker: the tenant's permitted request is handed to the operator's code, and
//! its answer to the tenant.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body::Body as _;
use tracing::warn;

use super::errand::Runner;
use super::{Carried, Permitted, Refused, forward};
use crate::connection::{Session, watched};
use crate::model::reason::Reason;
use crate::model::worker::{OnError, Outbound, Service};
use crate::observe::labels::WorkerOutcome;
use crate::observe::record::ExchangeRecord;
use crate::path::http::body::Source;
use crate::path::http::headers::strip_hop_by_hop;
use crate::path::http::upgrade::Upgrade;
use crate::path::limits::Metered;
use crate::path::worker::{Chain, Failure, Invocation, REQUEST};

/// Has the worker answer the request, and writes down what became of that.
pub(super) async fn carry(
    permitted: Permitted<'_>,
    outbound: &Outbound,
    session: &Arc<Session>,
    record: &mut ExchangeRecord,
) -> Result<Carried, Refused> {
    let Permitted {
        request,
        asked,
        permit,
        workload,
        is_websocket,
        metered,
        stands,
    } = permitted;
    let service = &outbound.service;
    let began = Instant::now();
    record.allowed(permit.rule(), watched(permit.would_deny()));
    let spare = Spare::of(&request, service.on_error);
    let method = request.method().clone();
    let granted = (permit, leading_to(service, &request, session, record)?);
    let runner = Runner::new(session, service, &request, granted, (record, &metered))?;
    let invoked = Box::pin(invoke(request, (&runner, outbound), session));
    let invoked = metered.in_time(invoked).await??;
    let told = runner.take_told();
    told.tell(record);
    let failure = match invoked {
        Ok(response) => {
            record.worker(&service.name, WorkerOutcome::Responded, began.elapsed());
            let sides = workload.zip(told.upgraded);
            return answer(framed(response, &method), sides, is_websocket, metered);
        }
        Err(failure) => failure,
    };
    complain(&failure, &service.name, session, record);
    let again = spare.and_then(|spare| spare.with(failure.unused));
    if let Some((request, permit)) = again.zip(runner.take_permit()) {
        record.worker(&service.name, WorkerOutcome::Forwarded, began.elapsed());
        let permitted = Permitted {
            request,
            asked,
            permit,
            workload,
            is_websocket,
            metered,
            stands,
        };
        return Box::pin(forward(permitted, session, record)).await;
    }
    record.worker(
        &service.name,
        WorkerOutcome::of(failure.reason),
        began.elapsed(),
    );
    match (failure.reason, told.failed) {
        // What the worker lets pass is told as it would be without one.
        (Reason::WorkerException, Some(failed)) => Err(failed.into()),
        (reason, Some(_) | None) => Err(reason.into()),
    }
}

async fn invoke(
    request: Request<Source>,
    (runner, outbound): (&Arc<Runner>, &Outbound),
    session: &Session,
) -> Result<Result<Response<Source>, Failure>, Reason> {
    let request = for_the_worker(request, runner)?;
    let invocation = Invocation {
        tenant: Arc::clone(&session.who.tenant),
        request,
        errands: Arc::clone(runner) as _,
    };
    Ok(session.agent.workers.invoke(invocation, outbound).await)
}

/// The services that led to a request, unless its own is among them. That is no failure of the
/// worker's, behind which a request may go on without it.
fn leading_to(
    service: &Service,
    request: &Request<Source>,
    session: &Session,
    record: &mut ExchangeRecord,
) -> Result<Chain, Reason> {
    Chain::leading_to(&service.name, request.headers()).map_err(|circle| {
        complain(&circle, &service.name, session, record);
        let outcome = WorkerOutcome::of(circle.reason);
        record.worker(&service.name, outcome, Duration::ZERO);
        circle.reason
    })
}

/// The request as the worker sees it: with an absolute URL, of no hop, marked as the tenant's.
fn for_the_worker(
    mut request: Request<Source>,
    runner: &Runner,
) -> Result<Request<Source>, Reason> {
    let path = request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str());
    let url = format!("{}{path}", runner.origin());
    *request.uri_mut() = url.parse::<Uri>().map_err(|_invalid| Reason::Malformed)?;
    let headers = request.headers_mut();
    headers.remove(header::CONNECTION);
    headers.extend(runner.mark().map(|mark| (REQUEST, mark.clone())));
    Ok(request)
}

/// The response without what a worker cannot say: how it is sent.
fn framed(mut response: Response<Source>, method: &Method) -> Response<Source> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    strip_hop_by_hop(response.headers_mut());
    // Framing follows from the body, where there is one.
    if *method != Method::HEAD && response.status() != StatusCode::NOT_MODIFIED {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

/// The worker's response, or the protocol that the upstream has changed to.
fn answer(
    response: Response<Source>,
    sides: Option<(Upgrade, Upgrade)>,
    is_websocket: bool,
    metered: Arc<Metered>,
) -> Result<Carried, Refused> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let (workload, upstream) = sides.ok_or(Reason::WorkerException)?;
        return Ok(Carried::Upgrade {
            response: response.map(drop),
            workload,
            upstream,
            edits: Vec::new(),
            metered,
            is_websocket,
        });
    }
    if is_websocket && response.status().is_success() {
        return Err(Reason::WorkerException.into());
    }
    Ok(Carried::Worker { response, metered })
}

/// A request as it was before the worker had it.
struct Spare {
    head: http::request::Parts,
    is_bodyless: bool,
}

impl Spare {
    fn of(request: &Request<Source>, on_error: OnError) -> Option<Self> {
        match on_error {
            OnError::Fail => return None,
            OnError::Forward => {}
        }
        let mut copy = Request::new(());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        Some(Self {
            head: copy.into_parts().0,
            is_bodyless: request.body().is_end_stream(),
        })
    }

    /// Whole again, where nothing of the body is gone.
    fn with(self, unused: Option<Source>) -> Option<Request<Source>> {
        let body = unused.or_else(|| self.is_bodyless.then(Source::empty))?;
        Some(Request::from_parts(self.head, body))
    }
}

/// What went wrong is for the operator alone.
fn complain(failure: &Failure, service: &str, session: &Session, record: &ExchangeRecord) {
    warn!(
        tenant = %session.who.tenant.id,
        service,
        request_id = %record.request_id(),
        reason = failure.reason.label(),
        error = failure.text,
        "outbound worker failed"
    );
}
