//! WHO DECIDES? The control plane, on the main thread: has the sockets opened, starts the cores, answers signals, hands
//! over or ends everything.
//!
//! Laws:
//! - Wires the rooms together; only `main` knows it.
//! - Never in the data path: cores get commands and report back, and none of them waits for us.
//! - One event loop, one match: whatever happens is a `ControlEvent` that `ControlPlane::until_told` answers.
//! - Every ending has a bound, and a second signal ends it at once.
//!
//! The files: `start` (cores and log), `cores` (the threads), `events` (what they report), `names` (resolving),
//! `addresses` (names of which each address is an upstream), `probes` (whether upstreams are well), `health` (what the
//! log says of them), `questions` (are these credentials good), `service` (what another service says of that), `keys`
//! (of signed tokens), `urls` (what those two ask), `desired` (what is wanted: settings, and changes of upstreams),
//! `state` (where those are kept), `tls` (certificates and whom to trust; `without_tls` in a build that has none),
//! `certificates` (which end soon), `acme` (ordering them), `reload` (putting it in force), `listening` (the sockets),
//! `current` (what is), `clock` (the date), `watch` (have files changed), `upgrade` (another process), `handed` (what
//! that gets to know of upstreams), `drain` (the end), [`demo`] (origins of our own), [`ask`] (commands to a tidegate
//! that runs).

#[cfg(feature = "acme")]
mod acme;
mod addresses;
pub mod ask;
mod certificates;
mod checks;
mod clock;
mod cores;
mod current;
pub mod demo;
mod desired;
mod drain;
mod events;
mod handed;
mod health;
mod keys;
mod listening;
mod names;
mod probes;
mod questions;
mod reload;
mod service;
mod start;
mod state;
#[cfg(feature = "tls")]
mod tls;
mod upgrade;
mod urls;
mod watch;
#[cfg(not(feature = "tls"))]
mod without_tls;

use std::env;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use async_signal::{Signal, Signals};
use flume::{Receiver, Sender};
use futures_lite::{FutureExt, StreamExt, future};
use smol::LocalExecutor;
#[cfg(not(feature = "tls"))]
use without_tls as tls;

use crate::admin::{self, CurrentView, Orders, PendingOrder, Service};
use crate::config::{Order, Plan, Report, Sources};
use crate::policy::gate;
use crate::process::inherited::{InheritedSockets, Predecessor, READY};
use crate::process::listeners::{ListenerSockets, Listeners};
use crate::process::notify::Notify;
use crate::process::program;
use crate::proxy::{self, Command, Runtime};
use crate::stats::{AuditRecord, Phase, ProcessState, Recorder};
use crate::upstream::Registry;
use addresses::FollowedNames;
use cores::Cores;
use current::Current;
use desired::Desired;
use listening::Listening;
use tls::{Renewal, TlsLinker, served_certificates};
use upgrade::{UPGRADING, Upgrade};
use watch::Watcher;

/// Runs the proxy until a signal ends it.
///
/// # Errors
/// When it could not start, or a core failed: what to tell the user.
pub fn run(plan: Plan, report: &Report, sources: Sources<'static>) -> Result<(), String> {
    start_with(plan, report, sources, |_| Ok(()))
}

/// [`run`], unless `opened` fails, which is called when the sockets listen.
fn start_with(
    plan: Plan,
    report: &Report,
    sources: Sources<'static>,
    opened: impl FnOnce(&Listeners) -> Result<(), String>,
) -> Result<(), String> {
    let InheritedSockets { mut predecessor, sockets, upstreams } =
        InheritedSockets::take(|name| env::var_os(name))?;
    let result = unusable(&plan)
        .map_or(Ok(()), Err)
        .and_then(|()| start::enough_descriptors(&plan))
        .and_then(|()| Listeners::open(&plan, report, sockets))
        .and_then(|listeners| {
            serve(
                plan,
                Watcher::new(report.files.clone()),
                sources,
                listeners,
                &upstreams,
                &mut predecessor,
                opened,
            )
        });
    if let Err(error) = &result {
        // Only if we have not been ready.
        predecessor.send(error.as_bytes());
    }
    result
}

