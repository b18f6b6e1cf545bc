//! A close that lets the peer read what was sent (RFC 9112 section 9.6): we say that nothing more
//! will come, and read and drop what the peer still sends, for a while. To close at once with octets
//! unread would make the kernel send a reset, which can wipe out the answer before it is read.

use std::time::Duration;

use crate::io::reactor::Way;
use crate::io::stream::Stream;

/// How long the peer has, in all.
const TIME: Duration = Duration::from_secs(2);
/// How much it may send, in octets.
const OCTETS: usize = 4 * 1024 * 1024;

pub(super) async fn linger(stream: Stream) {
    if stream.finish().is_err() {
        return;
    }
    stream.deadline_in(Way::Read, TIME);
    let mut octets = 0;
    while octets < OCTETS && stream.ready(Way::Read).await.is_ok() {
        match stream.read(&mut [0; 4096]) {
            Ok(Some(0)) | Err(_) => return,
            Ok(Some(n)) => octets += n,
            Ok(None) => {}
        }
    }
}
