//! The control plane, on the main thread: binds, starts the cores, answers signals, ends everything.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use async_signal::{Signal, Signals};
use flume::{Receiver, Sender};
use futures_lite::{FutureExt, StreamExt, future};
use smol::LocalExecutor;

use tidegate::admin::{self, View, log};
use tidegate::config::{Listen, Plan, Told};
use tidegate::http::{Fault, Reason};
use tidegate::io::listen::{Bound, SocketFile, bind};
use tidegate::io::signal::Mailbox;
use tidegate::io::splice::Copied;
use tidegate::io::stream::Address;
use tidegate::proxy::{Event, Letter, Seed};
use tidegate::stats::{self, EndpointState, Phase, Recorder, State};
use tidegate::upstream::RoundRobin;
use tidegate::upstream::resolve::resolve;

/// Records that wait for the log writer at most.
const RECORDS: usize = 16 * 1024;
/// Events that wait for us at most; what does not fit is lost, and told again by the next failure.
const EVENTS: usize = 1024;
/// The start waits so long for names to be resolved.
const RESOLVE_WAIT: Duration = Duration::from_secs(2);
/// A name is not asked for more often than this.
const RESOLVE_PAUSE: Duration = Duration::from_secs(1);
/// Cores that were told to stop have so long to do it.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// A core that has ended: how many buffers and pipes were missing, or why it failed.
type Ended = Result<usize, String>;

/// Runs the proxy until a signal ends it. The error is what to tell the user.
pub fn run(plan: Plan, told: &Told) -> Result<(), String> {
    raise_descriptor_limit(&plan);
    let plan = Arc::new(plan);
    let mut bound = Vec::new();
    for listen in &plan.listen {
        bound.push(open(listen, plan.workers, "--listen", told)?);
    }
    let admin = plan.admin.as_ref().map(|listen| open(listen, 1, "--admin", told)).transpose()?;
    let _files = socket_files(bound.iter().chain(&admin));
    let control = Control::start(plan, bound)?;
    let writer = control.writer;
    let executor = LocalExecutor::new();
    let result = smol::block_on(executor.run(control.live.run(&executor, admin)));
    // The cores are gone, and with them the last senders: the writer writes what is left.
    if let Some(writer) = writer
        && let Ok(lost) = writer.join()
        && lost > 0
    {
        tracing::warn!(lost, "lines of the access log could not be written");
    }
    result
}

/// The parts that outlive the event loop, and those that live in it.
struct Control {
    writer: Option<thread::JoinHandle<u64>>,
    live: Live,
}

/// The event loop's state.
struct Live {
    plan: Arc<Plan>,
    state: Arc<State>,
    view: Arc<View>,
    mailboxes: Vec<Mailbox<Letter>>,
    events: Receiver<Event>,
    ended: Receiver<Ended>,
    reopen: Option<Sender<()>>,
}

impl Control {
    /// Starts the log writer and the cores.
    fn start(plan: Arc<Plan>, mut bound: Vec<Bound>) -> Result<Control, String> {
        let (recorder, writer, reopen) = start_log(&plan)?;
        let endpoints: Vec<_> = plan
            .upstreams
            .iter()
            .map(|upstream| Arc::new(EndpointState::new(upstream.name.as_str())))
            .collect();
        let connections = Arc::new(AtomicUsize::new(0));
        let robin = RoundRobin::default();
        let (report, events) = flume::bounded(EVENTS);
        let (report_end, ended) = flume::bounded(plan.workers);
        let listen: Vec<_> = bound.iter().map(|bound| text(&bound.address)).collect();
        let mut cores = Vec::new();
        let mut mailboxes = Vec::new();
        for index in 0..plan.workers {
            let stats = Arc::new(stats::Core::new(
                Reason::ALL.len(),
                Copied::LABELS.len(),
                plan.upstreams.len(),
            ));
            cores.push(Arc::clone(&stats));
            let seed = Seed {
                index,
                plan: Arc::clone(&plan),
                stats,
                endpoints: endpoints.clone(),
                robin: robin.clone(),
                recorder: recorder.clone(),
                connections: Arc::clone(&connections),
                listeners: bound.iter_mut().filter_map(|bound| bound.sockets.pop()).collect(),
                events: report.clone(),
            };
            mailboxes.push(start_core(seed, report_end.clone())?);
        }
        let view = Arc::new(View {
            version: env!("CARGO_PKG_VERSION"),
            plan: Arc::clone(&plan),
            listen,
            state: Arc::default(),
            started: started(),
            cores,
            endpoints,
            reasons: labels(),
            fault,
            copies: &Copied::LABELS,
        });
        let state = Arc::clone(&view.state);
        Ok(Control { writer, live: Live { plan, state, view, mailboxes, events, ended, reopen } })
    }
}

