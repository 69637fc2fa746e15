//! Story 2: one HTTP request, from its canonical form to its record.

mod carried;
mod connect;
mod credentials;
pub(crate) mod errand;
mod refused;
mod worker;

use std::borrow::Cow;
use std::sync::Arc;

use http::header::PROXY_AUTHORIZATION;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;

use self::carried::Carried;
use self::refused::Refused;
use crate::connection::standing::{Stands, What};
use crate::connection::{Session, watched};
use crate::model::policy::Policy;
use crate::model::reason::{Ending, Reason};
use crate::observe::record::{ExchangeRecord, Requested};
use crate::path::credentials::Scrub;
use crate::path::http::Asking;
use crate::path::http::body::{Body, Outgoing, Sent, Source};
use crate::path::http::guard;
use crate::path::http::headers::{ask_upgrade, strip_hop_by_hop, take_out};
use crate::path::http::interim;
use crate::path::http::normalize::{Asked, normalize};
use crate::path::http::reply::grpc;
use crate::path::http::upgrade::Upgrade;
use crate::path::http::websocket;
use crate::path::limits::{self, Metered};
use crate::path::policy::rewrite::{self, Captured};
use crate::path::policy::{self, Denial, Facts, Permit, Readings, Verdict};
use crate::path::upstream::Answer;
use crate::path::upstream::tls::Trust;

/// Answers one request of the workload; its record closes when the answer has gone out.
pub async fn handle(mut request: Asking, session: Arc<Session>) -> Response<Body> {
    websocket::translate(&mut request);
    if request.method() == Method::CONNECT {
        return connect::handle(request, session).await;
    }
    let (session, is_its) = session.now();
    let mut record = session.exchanges.open();
    record.dispatched(session.who.tenant.dispatch.as_ref());
    let method = request.method().clone();
    let target = request.uri().clone();
    let is_grpc = grpc::is_asked(request.headers());
    let asked = is_its
        .and_then(|()| normalize(&request, session.scheme, session.who.flow.original_dst))
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
    let permitted = match &asked {
        Ok(asked) => admit_and_permit(request, asked, &session, &mut record),
        Err(reason) => Err((*reason).into()),
    };
    let carried = match permitted {
        Ok(permitted) => carry(permitted, &session, &mut record).await,
        Err(refused) => Err(refused),
    };
    match carried {
        Ok(carried) => carried.respond(record, &session),
        Err(refused) => {
            let asked = asked.as_ref().ok();
            refused.respond(&method, &target, asked, is_grpc, record, &session)
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

/// Holds a request against what its tenant may take, and decides.
fn admit_and_permit<'a>(
    mut request: Asking,
    asked: &'a Asked,
    session: &Session,
    record: &mut ExchangeRecord,
) -> Result<Permitted<'a>, Refused> {
    if !session.agent.records.writable() {
        return Err(Reason::LogUnavailable.into());
    }
    trace(&request, record);
    let metered = admit(&request, session, record)?;
    // What ends here is neither judged nor, named by the workload, takes a rule's own fields along.
    let workload = take_upgrade(&mut request, asked);
    let what = What::exchange(&request, asked);
    let stands = session
        .who
        .stands(&session.agent, what, Arc::clone(metered.stop()));
    let (permit, asked) = permit(&mut request, asked, session, record)?;
    if let Cow::Owned(moved) = &asked {
        stands.moved(moved.clone());
    }
    let stands = Arc::new(stands);
    metered.hold(Arc::clone(&stands));
    let is_websocket = websocket::is_translated(&request);
    Ok(Permitted {
        request: request.map(Source::from),
        asked,
        permit,
        workload,
        is_websocket,
        metered,
        stands,
    })
}

/// Have the worker answer where there is one; or add credentials, send. What each needs is large,
/// and no request needs both.
async fn carry(
    permitted: Permitted<'_>,
    session: &Arc<Session>,
    record: &mut ExchangeRecord,
) -> Result<Carried, Refused> {
    let tenant = &session.who.tenant;
    let outbound = tenant.namespace.as_ref();
    let outbound = outbound.and_then(|namespace| namespace.outbound.as_ref());
    let through = outbound.and_then(|outbound| permitted.permit.through(outbound));
    if through.is_none() && outbound.is_some() && tenant.parameters.is_none() {
        return Err(Reason::NotDispatched.into());
    }
    match through {
        Some(outbound) => Box::pin(worker::carry(permitted, &outbound, session, record)).await,
        None => Box::pin(forward(permitted, session, record)).await,
    }
}

/// A request that policy has permitted.
struct Permitted<'a> {
    request: Request<Source>,
    asked: Cow<'a, Asked>,
    permit: Permit,
    /// The workload's side of the protocol that it asks to change to.
    workload: Option<Upgrade>,
    is_websocket: bool,
    metered: Arc<Metered>,
    stands: Arc<Stands>,
}

