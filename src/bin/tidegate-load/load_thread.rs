//! One thread: its connections, its clock, its counts.

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[cfg(feature = "tls")]
use rustls::HandshakeKind;
use smol::lock::Semaphore;

use super::connection;
use super::dispatcher::Dispatcher;
use super::load_fault::LoadFault;
use super::response::Digest;
use super::schedule::Schedule;
#[cfg(feature = "tls")]
use super::secure;
use super::tally::Tally;
use super::workload::{Workload, WorkloadKind};
use tidegate::io::address::Address;
use tidegate::io::alarm::Alarm;
use tidegate::io::clock::Moment;
use tidegate::io::cores::Core;
use tidegate::io::signal::Mailbox;
use tidegate::io::stream::{Dialling, Stream};
#[cfg(feature = "tls")]
use tidegate::io::tls::{Tls, TlsBuffers};

/// Octets read at once.
const SCRATCH: usize = 256 * 1024;
/// Connections being opened at once, lest a server's queue overflow.
const DIALS: usize = 128;

/// Tells a thread to end the run now.
#[derive(Clone, Copy, Debug)]
pub struct Stop;

/// What a thread has to say.
#[derive(Debug)]
pub enum ThreadEvent {
    /// It runs; here is its mailbox.
    Runs(Mailbox<Stop>),
    /// Of its idle connections so many stand, and the others never will.
    Stand(usize),
    /// It is done. `false`: it could connect to nobody.
    Done(Box<Tally>, bool),
    /// The kernel refused it something.
    Failed(io::Error),
}

/// What others may see of a thread while it runs.
#[derive(Debug, Default)]
pub struct LiveCounts {
    /// Requests answered as expected.
    pub ok: AtomicU64,
    /// Requests that failed.
    pub failed: AtomicU64,
}

/// What one thread works with.
pub struct LoadThread {
    pub(super) core: Rc<Core>,
    pub(super) workload: Arc<Workload>,
    pub(super) dispatcher: Dispatcher,
    /// What a WebSocket message carries.
    pub(super) payload: Option<Rc<[u8]>>,
    pub(super) dials: Semaphore,
    #[cfg(feature = "tls")]
    tls_buffers: Rc<TlsBuffers>,
    index: usize,
    live: Arc<LiveCounts>,
    events: flume::Sender<ThreadEvent>,
    scratch: RefCell<Box<[u8]>>,
    tally: RefCell<Tally>,
    counts: Counts,
    /// Which of the addresses took our first connection.
    known: Cell<Option<usize>>,
    began: Cell<Option<Moment>>,
    ended: Cell<Option<Moment>>,
    spent_before: Cell<[Duration; 2]>,
}

/// Connections of this thread.
#[derive(Debug, Default)]
struct Counts {
    /// All there are to be.
    all: usize,
    /// Opened, or failed to.
    tried: Cell<usize>,
    standing: Cell<usize>,
    /// Idle ones that stand or never will.
    settled: Cell<usize>,
    gone: Cell<usize>,
}

impl std::fmt::Debug for LoadThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadThread").field("index", &self.index).finish()
    }
}

/// Runs the part of thread `index` to its end, and tells what there is to tell.
pub fn run(
    workload: Arc<Workload>,
    index: usize,
    live: Arc<LiveCounts>,
    events: flume::Sender<ThreadEvent>,
) {
    let last = match work(workload, index, live, &events) {
        Ok((tally, connected)) => ThreadEvent::Done(Box::new(tally), connected),
        Err(error) => ThreadEvent::Failed(error),
    };
    // Nobody listens only if the main thread is gone, and then nobody needs to know.
    let _ = events.send(last);
}

