//! Addresses of a name, as the agent itself sees them: never as the tenant claims.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::net::{DnsError, NetError};

use crate::model::host::Host;
use crate::model::reason::Reason;

/// A look-up in progress; it fails with [`Reason::ResolveTimeout`].
pub type Addresses<'a> = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, Reason>> + Send + 'a>>;

/// A look-up of records in progress; it fails with [`Reason::ResolveTimeout`] or
/// [`Reason::UpstreamUnresolved`].
pub type Records<'a> = Pin<Box<dyn Future<Output = Result<Found, Reason>> + Send + 'a>>;

/// What a look-up of records has found.
#[derive(Debug)]
pub enum Found {
    /// Records, aliases on the way to them included.
    Records(Vec<Record>),
    /// None of that type.
    Nothing {
        /// Whether there is such a name at all.
        exists: bool,
        /// The zone's own record (SOA), which says how long that holds.
        authority: Option<Box<Record>>,
    },
}

/// Where addresses come from.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a name, none where it does not exist or cannot be looked up.
    fn addresses<'a>(&'a self, name: &'a str) -> Addresses<'a>;

    /// The records of one type that a host has: a name's, or those that name an address.
    fn records<'a>(&'a self, host: &'a Host, kind: RecordType) -> Records<'a>;
}

/// The host's own resolver configuration, or the servers that the operator named, behind the
/// addresses that the operator fixed.
pub struct Resolver {
    fixed: HashMap<Host, Vec<IpAddr>>,
    network: Option<TokioResolver>,
}

/// Why there is no resolver.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `servers` or the host's configuration make none.
    #[error("cannot build a resolver from `servers` in [resolver]")]
    Build {
        /// What hickory says.
        source: NetError,
    },
}

impl Resolver {
    /// `fixed` answers before any server; without `servers` the host's configuration is used
    /// (`/etc/resolv.conf`). A host without one resolves nothing but `fixed`.
    pub fn new(fixed: HashMap<Host, Vec<IpAddr>>, servers: &[SocketAddr]) -> Result<Self, Error> {
        let builder = if servers.is_empty() {
            match TokioResolver::builder_tokio() {
                Ok(builder) => builder,
                Err(error) => {
                    tracing::warn!(%error, "the host has no resolver configuration: only names in [resolver] hosts resolve");
                    return Ok(Self {
                        fixed,
                        network: None,
                    });
                }
            }
        } else {
            let servers = servers.iter().map(name_server).collect();
            TokioResolver::builder_with_config(
                ResolverConfig::from_name_servers(servers),
                TokioRuntimeProvider::default(),
            )
        };
        let mut builder = builder;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let network = builder.build().map_err(|source| Error::Build { source })?;
        Ok(Self {
            fixed,
            network: Some(network),
        })
    }
}

fn name_server(server: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    NameServerConfig::new(server.ip(), true, connections.into())
}

impl Resolve for Resolver {
    fn addresses<'a>(&'a self, name: &'a str) -> Addresses<'a> {
        Box::pin(async move {
            if let Some(fixed) = self.fixed.get(&Host::Name(name.into())) {
                return Ok(fixed.clone());
            }
            let Some(network) = &self.network else {
                return Ok(Vec::new());
            };
            // With its last dot the name is whole: no search domain is tried.
            match network.lookup_ip(format!("{name}.")).await {
                Ok(found) => Ok(found.iter().map(|address| address.to_canonical()).collect()),
                Err(error) => {
                    tracing::debug!(name, %error, "name not resolved");
                    match error {
                        NetError::Timeout => Err(Reason::ResolveTimeout),
                        _ => Ok(Vec::new()),
                    }
                }
            }
        })
    }

    fn records<'a>(&'a self, host: &'a Host, kind: RecordType) -> Records<'a> {
        Box::pin(async move {
            let name = match host {
                Host::Name(name) => Name::from_ascii(format!("{name}.")),
                Host::Address(address) => Ok(Name::from(*address)),
            };
            let name = name.map_err(|_not_a_name| Reason::UpstreamUnresolved)?;
            if let Some(fixed) = self.fixed.get(host) {
                return Ok(fixed_records(&name, fixed, kind));
            }
            let Some(network) = &self.network else {
                return Err(Reason::UpstreamUnresolved);
            };
            match network.lookup(name, kind).await {
                Ok(found) => Ok(Found::Records(found.answers().to_vec())),
                Err(error) => {
                    tracing::debug!(%host, %kind, %error, "no records found");
                    nothing(error)
                }
            }
        })
    }
}

/// What the operator fixed is all that there is.
fn fixed_records(name: &Name, addresses: &[IpAddr], kind: RecordType) -> Found {
    let record = |address: &IpAddr| {
        let data = RData::from(address.to_canonical());
        (data.record_type() == kind).then(|| Record::from_rdata(name.clone(), FIXED_TTL, data))
    };
    let records: Vec<Record> = addresses.iter().filter_map(record).collect();
    if records.is_empty() {
        return Found::Nothing {
            exists: true,
            authority: None,
        };
    }
    Found::Records(records)
}

/// That there is nothing is an answer too, unless it could not be found out.
fn nothing(error: NetError) -> Result<Found, Reason> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => Ok(Found::Nothing {
            exists: none.response_code != ResponseCode::NXDomain,
            authority: none.soa.map(|soa| Box::new(soa.into_record_of_rdata())),
        }),
        NetError::Timeout => Err(Reason::ResolveTimeout),
        _ => Err(Reason::UpstreamUnresolved),
    }
}

/// How long, in seconds, a tenant may keep an address that the operator fixed.
const FIXED_TTL: u32 = 60;