/// What of `plan` cannot be used, though each of its settings is fine by itself: keys that are none.
pub fn unusable(plan: &Plan) -> Option<String> {
    let faults: Vec<String> =
        TlsLinker::fault(plan).into_iter().chain(gate::unusable(plan)).collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

fn serve(
    plan: Plan,
    watcher: Watcher,
    sources: Sources<'static>,
    listeners: Listeners,
    upstreams: &[u8],
    predecessor: &mut Predecessor,
    opened: impl FnOnce(&Listeners) -> Result<(), String>,
) -> Result<(), String> {
    let (recorder, writer, reopen_log) = start::log(&plan)?;
    let (auditor, audit_writer, reopen_audit) = start::audit(&plan)?;
    let reopen = reopen_log.into_iter().chain(reopen_audit).collect();
    let unwritten = recorder.as_ref().map(|recorder| Arc::clone(recorder.unwritten()));
    let audit_lost = auditor.as_ref().map(|auditor| Arc::clone(auditor.unwritten()));
    opened(&listeners)?;
    let desired = Desired::new(plan)?;
    let (mut live, admin) = ControlPlane::start(
        desired,
        watcher,
        sources,
        listeners,
        upstreams,
        (recorder, auditor),
        reopen,
    )?;
    let executor = LocalExecutor::new();
    let result = smol::block_on(executor.run(live.run(&executor, admin, predecessor)));
    // Tasks of the admin hold senders, too.
    drop(executor);
    drop(live);
    // The cores are gone, and with them the last senders: the writer writes what is left.
    for writer in writer.into_iter().chain(audit_writer) {
        let _ = writer.join(); // a panic has told of itself
    }
    for (name, lines) in [("access", unwritten), ("audit", audit_lost)] {
        let lost = lines.map_or(0, |lines| lines.get());
        if lost > 0 {
            tracing::warn!(lost, "lines of the {name} log could not be written");
        }
    }
    result
}

/// Who asked for what a signal asks for, as the audit log has it.
const BY_SIGNAL: &str = "a signal";

/// Reports of one kind that wait at most.
const REPORTS: usize = 1024;

/// Why it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    /// We were told to stop.
    Stop,
    /// Another process has taken over.
    HandedOver,
}

/// Something to be answered.
enum ControlEvent {
    /// A signal came; `None`: there will be no more of them.
    Signal(Option<Signal>),
    /// Somebody gives an order.
    Order(PendingOrder),
    /// A file that settings are read from has changed.
    FileChanged,
    /// A name of upstreams has other addresses.
    AddressesChanged,
    /// There is a certificate to be had in place of one in force.
    Certificate(Renewal),
    /// The new process is ready, or will not be.
    Successor(Result<(), Option<String>>),
}

/// The event loop's state.
struct ControlPlane {
    sources: Sources<'static>,
    watcher: Watcher,
    desired: Desired,
    followed: FollowedNames,
    registry: Registry,
    tls: TlsLinker,
    current: Rc<Current>,
    state: Arc<ProcessState>,
    view: Arc<CurrentView>,
    /// Where the admin takes orders down.
    taken_down: Orders,
    /// Where they are taken from; `None`: none is carried out any more.
    orders: Option<Receiver<PendingOrder>>,
    cores: Cores,
    signals: Signals,
    events: Receiver<proxy::Event>,
    reopen: Vec<Sender<()>>,
    notify: Notify,
    program: Option<PathBuf>,
    listening: Listening,
    /// Dropped when another process has taken over.
    hand_over: Option<Sender<()>>,
    handed_over: Receiver<()>,
}

impl ControlPlane {
    /// Starts the cores; they do not accept yet. Gives the admin's doors back.
    fn start(
        desired: Desired,
        watcher: Watcher,
        sources: Sources<'static>,
        listeners: Listeners,
        upstreams: &[u8],
        (recorder, auditor): (Option<Recorder>, Option<Recorder<AuditRecord>>),
        reopen: Vec<Sender<()>>,
    ) -> Result<(ControlPlane, Vec<ListenerSockets>), String> {
        use Signal::{Hup, Int, Quit, Term, Usr1, Usr2};
        let signals = Signals::new([Term, Int, Quit, Hup, Usr1, Usr2])
            .map_err(|error| format!("cannot take signals: {error}"))?;
        let mut listening = Listening::default();
        listening.add(listeners.iter())?;
        let Listeners { listen, admin } = listeners;
        let named = Arc::new(desired.plan());
        let mut handed = handed::read(upstreams);
        let mut followed = FollowedNames::new(std::mem::take(&mut handed.names));
        let plan = followed.expand(&named);
        let mut registry = Registry::new(plan.process.workers);
        handed.secret.iter().for_each(|secret| registry.sign_with(*secret));
        let mut tls = TlsLinker::default();
        handed.tickets.iter().for_each(|tickets| tls.import_tickets(tickets));
        let linked = tls.link(&named)?;
        let runtime = Runtime::link_with(linked, Arc::new(plan), &mut registry, None);
        // Before a core looks.
        handed.take_over(&runtime);
        let (view, events, cores) = start::cores(
            &runtime,
            named,
            desired.changes().clone(),
            listen,
            (recorder, auditor.clone()),
        )?;
        let (hand_over, handed_over) = flume::bounded(1);
        let (taken_down, orders) = Orders::new(auditor);
        let live = ControlPlane {
            sources,
            watcher,
            desired,
            followed,
            registry,
            tls,
            current: Rc::new(Current::new(runtime)),
            state: Arc::clone(&view.state),
            view: Arc::new(CurrentView::new(view)),
            taken_down,
            orders: Some(orders),
            cores,
            signals,
            events,
            reopen,
            notify: Notify::from(|name| env::var_os(name)),
            program: program::find(),
            listening,
            hand_over: Some(hand_over),
            handed_over,
        };
        Ok((live, admin))
    }

