//! From a permit to a connection: which addresses may be dialled for it, in which order.

use std::net::IpAddr;

use tokio::net::TcpStream;

use super::super::policy::Permit;
use super::dial::{self, Failed};
use super::{Failure, Upstream};
use crate::model::addr::UpstreamAddr;
use crate::model::flow::Flow;
use crate::model::host::Host;
use crate::model::policy::Addressing;
use crate::model::reason::Reason;

/// Where the workload aims at, and what speaks for it.
#[derive(Clone, Copy, Debug)]
pub struct Aim<'a> {
    /// The connection's.
    pub flow: &'a Flow,
    /// Whether the tenant was told by the agent's own DNS that the host has that address.
    pub was_told: bool,
}

impl Upstream {
    /// Opens a connection to what the permit names, or takes the one that was made ahead.
    pub async fn connect(
        &self,
        permit: &mut Permit,
        aim: Aim<'_>,
    ) -> Result<(TcpStream, UpstreamAddr), Failure> {
        let address = self.agreed(permit, aim).await?;
        self.reach(permit, aim.flow, address).await
    }

    /// Name and address agree, or nothing leaves under the name. Gives the workload's address
    /// where that is the one to dial. Fails with [`Reason::DestinationMismatch`].
    pub(super) async fn agreed(
        &self,
        permit: &Permit,
        aim: Aim<'_>,
    ) -> Result<Option<IpAddr>, Failure> {
        let (host, asked) = (&permit.destination().host, aim.flow.original_dst);
        let is_known = match (permit.addressing(), host) {
            (Addressing::Resolve, _) => return Ok(None),
            (Addressing::Original, Host::Name(_)) => true,
            (Addressing::Verify, Host::Name(_)) if aim.was_told => true,
            (Addressing::Verify | Addressing::Original, _) => {
                self.addresses(host).await.contains(&asked.ip())
            }
        };
        if is_known && asked.port() == permit.destination().port {
            Ok(Some(asked.ip()))
        } else {
            Err(Failure::new(Reason::DestinationMismatch, None))
        }
    }

    /// Dials `address`, or what the agent finds for the host.
    pub(super) async fn reach(
        &self,
        permit: &mut Permit,
        flow: &Flow,
        address: Option<IpAddr>,
    ) -> Result<(TcpStream, UpstreamAddr), Failure> {
        let mut addresses = match address {
            Some(address) => vec![address],
            None => self.addresses(&permit.destination().host).await,
        };
        prefer(&mut addresses, flow.original_dst.ip());
        let mut failure = Failure::new(Reason::UpstreamUnresolved, None);
        for address in addresses {
            let peer = match permit.check_address(address) {
                Ok(peer) => peer,
                // A name that has addresses of both kinds is reached at those that may be.
                Err(denial) if failure.peer.is_none() => {
                    failure = denial.into();
                    continue;
                }
                Err(_denial) => continue,
            };
            if self.is_agent(peer) {
                return Err(Failure::new(Reason::AgentAddress, Some(peer)));
            }
            if let Some(stream) = self.ahead.take(flow.connect, peer) {
                return Ok((stream, peer));
            }
            match dial::dial(peer, &self.limits).await {
                Ok(stream) => return Ok((stream, peer)),
                Err(failed) => failure = Failure::new(failed.reason(), Some(peer)),
            }
        }
        Err(failure)
    }

    /// Opens a connection to `peer`, which a permit gave out.
    pub async fn dial(&self, peer: UpstreamAddr) -> Result<TcpStream, Failed> {
        if self.is_agent(peer) {
            return Err(Failed::NotAsked);
        }
        dial::dial(peer, &self.limits).await
    }

    pub(super) fn is_agent(&self, peer: UpstreamAddr) -> bool {
        peer.ip().is_loopback() && self.agent_ports.load().contains(&peer.port())
    }
}

/// What the workload asked for goes first, then its address family, otherwise as resolved.
fn prefer(addresses: &mut [IpAddr], asked: IpAddr) {
    addresses.sort_by_key(|address| (*address != asked, address.is_ipv4() != asked.is_ipv4()));
}
