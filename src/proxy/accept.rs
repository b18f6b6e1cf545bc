//! A connection arrives, is admitted, and is parked whenever there is nothing to be read on it.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use futures_lite::FutureExt;

use super::client::Client;
use super::core::{Complaint, Lack, OpenListener, Worker, room};
#[cfg(feature = "tls")]
use super::handshake;
use super::{Next, Served, tunnel};
use crate::config::Listen;
use crate::io::accept::Listener;
use crate::io::future_pool::FuturePool;
use crate::io::linger::linger;
use crate::io::listen::BACKLOG;
use crate::io::reactor::{Direction, Reactor};
use crate::io::stream::Stream;
use crate::io::{Error, Result};

/// Connections accepted before other tasks have their turn.
const BATCH: u64 = 64;
/// How long accepting pauses when there is no room, or no descriptor.
const PAUSE: Duration = Duration::from_millis(50);

/// Once draining, a connection is closed when it has been silent for so long: at once, if it was idle
/// before, but one just accepted or answered may have a request on the way.
const GRACE: Duration = Duration::from_secs(1);

/// Octets that are read, and dropped, of what a client still sends behind an answer that closes.
const LINGER: usize = 1024 * 1024;

/// Those who serve requests.
pub(super) type Servers = FuturePool<Client, Served>;

/// Accepts connections until the core ends; once draining, only those that wait already. They have
/// been completed by the kernel, and closing the listening socket would reset them.
pub(super) async fn accept(worker: Rc<Worker>, accepting: Rc<Accepting>, servers: Rc<Servers>) {
    let Accepting { listen, listener, .. } = &*accepting;
    let mut late = 0;
    let complaint = Complaint::default();
    for turn in 1_u64.. {
        match listener.try_accept() {
            Ok(Some((stream, peer))) => {
                worker.stats.accepted.add(1);
                let found = admission(&worker, stream, &complaint).await;
                let Ok((admission, stream)) = found else { return };
                admit(admission, stream, (peer, listen), &servers);
                late += i32::from(accepting.is_ending(&worker));
                if late > BACKLOG {
                    return;
                }
            }
            Ok(None) if accepting.is_ending(&worker) => return,
            Ok(None) if accepting.more(&worker).await.is_err() => return,
            Ok(None) => {}
            Err(Error::Aborted) => return,
            Err(error) => {
                worker.stats.accept_pauses.add(1);
                complain(&complaint, &worker, &error);
                let made =
                    error.is_out_of_resources() && room::make_room(&worker, Lack::Descriptor);
                if pause(&worker, made).await.is_err() {
                    return;
                }
            }
        }
        if turn.is_multiple_of(BATCH) {
            worker.core.reactor.next_turn().await;
        }
    }
}

/// A socket at which connections are accepted.
pub(super) struct Accepting {
    listen: Rc<Listen>,
    listener: Listener,
    /// No plan has it any more: what waits already is accepted, and then it is closed.
    ending: Cell<bool>,
}

impl Accepting {
    /// # Errors
    /// When the kernel does not watch it.
    pub fn new(open: OpenListener, reactor: &Rc<Reactor>) -> io::Result<Accepting> {
        let OpenListener { listen, socket } = open;
        let (listen, ending) = (Rc::new(listen), Cell::new(false));
        Ok(Accepting { listen, listener: Listener::new(socket, reactor)?, ending })
    }

    /// Has it end if it is one of those at `listen`, and says whether it is.
    pub fn end_if(&self, listen: &Listen) -> bool {
        let is_it = *self.listen == *listen;
        self.ending.set(self.ending.get() || is_it);
        is_it
    }

    fn is_ending(&self, worker: &Worker) -> bool {
        worker.draining.get() || self.ending.get()
    }

    /// Waits until more connections may be waiting, or it has to end.
    async fn more(&self, worker: &Worker) -> Result<()> {
        let waited = poll_fn(|cx| match self.listener.poll_ready(cx) {
            Poll::Pending if self.is_ending(worker) => Poll::Ready(Ok(())),
            other => other,
        });
        waited.await
    }
}

/// An admission for a connection that was accepted, when there is one, and a descriptor for it that leaves enough
/// to the upstreams. Idle clients have to make room. Later connections wait in the kernel meanwhile.
async fn admission(
    worker: &Rc<Worker>,
    stream: Stream,
    complaint: &Complaint,
) -> Result<(Admission, Stream)> {
    let most = worker.marks.clients;
    if stream.number() < most
        && let Some(admission) = Admission::take(worker)
    {
        return Ok((admission, stream));
    }
    worker.stats.accept_pauses.add(1);
    loop {
        let scarce = stream.number() >= most && !stream.next_number().is_ok_and(|next| next < most);
        let made = if scarce {
            complain(complaint, worker, &"few descriptors are left");
            room::make_room(worker, Lack::Descriptor)
        } else if let Some(admission) = Admission::take(worker) {
            if stream.number() < most {
                return Ok((admission, stream));
            }
            // Its own number is one of those that are kept for others.
            if let Ok(renumbered) = stream.renumbered() {
                return Ok((admission, renumbered));
            }
            false
        } else {
            complain(complaint, worker, &"there are --max-connections clients");
            room::make_room(worker, Lack::Connection)
        };
        pause(worker, made).await?;
    }
}

