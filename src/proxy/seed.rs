//! A core's life: what it grows from, what it is told, and how it ends.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::accept::{self, Server};
use super::ids::Ids;
use super::letters::{Event, Letter};
use super::worker::Worker;
use crate::config::Plan;
use crate::http::Limits;
use crate::io::cores::Core;
use crate::io::listen::Listener;
use crate::io::slots::Slots;
use crate::stats::{self, EndpointState, Recorder};
use crate::upstream;

/// Pipes one core may own: each holds up to 256 KiB of a body inside the kernel.
const PIPES: usize = 256;

/// How long the two sides of a WebSocket have to say Close when it has to end.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// What a worker is made from; may be sent to its thread.
pub struct Seed {
    /// 0 for the first core.
    pub index: usize,
    /// What was asked.
    pub plan: Arc<Plan>,
    /// This core's counters.
    pub stats: Arc<stats::Core>,
    /// What all cores know of each endpoint.
    pub endpoints: Vec<Arc<EndpointState>>,
    /// Whose turn it is.
    pub robin: upstream::RoundRobin,
    /// Where finished requests are written down; `None`: nowhere.
    pub recorder: Option<Recorder>,
    /// Client connections over all cores.
    pub connections: Arc<AtomicUsize>,
    /// One listening socket for each address.
    pub listeners: Vec<OwnedFd>,
    /// To the control plane.
    pub events: flume::Sender<Event>,
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed({})", self.index)
    }
}

impl Seed {
    /// Runs the core until it was told to end and has ended; how many buffers and pipes did not come home then is 0
    /// but for a defect. Call it on the core's own thread; `enrol`
    /// gets the core once it is made, to open its mailbox.
    ///
    /// # Errors
    /// When the kernel gives no descriptors, or refuses to wait for events.
    pub fn run(self, enrol: impl FnOnce(&Core) -> flume::Receiver<Letter>) -> io::Result<usize> {
        let core = Core::new(self.index, self.plan.limits.buffers, PIPES)?;
        let letters = enrol(&core);
        let reactor = &core.reactor;
        let upstreams =
            upstream::Pool::new(&self.plan, &self.endpoints, self.robin, reactor, &self.stats);
        let listeners = self.listeners.into_iter().map(|socket| Listener::new(socket, reactor));
        let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
        let worker = Rc::new(Worker {
            limits: Limits { head: self.plan.limits.head, ..Limits::default() },
            core: Rc::clone(&core),
            plan: self.plan,
            stats: self.stats,
            upstreams,
            recorder: self.recorder,
            connections: self.connections,
            ids: Ids::new(),
            heads: RefCell::default(),
            draining: Cell::new(false),
            closing: Cell::new(false),
            waiting: Cell::new(None),
            date: Cell::new((0, [0; 29])),
            events: self.events,
        });
        let result = worker.run(listeners, &letters);
        let lent = core.pool.lent() + core.pipes.lent();
        result.map(|()| lent)
    }
}

impl Worker {
    fn run(
        self: &Rc<Self>,
        listeners: Vec<Listener>,
        letters: &flume::Receiver<Letter>,
    ) -> io::Result<()> {
        let keeper = Rc::clone(self);
        let keeper = Cell::new(Some(self.core.spawn(async move { keeper.upstreams.keep().await })));
        let slots = Slots::new(self.core.pool.shares());
        let server = Rc::new(Server { serve: super::serve, slots });
        let spawn = |listener| {
            self.core.spawn(accept::accept(Rc::clone(self), listener, Rc::clone(&server)))
        };
        let mut listeners = listeners;
        let mut accepting = Vec::new();
        self.core.run(letters, |letter| match letter {
            Letter::Resolved(index, addresses) => self.upstreams.resolved(index, addresses),
            Letter::Accept => accepting = listeners.drain(..).map(spawn).collect(),
            Letter::Drain => {
                // The core ends when no task is left: so the keeper has to go. Those that accept
                // go by themselves.
                drop(keeper.take());
                listeners.clear();
                self.drain();
            }
            Letter::Stop => {
                drop(keeper.take());
                listeners.clear();
                accepting.clear();
                self.stop();
            }
        })
    }

    /// Ends everything: at once, but for tunnels, which are told so and get a moment to answer.
    fn stop(self: &Rc<Self>) {
        let told = self.closing.replace(true);
        if told || self.stats.tunnels.get() == 0 {
            return self.core.reactor.abort();
        }
        self.core.reactor.wake_all();
        let worker = Rc::clone(self);
        let moment = async move {
            let _ = worker.core.sleep(CLOSE_WAIT).await;
            worker.core.reactor.abort();
        };
        self.core.spawn(moment).detach();
    }

    /// Has everything that waits look around and end: accepting, idle clients, idle upstreams.
    fn drain(&self) {
        self.draining.set(true);
        self.upstreams.close_idle();
        self.core.reactor.wake_all();
    }
}