    async fn run(
        &mut self,
        executor: &LocalExecutor<'_>,
        mut admin: Vec<ListenerSockets>,
        predecessor: &mut Predecessor,
    ) -> Result<(), String> {
        if !predecessor.is_waiting() {
            self.open_admin(executor, std::mem::take(&mut admin))?;
        }
        self.find_addresses().await;
        names::resolve_all(&self.current.get(), &self.cores.mailboxes).await;
        keys::fetch_new(&self.current.get()).await;
        let (current, mailboxes) = (Rc::clone(&self.current), self.cores.mailboxes.clone());
        let (unreachable, names) = flume::bounded(REPORTS);
        let (changes, changed) = flume::bounded(REPORTS);
        let (ask, questions) = flume::bounded(REPORTS);
        let _answering = executor.spawn(questions::answer(
            questions,
            mailboxes.clone(),
            Rc::clone(&self.current),
        ));
        let _looking = executor.spawn(certificates::watch(Rc::clone(&self.current)));
        let _fetching = executor.spawn(keys::keep(Rc::clone(&self.current)));
        let passing = events::pass_on(
            self.events.clone(),
            unreachable.clone(),
            changes,
            ask,
            mailboxes.clone(),
            Arc::clone(&self.view),
        );
        let _passing = executor.spawn(passing);
        let (news, told) = flume::bounded(1);
        let telling = executor.spawn(health::tell(Rc::clone(&self.current), told));
        let audience = probes::Audience { mailboxes: mailboxes.clone(), unreachable, news };
        let probing = probes::keep(Rc::clone(&self.current), changed, audience);
        let _probing = executor.spawn(probing);
        let _resolving = executor.spawn(names::keep_resolving(current, mailboxes, names));
        // Until now the process before us has answered for us.
        self.open_admin(executor, admin)?;
        self.view.get().listen.iter().for_each(|url| listening::tell(url));
        self.cores.tell(&Command::Accept);
        self.state.set(Phase::Ready);
        tracing::info!(
            workers = self.cores.mailboxes.len(),
            upstreams = self.current.get().upstreams().count(),
            "ready"
        );
        self.listening.take_files_over();
        if predecessor.is_waiting() {
            // The process before us tells the service manager.
            predecessor.send(READY);
        } else {
            self.notify.tell("READY=1");
        }
        let notify = self.notify.clone();
        let watchdog = notify.watchdog.map(|every| executor.spawn(notify.feed_watchdog(every)));
        let ordering = executor.spawn(self.tls.ordering(&self.current, &self.view));
        let shutdown = self.until_told().await?;
        drop(ordering);
        if shutdown == Shutdown::HandedOver {
            // Whoever has taken over tells, and not both.
            drop((watchdog, telling));
            self.listening.leave_files();
        }
        self.drain(shutdown).await
    }

    fn open_admin(
        &self,
        executor: &LocalExecutor<'_>,
        listeners: Vec<ListenerSockets>,
    ) -> Result<(), String> {
        for listener in listeners {
            tracing::info!(address = %listener.address(), "admin");
            let listener = listener.into_admin().map_err(|error| error.to_string())?;
            let handed_over = self.handed_over.clone();
            let handed_over = async move {
                // It is never sent anything: it is done when the other end is dropped.
                let _ = handed_over.recv_async().await;
            };
            let service = Service { view: Arc::clone(&self.view), orders: self.taken_down.clone() };
            executor.spawn(admin::serve(listener, service, handed_over)).detach();
        }
        Ok(())
    }

