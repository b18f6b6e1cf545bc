//! One upstream, as one core sees it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use rustix::io::Errno;

use super::entry::Entry;
use super::idle::IdleConnections;
use super::lease::Connection;
use super::resolve::are_same;
use super::secure::UpstreamSecurity;
use crate::config::{self, ConnectionSpec, Place};
use crate::http::{Fault, Reason};
use crate::io::address::Address;
use crate::io::clock::Moment;
use crate::io::reactor::Reactor;
use crate::io::stream::{Dialling, Stream};
use crate::io::{Error, TlsFault, TlsFaultKind};
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
    entry: Arc<Entry>,
    /// Whose counters those of this core are.
    core: usize,
    /// Where it is now; empty while its name is unresolved.
    addresses: RefCell<Arc<[Address]>>,
    /// The address that worked last.
    preferred: Cell<usize>,
    /// Its addresses come from a name.
    is_name: bool,
    /// The last attempt to connect succeeded.
    reached: Cell<bool>,
    idle: IdleConnections,
    /// Checks say that no request is to go there.
    down: Cell<bool>,
    /// The plan in force does not name it: no connection to it is kept.
    retired: Cell<bool>,
    /// What octets to it travel through.
    security: UpstreamSecurity,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({})", self.name())
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

impl Upstream {
    /// An upstream that nothing is known of, as the core with this number sees it.
    pub(super) fn new(
        spec: &config::UpstreamSpec,
        entry: &Arc<Entry>,
        core: usize,
        security: UpstreamSecurity,
    ) -> Upstream {
        let known = super::resolve::literal(&spec.place);
        let is_name = known.is_none() && matches!(spec.place, Place::Tcp { .. });
        let resolved = entry.state.addresses();
        let resolved = resolved.iter().filter(|_| is_name).copied().map(Address::Tcp);
        Upstream {
            authority: spec.authority.as_str().into(),
            base: spec.base.as_str().into(),
            entry: Arc::clone(entry),
            core,
            is_name,
            addresses: RefCell::new(known.into_iter().chain(resolved).collect()),
            preferred: Cell::new(0),
            reached: Cell::new(false),
            idle: IdleConnections::default(),
            down: Cell::new(entry.state.is_excluded()),
            retired: Cell::new(false),
            security,
        }
    }

    /// Its canonical URL.
    pub fn name(&self) -> &Arc<str> {
        &self.entry.state.name
    }

    /// Its entry in the registry.
    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// The handle by which the control plane knows it.
    pub fn state(&self) -> &Arc<UpstreamState> {
        &self.entry.state
    }

    /// What this core counts about it.
    pub fn stats(&self) -> &stats::Upstream {
        self.entry.state.of_core(self.core)
    }

    /// Checks have found it down: no request is to go there while there is another.
    pub fn is_down(&self) -> bool {
        self.down.get()
    }

    /// Notes what checks have found.
    pub(super) fn set_down(&self, down: bool, now: Moment) {
        if self.down.replace(down) && !down {
            self.entry.start_slowly(now);
        }
    }

    /// Notes whether it can be connected to. `true`: that has changed, for all cores.
    pub fn set_alive(&self, alive: bool) -> bool {
        self.entry.state.set_alive(alive)
    }

    /// The last attempt of this core to connect to it succeeded.
    pub fn works(&self) -> bool {
        self.reached.get()
    }

    /// Octets travel to it as they are.
    pub fn is_plain(&self) -> bool {
        self.security.is_plain()
    }

    /// Its addresses come from a name, so a failure may mean that they are out of date.
    pub fn is_name(&self) -> bool {
        self.is_name
    }

    /// Its name was resolved. The same addresses, in whatever order, are no news: the one that worked stays preferred.
    pub(super) fn resolved(&self, addresses: Arc<[Address]>) {
        if are_same(&self.addresses.borrow(), &addresses) {
            return;
        }
        self.preferred.set(0);
        self.reached.set(false);
        *self.addresses.borrow_mut() = addresses;
    }

    /// The plan in force no longer names it: requests under way end, and no connection is kept.
    pub(super) fn retire(&self) {
        self.close_idle();
        self.retired.set(true);
    }

