//! A core's life: what it grows from, what it is told, and how it ends.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::super::accept::{self, Accepting, Servers};
use super::super::client::Client;
use super::super::{Served, serve};
use super::client_permits::ClientPermits;
use super::command::{Command, Event};
use super::complaint::Complaint;
use super::epoch::Epoch;
use super::ids::Ids;
use super::room;
use super::runtime::Runtime;
use super::worker::Worker;
use crate::config::{Listen, Marks};
use crate::io::Fd;
use crate::io::cores::Core;
use crate::io::future_pool::Slot;
#[cfg(feature = "tls")]
use crate::io::tls::TlsBuffers;
use crate::stats::{self, AuditRecord, Recorder};
use crate::upstream::PoolContext;

/// Pipes one core may own: each holds some 128 KiB of a body inside the kernel.
const PIPES: usize = 256;

/// How long the two sides of a WebSocket have to say Close when it has to end.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// What a worker is made from; may be sent to its thread.
pub struct CoreSpec {
    /// 0 for the first core.
    pub index: usize,
    /// What the clocks of all cores count from.
    pub origin: Instant,
    /// The plan to begin with, and what is known of its upstreams.
    pub runtime: Arc<Runtime>,
    /// This core's counters.
    pub stats: Arc<stats::Core>,
    /// Where finished requests are written down; `None`: nowhere.
    pub recorder: Option<Recorder>,
    /// Where refused credentials are written down; `None`: nowhere.
    pub auditor: Option<Recorder<AuditRecord>>,
    /// Client connections over all cores.
    pub connections: Arc<AtomicUsize>,
    /// The same, by client.
    pub client_permits: Arc<ClientPermits>,
    /// Where clients connect.
    pub listeners: Vec<OpenListener>,
    /// To the control plane.
    pub events: flume::Sender<Event>,
}

/// A socket that listens, and what asked for it.
#[derive(Debug)]
pub struct OpenListener {
    /// As it was asked for.
    pub listen: Listen,
    /// The socket.
    pub socket: Fd,
}

impl fmt::Debug for CoreSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CoreSpec({})", self.index)
    }
}

impl CoreSpec {
    /// Runs the core until it was told to end and has ended; how many buffers and pipes did not come home then is 0
    /// but for a defect. Call it on the core's own thread; `register`
    /// gets the core once it is made, to open its mailbox.
    ///
    /// # Errors
    /// When the kernel gives no descriptors, or refuses to wait for events.
    pub fn run(
        self,
        register: impl FnOnce(&Core) -> flume::Receiver<Command>,
    ) -> io::Result<usize> {
        self.serve_with(register, serve)
    }

    fn serve_with<F: Future<Output = Infallible> + 'static>(
        self,
        register: impl FnOnce(&Core) -> flume::Receiver<Command>,
        serve: impl Fn(Rc<Worker>, Rc<Slot<Client, Served>>) -> F + 'static,
    ) -> io::Result<usize> {
        let process = &self.runtime.plan.process;
        let core = Core::new(self.index, process.buffers, PIPES)?;
        core.reactor.clock().count_from(self.origin);
        let commands = register(&core);
        let reactor = &core.reactor;
        let marks = Marks::of(process.descriptors);
        let context = PoolContext {
            core: self.index,
            descriptors: marks.upstreams,
            reactor: Rc::clone(reactor),
            reaper: Rc::new(RefCell::new(Waker::noop().clone())),
            #[cfg(feature = "tls")]
            tls_buffers: TlsBuffers::new(),
        };
        let listeners = self.listeners.into_iter();
        let listeners = listeners.map(|open| Accepting::new(open, reactor).map(Rc::new));
        let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
        core.pipes.keep_below(marks.upstreams);
        let worker = Rc::new(Worker {
            marks,
            core: Rc::clone(&core),
            stats: self.stats,
            epoch: RefCell::new(Epoch::new(&self.runtime, &context, None)),
            context,
            recorder: self.recorder,
            auditor: self.auditor,
            connections: self.connections,
            client_permits: self.client_permits,
            ids: Ids::new(),
            heads: RefCell::default(),
            scratch: RefCell::default(),
            #[cfg(feature = "tls")]
            bad_handshake: Complaint::default(),
            bad_proxy_header: Complaint::default(),
            draining: Cell::new(false),
            closing: Cell::new(false),
            waiting: RefCell::default(),
            room_made: Cell::new(0),
            room_asked: Cell::new(core.reactor.clock().now()),
            date: Cell::new((0, [0; 29])),
            events: self.events,
        });
        let colleague = Rc::clone(&worker);
        let hire = move |slot| serve(Rc::clone(&colleague), slot);
        let servers = Servers::new(core.pool.rights(), hire);
        worker.run(Rc::new(servers), listeners, &commands)?;
        worker.epoch().close_idle();
        Ok(core.pool.lent() + core.pipes.lent())
    }
}