/// Add credentials, send.
async fn forward(
    permitted: Permitted<'_>,
    session: &Session,
    record: &mut ExchangeRecord,
) -> Result<Carried, Refused> {
    let Permitted {
        mut request,
        asked,
        mut permit,
        workload,
        is_websocket,
        metered,
        stands,
    } = permitted;
    let tenant = &session.who.tenant;
    let mut told = |name: &Arc<str>, used| record.credential(name, used);
    let (scrub, identity) =
        credentials::add(&mut request, &asked, session, &mut permit, &mut told).await?;
    let (request, sent) = outgoing(request, session, &metered, &scrub);
    let aim = session.who.aim(&session.agent, &permit);
    let trust = Trust {
        roots: tenant.policy.roots.clone(),
        identity,
    };
    let edits = permit.response_edits();
    let upstream = &session.agent.upstream;
    let sending = Box::pin(upstream.send(&tenant.id, &mut permit, aim, trust, request, sent));
    let answered = metered.in_time(sending).await?;
    record.allowed(permit.rule(), watched(permit.would_deny()));
    let Answer {
        response,
        peer,
        lease,
    } = answered.map_err(|failure| match metered.stop().reason() {
        Some(limit) => limit.into(),
        None => Refused::failed(failure, record),
    })?;
    record.upstream(peer);
    stands.peer(peer.ip());
    let mut response = credentials::remove(response, &scrub)?;
    match (response.status(), workload) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(workload)) => Ok(Carried::Upgrade {
            upstream: Upgrade::of_response(&mut response),
            response: response.map(drop),
            workload,
            edits,
            metered,
            is_websocket,
        }),
        (StatusCode::SWITCHING_PROTOCOLS, None) => Err(Reason::UpstreamMalformed.into()),
        // In HTTP/2 that would open what the upstream has not opened.
        (status, _) if is_websocket && status.is_success() => Err(Reason::UpstreamMalformed.into()),
        _ => Ok(Carried::Response {
            response,
            lease,
            edits,
            metered,
        }),
    }
}

/// Writes down the trace that a request belongs to, if it says so.
fn trace(request: &Asking, record: &mut ExchangeRecord) {
    let parent = request.headers().get("traceparent");
    if let Some(parent) = parent.and_then(|value| value.to_str().ok()) {
        record.traceparent(parent);
    }
}

/// Decides, and does what the rule says; where it rewrites host or path, decides again. What the
/// second rule would do is not done. Gives what is asked for in the end.
fn permit<'a>(
    request: &mut Asking,
    asked: &'a Asked,
    session: &Session,
    record: &mut ExchangeRecord,
) -> Result<(Permit, Cow<'a, Asked>), Refused> {
    let policy = &session.who.tenant.policy;
    let first = decide(request, asked, policy, session)?;
    let Some(effects) = first.effects() else {
        return Ok((first, Cow::Borrowed(asked)));
    };
    let Captured { headers, query } = rewrite::capture(request, &effects.log);
    record.captured(effects.log.extent, headers, query);
    let tenant = &session.who.tenant.id;
    if let Err(wait) = session.agent.rates.take(tenant, &first) {
        return Err(Refused::too_often(&first, wait));
    }
    let Some(moved) = rewrite::rewrite(request, effects, first.destination()) else {
        return Ok((first, Cow::Borrowed(asked)));
    };
    let asked = Asked {
        scheme: moved.scheme,
        host: moved.host,
        port: moved.port,
        path: request.uri().path().into(),
        ..asked.clone()
    };
    let permit = decide(request, &asked, policy, session)?.rewritten_by(first);
    Ok((permit, Cow::Owned(asked)))
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

fn facts<'a, B>(
    request: &'a Request<B>,
    asked: &'a Asked,
    path: &'a Readings<'a>,
    session: &'a Session,
) -> Facts<'a> {
    Facts {
        tenant: Some(&session.who.tenant),
        executable: &session.who.flow.executable,
        scheme: asked.scheme,
        host: &asked.host,
        port: asked.port,
        request: Some(policy::Request {
            method: request.method(),
            path,
            query: request.uri().query(),
            headers: request.headers(),
        }),
        is_foreseen: false,
    }
}

fn decide<B>(
    request: &Request<B>,
    asked: &Asked,
    policy: &Arc<Policy>,
    session: &Session,
) -> Result<Permit, Denial> {
    let path = Readings::of(&asked.path);
    match policy::decide(policy, &facts(request, asked, &path, session)) {
        Verdict::Allow(permit) => Ok(permit),
        Verdict::Deny(denial) => Err(denial),
    }
}

/// Leaves no hop-by-hop field but the agent's own request for the upgrade that was asked of it.
fn take_upgrade(request: &mut Asking, asked: &Asked) -> Option<Upgrade> {
    if asked.is_proxied {
        take_out(request.headers_mut(), &PROXY_AUTHORIZATION);
    }
    let protocol = strip_hop_by_hop(request.headers_mut())?;
    // HTTP/1.0 has none (RFC 9110 section 7.8).
    if request.version() < Version::HTTP_11 {
        return None;
    }
    let workload = Upgrade::of_request(request);
    ask_upgrade(request.headers_mut(), protocol);
    Some(workload)
}

/// The request with a body that is counted, timed, and known to have been sent; nothing that is
/// said in front of its answer gives a credential back.
fn outgoing(
    request: Request<Source>,
    session: &Session,
    metered: &Arc<Metered>,
    scrub: &Scrub,
) -> (Request<Outgoing>, Sent) {
    let scrub = scrub.clone();
    let clean = Box::new(move |headers: &mut HeaderMap| scrub.headers(headers));
    let limits = session.agent.limits.http;
    interim::send_off(request, Arc::clone(metered) as _, limits, clean)
}