/// A thread for a core, and the mailbox it opens.
fn start_core(seed: Seed, report: Sender<Ended>) -> Result<Mailbox<Letter>, String> {
    let index = seed.index;
    let (hand_over, mailbox) = flume::bounded(1);
    let run = move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            seed.run(|core| {
                let (mailbox, letters) = Mailbox::new(core.reactor.notifier());
                let _ = hand_over.send(mailbox);
                letters
            })
        }));
        let ended = match result {
            Ok(Ok(lent)) => Ok(lent),
            Ok(Err(error)) => Err(format!("core {index} failed: {error}")),
            Err(_) => Err(format!("core {index} panicked, which is a defect in tidegate")),
        };
        let _ = report.send(ended);
    };
    thread::Builder::new()
        .name(format!("core-{index}"))
        .spawn(run)
        .map_err(|error| format!("cannot start a thread for core {index}: {error}"))?;
    mailbox.recv().map_err(|_| format!("core {index} did not start: too few descriptors?"))
}

type Log = (Option<Recorder>, Option<thread::JoinHandle<u64>>, Option<Sender<()>>);

fn start_log(plan: &Plan) -> Result<Log, String> {
    let Some(format) = plan.access_log.format else { return Ok((None, None, None)) };
    let output = plan.access_log.file.clone().map_or(log::Output::Stdout, log::Output::File);
    let (recorder, records) = stats::records(RECORDS);
    let (reopen, reopened) = flume::bounded(1);
    let writer = log::writer(records, format, output.clone(), reopened).map_err(|error| {
        format!("cannot write the access log to {output} (--access-log-file): {error}")
    })?;
    Ok((Some(recorder), Some(writer), Some(reopen)))
}

impl Live {
    async fn run(self, executor: &LocalExecutor<'_>, admin: Option<Bound>) -> Result<(), String> {
        let mut signals =
            Signals::new([Signal::Term, Signal::Int, Signal::Quit, Signal::Hup, Signal::Usr1])
                .map_err(|error| format!("cannot take signals: {error}"))?;
        if let Some(admin) = admin {
            tracing::info!(address = %text(&admin.address), "admin");
            let listener = admin_listener(admin).map_err(|error| error.to_string())?;
            executor.spawn(admin::serve(listener, Arc::clone(&self.view))).detach();
        }
        let names = self.resolve_all();
        let patience = async {
            Timer::after(RESOLVE_WAIT).await;
        };
        names.or(patience).await;
        let _resolving = executor.spawn(keep_resolving(
            Arc::clone(&self.plan),
            self.mailboxes.clone(),
            self.events.clone(),
        ));
        for address in &self.view.listen {
            tracing::info!(%address, "listening");
        }
        self.state.set(Phase::Ready);
        tracing::info!(workers = self.plan.workers, upstreams = self.plan.upstreams.len(), "ready");
        self.until_told(&mut signals).await?;
        self.drain(&mut signals).await
    }

