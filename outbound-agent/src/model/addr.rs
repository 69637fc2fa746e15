//! One type for each role that an address plays, so that they cannot be mixed up.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

macro_rules! role {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(pub SocketAddr);

        impl $name {
            /// The address without its port; IPv4-mapped addresses unwrapped.
            pub fn ip(self) -> IpAddr {
                self.0.ip().to_canonical()
            }

            /// The port.
            pub const fn port(self) -> u16 {
                self.0.port()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                SocketAddr::new(self.ip(), self.port()).fmt(f)
            }
        }
    };
}

role! {
    /// The workload's end of a connection, as the agent sees it.
    Downstream
}
role! {
    /// Where the workload wanted to connect before the rewrite.
    OriginalDst
}
role! {
    /// Where the agent dials.
    UpstreamAddr
}