    /// Answers signals, and carries orders out, until it is time to end.
    async fn until_told(&mut self) -> Result<Shutdown, String> {
        let mut upgrade: Option<Upgrade> = None;
        loop {
            match self.news(&mut upgrade).await? {
                ControlEvent::FileChanged => {
                    let outcome = self.reload().await;
                    self.audit(&Order::Reload, "a file that changed", &outcome);
                }
                ControlEvent::Signal(Some(Signal::Hup)) => {
                    let outcome = self.reload().await;
                    self.audit(&Order::Reload, BY_SIGNAL, &outcome);
                }
                ControlEvent::AddressesChanged => self.find_addresses().await,
                ControlEvent::Certificate(renewal) => self.renew_certificate(renewal).await,
                ControlEvent::Signal(Some(Signal::Usr1)) => self.reopen_log(),
                ControlEvent::Signal(Some(Signal::Usr2)) if upgrade.is_some() => {
                    tracing::warn!("an upgrade is under way already");
                    self.audit(&Order::Upgrade, BY_SIGNAL, &Err(UPGRADING));
                }
                ControlEvent::Signal(Some(Signal::Usr2)) => upgrade = self.begin_upgrade(None),
                ControlEvent::Signal(_) => {
                    upgrade.into_iter().for_each(|upgrade| self.give_upgrade_up(upgrade));
                    return Ok(Shutdown::Stop);
                }
                ControlEvent::Order(pending) => match &pending.order {
                    Order::Reload => {
                        let outcome = self.reload().await;
                        self.audit(&pending.order, &pending.by, &outcome);
                        pending.answer(outcome);
                    }
                    Order::Upgrade | Order::Upstream(_) if upgrade.is_some() => {
                        self.refuse_while_upgrading(pending);
                    }
                    Order::Upgrade => upgrade = self.begin_upgrade(Some(pending)),
                    Order::Upstream(order) => {
                        let outcome = self.change_upstream(order).await;
                        self.audit(&pending.order, &pending.by, &outcome);
                        pending.answer(outcome);
                    }
                },
                ControlEvent::Successor(Ok(())) => {
                    if let Some(upgrade) = upgrade {
                        self.hand_over(upgrade).await;
                    }
                    return Ok(Shutdown::HandedOver);
                }
                ControlEvent::Successor(Err(why)) => {
                    upgrade.take().into_iter().for_each(|one| self.fail_upgrade(one, why.clone()));
                }
            }
        }
    }

    /// Waits for something to happen; an error is the end of a core.
    async fn news(&mut self, upgrade: &mut Option<Upgrade>) -> Result<ControlEvent, String> {
        let failure = async { Err(self.cores.failure().await) };
        let signal = async {
            let signal = (&self.signals).next().await;
            Ok(ControlEvent::Signal(signal.and_then(Result::ok)))
        };
        let order = async {
            match &self.orders {
                Some(orders) => match orders.recv_async().await {
                    Ok(pending) => Ok(ControlEvent::Order(pending)),
                    Err(_) => future::pending().await,
                },
                None => future::pending().await,
            }
        };
        let watching = self.current.get().plan.process.watch;
        let watcher = &mut self.watcher;
        let file = async {
            if !watching {
                future::pending::<()>().await;
            }
            watcher.changed().await;
            Ok(ControlEvent::FileChanged)
        };
        let followed = &mut self.followed;
        let addresses = async {
            followed.changed().await;
            Ok(ControlEvent::AddressesChanged)
        };
        let tls = &self.tls;
        let renewal = async { Ok(ControlEvent::Certificate(tls.renewal().await)) };
        let settled = async {
            match upgrade {
                Some(upgrade) => Ok(ControlEvent::Successor(upgrade.settle().await)),
                None => future::pending().await,
            }
        };
        failure.or(settled).or(signal).or(order).or(file).or(addresses).or(renewal).await
    }

    /// Writes down what somebody wanted changed, and what came of it.
    fn audit(&self, order: &Order, by: &str, outcome: &admin::Outcome) {
        let refused = outcome.as_ref().err().map(|refused| &*refused.message);
        self.taken_down.audit(&order.to_string(), by, refused);
    }

    fn reopen_log(&self) {
        for reopen in &self.reopen {
            let _ = reopen.try_send(());
        }
        if !self.reopen.is_empty() {
            tracing::info!("logs reopened");
        }
    }
}
