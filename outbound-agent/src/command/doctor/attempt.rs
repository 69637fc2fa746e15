//! What the process in the scratch cgroup does: one attempt, each call of it noted.

pub(super) mod stream;
pub(super) mod datagram;
pub(super) mod other;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::attack::Attack;
use super::network::UPLINK;

/// How long a call may take that waits for an answer.
const PATIENCE: Duration = Duration::from_millis(300);

/// Who has no rights.
const NOBODY: u32 = 65_534;

/// Somebody outside, and a resolver there.
const OUTSIDE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const OUTSIDE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7));
const MAPPED: IpAddr = IpAddr::V6(Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped());

/// A call and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    /// The system call, or the option that it sets.
    pub(super) call: String,
    /// The errno's name; `None` where it succeeded.
    pub(super) error: Option<String>,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Steps(Vec<Step>);

impl Steps {
    /// Notes a call; gives its result where there is one.
    fn note<T, E: Into<io::Error>>(&mut self, call: &str, result: Result<T, E>) -> Option<T> {
        let (result, error) = match result {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(name(&error.into()))),
        };
        self.0.push(Step {
            call: call.to_owned(),
            error,
        });
        result
    }

    /// A socket. What the attack sets out with is not worth a note, unless it is refused.
    fn socket(&mut self, domain: Domain, kind: Type, protocol: i32) -> Option<Socket> {
        let made = Socket::new(domain, kind, Some(Protocol::from(protocol)));
        match made {
            Ok(socket) => Some(socket),
            Err(error) => self.note("socket", Err(error)),
        }
    }

    fn connect(&mut self, socket: &Socket, to: SocketAddr) -> Option<()> {
        self.note("connect", socket.connect_timeout(&to.into(), PATIENCE))
    }

    fn send_to(&mut self, socket: &Socket, to: SocketAddr) -> Option<()> {
        self.note("sendto", socket.send_to(PAYLOAD, &to.into()))
            .map(drop)
    }

    /// Sets an option. The attack goes on where it is refused.
    fn option(&mut self, socket: &Socket, name: &str, option: (i32, i32), value: &[u8]) {
        let (level, number) = option;
        self.note(
            name,
            crate::sys::set_option(std::os::fd::AsFd::as_fd(socket), level, number, value),
        );
    }

    /// The number of the interface that leads outside.
    fn uplink(&mut self) -> Option<u32> {
        match nix::net::if_::if_nametoindex(UPLINK) {
            Ok(index) => Some(index),
            Err(errno) => self.note("if_nametoindex", Err(errno)),
        }
    }
}

/// What must not get out.
const PAYLOAD: &[u8] = b"outbound doctor";

/// Makes the attempt, without rights unless it is about what needs them.
pub(super) fn make(attack: &Attack) -> Vec<Step> {
    let mut steps = Steps::default();
    if !attack.as_root
        && let Err(errno) = give_up_rights()
    {
        steps.note::<(), _>("setresuid", Err(errno));
        return steps.0;
    }
    let _ended_early = (attack.attempt)(&mut steps);
    steps.0
}

fn give_up_rights() -> nix::Result<()> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)
}

fn name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", Errno::from_raw(number)),
        None if error.kind() == io::ErrorKind::TimedOut => "no answer".to_owned(),
        None => error.to_string(),
    }
}

/// The socket that is the standard input.
fn inherited_socket(steps: &mut Steps) -> Option<Socket> {
    use std::os::fd::AsFd as _;
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    match stdin {
        Ok(descriptor) => Some(Socket::from(descriptor)),
        Err(error) => steps.note("dup", Err(error)),
    }
}

/// An IPv4 packet to somebody outside, without anything in it.
fn ip_packet(from: Ipv4Addr) -> Vec<u8> {
    const VERSION_AND_LENGTH: u8 = 0x45;
    const TTL: u8 = 64;
    const UDP: u8 = 17;
    let mut packet = vec![VERSION_AND_LENGTH, 0, 0, 20, 0, 1, 0, 0, TTL, UDP, 0, 0];
    packet.extend(from.octets());
    packet.extend([192, 0, 2, 7]);
    packet
}
