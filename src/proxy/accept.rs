//! A connection arrives, is admitted, and is parked whenever there is nothing to be read on it.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use futures_lite::FutureExt;
use futures_lite::future::yield_now;

use super::client::{Client, is_trusted};
use super::worker::Worker;
use super::{Next, linger, tunnel};
use crate::io::buffer::Share;
use crate::io::listen::Listener;
use crate::io::reactor::Way;
use crate::io::slots::Slots;
use crate::io::stream::Stream;

/// Connections accepted before other tasks have their turn.
const BATCH: u64 = 64;
/// How long accepting pauses when there is no room, or no descriptor.
const PAUSE: Duration = Duration::from_millis(50);

/// How requests are served, and the boxes for the futures that do it.
pub(super) struct Server<F, S> {
    pub serve: S,
    pub slots: Slots<F>,
}

/// Accepts connections until the core ends.
pub(super) async fn accept<F, S>(worker: Rc<Worker>, listener: Listener, server: Rc<Server<F, S>>)
where
    F: Future<Output = (Client, Next)> + 'static,
    S: Fn(Rc<Worker>, Client, Share) -> F + 'static,
{
    for accepted in 1_u64.. {
        if room(&worker).await.is_err() {
            return;
        }
        match listener.accept().await {
            Ok((stream, peer)) => admit(&worker, stream, peer, &server),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return,
            Err(error) => {
                worker.stats.accept_pauses.add(1);
                tracing::warn!(%error, "cannot accept a connection; pausing");
                if worker.core.sleep(PAUSE).await.is_err() {
                    return;
                }
            }
        }
        if accepted.is_multiple_of(BATCH) {
            yield_now().await;
        }
    }
}

/// Waits until there is room for one more connection. Those that wait meanwhile wait in the kernel.
async fn room(worker: &Worker) -> io::Result<()> {
    let full = || worker.connections.load(Relaxed) >= worker.plan.limits.connections;
    if full() {
        worker.stats.accept_pauses.add(1);
        tracing::debug!("as many connections as allowed; pausing");
    }
    while full() {
        // A connection of this core that ends wakes us; those of other cores are looked for.
        let freed = poll_fn(|cx| {
            worker.waiting.replace(Some(cx.waker().clone()));
            if full() { Poll::Pending } else { Poll::Ready(Ok(())) }
        });
        freed.or(worker.core.sleep(PAUSE)).await?;
    }
    Ok(())
}

fn admit<F, S>(
    worker: &Rc<Worker>,
    stream: Stream,
    peer: Option<SocketAddr>,
    server: &Rc<Server<F, S>>,
) where
    F: Future<Output = (Client, Next)> + 'static,
    S: Fn(Rc<Worker>, Client, Share) -> F + 'static,
{
    let trusted = is_trusted(&worker.plan.headers.trusted, peer);
    let client = Client { stream, peer, trusted, served: false, unfinished: None };
    let admitted = Admitted::new(Rc::clone(worker));
    let server = Rc::clone(server);
    let task = async move {
        let worker = &admitted.0;
        let connection = AssertUnwindSafe(connection(worker, client, &server)).catch_unwind();
        if connection.await.is_err() {
            worker.stats.panics.add(1);
            tracing::error!("a connection ended in a panic, which is a defect in tidegate");
        }
    };
    worker.core.spawn(task).detach();
}

/// A connection that is counted while it lives.
struct Admitted(Rc<Worker>);

impl Admitted {
    fn new(worker: Rc<Worker>) -> Admitted {
        worker.connections.fetch_add(1, Relaxed);
        worker.stats.accepted.add(1);
        worker.stats.connections.up();
        Admitted(worker)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
        self.0.stats.connections.down();
        if let Some(waiting) = self.0.waiting.take() {
            waiting.wake();
        }
    }
}

/// Serves requests as they come, and waits between them with nothing but the client in hand.
async fn connection<F, S>(worker: &Rc<Worker>, mut client: Client, server: &Server<F, S>)
where
    F: Future<Output = (Client, Next)>,
    S: Fn(Rc<Worker>, Client, Share) -> F,
{
    while parked(worker, &client).await {
        let share = match worker.core.pool.try_share() {
            Some(share) => share,
            None => {
                worker.stats.buffer_waits.add(1);
                Box::pin(worker.core.pool.share()).await
            }
        };
        let next;
        (client, next) = server.slots.run((server.serve)(Rc::clone(worker), client, share)).await;
        worker.stats.buffers_used.set(worker.core.pool.lent() as u64);
        match next {
            Next::Again | Next::Park => {}
            Next::Close => return,
            Next::Reset => return client.stream.reset(),
            Next::Tunnel(tunnel) => {
                return Box::pin(tunnel::tunnel(worker, &client, tunnel)).await;
            }
            Next::Linger => return Box::pin(linger::linger(client.stream)).await,
        }
    }
}

/// Waits for octets. `false`: there will be none, or nobody wants them any more.
async fn parked(worker: &Worker, client: &Client) -> bool {
    client.expect_request(worker.plan.waits.read, worker.plan.waits.idle);
    let waited = poll_fn(|cx| match client.stream.poll_ready(Way::Read, cx) {
        Poll::Pending if worker.draining.get() && client.unfinished.is_none() => {
            Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
        }
        other => other,
    });
    match waited.await {
        Ok(()) => true,
        // A head that began and did not come is answered.
        Err(error) => error.kind() == io::ErrorKind::TimedOut && client.unfinished.is_some(),
    }
}
