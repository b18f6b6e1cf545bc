//! Octets that nobody looks at.

use std::io;

use rustix::net::RecvFlags;

use super::stream::Stream;

/// Drops what there is on a TCP `stream`, at most `scratch.len()` octets, without copying it out of the kernel
/// (tcp(7), `MSG_TRUNC`): what `scratch` holds afterwards means nothing. `None`: nothing now; 0: the end.
pub fn discard(stream: &Stream, scratch: &mut [u8]) -> io::Result<Option<usize>> {
    let room = scratch.len();
    let dropped = rustix::net::recv(stream.fd(), scratch, RecvFlags::TRUNC);
    stream.received(dropped.map(|(_, octets)| octets), room)
}
