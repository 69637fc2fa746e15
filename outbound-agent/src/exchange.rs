//! Story 2: one HTTP request, from its canonical form to its record.

mod connect;

use std::sync::Arc;
use std::time::Duration;

use http::header::PROXY_AUTHORIZATION;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use serde_json::Map;

use crate::connection::Session;
use crate::model::reason::{Ending, Reason};
use crate::model::template::Subject;
use crate::observe::labels::Use;
use crate::observe::record::{ExchangeRecord, Requested};
use crate::path::http::body::{Body, Outgoing, Sent, Streamed};
use crate::path::http::guard;
use crate::path::http::headers::{ask_upgrade, strip_hop_by_hop, take_out};
use crate::path::http::normalize::{Asked, normalize};
use crate::path::http::reply::{self, grpc};
use crate::path::http::upgrade::Upgrade;
use crate::path::http::websocket;
use crate::path::http::{Answering, Asking};
use crate::path::limits::{self, Metered, Over};
use crate::path::policy::{self, Denial, Facts, Fit, Permit, Verdict};
use crate::path::tunnel;
use crate::path::upstream::pool::Lease;
use crate::path::upstream::{Answer, Failure};

/// Answers one request of the workload; its record closes when the answer has gone out.
pub async fn handle(mut request: Asking, session: Arc<Session>) -> Response<Body> {
    websocket::translate(&mut request);
    if request.method() == Method::CONNECT {
        return connect::handle(request, session).await;
    }
    let session = &*session;
    let mut record = session.exchanges.open();
    let method = request.method().clone();
    let target = request.uri().clone();
    let is_grpc = grpc::is_asked(request.headers());
    let asked = normalize(&request, session.scheme, session.who.flow.original_dst)
        .and_then(|asked| session.agree(asked));
    // Of a request that could not be read there is nothing to say.
    if request
        .extensions()
        .get::<guard::Refused>()
        .is_none_or(|refused| refused.has_line)
    {
        record.request(Requested {
            method: &method,
            scheme: session.scheme,
            host: asked.as_ref().ok().map(|asked| &asked.host),
            port: Some(
                asked
                    .as_ref()
                    .map_or(session.who.flow.original_dst.port(), |asked| asked.port),
            ),
            path: target.path(),
            version: request.version(),
        });
    }
    let carried = match &asked {
        Ok(asked) => carry(request, asked, session, &mut record).await,
        Err(reason) => Err((*reason).into()),
    };
    match carried {
        Ok(carried) => carried.respond(record, session),
        Err(refused) => {
            let asked = asked.as_ref().ok();
            refused.respond(&method, &target, asked, is_grpc, record, session)
        }
    }
}

/// Writes down a request that was refused before anything of it could be read.
pub fn unread(session: &Session) -> impl Fn(Reason) + Unpin + use<> {
    let exchanges = session.exchanges.clone();
    move |reason| exchanges.open().close(Ending::of(reason))
}

impl Session {
    /// A request names the host of the workload's TLS, or of the connection's first request:
    /// any other is misdirected (RFC 9110 section 15.5.20).
    fn agree(&self, asked: Asked) -> Result<Asked, Reason> {
        // To a proxy, every request names its own.
        let is_free = asked.is_proxied && self.who.proxied.is_none();
        if is_free || *self.name.get_or_init(|| asked.host.clone()) == asked.host {
            Ok(asked)
        } else {
            Err(Reason::DestinationMismatch)
        }
    }
}

/// Decide, add credentials, send.
async fn carry(
    mut request: Asking,
    asked: &Asked,
    session: &Session,
    record: &mut ExchangeRecord,
) -> Result<Carried, Refused> {
    let tenant = &session.who.tenant;
    if !session.agent.records.writable() {
        return Err(Reason::LogUnavailable.into());
    }
    if let Some(parent) = request
        .headers()
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
    {
        record.traceparent(parent);
    }
    let metered = admit(&request, session, record)?;
    let mut permit = decide(&request, asked, session)?;
    if asked.is_proxied {
        take_out(request.headers_mut(), &PROXY_AUTHORIZATION);
    }
    let is_websocket = websocket::is_translated(&request);
    let workload = take_upgrade(&mut request);
    add_credentials(&mut request, asked, session, &mut permit, record).await?;
    let (request, sent) = outgoing(request, session, &metered);
    let aim = session.who.aim(&session.agent, &permit);
    let upstream = &session.agent.upstream;
    let sending = upstream.send(&tenant.id, &mut permit, aim, request, sent);
    let answered = metered.in_time(sending).await?;
    record.allowed(
        permit.rule(),
        permit.would_deny().map(|denial| denial.reason),
    );
    let Answer {
        response,
        peer,
        lease,
    } = answered.map_err(|failure| match metered.stopped() {
        Some(limit) => limit.into(),
        None => Refused::failed(failure, record),
    })?;
    record.upstream(peer);
    match (response.status(), workload) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(workload)) => Ok(Carried::Upgrade {
            response,
            workload,
            metered,
            is_websocket,
        }),
        (StatusCode::SWITCHING_PROTOCOLS, None) => Err(Reason::UpstreamMalformed.into()),
        // In HTTP/2 that would open what the upstream has not opened.
        (status, _) if is_websocket && status.is_success() => Err(Reason::UpstreamMalformed.into()),
        _ => Ok(Carried::Response {
            response,
            lease,
            metered,
        }),
    }
}

