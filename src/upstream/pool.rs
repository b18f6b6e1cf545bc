//! One core's endpoints.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::balance::{Backoff, Choice, RoundRobin};
use super::idle::Idle;
use crate::config::{Place, Plan, Upstream};
use crate::http::{Fault, Reason};
use crate::io::clock::Moment;
use crate::io::reactor::Reactor;
use crate::io::stream::{Address, Stream, is_out_of_resources};
use crate::stats;

/// Addresses of one name tried for one connection.
const ADDRESSES_TRIED: usize = 3;

/// One endpoint as a core sees it.
pub struct Endpoint {
    /// Its canonical URL.
    pub name: Arc<str>,
    /// The `Host` it expects when its own is asked for.
    pub authority: Box<str>,
    state: Arc<stats::UpstreamState>,
    /// Where it is now; empty while its name is unresolved.
    addresses: RefCell<Arc<[Address]>>,
    /// The address that worked last.
    preferred: Cell<usize>,
    /// Its addresses come from a name.
    is_name: bool,
    rest: Backoff,
    idle: Idle,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.name)
    }
}

/// A connection to an endpoint, for one request.
#[derive(Debug)]
pub struct Connection {
    /// Index of the endpoint.
    pub endpoint: usize,
    /// The connection itself.
    pub stream: Stream,
    /// It has carried a request before.
    pub reused: bool,
}

/// Why an endpoint could not be connected to.
#[derive(Debug)]
pub struct Refusal {
    /// For the answer, the log and the metrics.
    pub reason: Reason,
    /// What the operating system said.
    pub cause: Option<io::Error>,
}

/// All endpoints, as one core sees them.
#[derive(Debug)]
pub struct Pool {
    endpoints: Vec<Endpoint>,
    robin: RoundRobin,
    reactor: Rc<Reactor>,
    stats: Arc<stats::Core>,
    connect_wait: Duration,
    idle_wait: Duration,
    idle_most: usize,
    /// Wakes the task that closes idle connections; a no-op until [`Pool::keep`] runs.
    reaper: RefCell<Waker>,
}

impl Pool {
    /// The plan's endpoints. `states` has one entry for each, in the plan's order.
    pub fn new(
        plan: &Plan,
        states: &[Arc<stats::UpstreamState>],
        robin: RoundRobin,
        reactor: &Rc<Reactor>,
        stats: &Arc<stats::Core>,
    ) -> Pool {
        let endpoints = plan.upstreams.iter().zip(states).map(Endpoint::new).collect();
        Pool {
            endpoints,
            robin,
            reactor: Rc::clone(reactor),
            stats: Arc::clone(stats),
            connect_wait: plan.timeouts.connect,
            idle_wait: plan.timeouts.upstream_idle,
            idle_most: plan.limits.upstream_idle,
            reaper: RefCell::new(Waker::noop().clone()),
        }
    }

    /// The endpoint with this index.
    pub fn endpoint(&self, index: usize) -> &Endpoint {
        &self.endpoints[index]
    }

    /// The endpoint whose turn it is, but none of those `tried`. `again`: the request has failed once, so one that is
    /// known to work is preferred.
    pub fn choose(&self, tried: &[usize], again: bool, now: Moment) -> Option<usize> {
        let rest = |index: usize| &self.endpoints[index].rest;
        let choice = Choice { tried, again, now, wait: self.connect_wait };
        self.robin.choose(self.endpoints.len(), rest, choice)
    }

    /// Is there an endpoint that was not `tried`, besides the one at `index`?
    pub fn has_other(&self, tried: &[usize], index: usize) -> bool {
        (0..self.endpoints.len()).any(|other| other != index && !tried.contains(&other))
    }

    /// The last attempt of this core to connect to the endpoint succeeded.
    pub fn works(&self, index: usize) -> bool {
        self.endpoints[index].rest.works()
    }

    /// A silent connection that was used before, if there is one. `certain`: ask the kernel too, for a request that
    /// cannot be sent twice.
    pub fn idle(&self, index: usize, certain: bool) -> Option<Connection> {
        let stats = &self.stats.upstreams[index];
        let endpoint = &self.endpoints[index];
        let mut stream = endpoint.idle.take();
        while certain && stream.as_ref().is_some_and(|stream| !stream.is_quiet()) {
            stream = endpoint.idle.take();
        }
        stats.idle.set(endpoint.idle.len() as u64);
        let stream = stream?;
        endpoint.rest.end_trial();
        stats.reused.add(1);
        Some(Connection { endpoint: index, stream, reused: true })
    }

