//! One upstream, as one core sees it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use rustix::io::Errno;

use super::balance::{Backoff, Member};
use super::idle::IdleConnections;
use crate::config::{self, Place};
use crate::http::{Fault, Reason};
use crate::io::Error;
use crate::io::address::Address;
use crate::io::reactor::Reactor;
use crate::io::stream::Stream;
use crate::stats::{self, UpstreamState};

/// Addresses of one name tried for one connection.
const ADDRESSES_TRIED: usize = 3;

/// A member of a pool. It outlives the plan it came with: a later plan that names the same upstream takes it over,
/// with its idle connections.
pub struct Upstream {
    /// The `Host` it expects when its own is asked for.
    pub authority: Box<str>,
    /// What stands before the path of every request.
    pub base: Box<str>,
    /// Its entry in the registry, shared by all cores.
    entry: Arc<UpstreamState>,
    /// Whose counters those of this core are.
    core: usize,
    /// Where it is now; empty while its name is unresolved.
    addresses: RefCell<Arc<[Address]>>,
    /// The address that worked last.
    preferred: Cell<usize>,
    /// Its addresses come from a name.
    is_name: bool,
    backoff: Backoff,
    idle: IdleConnections,
    /// Checks say that no request is to go there.
    down: Cell<bool>,
    /// The plan in force does not name it: no connection to it is kept.
    retired: Cell<bool>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({})", self.name())
    }
}

impl Member for Rc<Upstream> {
    fn backoff(&self) -> &Backoff {
        &self.backoff
    }
}

/// Why an upstream could not be connected to.
#[derive(Debug)]
pub struct Refusal {
    /// For the answer, the log and the metrics.
    pub reason: Reason,
    /// What the operating system said.
    pub cause: Option<Error>,
}

/// How new connections are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialling<'a> {
    /// How long it may take.
    pub wait: Duration,
    /// The descriptor has to be below this.
    pub descriptors: usize,
    pub reactor: &'a Rc<Reactor>,
}

impl Upstream {
    /// An upstream that nothing is known of, as the core with this number sees it.
    pub(super) fn new(
        spec: &config::UpstreamSpec,
        entry: &Arc<UpstreamState>,
        core: usize,
    ) -> Upstream {
        let known = super::resolve::literal(&spec.place);
        Upstream {
            authority: spec.authority.as_str().into(),
            base: spec.base.as_str().into(),
            entry: Arc::clone(entry),
            core,
            is_name: known.is_none() && matches!(spec.place, Place::Tcp { .. }),
            addresses: RefCell::new(known.into_iter().collect()),
            preferred: Cell::new(0),
            backoff: Backoff::default(),
            idle: IdleConnections::default(),
            down: Cell::new(entry.is_excluded()),
            retired: Cell::new(false),
        }
    }

    /// Its canonical URL.
    pub fn name(&self) -> &Arc<str> {
        &self.entry.name
    }

    /// Its entry in the registry: the handle by which the control plane knows it.
    pub fn entry(&self) -> &Arc<UpstreamState> {
        &self.entry
    }

    /// What this core counts about it.
    pub fn stats(&self) -> &stats::Upstream {
        self.entry.of_core(self.core)
    }

    /// Checks have found it down: no request is to go there while there is another.
    pub fn is_down(&self) -> bool {
        self.down.get()
    }

    /// Notes what checks have found.
    pub(super) fn set_down(&self, down: bool) {
        self.down.set(down);
    }

    /// Notes whether it can be connected to. `true`: that has changed, for all cores.
    pub fn set_alive(&self, alive: bool) -> bool {
        self.entry.set_alive(alive)
    }

    /// The last attempt of this core to connect to it succeeded.
    pub fn works(&self) -> bool {
        self.backoff.works()
    }

    /// Its addresses come from a name, so a failure may mean that they are out of date.
    pub fn is_name(&self) -> bool {
        self.is_name
    }

