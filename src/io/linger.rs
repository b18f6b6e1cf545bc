//! A close that lets the peer read what was sent (RFC 9112 section 9.6): we say that nothing more will come, then read
//! and drop what the peer still sends, for a while. To close at once with octets unread would make the kernel send a
//! reset, which can wipe out the answer before it is read.

use std::future::poll_fn;
use std::time::Duration;

use futures_lite::FutureExt;

use super::error::Result;
use super::reactor::Direction;
use super::stream::Stream;
use super::turn::Slice;

/// How long the peer has, in all.
const TIME: Duration = Duration::from_secs(2);

/// Finishes `stream` and waits until the peer has ended, for 2 s at most. Reads up to `most` octets of what it still
/// sends: after that it has to stop by itself. What it has on the way fills the kernel's buffers, and meanwhile it may
/// read the answer.
pub async fn linger(stream: &Stream, most: usize) {
    if stream.finished(TIME).await.is_err() {
        return;
    }
    stream.no_deadline(Direction::Read);
    let gone = async {
        swallow(stream, most).await?;
        poll_fn(|cx| stream.poll_closed(true, cx)).await
    };
    // Either way the connection ends here.
    let _ = gone.or(stream.reactor().sleep(TIME)).await;
}

/// Reads and drops. Ends with the peer, or when it has sent enough.
async fn swallow(stream: &Stream, most: usize) -> Result<()> {
    let (mut octets, mut slice) = (0, Slice::default());
    while octets < most {
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
