//! One thread: a core of `io`, a listening socket, and the connections that come in on it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Shared;
use super::connection;
use crate::http::Request;
use crate::io::accept::Listener;
use crate::io::clock::Moment;
use crate::io::cores::Core;
use crate::io::signal::Mailbox;
use crate::io::stream::Stream;
use crate::io::turn::Slice;

/// Buffers that are kept for the next use; there are at most two for each connection with octets in hand.
const BUFFERS: usize = 1024;

/// Octets thrown away at once.
const DISCARD: usize = 128 * 1024;

/// How long accepting pauses when it fails, which is most often for want of descriptors.
const PAUSE: Duration = Duration::from_millis(5);

/// What the connections of one thread share.
pub(super) struct OriginThread {
    pub core: Rc<Core>,
    pub shared: Arc<Shared>,
    /// The head read last: only its storage outlives the look at it.
    pub head: RefCell<Request>,
    index: usize,
    scratch: RefCell<Box<[u8]>>,
}

/// Serves at `socket` until a message comes, and then cuts what is under way. `started` gets the mailbox for it.
///
/// # Errors
/// The kernel's, when it refuses descriptors at the start or, which is a defect, to wait for events.
pub(super) fn run(
    shared: Arc<Shared>,
    index: usize,
    socket: OwnedFd,
    started: &flume::Sender<Mailbox<()>>,
) -> io::Result<()> {
    let core = Core::new(index, BUFFERS, 0)?;
    let listener = Listener::new(socket, &core.reactor)?;
    let (mailbox, stop) = Mailbox::new(core.reactor.notifier());
    let thread = Rc::new(OriginThread {
        core: Rc::clone(&core),
        shared,
        head: RefCell::default(),
        index,
        scratch: RefCell::new(vec![0; DISCARD].into_boxed_slice()),
    });
    core.spawn(accept(thread, listener)).detach();
    // It fails only where nobody will ever stop us.
    let _ = started.send(mailbox);
    core.run(&stop, |()| core.reactor.abort())
}

/// Accepts connections until the thread is stopped.
async fn accept(thread: Rc<OriginThread>, listener: Listener) {
    let mut slice = Slice::default();
    while poll_fn(|cx| listener.poll_ready(cx)).await.is_ok() {
        match listener.try_accept() {
            Ok(Some((stream, _))) => {
                thread.core.spawn(connection::serve(Rc::clone(&thread), stream)).detach();
            }
            Ok(None) => {}
            Err(_) if thread.core.sleep(PAUSE).await.is_err() => return,
            Err(_) => {}
        }
        if slice.spend(0) {
            thread.core.reactor.next_turn().await;
        }
    }
}

impl OriginThread {
    /// The moment this turn began.
    pub fn now(&self) -> Moment {
        self.core.reactor.clock().now()
    }

    /// One more request is answered. This thread is the only one that writes its count.
    pub fn count(&self) {
        let count = &self.shared.served[self.index];
        count.store(count.load(Relaxed) + 1, Relaxed);
    }

    /// Throws away at most `most` octets that `stream` has received; otherwise as [`Stream::skip`].
    pub fn discard(&self, stream: &Stream, most: u64) -> crate::io::Result<Option<usize>> {
        let mut scratch = self.scratch.borrow_mut();
        let room = usize::try_from(most).unwrap_or(usize::MAX).min(scratch.len());
        stream.skip(&mut scratch[..room])
    }
}
