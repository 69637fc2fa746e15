//! A connection inside another: a workload that takes the agent for its proxy has asked for a
//! host by `CONNECT`, and is served as if it had connected there.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::timeout;

use super::standing::{What, until};
use super::{Agent, Session, Who, carry_as};
use crate::model::addr::OriginalDst;
use crate::model::flow::Flow;
use crate::model::host::Host;
use crate::model::reason::{Ending, Reason};
use crate::observe::record::ConnectionRecord;
use crate::path::http::upgrade::{Switched, Upgrade};

/// Where a workload wants to be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// With whom.
    pub host: Host,
    /// On which port.
    pub port: u16,
    /// An address that the agent finds for the host.
    pub address: IpAddr,
}

/// Carries what the workload says once it is answered; it gets a record of its own. Boxed,
/// because it is itself a connection.
pub fn carry(
    workload: Upgrade,
    target: Target,
    session: Arc<Session>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let Session { agent, who, .. } = &*session;
        let mut record = agent.records.open(who.downstream);
        let flow = Arc::new(Flow {
            original_dst: OriginalDst(SocketAddr::new(target.address, target.port)),
            ..Flow::clone(&who.flow)
        });
        record.identified(&who.tenant, &flow);
        let who = Who {
            tenant: Arc::clone(&who.tenant),
            downstream: who.downstream,
            flow,
            proxied: Some(target.host),
            carrier: Arc::default(),
        };
        let _stands = who.stands(agent, What::Connection, Arc::clone(&who.carrier));
        // The connection that it came over has ended for hyper, and with it what it took.
        let ending = match agent
            .accounts
            .of(&who.tenant.id)
            .connect(&who.tenant.limits)
        {
            Ok(_place) => match workload.stream().await {
                Ok(stream) => in_time(who, stream, agent, &mut record).await,
                Err(_gone) => Ending::of(Reason::DownstreamAborted),
            },
            Err(over) => Ending::of(over.reason),
        };
        record.close(ending);
    })
}

async fn in_time(
    who: Who,
    stream: Switched,
    agent: &Arc<Agent>,
    record: &mut ConnectionRecord,
) -> Ending {
    let limit = who.tenant.limits.connection_duration;
    let carrier = Arc::clone(&who.carrier);
    let carried = Box::pin(carry_as(stream, who, agent, record));
    let carried = until(&carrier, carried, Ending::of);
    match limit {
        None => carried.await,
        Some(limit) => timeout(limit, carried)
            .await
            .unwrap_or(Ending::of(Reason::TooLong)),
    }
}
