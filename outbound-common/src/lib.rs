//! What the kernel side (`outbound-ebpf`) and the agent agree on.
//!
//! Every value that crosses the system call is defined here once, `repr(C)`, without padding,
//! `bool` or payload enums; a type whose bytes are in network order says so in its name.
//!
//! | Map | Key | Value | Written by | Read by |
//! |---|---|---|---|---|
//! | `LAYOUT` | 0 | [`LAYOUT_VERSION`] | agent | agent |
//! | `TENANTS` | cgroup id | [`TenantEntry`] | agent | every hook |
//! | `LEVELS` | 0 | [`tenant::LEVELS`] at most | agent | whoever asks for the caller's tenant |
//! | `LISTENERS` | netns cookie | [`ListenerEntry`] | agent | connect, sendmsg, bind, belt |
//! | `SOCKETS` | socket | [`Flow`] | `sock_create` stamps, connect fills in | every hook |
//! | `FLOWS` | [`FlowKey`] | [`Flow`] | workload's `sock_ops`, belt (UDP) | agent's `sock_ops`, agent (UDP) |
//! | `ACCEPTED` | socket | [`Flow`] | agent's `sock_ops` | agent, by descriptor |
//! | `COUNTERS` | [`Counter`] | `u64` per CPU | every hook | agent |
//! | `ACCOUNTS` | slot | [`Account`] | whoever adds a flow or refuses | the same |
//! | `SWEPT` | slot | `u64` | agent | whoever adds a flow |
//! | `REFUSALS` | - | [`Refusal`] | every hook that refuses | agent |
#![cfg_attr(not(test), no_std)]

pub mod addr;
pub mod flow;
pub mod tenant;
pub mod counter;
pub mod refusal;
pub mod account;
pub mod names;
#[cfg(feature = "user")]
mod pod;

pub use account::Account;
pub use addr::{Addr16, PortBe};
pub use counter::Counter;
pub use flow::{Flow, FlowKey};
pub use refusal::Refusal;
pub use tenant::{ListenerEntry, TenantEntry};

/// Version of the layouts in this crate. An agent adopts pinned maps of this version only.
pub const LAYOUT_VERSION: u32 = 4;
