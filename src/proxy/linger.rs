//! A close that lets the peer read what was sent (RFC 9112 section 9.6): we say that nothing more
//! will come, and read and drop what the peer still sends, for a while. To close at once with octets
//! unread would make the kernel send a reset, which can wipe out the answer before it is read.

use std::future::poll_fn;
use std::time::Duration;

use futures_lite::FutureExt;

use crate::io::Result;
use crate::io::reactor::Direction;
use crate::io::stream::Stream;
use crate::io::turn::Slice;

/// How long the peer has, in all.
const TIME: Duration = Duration::from_secs(2);
/// How much of what it sends is read, in octets. After that it has to stop by itself: what it has on
/// the way fills the kernel's buffers, and meanwhile it may read our answer.
const OCTETS: usize = 1024 * 1024;

pub(super) async fn linger(stream: &Stream) {
    if stream.finish().is_err() {
        return;
    }
    stream.no_deadline(Direction::Read);
    let gone = async {
        swallow(stream).await?;
        poll_fn(|cx| stream.poll_closed(true, cx)).await
    };
    // Either way the connection ends here.
    let _ = gone.or(stream.reactor().sleep(TIME)).await;
}

/// Reads and drops. Ends with the peer, or when it has sent enough.
async fn swallow(stream: &Stream) -> Result<()> {
    let (mut octets, mut slice) = (0, Slice::default());
    while octets < OCTETS {
        stream.ready(Direction::Read).await?;
        match stream.read(&mut [0; 4096])? {
            Some(0) => return Ok(()),
            Some(n) => octets += n,
            None => {}
        }
        if slice.spend(0) {
            stream.reactor().next_turn().await;
        }
    }
    Ok(())
}
