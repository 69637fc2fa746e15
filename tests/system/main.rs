//! The system tier: the built binary as a process, real `curl` and `python3` as its tenants. Needs
//! root.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// What most tests begin with: tenants, policies, a credential, origins.
mod scene;

/// Requests as tenants make them: allowed, denied, with a credential.
mod request;
/// Names as tenants look them up.
mod dns;
/// HTTPS by name, passed through.
mod tls;
/// Whom programs trust, and who sends for them.
mod trust;
mod worker_test;
/// What the process of an outbound worker has given up.
mod confined;
/// Much in little memory, and a peer that is slow.
mod transfer;
/// Upstreams, and an agent, that are gone without a word.
mod vanished;
/// Starting, and refusing to.
mod start;
/// Another configuration while the agent runs.
mod reload;
/// Ending, crashing, coming back, being taken off.
mod lifecycle;
/// Everything dies at random moments, under load.
mod storm;
/// What `outbound run` gives back and keeps away.
mod run;
/// Rotation, a full disk, standard output.
mod log;
/// Connects that fail as their upstreams do.
mod errors;
/// How such connects wait: bounded, apart, dialled once, not without an agent, and at what price.
mod held;
/// What no output may tell.
mod secrets;
/// What operators ask for: metrics, health, status.
mod operators;
/// The admin API against its document.
mod api;
/// Workloads in network namespaces of their own.
mod namespaces;
/// Servers of tenants.
mod inbound;
/// What runs already, put under a tenant and taken off.
mod assign;
/// Tenants dispatched with parameters, and what their outbound worker makes of them.
mod dispatch;
/// Cgroups that become a tenant's as they appear.
mod patterns;
/// `outbound doctor`.
mod doctor;
/// Programs that tenants use, each with what it asks for, what it is refused and what it says.
mod clients;
/// HTTP/2 as no client should speak it.
mod abuse;
/// What README and unit tell newcomers to do.
mod newcomer;
