//! The path tier: the agent in this process, a stand-in for the kernel, everything else real.

mod identify;
mod http;
mod policy;
mod credentials;
mod tunnel;
mod drain;
