//! One core of the data plane, with everything a request may need.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Waker;

use super::client_permits::ClientPermits;
use super::command::{Adoption, BreakerReport, Change, Event};
use super::complaint::Complaint;
use super::epoch::Epoch;
use super::ids::Ids;
use crate::base::imf_fixdate;
use crate::config::Marks;
use crate::http::{Request, Response};
use crate::io::clock::Moment;
use crate::io::cores::Core;
use crate::policy::Scratch;
use crate::stats::{self, AuditEvent, AuditRecord, Record, Recorder};
use crate::upstream::{BreakerChange, Outcome, PoolContext, Refusal, Upstream, reap};

/// Parsed heads. Their storage is used again by later requests of the same core.
#[derive(Debug, Default)]
pub struct Heads {
    pub request: Box<Request>,
    pub response: Box<Response>,
}

/// One core of the data plane.
pub struct Worker {
    pub core: Rc<Core>,
    /// The plan in force; see [`Worker::epoch`].
    pub epoch: RefCell<Rc<Epoch>>,
    /// What pools of all epochs share.
    pub context: PoolContext,
    pub stats: Arc<stats::Core>,
    pub recorder: Option<Recorder>,
    pub auditor: Option<Recorder<AuditRecord>>,
    pub connections: Arc<AtomicUsize>,
    pub client_permits: Arc<ClientPermits>,
    pub marks: Marks,
    pub ids: Ids,
    /// Heads whose storage waits to be used again: at most one for each right of the pool.
    pub heads: RefCell<Vec<Heads>>,
    /// Storage for looking routes up.
    pub scratch: RefCell<Scratch>,
    /// No new requests: answers say `Connection: close`, and clients that wait for a request are closed.
    pub draining: Cell<bool>,
    /// Handshakes fail.
    #[cfg(feature = "tls")]
    pub bad_handshake: Complaint,
    /// Peers that have to begin with a PROXY header do not.
    pub bad_proxy_header: Complaint,
    /// Tunnels are to close, politely where they can.
    pub closing: Cell<bool>,
    /// Whoever waits for a connection to end before it admits another: one for each listener, at most.
    pub waiting: RefCell<Vec<Waker>>,
    /// The turn in which room was made last, and when other cores were asked for some.
    pub room_made: Cell<u64>,
    pub room_asked: Cell<Moment>,
    pub date: Cell<(u64, [u8; 29])>,
    pub events: flume::Sender<Event>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Worker({})", self.core.index)
    }
}

impl Worker {
    /// Queues a record; one too many is counted.
    pub fn keep(&self, record: Box<Record>) {
        if let Some(recorder) = &self.recorder
            && !recorder.record(record)
        {
            self.stats.records_dropped.add(1);
        }
    }

    /// Queues an entry of the audit log, if there is one; one too many is counted.
    pub fn audit(&self, event: impl FnOnce() -> AuditEvent) {
        let Some(auditor) = &self.auditor else { return };
        let time = self.core.reactor.clock().realtime();
        auditor.record_or_count(Box::new(AuditRecord { time, event: event() }));
    }

    /// Brings the figures about buffers up to date.
    pub fn tell_buffers(&self) {
        self.stats.buffers_used.set(self.core.pool.used() as u64);
        self.stats.buffer_waits.add(self.core.pool.waits() - self.stats.buffer_waits.get());
    }

    /// Tells the control plane. What it cannot take in now is lost; that an upstream is well is then told with the next
    /// connection that is made.
    pub fn report(&self, event: Event) {
        if let Err(lost) = self.events.try_send(event)
            && let Event::Changed(change) = lost.into_inner()
        {
            change.lost();
        }
    }

    /// An upstream was connected to; the control plane learns of it if that was not so before.
    pub fn report_up(&self, upstream: &Upstream) {
        if upstream.set_alive(true) {
            let upstream = Arc::clone(upstream.state());
            self.report(Event::Changed(Change { upstream, alive: true, reason: "", cause: None }));
        }
    }

    /// An upstream could not be connected to; the control plane learns of it each time.
    pub fn report_down(&self, upstream: &Upstream, refusal: &Refusal) {
        if upstream.is_name() {
            self.report(Event::Unreachable(Arc::clone(upstream.state())));
        }
        let cause = refusal.cause.map(|cause| cause.to_string());
        let reason = refusal.reason.label();
        tracing::debug!(upstream = %upstream.name(), reason, ?cause, "not connected");
        upstream.set_alive(false);
        let upstream = Arc::clone(upstream.state());
        self.report(Event::Changed(Change { upstream, alive: false, reason, cause }));
    }

    /// The breaker of an upstream has turned, after a request that ended so.
    pub fn report_breaker(&self, turned: Option<BreakerChange>, outcome: Outcome) {
        let Some(BreakerChange { upstream, stage }) = turned else { return };
        let upstream = Arc::clone(upstream.state());
        self.report(Event::Breaker(BreakerReport { upstream, stage, outcome }));
    }

    /// The time.
    pub fn now(&self) -> Moment {
        self.core.reactor.clock().now()
    }

    /// The plan in force. A request asks once, and holds what it got.
    pub fn epoch(&self) -> Rc<Epoch> {
        Rc::clone(&self.epoch.borrow())
    }

    /// Puts a plan in force for the requests that begin from now on.
    pub fn adopt(&self, adoption: &Adoption) {
        let next = Epoch::new(&adoption.runtime, &self.context, Some(&self.epoch.borrow()));
        for (entry, addresses) in &*adoption.addresses {
            next.resolved(entry, addresses);
        }
        self.epoch.replace(Rc::clone(&next));
        next.call_queues();
    }

    /// Closes idle connections to upstreams that turn readable or grow old, until the core ends.
    pub async fn reap(&self) {
        reap(&self.context, |cx| self.epoch.borrow().sweep(cx)).await;
    }

    /// A head begun at `started` should be here by now.
    pub fn late(&self, started: Moment) -> bool {
        self.now() >= started + self.epoch.borrow().plan.listener.read_timeout
    }

    /// The time for `Date` fields, made once a second.
    pub fn date(&self) -> [u8; 29] {
        let now = self.core.reactor.clock().unix_s();
        let (made, mut date) = self.date.get();
        if made != now {
            date = imf_fixdate(now);
            self.date.set((now, date));
        }
        date
    }
}
