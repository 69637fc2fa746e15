//! The witness: sees every packet that arrives at the far end of the uplink.

use std::io::Read as _;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::Netns;

const ETH_P_ALL: i32 = 0x0003;

/// A packet socket in a namespace.
#[derive(Debug)]
pub struct Sniffer {
    socket: Socket,
}

impl Sniffer {
    /// Listens from now on.
    pub fn new(netns: &Netns) -> Self {
        let protocol = Protocol::from(i32::from((ETH_P_ALL as u16).to_be()));
        let socket = netns.enter(|| Socket::new(Domain::PACKET, Type::RAW, Some(protocol)));
        let socket = socket.expect("a packet socket");
        let patience = Some(Duration::from_millis(20));
        socket.set_read_timeout(patience).expect("a timeout");
        Self { socket }
    }

    /// The packets that have arrived, without those by which hosts find each other (ARP,
    /// neighbour discovery, multicast listener reports). One line each.
    pub fn packets(&mut self) -> Vec<String> {
        let mut packets = Vec::new();
        let mut buffer = [0; 2048];
        while let Ok(length) = self.socket.read(&mut buffer) {
            packets.extend(describe(&buffer[..length]));
        }
        packets
    }
}

fn describe(frame: &[u8]) -> Option<String> {
    const ICMPV6: u8 = 58;
    let packet = frame.get(14..)?;
    match [*frame.get(12)?, *frame.get(13)?] {
        [0x08, 0x00] => {
            let address =
                |at: usize| std::net::Ipv4Addr::from(*packet[at..].first_chunk().unwrap());
            let (from, to) = (address(12), address(16));
            (from.octets()[0] != 0).then(|| format!("{from} > {to} protocol {}", packet[9]))
        }
        [0x86, 0xdd] => {
            let address =
                |at: usize| std::net::Ipv6Addr::from(*packet[at..].first_chunk().unwrap());
            let (from, to, next) = (address(8), address(24), packet[6]);
            let is_chatter = next == ICMPV6 || to.is_multicast();
            (!is_chatter).then(|| format!("{from} > {to} next header {next}"))
        }
        _ => None,
    }
}