    /// A silent connection that was used before, if there is one. `certain`: ask the kernel too, for a request that
    /// cannot be sent twice.
    pub(super) fn take_idle(
        &self,
        certain: bool,
        spec: &ConnectionSpec,
        now: Moment,
    ) -> Option<Connection> {
        let is_good =
            |one: &Connection| !is_worn(one, spec, now) && (!certain || one.stream.is_quiet());
        let mut connection = self.idle.take();
        while connection.as_ref().is_some_and(|one| !is_good(one)) {
            connection = self.idle.take();
        }
        self.tell_idle();
        let connection = connection?;
        self.stats().reused.add(1);
        Some(connection)
    }

    /// A new connection. One that fails for want of a descriptor is not counted as a failure of the upstream.
    pub(super) async fn connect(
        &self,
        preface: &[u8],
        wait: Duration,
        dialling: Dialling,
        reactor: &Rc<Reactor>,
    ) -> Result<Connection, Refusal> {
        match self.try_addresses(preface, wait, dialling, reactor).await {
            Ok(stream) => {
                self.reached.set(true);
                self.stats().connects.add(1);
                Ok(Connection { stream, requests: 0, made: reactor.clock().now() })
            }
            Err(refusal) => {
                if refusal.reason.fault() != Fault::Proxy {
                    self.reached.set(false);
                    self.stats().connect_failures.add(1);
                }
                Err(refusal)
            }
        }
    }

    async fn try_addresses(
        &self,
        preface: &[u8],
        wait: Duration,
        dialling: Dialling,
        reactor: &Rc<Reactor>,
    ) -> Result<Stream, Refusal> {
        let addresses = Arc::clone(&self.addresses.borrow());
        let mut refusal = Refusal { reason: Reason::ResolveFailed, cause: None };
        let first = self.preferred.get();
        for step in 0..addresses.len().min(ADDRESSES_TRIED) {
            let index = (first + step) % addresses.len();
            let until = reactor.clock().now() + wait;
            let connecting = async {
                let address = &addresses[index];
                let mut stream = Stream::connect(address, wait, dialling, reactor).await?;
                self.security.secure(&mut stream, preface, until).await?;
                Ok::<Stream, Error>(stream)
            };
            match connecting.await {
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

    /// Keeps a connection whose answer was read to the end, and nothing after it, unless it has served long enough.
    pub(super) fn keep(
        &self,
        mut connection: Connection,
        spec: &ConnectionSpec,
        now: Moment,
        reaper: &mut Context<'_>,
    ) {
        connection.requests = connection.requests.saturating_add(1);
        let is_for_one = spec.proxy_protocol.is_some();
        if !self.retired.get() && !is_for_one && !is_worn(&connection, spec, now) {
            self.idle.put(connection, spec.idle_timeout, spec.max_idle, reaper);
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

/// It has served as long, or as often, as a connection may.
fn is_worn(connection: &Connection, spec: &ConnectionSpec, now: Moment) -> bool {
    let is_old = !spec.max_age.is_zero() && now - connection.made >= spec.max_age;
    is_old || (spec.max_requests > 0 && connection.requests >= spec.max_requests)
}

/// Nothing is known of the upstream: the lack is ours.
const NO_DESCRIPTORS: Refusal = Refusal { reason: Reason::NoDescriptors, cause: None };

/// What it means that TLS to an upstream failed.
pub fn reason_of_tls(fault: TlsFault) -> Reason {
    match fault.kind() {
        TlsFaultKind::Certificate => Reason::TlsCertificate,
        TlsFaultKind::Alert => Reason::TlsAlert,
        TlsFaultKind::Protocol => Reason::TlsFailed,
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let reason = match error {
            Error::Os(Errno::CONNREFUSED) => Reason::ConnectRefused,
            Error::Deadline => Reason::ConnectTimeout,
            Error::Aborted => Reason::Stopped,
            Error::Closed | Error::Os(_) => Reason::ConnectFailed,
            Error::Tls(fault) => reason_of_tls(fault),
        };
        Refusal { reason, cause: Some(error) }
    }
}
