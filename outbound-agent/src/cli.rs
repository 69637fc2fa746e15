//! The command line: what can be said, no logic.

mod check;
mod worker;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::check::{Check, Whose};
pub use self::worker::{Worker, WorkerTest};

/// Takes over what tenants' processes send out: what may pass passes, logged and with the
/// credentials it needs; the rest gets a clear refusal.
#[derive(Debug, Parser)]
#[command(
    name = "outbound",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Exit status: 0 done, 1 failed, 2 wrong usage; `run` gives back its command's."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// The configuration; drop-ins stand in conf.d beside it
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/outbound/outbound.toml"
    )]
    pub config: PathBuf,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent in the foreground, until SIGTERM
    Agent,
    /// Run a command as a tenant
    Run(Run),
    /// Put what runs already under a tenant
    Assign(Assign),
    /// Take what was assigned off its tenant
    Unassign(Unassign),
    /// Say whether the configuration is right, or what would happen to a request
    Check(Check),
    /// Print a Wrangler configuration's dispatch namespaces and workers as configuration of ours
    Import(Import),
    /// Print the smallest allow list for what a tenant was seen to do
    Suggest(Suggest),
    /// Say what this configuration would have decided differently about what was logged
    Replay(Replay),
    /// Show what the running agent does
    Status(Status),
    /// Have the running agent read its configuration again
    Reload(Reload),
    /// Show the tenants, and what is dispatched to them
    Tenants(Tenants),
    /// Show how workloads come to trust the agent's certificate authority
    Trust(Trust),
    /// Say what this host lacks, and try to get out of a tenant's cgroup in every known way
    Doctor(Doctor),
    /// One attempt of `doctor`, made inside its scratch cgroup
    #[command(hide = true)]
    DoctorAttack(DoctorAttack),
    /// Try an outbound worker's module
    #[command(subcommand)]
    Worker(Worker),
    /// Runs the modules of an outbound worker, for an agent
    #[command(hide = true)]
    WorkerProcess {
        /// Of which service; for who lists processes
        service: String,
    },
    /// Take the hooks off this host's cgroups: tenants then reach the network freely
    Detach(Detach),
}

/// `outbound run`
#[derive(Debug, Args)]
pub struct Run {
    /// The tenant to run as
    #[arg(long, value_name = "NAME")]
    pub tenant: String,
    /// Give the command a network namespace that has nothing but a loopback interface
    ///
    /// The strongest setting. What no hook on sockets can hold back (packet sockets, tunnels, a
    /// root's own routes and filters) has no way out either: there is no link to the outside,
    /// only the agent, which listens in the namespace. Servers on this host's own addresses are
    /// out of reach, but for what the agent may reach for the tenant.
    #[arg(long)]
    pub netns: bool,
    /// Give the command a mount namespace of its own in any case [default: where allowed]
    ///
    /// In it the host's bundles and directories of certificates, and Java's, have the agent's
    /// authority, so that programs that know no variable trust it as well; the sockets of
    /// services that would send for the command (nscd, systemd-resolved, the system bus,
    /// container engines) are not there; and /etc/resolv.conf names one server.
    #[arg(long)]
    pub mount: bool,
    /// Leave the command in the caller's mount namespace
    #[arg(long, conflicts_with = "mount")]
    pub no_mount: bool,
    /// What the command is dispatched with.
    #[command(flatten)]
    pub parameters: Parameters,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// How the agent is found.
    #[command(flatten)]
    pub admin: Admin,
}

/// `outbound assign`
#[derive(Debug, Args)]
#[command(
    override_usage = "outbound assign [OPTIONS] --tenant <NAME> <CGROUP|--pid <PID>|--unit <UNIT>>",
    after_help = "From its next connection on, everything in the cgroup and below it is the \
                  tenant's; what was connected before is ended. It stays so when the agent is \
                  started again."
)]
pub struct Assign {
    /// The tenant
    #[arg(long, value_name = "NAME")]
    pub tenant: String,
    /// What is assigned.
    #[command(flatten)]
    pub cgroup: Cgroup,
    /// What it is dispatched with.
    #[command(flatten)]
    pub parameters: Parameters,
    /// How the agent is found.
    #[command(flatten)]
    pub admin: Admin,
}

/// `outbound unassign`
#[derive(Debug, Args)]
#[command(
    override_usage = "outbound unassign [OPTIONS] <CGROUP|--pid <PID>|--unit <UNIT>>",
    after_help = "What is below a watched cgroup has no egress then; anything else is free from \
                  its next connection on."
)]
pub struct Unassign {
    /// What was assigned.
    #[command(flatten)]
    pub cgroup: Cgroup,
    /// How the agent is found.
    #[command(flatten)]
    pub admin: Admin,
}