/// Waits until the room that was made is there; or, if none was, until a client leaves, or for a moment.
async fn pause(worker: &Worker, made: bool) -> Result<()> {
    if made {
        worker.core.reactor.next_turn().await;
        return Ok(());
    }
    // A client of this core that leaves wakes us; those of other cores are looked for.
    let mut first = true;
    let left = poll_fn(|cx| {
        worker.waiting.borrow_mut().push(cx.waker().clone());
        if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(Ok(())) }
    });
    left.or(worker.core.sleep(PAUSE)).await
}

/// Says that there is no room, once in a while.
fn complain(complaint: &Complaint, worker: &Worker, reason: &dyn fmt::Display) {
    if complaint.is_due(worker.now()) {
        tracing::warn!(%reason, "no room for another client: closing idle ones, or it waits");
    }
}

fn admit(
    admission: Admission,
    stream: Stream,
    (peer, listen): (Option<SocketAddr>, &Rc<Listen>),
    servers: &Rc<Servers>,
) {
    let worker = Rc::clone(&admission.0);
    tracing::debug!(?peer, "accepted");
    let epoch = worker.epoch();
    let mut client = Client::new(stream, peer, Rc::clone(listen), &epoch);
    if !client.take_permit(&worker.client_permits, &epoch.plan.listener) {
        worker.stats.client_refused.add(1);
        return;
    }
    // It lives here, and is lent: an async function keeps what it is given twice, and this is what an
    // idle connection consists of.
    let mut client = Some(client);
    let counted = CountedConnection::new(admission);
    let servers = Rc::clone(servers);
    let task = async move {
        let worker = &counted.0.0;
        let connection = AssertUnwindSafe(connection(worker, &mut client, &servers)).catch_unwind();
        if connection.await.is_err() {
            worker.stats.panics.add(1);
            tracing::error!("a connection ended in a panic, which is a defect in tidegate");
        }
    };
    worker.core.spawn(task).detach();
}

/// One of the connections that all cores together may have.
struct Admission(Rc<Worker>);

impl Admission {
    fn take(worker: &Rc<Worker>) -> Option<Admission> {
        let most = worker.epoch().plan.process.max_connections;
        let more = |have| (have < most).then_some(have + 1);
        worker.connections.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Admission(Rc::clone(worker)))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
        for waiting in self.0.waiting.take() {
            waiting.wake();
        }
    }
}

/// A connection that is counted while it lives.
struct CountedConnection(Admission);

impl CountedConnection {
    fn new(admission: Admission) -> CountedConnection {
        admission.0.stats.connections.up();
        CountedConnection(admission)
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.0.stats.connections.down();
    }
}

/// Serves requests as they come, and waits between them with nothing but the client in hand.
async fn connection(worker: &Worker, client: &mut Option<Client>, servers: &Servers) {
    #[cfg(feature = "tls")]
    if worker.epoch().tls_of(client).is_some() && !Box::pin(handshake::made(worker, client)).await {
        return;
    }
    while parked(worker, client).await {
        let Some(ready) = client.take() else { return };
        let (served, next) = servers.run(ready).await;
        worker.tell_buffers();
        // In place of the client it was: what follows borrows it, so that it is not kept twice.
        let here = client.insert(served);
        match next {
            Next::Again | Next::Park => {}
            Next::Close => return,
            Next::Reset => return here.stream.reset(),
            Next::Linger => return Box::pin(linger(&here.stream, LINGER)).await,
            Next::Tunnel(tunnel) => return Box::pin(tunnel::tunnel(worker, here, tunnel)).await,
        }
    }
}

/// Waits for octets. `false`: there will be none, or nobody wants them any more.
pub(super) async fn parked(worker: &Worker, client: &Option<Client>) -> bool {
    let Some(client) = client else { return false };
    let hurry = {
        let listener = &worker.epoch().plan.listener;
        client.expect_request(listener);
        worker.now() + GRACE.min(listener.idle_timeout)
    };
    let waited = poll_fn(|cx| {
        if worker.draining.get() && client.unfinished.is_none() {
            client.stream.deadline_at(Direction::Read, hurry);
        }
        client.stream.poll_ready(Direction::Read, cx)
    });
    match waited.await {
        Ok(()) => true,
        // A head that began and did not come in time is answered. Or else somebody needs the room.
        Err(Error::Deadline) => {
            let late = client.unfinished.as_ref().is_some_and(|head| worker.late(head.since));
            // Boxed, for it is rare: a parked connection should not carry the room for it.
            late || Box::pin(just_came(worker, client)).await
        }
        Err(_) => false,
    }
}

/// Is there something the reactor has not told us of yet? A request that came in time for the kernel
/// is not lost to a close.
async fn just_came(worker: &Worker, client: &Client) -> bool {
    if client.stream.is_quiet() {
        return false;
    }
    client.stream.deadline_in(Direction::Read, worker.epoch().plan.listener.read_timeout);
    client.stream.ready(Direction::Read).await.is_ok()
}