fn work(
    workload: Arc<Workload>,
    index: usize,
    live: Arc<LiveCounts>,
    events: &flume::Sender<ThreadEvent>,
) -> io::Result<(Tally, bool)> {
    let core = Core::new(index, 0, 0)?;
    let (mailbox, letters) = Mailbox::new(core.reactor.notifier());
    let _ = events.send(ThreadEvent::Runs(mailbox));
    let all = quota(workload.connections as u64, index, workload.threads) as usize;
    let most = workload.requests.map(|requests| quota(requests, index, workload.threads));
    let thread = Rc::new(LoadThread {
        core: Rc::clone(&core),
        dispatcher: Dispatcher::new(most),
        payload: workload.payload.as_deref().map(Rc::from),
        dials: Semaphore::new(DIALS),
        #[cfg(feature = "tls")]
        tls_buffers: TlsBuffers::new(),
        workload,
        index,
        live,
        events: events.clone(),
        scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
        tally: RefCell::default(),
        counts: Counts { all, ..Counts::default() },
        known: Cell::default(),
        began: Cell::default(),
        ended: Cell::default(),
        spent_before: Cell::default(),
    });
    core.reactor.clock().tick();
    for _ in 0..all {
        core.spawn(connection::run(Rc::clone(&thread))).detach();
    }
    core.run(&letters, |Stop| thread.end())?;
    thread.end();
    Ok((thread.sum_up(), thread.known.get().is_some()))
}

/// The part of `all` that thread `index` of `threads` gets.
fn quota(all: u64, index: usize, threads: usize) -> u64 {
    let (index, threads) = (index as u64, threads as u64);
    all / threads + u64::from(index < all % threads)
}

impl LoadThread {
    /// The moment this turn began.
    pub fn now(&self) -> Moment {
        self.core.reactor.clock().now()
    }

    /// The run is over; what fails from now on does not count.
    pub fn has_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Space for what is read, until whoever has it waits.
    pub(super) fn scratch(&self) -> RefMut<'_, Box<[u8]>> {
        self.scratch.borrow_mut()
    }

    pub(super) fn count_in(&self, octets: usize) {
        self.tally.borrow_mut().bytes_in += octets as u64;
    }

    pub(super) fn count_out(&self, octets: usize) {
        self.tally.borrow_mut().bytes_out += octets as u64;
    }

    pub(super) fn count_reconnect(&self) {
        self.tally.borrow_mut().reconnects += 1;
    }

    pub(super) fn saw_status(&self, status: u16) {
        self.tally.borrow_mut().saw_status(status);
    }

    pub(super) fn saw_digest(&self, digest: Digest) {
        self.tally.borrow_mut().digest = Some(digest);
    }

    /// A request has come to its end; it was due at `due`.
    pub(super) fn note(&self, result: Result<(), LoadFault>, due: Moment) {
        let mut tally = self.tally.borrow_mut();
        match result {
            Ok(()) => tally.answered(self.now() - due),
            Err(fault) => tally.failed_by(fault),
        }
        self.live.ok.store(tally.ok, Relaxed);
        if result.is_err() {
            self.live.failed.store(tally.failed(), Relaxed);
        }
    }

    /// Opens a connection to the server: at the address that took one before, or at the first that does.
    pub(super) async fn dial(&self) -> Result<Stream, LoadFault> {
        let places = self.known.get().map_or(0..self.workload.addresses.len(), |at| at..at + 1);
        let mut last = LoadFault::Other;
        for place in places {
            let address = Address::Tcp(self.workload.addresses[place]);
            match Stream::connect(
                &address,
                self.workload.timeout,
                Dialling::default(),
                &self.core.reactor,
            )
            .await
            {
                Ok(stream) => {
                    self.known.set(Some(place));
                    return self.secured(stream).await;
                }
                Err(error) => last = LoadFault::connecting(error),
            }
        }
        Err(last)
    }

    /// The same connection, with its handshake made where one is to be made.
    #[cfg(feature = "tls")]
    async fn secured(&self, mut stream: Stream) -> Result<Stream, LoadFault> {
        let Some(target) = &self.workload.tls else { return Ok(stream) };
        let tls = Tls::client(Arc::clone(&target.config), target.name.clone(), &self.tls_buffers)
            .map_err(|_| LoadFault::Handshake)?;
        let until = stream.reactor().clock().now() + self.workload.timeout;
        stream.secure(tls, until, None).await.map_err(LoadFault::securing)?;
        if let Some(tls) = stream.tls() {
            let mut tally = self.tally.borrow_mut();
            let resumed = tls.agreed(|with| with.handshake_kind()) == Some(HandshakeKind::Resumed);
            tally.handshakes[usize::from(resumed)] += 1;
            if tally.agreed.is_none() {
                tally.agreed = Some(tls.agreed(secure::agreed));
            }
        }
        Ok(stream)
    }

    #[cfg(not(feature = "tls"))]
    async fn secured(&self, stream: Stream) -> Result<Stream, LoadFault> {
        Ok(stream)
    }

    /// A connection was opened for the first time, or could not be. The last one starts the clock.
    pub(super) fn opened(self: &Rc<Self>, result: Result<(), LoadFault>) {
        if self.has_ended() {
            return;
        }
        if let Err(fault) = result {
            self.note(Err(fault), self.now());
            if self.workload.kind == WorkloadKind::Idle {
                self.stands(false);
            }
        }
        let counts = &self.counts;
        counts.tried.set(counts.tried.get() + 1);
        if counts.tried.get() < counts.all {
            return;
        }
        if self.known.get().is_none() {
            return self.end();
        }
        let (rate, now) = (self.workload.rate, self.now());
        let end = self.workload.duration.map(|duration| now + self.workload.warm_up + duration);
        self.began.set(Some(now));
        self.spent_before.set(Core::spent());
        let (index, threads) = (self.index, self.workload.threads);
        self.dispatcher.open(rate.map(|rate| Schedule::new(rate, now, end, index, threads)));
        self.core.spawn(keep_time(Rc::clone(self), end)).detach();
        if rate.is_some() {
            self.core.spawn(pace(Rc::clone(self))).detach();
        }
    }

    /// An idle connection stands, or never will. The last one is told of.
    pub(super) fn stands(&self, stands: bool) {
        let counts = &self.counts;
        counts.standing.set(counts.standing.get() + usize::from(stands));
        counts.settled.set(counts.settled.get() + 1);
        if counts.settled.get() == counts.all {
            let _ = self.events.send(ThreadEvent::Stand(counts.standing.get()));
        }
    }

    /// A connection's task is at its end.
    pub(super) fn left(&self) {
        self.counts.gone.set(self.counts.gone.get() + 1);
        if self.counts.gone.get() == self.counts.all {
            self.end();
        }
    }

    /// The run is over: everybody who waits goes home.
    fn end(&self) {
        if !self.has_ended() {
            self.ended.set(Some(self.now()));
            self.dispatcher.close();
            self.core.reactor.abort();
        }
    }

    /// The warm-up is over: what happened so far does not count.
    fn forget_warm_up(&self) {
        *self.tally.borrow_mut() = Tally::default();
        self.began.set(Some(self.now()));
        self.spent_before.set(Core::spent());
    }

    fn sum_up(&self) -> Tally {
        let mut tally = self.tally.take();
        let now = self.ended.get().unwrap_or_else(|| self.now());
        let (before, after) = (self.spent_before.get(), Core::spent());
        tally.spent = [after[0].saturating_sub(before[0]), after[1].saturating_sub(before[1])];
        tally.elapsed = self.began.get().map_or(Duration::ZERO, |began| now - began);
        tally.unsent = self.dispatcher.owed(now);
        tally
    }
}