/// What the tenant's dispatch namespace declares.
#[derive(Debug, Default, Args)]
pub struct Parameters {
    /// A parameter that the tenant's dispatch namespace declares; a.b=VALUE is a member of one
    ///
    /// The value is JSON where it can be read as such, otherwise a text. May be said again.
    #[arg(long, value_name = "NAME=VALUE")]
    pub param: Vec<String>,
    /// A file with an object of parameters in JSON; - is standard input
    #[arg(long, value_name = "FILE")]
    pub params_json: Option<PathBuf>,
}

/// A cgroup, in one of three ways.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Cgroup {
    /// The cgroup, from the cgroup root or absolute
    pub cgroup: Option<PathBuf>,
    /// The cgroup that this process is in, with all that is in it
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// The cgroup of this unit of systemd
    #[arg(long, value_name = "UNIT")]
    pub unit: Option<String>,
}

/// `outbound import`
#[derive(Debug, Args)]
#[command(
    after_help = "Example: outbound import wrangler.jsonc > /etc/outbound/conf.d/dispatch.toml\n\n\
                  What cannot be taken over is told on standard error, with name and line."
)]
pub struct Import {
    /// wrangler.toml, wrangler.json or wrangler.jsonc
    pub file: PathBuf,
}

/// `outbound suggest`
#[derive(Debug, Args)]
#[command(
    after_help = "What counts is what this tenant itself did, and of that what was let through \
                  or lacked nothing but a rule."
)]
pub struct Suggest {
    /// The tenant
    #[arg(long, value_name = "NAME")]
    pub tenant: String,
    /// A file of the access log [default: what the configuration says]
    pub log: Option<PathBuf>,
}

/// `outbound replay`
#[derive(Debug, Args)]
#[command(
    after_help = "Example: outbound replay /var/log/outbound/access.jsonl --config new.toml\n\n\
                  Exit status: 0 where nothing would be decided differently, 1 where something \
                  would. A line has neither headers nor a query; names are not looked up."
)]
pub struct Replay {
    /// A file of the access log
    pub log: PathBuf,
}

/// `outbound status`
#[derive(Debug, Args)]
pub struct Status {
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
    /// How the agent is found.
    #[command(flatten)]
    pub admin: Admin,
}

/// `outbound reload`
#[derive(Debug, Args)]
#[command(
    after_help = "The configuration is taken whole or not at all: where anything is wrong with it, \
                  the last good one holds on. Exit status: 0 applied, 1 not."
)]
pub struct Reload {
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
    /// How the agent is found.
    #[command(flatten)]
    pub admin: Admin,
}

/// `outbound tenants`
#[derive(Debug, Args)]
pub struct Tenants {
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
    /// How the agent is found.
    #[command(flatten)]
    pub admin: Admin,
}

/// `outbound trust`
#[derive(Debug, Args)]
#[command(
    override_usage = "outbound trust [OPTIONS] <env|ca|bundle>\n       outbound trust [OPTIONS] install <DIRECTORY>"
)]
pub struct Trust {
    /// `env`: variables for a shell; `ca`: the authority's certificate; `bundle`: it and the
    /// host's roots; `install`: all of it as files, for a unit or a container
    #[arg(value_enum)]
    pub kind: TrustKind,
    /// Where `install` writes ca.pem, ca-bundle.pem, Java's cacerts, a directory for OpenSSL and
    /// a file of variables
    #[arg(value_name = "DIRECTORY", required_if_eq("kind", "install"))]
    pub directory: Option<PathBuf>,
    /// Where the workload sees that directory, if elsewhere
    #[arg(long, value_name = "PATH", requires = "directory")]
    pub seen_as: Option<PathBuf>,
    /// Whose workloads are to trust, where each tenant has an authority of its own
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// How the agent is found.
    #[command(flatten)]
    pub admin: Admin,
}

/// What `outbound trust` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TrustKind {
    /// Variables for a shell.
    Env,
    /// The authority's certificate.
    Ca,
    /// It and the host's roots.
    Bundle,
    /// All of it as files.
    Install,
}

/// `outbound doctor`
#[derive(Debug, Args)]
#[command(
    after_help = "Needs root; no agent, and disturbs none. Exit status: 0 when everything that \
                  should hold does, 1 when something does not or could not be proven."
)]
pub struct Doctor {
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// `outbound doctor-attack`
#[derive(Debug, Args)]
pub struct DoctorAttack {
    /// Which
    pub name: String,
}

/// `outbound detach`
#[derive(Debug, Args)]
pub struct Detach {
    /// Where the hooks are pinned [default: what the configuration says]
    #[arg(long, value_name = "DIRECTORY")]
    pub pin_dir: Option<PathBuf>,
}

/// How a command finds the running agent.
#[derive(Debug, Args)]
pub struct Admin {
    /// The agent's socket [default: what the configuration says]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

#[cfg(test)]
mod tests;
