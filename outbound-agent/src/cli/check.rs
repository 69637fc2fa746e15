//! `outbound check`: what can be said.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::Parameters;

/// `outbound check`
#[derive(Debug, Default, Args)]
#[command(
    override_usage = "outbound check [OPTIONS]\n       outbound check [OPTIONS] --tenant <NAME> <METHOD> <URL>\n       outbound check [OPTIONS] --live <--tenant <NAME>|--cgroup <PATH>|--pid <PID>|--unit <UNIT>> <METHOD> <URL>",
    after_help = "Examples: outbound check --tenant acme GET https://api.example.com/\n          \
                  outbound check --live --pid 4711 GET https://api.example.com/\n\n\
                  Exit status: 0 where the configuration is right and the request would pass, 1 \
                  where not."
)]
pub struct Check {
    /// Whose request is judged.
    #[command(flatten)]
    pub whose: Whose,
    /// The request's method
    #[arg(requires_all = ["url", "Whose"])]
    pub method: Option<http::Method>,
    /// Where it goes: http://, https:// or tcp://HOST:PORT
    #[arg(requires = "method")]
    pub url: Option<http::Uri>,
    /// Ask the running agent, which answers by the configuration that holds
    ///
    /// Without it the file is read, whatever the agent runs on: what stands there may be wrong, or
    /// not in force yet.
    #[arg(long, requires = "method")]
    pub live: bool,
    /// A header of the request; may be said again
    #[arg(long, value_name = "NAME: VALUE", requires = "method")]
    pub header: Vec<String>,
    /// The name of the process
    #[arg(long, value_name = "NAME", requires = "method")]
    pub executable: Option<String>,
    /// The address that the URL's name leads to; names are not looked up
    #[arg(long, value_name = "ADDRESS", requires = "method")]
    pub address: Option<IpAddr>,
    /// What the tenant is dispatched with, in place of what it has.
    #[command(flatten)]
    pub parameters: Parameters,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
    /// Print what may stand in a configuration, as JSON Schema, for editors; reads none
    #[arg(long, conflicts_with_all = ["Whose", "json"])]
    pub schema: bool,
    /// The agent's socket [default: what the configuration says]
    #[arg(long, value_name = "PATH", requires = "live")]
    pub socket: Option<PathBuf>,
}

/// Whose request is judged, said in one way.
#[derive(Debug, Default, Args)]
#[group(multiple = false)]
pub struct Whose {
    /// The tenant whose request is judged
    #[arg(long, value_name = "NAME", requires = "method")]
    pub tenant: Option<String>,
    /// Instead: the cgroup that it would come from, from the cgroup root or absolute
    #[arg(long, value_name = "PATH", requires_all = ["method", "live"])]
    pub cgroup: Option<PathBuf>,
    /// Instead: the cgroup that this process is in
    #[arg(long, value_name = "PID", requires_all = ["method", "live"])]
    pub pid: Option<u32>,
    /// Instead: the cgroup of this unit of systemd
    #[arg(long, value_name = "UNIT", requires_all = ["method", "live"])]
    pub unit: Option<String>,
}