    /// New addresses for its name.
    pub(super) fn resolved(&self, addresses: Arc<[Address]>) {
        self.preferred.set(0);
        self.backoff.renewed();
        *self.addresses.borrow_mut() = addresses;
    }

    /// The plan in force no longer names it: requests under way end, and no connection is kept.
    pub(super) fn retire(&self) {
        self.close_idle();
        self.retired.set(true);
    }

    /// A silent connection that was used before, if there is one. `certain`: ask the kernel too, for a request that
    /// cannot be sent twice.
    pub(super) fn take_idle(&self, certain: bool) -> Option<Stream> {
        let mut stream = self.idle.take();
        while certain && stream.as_ref().is_some_and(|stream| !stream.is_quiet()) {
            stream = self.idle.take();
        }
        self.tell_idle();
        let stream = stream?;
        self.backoff.end_trial();
        self.stats().reused.add(1);
        Some(stream)
    }

    /// A new connection. One that fails for want of a descriptor is not counted as a failure of the upstream.
    pub(super) async fn connect(&self, dialling: Dialling<'_>) -> Result<Stream, Refusal> {
        let result = self.try_addresses(dialling).await;
        match &result {
            Ok(_) => {
                self.backoff.recovered();
                self.stats().connects.add(1);
            }
            Err(refusal) if refusal.reason.fault() == Fault::Proxy => {}
            Err(_) => {
                self.backoff.failed(dialling.reactor.clock().now());
                self.stats().connect_failures.add(1);
            }
        }
        result
    }

    async fn try_addresses(&self, dialling: Dialling<'_>) -> Result<Stream, Refusal> {
        let Dialling { wait, descriptors, reactor } = dialling;
        let addresses = Arc::clone(&self.addresses.borrow());
        let mut refusal = Refusal { reason: Reason::ResolveFailed, cause: None };
        let first = self.preferred.get();
        for step in 0..addresses.len().min(ADDRESSES_TRIED) {
            let index = (first + step) % addresses.len();
            match Stream::connect(&addresses[index], wait, descriptors, reactor).await {
                Ok(stream) => {
                    self.preferred.set(index);
                    return Ok(stream);
                }
                Err(error) if error.is_out_of_resources() => return Err(NO_DESCRIPTORS),
                Err(error) => refusal = Refusal::from(error),
            }
        }
        Err(refusal)
    }

    /// Keeps a connection whose answer was read to the end, and nothing after it.
    pub(super) fn keep(
        &self,
        stream: Stream,
        wait: Duration,
        most: usize,
        reaper: &mut Context<'_>,
    ) {
        if !self.retired.get() {
            self.idle.put(stream, wait, most, reaper);
            self.tell_idle();
        }
    }

    /// Closes idle connections that turned readable or were idle too long.
    pub(super) fn sweep(&self, reaper: &mut Context<'_>) {
        self.idle.sweep(reaper);
        self.tell_idle();
    }

    /// Closes half of the idle connections, those used longest ago, and says how many.
    pub(super) fn close_oldest(&self) -> usize {
        let closed = self.idle.close_oldest();
        self.tell_idle();
        closed
    }

    /// Closes all idle connections.
    pub(super) fn close_idle(&self) {
        self.idle.clear();
        self.tell_idle();
    }

    fn tell_idle(&self) {
        // Another one may have come in its place, and count the same.
        if !self.retired.get() {
            self.stats().idle.set(self.idle.len() as u64);
        }
    }
}

/// Nothing is known of the upstream: the lack is ours.
const NO_DESCRIPTORS: Refusal = Refusal { reason: Reason::NoDescriptors, cause: None };

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let reason = match error {
            Error::Os(Errno::CONNREFUSED) => Reason::ConnectRefused,
            Error::Deadline => Reason::ConnectTimeout,
            Error::Aborted => Reason::Stopped,
            Error::Closed | Error::Os(_) => Reason::ConnectFailed,
        };
        Refusal { reason, cause: Some(error) }
    }
}