    /// Answers signals until one says that it is time to end.
    async fn until_told(&self, signals: &mut Signals) -> Result<(), String> {
        loop {
            let ended = async { Err(self.ended.recv_async().await) };
            let signal = async { Ok(signals.next().await) };
            match future::or(ended, signal).await {
                Err(Ok(Err(failure))) => return Err(failure),
                Err(_) => return Err("a core ended unasked".to_owned()),
                Ok(Some(Ok(Signal::Hup))) => {
                    tracing::warn!("nothing to reload: settings are read at the start");
                }
                Ok(Some(Ok(Signal::Usr1))) => {
                    if let Some(reopen) = &self.reopen {
                        let _ = reopen.try_send(());
                        tracing::info!("access log reopened");
                    }
                }
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Lets requests finish, for as long as was asked or until a second signal; then cuts what is left.
    async fn drain(&self, signals: &mut Signals) -> Result<(), String> {
        self.state.set(Phase::Draining);
        tracing::info!(timeout = ?self.plan.waits.drain, requests = self.active(), "draining");
        self.tell(|| Letter::Drain);
        let mut running = self.mailboxes.len();
        let deadline = async {
            Timer::after(self.plan.waits.drain).await;
        };
        let again =
            async { while let Some(Ok(Signal::Hup | Signal::Usr1)) = signals.next().await {} };
        let enough = async {
            deadline.or(again).await;
            Ok(())
        };
        self.wait_for_cores(&mut running).or(enough).await?;
        if running > 0 {
            tracing::warn!(requests = self.active(), "cutting what is left");
            self.tell(|| Letter::Stop);
            let late = async {
                Timer::after(STOP_WAIT).await;
                Err("cores did not stop, which is a defect in tidegate".to_owned())
            };
            self.wait_for_cores(&mut running).or(late).await?;
        }
        tracing::info!("ended");
        Ok(())
    }

    async fn wait_for_cores(&self, running: &mut usize) -> Result<(), String> {
        while *running > 0 {
            match self.ended.recv_async().await {
                Ok(Ok(0)) => *running -= 1,
                Ok(Ok(lent)) => {
                    *running -= 1;
                    tracing::error!(lent, "buffers did not come home, which is a defect");
                }
                Ok(Err(failure)) => return Err(failure),
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn tell(&self, letter: impl Fn() -> Letter) {
        self.mailboxes.iter().for_each(|mailbox| {
            mailbox.send(letter());
        });
    }

    fn active(&self) -> u64 {
        self.view.cores.iter().map(|core| core.active.get()).sum()
    }

    async fn resolve_all(&self) {
        for index in 0..self.plan.upstreams.len() {
            look_up(&self.plan, index, &self.mailboxes).await;
        }
    }
}

/// Resolves an upstream's name again when a core could not connect to it.
async fn keep_resolving(plan: Arc<Plan>, mailboxes: Vec<Mailbox<Letter>>, events: Receiver<Event>) {
    while let Ok(Event::Unreachable(first)) = events.recv_async().await {
        // A failing upstream is reported by every core and every request: ask once for each.
        Timer::after(RESOLVE_PAUSE).await;
        let mut due = VecDeque::from([first]);
        for Event::Unreachable(index) in events.drain() {
            if !due.contains(&index) {
                due.push_back(index);
            }
        }
        for index in due {
            look_up(&plan, index, &mailboxes).await;
        }
    }
}

async fn look_up(plan: &Plan, index: usize, mailboxes: &[Mailbox<Letter>]) {
    let upstream = &plan.upstreams[index];
    match resolve(&upstream.place).await {
        Ok(addresses) => mailboxes.iter().for_each(|mailbox| {
            mailbox.send(Letter::Resolved(index, Arc::clone(&addresses)));
        }),
        Err(error) => {
            tracing::warn!(upstream = %upstream.name, %error, "cannot resolve the name");
        }
    }
}

/// Asks for as many descriptors as may be had, and warns when they are too few for the plan: a client
/// needs one, and its upstream another.
fn raise_descriptor_limit(plan: &Plan) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Where this fails the limit stays as it is, and the warning says what follows.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let have = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let need = plan.limits.connections as u64 * 2;
    if have < need {
        tracing::warn!(
            have,
            need,
            "too few descriptors for --max-connections; accepting will pause when they run out"
        );
    }
}

/// Binds an address, or says which one is the matter and where it came from.
fn open(listen: &Listen, sockets: usize, setting: &str, told: &Told) -> Result<Bound, String> {
    let address = match listen {
        Listen::Tcp(address) => Address::Tcp(*address),
        Listen::Unix(path) => Address::Unix(path.as_path().into()),
    };
    bind(&address, sockets).map_err(|error| {
        let origin = told.origin(setting);
        format!("cannot listen on {} ({setting}, from {origin}): {error}", text(&address))
    })
}

fn admin_listener(bound: Bound) -> io::Result<admin::Listener> {
    let socket = bound.sockets.into_iter().next().ok_or(io::ErrorKind::NotFound)?;
    Ok(match bound.address {
        Address::Tcp(_) => {
            let listener = Async::new(std::net::TcpListener::from(socket))?;
            admin::Listener::Tcp(listener.into())
        }
        Address::Unix(_) => {
            let listener = Async::new(std::os::unix::net::UnixListener::from(socket))?;
            admin::Listener::Unix(listener.into())
        }
    })
}

fn socket_files<'a>(bound: impl Iterator<Item = &'a Bound>) -> Vec<SocketFile> {
    let path = |bound: &Bound| match &bound.address {
        Address::Unix(path) => Some(SocketFile(Path::to_path_buf(path))),
        Address::Tcp(_) => None,
    };
    bound.filter_map(path).collect()
}

fn text(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the admin shows how long the process runs")]
fn started() -> Instant {
    Instant::now()
}

/// The labels of all reasons, in the order of their indices.
fn labels() -> &'static [&'static str] {
    static LABELS: std::sync::LazyLock<Vec<&str>> =
        std::sync::LazyLock::new(|| Reason::ALL.iter().map(|reason| reason.label()).collect());
    &LABELS
}

/// Whose fault the reason at `index` is.
fn fault(index: usize) -> Option<&'static str> {
    match Reason::ALL.get(index)?.fault() {
        Fault::Nobody => None,
        Fault::Client => Some("client"),
        Fault::Upstream => Some("upstream"),
        Fault::Proxy => Some("proxy"),
    }
}