impl Worker {
    /// Does what the commands say until nothing is left to be done.
    fn run(
        self: &Rc<Self>,
        servers: Rc<Servers>,
        mut listeners: Vec<Rc<Accepting>>,
        commands: &flume::Receiver<Command>,
    ) -> io::Result<()> {
        let reaper = Rc::clone(self);
        let reaper = Cell::new(Some(self.core.spawn(async move { reaper.reap().await })));
        let spawn = |listener: Rc<Accepting>| {
            let (worker, servers) = (Rc::clone(self), Rc::clone(&servers));
            let task = self.core.spawn(accept::accept(worker, Rc::clone(&listener), servers));
            (listener, task)
        };
        let mut accepting = Vec::new();
        self.core.run(commands, |command| match command {
            Command::Adopt(adoption) => self.adopt(&adoption),
            Command::Resolved(entry, addresses) => self.epoch().resolved(&entry, &addresses),
            Command::Health(entry, down) => self.epoch().set_down(&entry, down),
            Command::Accept => accepting.extend(listeners.drain(..).map(spawn)),
            Command::Listen(open) => {
                if let Ok(open) = open.try_recv()
                    && let Some(listener) = self.listener(open)
                {
                    accepting.push(spawn(listener));
                }
            }
            // The page woke the task that waits for it, and this the core.
            Command::Answered => {}
            Command::Unlisten(listen) => {
                for (_, task) in accepting.extract_if(.., |(one, _)| one.end_if(&listen)) {
                    task.detach();
                }
                self.core.reactor.wake_all();
            }
            Command::Drain => {
                // The core ends when no task is left: so the reaper has to go. Those that accept
                // go by themselves.
                drop(reaper.take());
                listeners.clear();
                self.drain();
            }
            Command::MakeRoom(lack) => drop(room::close_idle(self, lack)),
            Command::Stop => {
                drop(reaper.take());
                listeners.clear();
                accepting.clear();
                self.stop();
            }
        })
    }

