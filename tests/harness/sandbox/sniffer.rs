//! The witness: sees every packet that arrives at the far end of the uplink.

use std::io::Read as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Netns, eventually};

const ETH_P_ALL: u16 = 0x0003;
const HOP_BY_HOP: u8 = 0;
const ICMPV6: u8 = 58;

/// A packet socket in a namespace.
#[derive(Debug)]
pub struct Sniffer {
    socket: Socket,
}

impl Sniffer {
    /// Listens from now on.
    pub fn new(netns: &Netns) -> Self {
        let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
        let socket = netns.enter(|| Socket::new(Domain::PACKET, Type::RAW, Some(protocol)));
        let socket = socket.expect("a packet socket");
        let patience = Some(Duration::from_millis(20));
        socket.set_read_timeout(patience).expect("a timeout");
        Self { socket }
    }

    /// Waits for at least one packet, and takes what there is.
    #[track_caller]
    pub fn await_packet(&mut self) {
        eventually("a packet outside", || {
            (!self.packets().is_empty()).then_some(())
        });
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
    let packet = frame.get(14..)?;
    match [*frame.get(12)?, *frame.get(13)?] {
        [0x08, 0x00] => {
            let from = Ipv4Addr::from(*packet.get(12..)?.first_chunk()?);
            let to = Ipv4Addr::from(*packet.get(16..)?.first_chunk()?);
            Some(format!("{from} > {to} protocol {}", packet[9]))
        }
        [0x86, 0xdd] => {
            let from = Ipv6Addr::from(*packet.get(8..)?.first_chunk()?);
            let to = Ipv6Addr::from(*packet.get(24..)?.first_chunk()?);
            let next = packet[6];
            // Echo requests are traffic; types from 130 on are how hosts find each other, some of
            // them behind a router alert.
            let is_chatter = match next {
                ICMPV6 => packet.get(40).is_some_and(|&kind| kind >= 130),
                HOP_BY_HOP => packet.get(40) == Some(&ICMPV6),
                _ => false,
            };
            (!is_chatter).then(|| format!("{from} > {to} next header {next}"))
        }
        _ => None,
    }
}