/// Holds a request against what its tenant may take.
fn admit(
    request: &Asking,
    session: &Session,
    record: &ExchangeRecord,
) -> Result<Arc<Metered>, Refused> {
    let limits = session.who.tenant.limits;
    let (headers, body) = (request.headers(), request.body().size_hint().lower());
    limits::fits(&limits, headers, body)?;
    let place = session.account.request(&limits)?;
    let metered = Metered::exchange(record.bytes(), &session.account, limits, place);
    Ok(Arc::new(metered))
}

fn facts<'a>(request: &'a Asking, asked: &'a Asked) -> Facts<'a> {
    Facts {
        scheme: asked.scheme,
        host: &asked.host,
        port: asked.port,
        method: Some(request.method()),
        path: Some(&asked.path),
    }
}

fn decide(request: &Asking, asked: &Asked, session: &Session) -> Result<Permit, Denial> {
    match policy::decide(&session.who.tenant.policy, &facts(request, asked)) {
        Verdict::Allow(permit) => Ok(permit),
        Verdict::Deny(denial) => Err(denial),
    }
}

/// Adds what goes with the request as it leaves. Without what should, it does not leave.
async fn add_credentials(
    request: &mut Asking,
    asked: &Asked,
    session: &Session,
    permit: &mut Permit,
    record: &mut ExchangeRecord,
) -> Result<(), Reason> {
    let tenant = &session.who.tenant;
    let subject = Subject {
        tenant: &tenant.id,
        parameters: &Map::new(),
    };
    for credential in &tenant.credentials {
        let name = &credential.name;
        match policy::fit(&credential.binding, &facts(request, asked)) {
            Fit::Elsewhere => continue,
            Fit::Withheld => {
                record.credential(name, Use::Skipped);
                continue;
            }
            Fit::Goes => permit.prove_address(),
        }
        let store = &session.agent.credentials;
        let headers = request.headers_mut();
        let added = store
            .add(credential, subject, headers, &*session.agent)
            .await;
        if let Err(error) = added {
            record.credential(name, Use::Failed);
            return Err(error.report(name));
        }
        record.credential(name, Use::Injected);
    }
    Ok(())
}

/// Leaves no hop-by-hop field but the agent's own request for the upgrade that was asked of it.
fn take_upgrade(request: &mut Asking) -> Option<Upgrade> {
    let protocol = strip_hop_by_hop(request.headers_mut())?;
    let workload = Upgrade::of_request(request);
    ask_upgrade(request.headers_mut(), protocol);
    Some(workload)
}

/// The request with a body that is counted, timed, and known to have been sent.
fn outgoing(
    request: Asking,
    session: &Session,
    metered: &Arc<Metered>,
) -> (Request<Outgoing>, Sent) {
    let (head, body) = request.into_parts();
    let idle = session.agent.limits.http.body_idle;
    let (body, sent) = Outgoing::new(body, Arc::clone(metered) as _, idle);
    (Request::from_parts(head, body), sent)
}

/// A request that its upstream answered.
enum Carried {
    Response {
        response: Answering,
        lease: Lease,
        metered: Arc<Metered>,
    },
    Upgrade {
        response: Answering,
        workload: Upgrade,
        metered: Arc<Metered>,
        is_websocket: bool,
    },
}

impl Carried {
    fn respond(self, mut record: ExchangeRecord, session: &Session) -> Response<Body> {
        match self {
            Self::Response {
                mut response,
                lease,
                metered,
            } => {
                record.status(response.status());
                strip_hop_by_hop(response.headers_mut());
                let idle = metered.at_most(session.agent.limits.http.body_idle);
                let on_end = Box::new(move |ending| {
                    if ending == Ending::COMPLETED {
                        lease.give_back();
                    }
                    record.close(ending);
                });
                response.map(|body| Body::Streamed(Streamed::new(body, metered, idle, on_end)))
            }
            Self::Upgrade {
                mut response,
                workload,
                metered,
                is_websocket,
            } => {
                let upstream = Upgrade::of_response(&mut response);
                let protocol = strip_hop_by_hop(response.headers_mut());
                if is_websocket {
                    websocket::accept(&mut response);
                } else if let Some(protocol) = protocol {
                    ask_upgrade(response.headers_mut(), protocol);
                }
                record.status(response.status());
                let idle = session.agent.limits.tunnel_idle;
                let tunnel = metered.upgraded();
                let carried = carry_upgraded(workload, upstream, tunnel, record, idle);
                session.agent.tasks.spawn("upgrade", carried);
                response.map(|_none| Body::empty())
            }
        }
    }
}

/// After 101 both sides speak what they agreed on; the agent copies.
async fn carry_upgraded(
    workload: Upgrade,
    upstream: Upgrade,
    metered: Metered,
    record: ExchangeRecord,
    idle: Duration,
) {
    let ending = match tokio::join!(workload.stream(), upstream.stream()) {
        (Ok(workload), Ok(upstream)) => tunnel::relay(workload, upstream, &metered, idle).await,
        (Err(_gone), _) => Ending::of(Reason::DownstreamAborted),
        (Ok(_), Err(_gone)) => Ending::of(Reason::UpstreamReset),
    };
    record.close(ending);
}

/// A request that does not go on.
struct Refused {
    reason: Reason,
    rule: Option<Box<str>>,
    retry_after: Option<Duration>,
}

impl Refused {
    fn failed(failure: Failure, record: &mut ExchangeRecord) -> Self {
        if let Some(peer) = failure.peer {
            record.upstream(peer);
        }
        Self {
            reason: failure.reason,
            rule: failure.rule,
            retry_after: None,
        }
    }

    fn respond(
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
