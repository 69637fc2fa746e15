//! A request that was answered, by its upstream or by a worker, and what becomes of the answer.

use std::sync::Arc;
use std::time::Duration;

use http::Response;

use crate::connection::Session;
use crate::model::reason::{Ending, Reason};
use crate::model::rule::Edit;
use crate::observe::record::ExchangeRecord;
use crate::path::http::body::{Body, Source, Streamed};
use crate::path::http::headers::{ask_upgrade, strip_hop_by_hop};
use crate::path::http::upgrade::Upgrade;
use crate::path::http::websocket;
use crate::path::limits::Metered;
use crate::path::policy::rewrite;
use crate::path::tunnel;
use crate::path::upstream::pool::Lease;

/// A request that was answered.
#[expect(
    clippy::large_enum_variant,
    reason = "it is moved once, from who made it to who answers"
)]
pub(super) enum Carried {
    /// By its upstream.
    Response {
        response: Response<Source>,
        lease: Lease,
        edits: Vec<Edit>,
        metered: Arc<Metered>,
    },
    /// By a worker.
    Worker {
        response: Response<Source>,
        metered: Arc<Metered>,
    },
    /// By its upstream, with another protocol.
    Upgrade {
        response: Response<()>,
        workload: Upgrade,
        upstream: Upgrade,
        edits: Vec<Edit>,
        metered: Arc<Metered>,
        is_websocket: bool,
    },
}

impl Carried {
    /// Sends the answer on its way; the record closes when it has gone out.
    pub(super) fn respond(self, mut record: ExchangeRecord, session: &Session) -> Response<Body> {
        match self {
            Self::Response {
                mut response,
                lease,
                edits,
                metered,
            } => {
                record.status(response.status());
                strip_hop_by_hop(response.headers_mut());
                rewrite::edit(response.headers_mut(), &edits);
                let idle = metered.at_most(session.agent.limits.http.body_idle);
                let on_end = Box::new(move |ending| {
                    if ending == Ending::COMPLETED {
                        lease.give_back();
                    }
                    record.close(ending);
                });
                response.map(|body| Body::Streamed(Streamed::new(body, metered, idle, on_end)))
            }
            Self::Worker { response, metered } => {
                record.status(response.status());
                let idle = metered.at_most(session.agent.limits.http.body_idle);
                let on_end = Box::new(move |ending| record.close(ending));
                response.map(|body| Body::Streamed(Streamed::new(body, metered, idle, on_end)))
            }
            Self::Upgrade {
                mut response,
                workload,
                upstream,
                edits,
                metered,
                is_websocket,
            } => {
                let protocol = strip_hop_by_hop(response.headers_mut());
                rewrite::edit(response.headers_mut(), &edits);
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
                response.map(|()| Body::empty())
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