    /// One more socket to accept at. `None`: it came too late, or the kernel watches no more.
    fn listener(&self, open: OpenListener) -> Option<Rc<Accepting>> {
        if self.draining.get() {
            return None;
        }
        let accepting = Accepting::new(open, &self.core.reactor);
        accepting.inspect_err(|error| tracing::error!(%error, "cannot listen")).ok().map(Rc::new)
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
        self.epoch().close_idle();
        self.core.reactor.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::path::Path;
    use std::sync::atomic::Ordering::Relaxed;
    use std::thread;

    use super::*;
    use crate::config::{self, Action, Plan, Surroundings};
    use crate::io::address::Address;
    use crate::io::listen::bind;
    use crate::io::signal::Mailbox;
    use crate::proxy::{Adoption, LABELS};
    use crate::upstream::Registry;

    fn plan(upstreams: &str) -> Plan {
        let around = Surroundings {
            cwd: Path::new("/"),
            cores: 1,
            descriptors: 1024,
            stdout_is_terminal: false,
        };
        let words = ["--upstream", upstreams, "--access-log", "off"].map(Into::into);
        let Ok(Action::Run(plan, _)) = config::load(words, [], &around) else { panic!() };
        *plan
    }

    fn spec() -> (CoreSpec, std::net::SocketAddr) {
        let plan = plan("127.0.0.1:1");
        let mut bound = bind(&Address::Tcp(([127, 0, 0, 1], 0).into()), 1).unwrap();
        let Address::Tcp(address) = bound.address else { panic!() };
        let spec = CoreSpec {
            index: 0,
            origin: crate::io::clock::origin(),
            runtime: Runtime::link(Arc::new(plan), &mut Registry::new(1), None),
            stats: Arc::new(stats::Core::new(&LABELS)),
            recorder: None,
            auditor: None,
            connections: Arc::default(),
            client_permits: Arc::default(),
            listeners: vec![OpenListener {
                listen: Listen::Any(0),
                socket: bound.sockets.remove(0),
            }],
            events: flume::bounded(1).0,
        };
        (spec, address)
    }

    /// An upstream that answers every request with one octet; ends with the test.
    #[expect(clippy::disallowed_methods, reason = "an upstream of the standard library")]
    fn origin(body: char) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{body}");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, answer) = (stream.unwrap(), answer.clone());
                thread::spawn(move || {
                    let mut request = [0; 1024];
                    // The test's requests come whole: one read each.
                    while stream.read(&mut request).is_ok_and(|n| n > 0) {
                        stream.write_all(answer.as_bytes()).unwrap();
                    }
                });
            }
        });
        url
    }

    fn runtime(registry: &mut Registry, upstreams: &[&str]) -> Arc<Runtime> {
        Runtime::link(Arc::new(plan(&upstreams.join(","))), registry, None)
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a client of the standard library")]
    fn a_plan_takes_over_what_it_still_needs_of_the_one_before() {
        let (a, b) = (origin('a'), origin('b'));
        let mut registry = Registry::new(1);
        let [first, second, third] =
            [&[&*a][..], &[&*b, &*a], &[&*b]].map(|urls| runtime(&mut registry, urls));
        let (mut spec, address) = spec();
        spec.runtime = Arc::clone(&first);
        let (hand_over, mailbox) = flume::bounded(1);
        let core = thread::spawn(move || {
            let register = |core: &Core| {
                let (mailbox, commands) = Mailbox::new(core.reactor.notifier());
                hand_over.send(mailbox).unwrap();
                commands
            };
            spec.run(register).unwrap()
        });
        let mailbox = mailbox.recv().unwrap();
        assert!(mailbox.send(Command::Accept));
        let mut client = TcpStream::connect(address).unwrap();
        let mut ask = || {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            while !answer.windows(4).any(|four| four == b"\r\n\r\n") || answer.ends_with(b"\n") {
                let mut octet = [0];
                client.read_exact(&mut octet).unwrap();
                answer.push(octet[0]);
            }
            char::from(answer[answer.len() - 1])
        };
        let (of_a, of_b) = (
            first.pools[0].upstreams[0].state.of_core(0),
            second.pools[0].upstreams[0].state.of_core(0),
        );
        assert_eq!([ask(), ask()], ['a', 'a']);
        let adopt = |runtime| {
            let (adoption, adopted) = Adoption::new(runtime, [].into());
            assert!(mailbox.send(Command::Adopt(adoption)));
            let done = adopted.recv_timeout(std::time::Duration::from_secs(10));
            assert_eq!(done.unwrap_err(), flume::RecvTimeoutError::Disconnected);
        };
        adopt(Arc::clone(&second));
        while of_b.requests.get() < 3 {
            ask();
        }
        assert_eq!(of_a.connects.get(), 1, "its idle connection outlived the plan");
        adopt(third);
        assert_eq!(of_a.idle.get(), 0, "nobody needs the idle connection any more");
        let requests = of_a.requests.get();
        assert_eq!([ask(), ask(), ask()], ['b', 'b', 'b']);
        assert_eq!((of_a.requests.get(), of_a.active.get()), (requests, 0));
        assert!(mailbox.send(Command::Drain));
        assert_eq!(core.join().unwrap(), 0, "buffers came home");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a client of the standard library")]
    fn a_panic_ends_one_connection_and_is_counted() {
        let (spec, address) = spec();
        let stats = Arc::clone(&spec.stats);
        let connections = Arc::clone(&spec.connections);
        let (hand_over, mailbox) = flume::bounded(1);
        let core = thread::spawn(move || {
            let hired = Cell::new(0);
            let serve = move |worker: Rc<Worker>, slot| {
                hired.set(hired.get() + 1);
                let first = hired.get() == 1;
                let stats = Arc::clone(&worker.stats);
                let mut serving = Box::pin(crate::proxy::serve(worker, slot));
                poll_fn(move |cx| {
                    let endless = serving.as_mut().poll(cx);
                    let served = stats.reasons.iter().any(|reason| reason.get() > 0);
                    assert!(!(first && served), "a defect, for the sake of the test");
                    endless
                })
            };
            let register = |core: &Core| {
                let (mailbox, commands) = Mailbox::new(core.reactor.notifier());
                hand_over.send(mailbox).unwrap();
                commands
            };
            spec.serve_with(register, serve).unwrap()
        });
        let mailbox = mailbox.recv().unwrap();
        assert!(mailbox.send(Command::Accept));
        for panics in [true, false] {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut answer = [0; 12];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 503");
            if panics {
                client.read_to_end(&mut Vec::new()).unwrap();
            }
        }
        assert!(mailbox.send(Command::Drain));
        assert_eq!(core.join().unwrap(), 0, "buffers came home");
        assert_eq!((stats.panics.get(), stats.requests.get()), (1, 2));
        assert_eq!((stats.connections.get(), connections.load(Relaxed)), (0, 0));
        assert_eq!(stats.reasons.iter().map(stats::Counter::get).sum::<u64>(), 2);
    }
}
