//! `CONNECT` (RFC 9110 section 9.3.6): a workload that takes the agent for its proxy. It is
//! connected with the agent, which then judges what it says as if it had connected itself.

use std::sync::Arc;

use http::Response;

use super::Refused;
use crate::connection::Session;
use crate::connection::proxied::{self, Target};
use crate::connection::watched;
use crate::model::host::Host;
use crate::model::policy::Addressing;
use crate::model::reason::{Ending, Reason};
use crate::model::target::Scheme;
use crate::observe::record::{ExchangeRecord, Requested};
use crate::path::http::Asking;
use crate::path::http::body::Body;
use crate::path::http::normalize::connect_target;
use crate::path::http::upgrade::Upgrade;
use crate::path::http::websocket;
use crate::path::policy::{self, Denial, Facts, Permit, Verdict};

/// Answers `CONNECT`; what follows has records of its own.
pub(super) async fn handle(mut request: Asking, session: Arc<Session>) -> Response<Body> {
    let (session, is_its) = session.now();
    let asked = connect_target(&request).and_then(|asked| is_its.map(|()| asked));
    let mut record = open(&request, asked.as_ref().ok(), &session);
    let opened = match &asked {
        Ok(_) if websocket::is_unknown(&request) => Err(Reason::UnsupportedProtocol.into()),
        Ok((host, port)) => connect(host, *port, &session, &mut record).await,
        Err(reason) => Err((*reason).into()),
    };
    match opened {
        Ok(target) => {
            let workload = Upgrade::of_request(&mut request);
            let tasks = session.agent.tasks.clone();
            tasks.spawn("proxied", proxied::carry(workload, target, session));
            let response = Response::new(Body::empty());
            record.status(response.status());
            record.close(Ending::COMPLETED);
            response
        }
        Err(refused) => {
            let (method, target) = (request.method(), request.uri());
            refused.respond(method, target, None, false, record, &session)
        }
    }
}

fn open(request: &Asking, asked: Option<&(Host, u16)>, session: &Session) -> ExchangeRecord {
    let mut record = session.exchanges.open();
    record.dispatched(session.who.tenant.dispatch.as_ref());
    record.request(Requested {
        method: request.method(),
        scheme: session.scheme,
        host: asked.map(|(host, _port)| host),
        port: asked.map(|(_host, port)| *port),
        path: request.uri().path(),
        version: request.version(),
    });
    record
}

/// Whether anything may go to `host`, and where that is.
async fn connect(
    host: &Host,
    port: u16,
    session: &Session,
    record: &mut ExchangeRecord,
) -> Result<Target, Refused> {
    let Session { agent, who, .. } = session;
    if who.proxied.is_some() {
        return Err(Reason::UnsupportedProtocol.into());
    }
    if !agent.records.writable() {
        return Err(Reason::LogUnavailable.into());
    }
    let permit = foresee(host, port, session)?;
    if permit.addressing() != Addressing::Resolve {
        // The workload's own address is the proxy's: it cannot agree.
        return Err(Reason::DestinationMismatch.into());
    }
    let addresses = agent.upstream.addresses(host).await;
    let address = *addresses.first().ok_or(Reason::UpstreamUnresolved)?;
    let would_deny = watched(permit.would_deny());
    record.allowed(permit.rule(), would_deny);
    Ok(Target {
        host: host.clone(),
        port,
        address,
    })
}

/// Denied is what is denied whatever the workload will speak.
fn foresee(host: &Host, port: u16, session: &Session) -> Result<Permit, Denial> {
    let mut first = None;
    for scheme in [Scheme::Https, Scheme::Http, Scheme::Tcp] {
        let facts = Facts {
            tenant: Some(&session.who.tenant),
            executable: &session.who.flow.executable,
            scheme,
            host,
            port,
            request: None,
            is_foreseen: true,
        };
        match policy::decide(&session.who.tenant.policy, &facts) {
            Verdict::Allow(permit) => return Ok(permit),
            Verdict::Deny(denial) => _ = first.get_or_insert(denial),
        }
    }
    Err(first.unwrap_or_else(|| Reason::NoRule.into()))
}
