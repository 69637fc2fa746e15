//! The path tier: the agent in this process, a stand-in for the kernel, everything else real.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod identify;
mod http;
mod smuggling;
mod agreement;
mod proxied;
mod websocket;
mod http2;
mod waits;
mod evasion;
mod interim;
mod streams;
mod policy;
mod rules;
mod conditions;
mod credentials;
mod worker;
mod limits;
mod tunnel;
mod tls;
mod authority;
mod hello;
mod mtls;
mod dns;
mod drain;
mod reload;

/// Two tenants that may reach `api.test` and `unknown.test` on loopback, any port.
const OPEN: &str = r#"
[limits]
detect = "5s"
[resolver]
hosts = { "api.test" = ["127.0.0.1"] }
[policies.p]
allow = ["api.test:*", "unknown.test:*", "127.0.0.0/8:*"]
[[tenants]]
name = "acme"
policy = "p"
cgroup = "/acme"
[[tenants]]
name = "globex"
policy = "p"
cgroup = "/globex"
"#;
