//! Addresses of a name, as the agent itself sees them: never as the tenant claims.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use crate::model::host::Host;

/// A look-up in progress.
pub type Addresses<'a> = Pin<Box<dyn Future<Output = Vec<IpAddr>> + Send + 'a>>;

/// Where addresses come from.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a name, none where it does not exist or cannot be looked up.
    fn addresses<'a>(&'a self, name: &'a str) -> Addresses<'a>;
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
        source: hickory_resolver::net::NetError,
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
                return fixed.clone();
            }
            let Some(network) = &self.network else {
                return Vec::new();
            };
            // With its last dot the name is whole: no search domain is tried.
            match network.lookup_ip(format!("{name}.")).await {
                Ok(found) => found.iter().map(|address| address.to_canonical()).collect(),
                Err(error) => {
                    tracing::debug!(name, %error, "name not resolved");
                    Vec::new()
                }
            }
        })
    }
}