    /// A new connection, if its descriptor is below `most`. What fails for want of a descriptor is not counted as a
    /// failure of the endpoint.
    pub async fn connect(&self, index: usize, most: usize) -> Result<Connection, Refusal> {
        let endpoint = &self.endpoints[index];
        match endpoint.connect(self.connect_wait, most, &self.reactor).await {
            Ok(stream) => {
                endpoint.rest.recovered();
                self.stats.upstreams[index].connects.add(1);
                Ok(Connection { endpoint: index, stream, reused: false })
            }
            Err(refusal) if refusal.reason.fault() == Fault::Proxy => Err(refusal),
            Err(refusal) => {
                endpoint.rest.failed(self.reactor.clock().now());
                self.stats.upstreams[index].connect_failures.add(1);
                Err(refusal)
            }
        }
    }

    /// Takes back a connection whose answer was read to the end, and nothing after it.
    pub fn give_back(&self, connection: Connection) {
        let endpoint = &self.endpoints[connection.endpoint];
        let reaper = self.reaper.borrow();
        let mut cx = Context::from_waker(&reaper);
        endpoint.idle.put(connection.stream, self.idle_wait, self.idle_most, &mut cx);
        self.stats.upstreams[connection.endpoint].idle.set(endpoint.idle.len() as u64);
    }

    /// New addresses for an endpoint whose name was resolved.
    pub fn resolved(&self, index: usize, addresses: Arc<[Address]>) {
        let endpoint = &self.endpoints[index];
        endpoint.preferred.set(0);
        endpoint.rest.renewed();
        *endpoint.addresses.borrow_mut() = addresses;
    }

    /// Closes idle connections as they turn readable or grow old; runs until the core ends.
    pub async fn keep(&self) {
        poll_fn::<(), _>(|cx| {
            if self.reactor.is_aborted() {
                return Poll::Ready(());
            }
            *self.reaper.borrow_mut() = cx.waker().clone();
            for (endpoint, stats) in self.endpoints.iter().zip(&self.stats.upstreams) {
                endpoint.idle.sweep(cx);
                stats.idle.set(endpoint.idle.len() as u64);
            }
            Poll::Pending
        })
        .await;
    }

    /// Closes half of the idle connections to each endpoint, those used longest ago, and says how many.
    pub fn close_oldest(&self) -> usize {
        let closed = self.endpoints.iter().zip(&self.stats.upstreams).map(|(endpoint, stats)| {
            let closed = endpoint.idle.close_oldest();
            stats.idle.set(endpoint.idle.len() as u64);
            closed
        });
        closed.sum()
    }

    /// Closes all idle connections.
    pub fn close_idle(&self) {
        self.endpoints.iter().for_each(|endpoint| endpoint.idle.clear());
        self.stats.upstreams.iter().for_each(|stats| stats.idle.set(0));
    }
}

impl Endpoint {
    fn new((upstream, state): (&Upstream, &Arc<stats::UpstreamState>)) -> Endpoint {
        let known = super::resolve::literal(&upstream.place);
        Endpoint {
            name: Arc::clone(&state.name),
            authority: upstream.authority.as_str().into(),
            state: Arc::clone(state),
            is_name: known.is_none() && matches!(upstream.place, Place::Tcp { .. }),
            addresses: RefCell::new(known.into_iter().collect()),
            preferred: Cell::new(0),
            rest: Backoff::default(),
            idle: Idle::default(),
        }
    }

    /// Notes whether it can be connected to. `true`: that has changed, for all cores.
    pub fn set_alive(&self, alive: bool) -> bool {
        self.state.set_alive(alive)
    }

    /// Its addresses come from a name, so a failure may mean that they are out of date.
    pub fn is_name(&self) -> bool {
        self.is_name
    }

    async fn connect(
        &self,
        wait: Duration,
        most: usize,
        reactor: &Rc<Reactor>,
    ) -> Result<Stream, Refusal> {
        let addresses = Arc::clone(&self.addresses.borrow());
        let mut refusal = Refusal { reason: Reason::ResolveFailed, cause: None };
        let first = self.preferred.get();
        for step in 0..addresses.len().min(ADDRESSES_TRIED) {
            let index = (first + step) % addresses.len();
            match Stream::connect(&addresses[index], wait, most, reactor).await {
                Ok(stream) => {
                    self.preferred.set(index);
                    return Ok(stream);
                }
                Err(error) if is_out_of_resources(&error) => return Err(NO_DESCRIPTORS),
                Err(error) => refusal = Refusal::from(error),
            }
        }
        Err(refusal)
    }
}

/// Nothing is known of the endpoint: the lack is ours.
const NO_DESCRIPTORS: Refusal = Refusal { reason: Reason::NoDescriptors, cause: None };

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => Reason::ConnectRefused,
            io::ErrorKind::TimedOut => Reason::ConnectTimeout,
            io::ErrorKind::ConnectionAborted => Reason::Stopped,
            _ => Reason::ConnectFailed,
        };
        Refusal { reason, cause: Some(error) }
    }
}