/// Ends the warm-up, and the run at `end`. An abort only means that somebody else was faster.
async fn keep_time(thread: Rc<LoadThread>, end: Option<Moment>) {
    let Ok(alarm) = Alarm::new(&thread.core.reactor) else { return thread.end() };
    if !thread.workload.warm_up.is_zero() {
        if alarm.until(thread.now() + thread.workload.warm_up).await.is_err() {
            return;
        }
        thread.forget_warm_up();
    }
    if let Some(end) = end
        && alarm.until(end).await.is_ok()
    {
        thread.end();
    }
}

/// Brings requests to the connections that wait for them, when they are due.
async fn pace(thread: Rc<LoadThread>) {
    let Ok(alarm) = Alarm::new(&thread.core.reactor) else { return thread.end() };
    while let Some(due) = std::future::poll_fn(|cx| thread.dispatcher.poll_pace(cx)).await {
        if alarm.until(due).await.is_err() {
            return;
        }
        thread.dispatcher.bring(thread.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (all, threads) in [(0, 1), (1, 1), (10, 3), (3, 4), (64, 2)] {
            let parts: Vec<_> = (0..threads).map(|index| quota(all, index, threads)).collect();
            assert_eq!(parts.iter().sum::<u64>(), all);
            assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1);
        }
    }
}
