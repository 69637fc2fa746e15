//! What `nix` and `socket2` have no name for.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::libc;

use super::checked;

/// Sets a socket option from its octets.
pub fn set_option(socket: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: the kernel reads as many octets of the value as it is told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    checked(result.into()).map(drop)
}

/// Sends a frame, its header included, by an interface: packet(7).
pub fn send_frame(socket: BorrowedFd<'_>, interface: u32, frame: &[u8]) -> io::Result<usize> {
    // SAFETY: a struct of integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = interface as i32;
    // SAFETY: both pointers are to what lives here, of the sizes that the call is told.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    checked(sent as libc::c_long).map(|sent| sent as usize)
}
