//! The kernel tier: real programs on the running kernel, real cgroups and namespaces. Needs root.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it measured"
)]

/// The agent's place in the kernel tier.
mod stage;

/// Loading, adopting, refusing what is not known.
mod load;
/// A workload's connect reaches the agent with what it asked for.
mod connect;
/// Whose connection it is.
mod identity;
/// Taking the programs off.
mod detach;
/// Datagrams: DNS and nothing else.
mod datagram;
/// DNS, with the agent behind it.
mod resolver;
/// Ways around, each with its control.
mod bypass;
/// The agent comes and goes.
mod lifetime;
/// What is full.
mod overflow;
/// Programs of others beside ours.
mod others;
/// Families that a kernel may lack.
mod families;
/// Everything goes wrong at once.
mod faults;
/// A cgroup becomes a tenant, with what runs in it.
mod enrolment;
