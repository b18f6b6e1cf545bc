//! Are the upstreams well? Each one whose pool has checks is asked again and again; of the others it is written down
//! what requests find.
//!
//! A task for each upstream asks and decides, and what it knows stays in the upstream's entry: so a reload that changes
//! how it is asked costs nothing that was found out. Cores are told only when an upstream goes down, or comes back.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use flume::{Receiver, Sender};
use futures_lite::FutureExt;
use smol::lock::{Semaphore, SemaphoreGuard};
use smol::{LocalExecutor, Task};

use super::clock::since_epoch;
use super::current::Current;
use super::tls;
use crate::client::{self, Check, ClientSecurity, Dial, Question};
use crate::config::{HealthSpec, Place, PoolSpec, ProbeMethod, ProxyVersion, UpstreamSpec};
use crate::http::{Method, proxy_protocol};
use crate::io::address::Address;
use crate::io::signal::Mailbox;
use crate::proxy::{Change, Command};
use crate::stats::{CheckOutcome, Condition, UpstreamState};
use crate::upstream::LinkedPool;
use crate::upstream::health::{self, Finding, Thresholds};
use crate::upstream::resolve::literal;

/// Checks under way at once; others wait for their turn.
const CHECKS_MOST: usize = 64;
/// An upstream that a request could not connect to is asked this soon.
const SOON: Duration = Duration::from_millis(500);

/// Whom the checks tell what they find.
#[derive(Debug)]
pub struct Audience {
    /// The cores.
    pub mailboxes: Vec<Mailbox<Command>>,
    /// Has a name resolved again.
    pub unreachable: Sender<Arc<UpstreamState>>,
    /// Filled when there may be something for the log.
    pub news: Sender<()>,
}

/// How an upstream is asked.
#[derive(Debug, PartialEq, Eq)]
struct CheckPlan {
    place: Place,
    target: String,
    host: String,
    /// The address that connections come from, if one was chosen.
    bind: Option<IpAddr>,
    /// What they begin with.
    preface: Vec<u8>,
    /// What the rest travels through.
    security: ClientSecurity,
    health: HealthSpec,
}

/// An upstream that is asked as long as this is held.
struct Watched {
    asked: Rc<CheckPlan>,
    /// Takes what requests find.
    suspicions: Sender<Finding>,
    _task: Task<()>,
}

/// By entries: each is held by its task, so no other has its address.
type AllWatched = HashMap<*const UpstreamState, Watched>;

/// Asks all upstreams of the plan in force that are to be asked, and takes in what requests find (`changes`), until the
/// cores are gone.
pub async fn keep(current: Rc<Current>, changes: Receiver<Change>, audience: Audience) {
    let executor = LocalExecutor::new();
    let keeper =
        Keeper { executor: &executor, audience: Rc::new(audience), turns: Rc::new(Turns::new()) };
    let keeping = async {
        let mut all = AllWatched::new();
        keeper.follow(&current, &mut all).await;
        loop {
            let reloaded = async {
                current.changed().await;
                Ok(None)
            };
            match async { changes.recv_async().await.map(Some) }.or(reloaded).await {
                Ok(Some(change)) => keeper.take_in(change, &all),
                Ok(None) => keeper.follow(&current, &mut all).await,
                Err(_) => return,
            }
        }
    };
    executor.run(keeping).await;
}

/// Starts and ends the tasks.
struct Keeper<'e> {
    executor: &'e LocalExecutor<'static>,
    audience: Rc<Audience>,
    turns: Rc<Turns>,
}

/// The right to check, for a few at a time.
struct Turns {
    free: Semaphore,
    /// The log says already that checks are late.
    is_late: Cell<bool>,
}

impl Turns {
    fn new() -> Turns {
        Turns { free: Semaphore::new(CHECKS_MOST), is_late: Cell::new(false) }
    }

    /// Waits for a turn of `upstream`. When that takes more than `patience`, the log says so, and then no more until
    /// one was free at once.
    async fn take(&self, upstream: &str, patience: Duration) -> SemaphoreGuard<'_> {
        if let Some(turn) = self.free.try_acquire() {
            self.is_late.set(false);
            return turn;
        }
        let late = async {
            Timer::after(patience).await;
            if !self.is_late.replace(true) {
                tracing::warn!(
                    upstream,
                    "health checks are late: {CHECKS_MOST} others wait for an answer; lower \
                     health-timeout, or raise health-interval"
                );
            }
            std::future::pending().await
        };
        self.free.acquire().or(late).await
    }
}

impl Keeper<'_> {
    /// Has those asked that the plan in force names, as it says.
    async fn follow(&self, current: &Current, all: &mut AllWatched) {
        let runtime = current.get();
        let mut before = std::mem::take(all);
        for (pool, linked) in runtime.plan.pools.iter().zip(&runtime.pools) {
            let entries = linked.upstreams.iter().map(|entry| &entry.state);
            for (spec, entry) in pool.upstreams.iter().zip(entries) {
                let asked =
                    pool.health.as_ref().map(|health| CheckPlan::new(spec, pool, health, linked));
                let old = before.remove(&Arc::as_ptr(entry));
                let had_task = old.is_some();
                // Another task ends here: what it finds while we wait for a core would come too late.
                let same = old.filter(|old| asked.as_ref() == Some(&*old.asked));
                let is_checked = asked.is_some();
                let decide = |condition: &mut _| health::decide_by_checks(condition, is_checked);
                self.audience.change(entry, decide).await;
                match (same, asked) {
                    (Some(same), _) => drop(all.insert(Arc::as_ptr(entry), same)),
                    (None, Some(asked)) => {
                        all.insert(Arc::as_ptr(entry), self.watch(asked, entry));
                    }
                    // It may have ended before every core knew.
                    (None, None) if had_task => {
                        self.audience.tell_cores(entry, entry.is_excluded()).await;
                    }
                    (None, None) => {}
                }
            }
        }
    }

    fn watch(&self, asked: CheckPlan, entry: &Arc<UpstreamState>) -> Watched {
        let asked = Rc::new(asked);
        // One says as much as many: the next check is soon.
        let (suspicions, suspected) = flume::bounded(1);
        let watch = Watch {
            asked: Rc::clone(&asked),
            entry: Arc::clone(entry),
            suspected,
            audience: Rc::clone(&self.audience),
            turns: Rc::clone(&self.turns),
        };
        Watched { asked, suspicions, _task: self.executor.spawn(watch.go_on()) }
    }

    /// A request found something.
    fn take_in(&self, change: Change, all: &AllWatched) {
        let Change { upstream: entry, alive, reason, cause } = change;
        let outcome = match alive {
            true => CheckOutcome::Ok,
            false => CheckOutcome::of(reason).unwrap_or(CheckOutcome::ConnectFailed),
        };
        let text = cause.unwrap_or_else(|| outcome.explain().to_owned());
        let finding = Finding { at: since_epoch().as_secs(), outcome, text };
        match all.get(&Arc::as_ptr(&entry)) {
            Some(_) if alive => {} // only checks say that it is well
            Some(watched) => drop(watched.suspicions.try_send(finding)),
            None => {
                // One that no plan names any more and that checks decided on stays as they left it.
                if !entry.condition().is_checked {
                    entry.change(|condition| health::seen(condition, finding));
                    self.audience.hint();
                }
            }
        }
    }
}

impl Audience {
    /// Changes what is known of an upstream, and tells the cores if requests may go there now, or may not any more.
    async fn change(&self, entry: &Arc<UpstreamState>, change: impl FnOnce(&mut Condition)) {
        let facts = |condition: &Condition| (condition.health, condition.is_excluded());
        let (before, after) = entry.change(|condition| {
            let before = facts(condition);
            change(condition);
            (before, facts(condition))
        });
        if before.0 != after.0 {
            self.hint();
        }
        if before.1 != after.1 {
            self.tell_cores(entry, after.1).await;
        }
    }

    async fn tell_cores(&self, entry: &Arc<UpstreamState>, down: bool) {
        for mailbox in &self.mailboxes {
            mailbox.deliver(Command::Health(Arc::clone(entry), down)).await;
        }
    }

    /// There may be something for the log.
    fn hint(&self) {
        let _ = self.news.try_send(()); // full: whoever writes it will look
    }
}

/// The task of one upstream.
struct Watch {
    asked: Rc<CheckPlan>,
    entry: Arc<UpstreamState>,
    suspected: Receiver<Finding>,
    audience: Rc<Audience>,
    turns: Rc<Turns>,
}

impl Watch {
    async fn go_on(self) {
        let HealthSpec { interval, fall, rise, .. } = self.asked.health;
        let thresholds = Thresholds { fall, rise };
        // The task before this one may have ended before every core knew.
        self.audience.tell_cores(&self.entry, self.entry.is_excluded()).await;
        let mut regular = Timer::after(interval.mul_f64(fastrand::f64()));
        let mut soon = Timer::never();
        loop {
            let due = async {
                (&mut regular).or(&mut soon).await;
                None
            };
            let suspicion = async {
                match self.suspected.recv_async().await {
                    Ok(finding) => Some(finding),
                    Err(_) => std::future::pending().await, // this task is about to end
                }
            };
            if let Some(finding) = due.or(suspicion).await {
                // The first of many says when: those behind it would put the check off for ever.
                if !soon.will_fire() {
                    soon.set_after(SOON);
                }
                let suspect = |condition: &mut _| health::suspected(condition, finding, thresholds);
                self.audience.change(&self.entry, suspect).await;
                continue;
            }
            let checked = {
                let _turn = self.turns.take(&self.entry.name, interval).await;
                // From one beginning to the next: one that never answers is found out as soon as others are.
                regular.set_after(interval.mul_f64(0.9 + 0.2 * fastrand::f64()));
                self.check().await
            };
            if let Some(finding) = checked {
                self.entry.checks(finding.outcome).add(1);
                let checked = |condition: &mut _| health::checked(condition, finding, thresholds);
                self.audience.change(&self.entry, checked).await;
            }
            // What requests saw meanwhile, the check has seen too.
            drop(self.suspected.drain());
            soon = Timer::never();
        }
    }

    /// Asks once. `None`: that came to nothing, for want of something of our own.
    async fn check(&self) -> Option<Finding> {
        let CheckPlan { place, health, .. } = &*self.asked;
        let addresses: Vec<Address> = match literal(place) {
            Some(address) => vec![address],
            None => self.entry.addresses().iter().copied().map(Address::Tcp).collect(),
        };
        let checked = client::check(&addresses, self.asked.check(), health.timeout).await;
        let upstream = &self.entry.name;
        let (outcome, text) = checked
            .inspect_err(|error| tracing::debug!(%upstream, %error, "cannot be checked now"))
            .ok()?;
        tracing::debug!(%upstream, outcome = outcome.label(), text, "checked");
        if outcome.is_of_connecting() && literal(place).is_none() {
            let _ = self.audience.unreachable.try_send(Arc::clone(&self.entry));
        }
        Some(Finding { at: since_epoch().as_secs(), outcome, text })
    }
}

impl CheckPlan {
    fn new(
        spec: &UpstreamSpec,
        pool: &PoolSpec,
        health: &HealthSpec,
        linked: &LinkedPool,
    ) -> CheckPlan {
        CheckPlan {
            place: spec.place.clone(),
            target: format!("{}{}", spec.base, health.path),
            host: health.host.clone().unwrap_or_else(|| spec.authority.clone()),
            bind: pool.connections.bind,
            preface: preface(pool.connections.proxy_protocol),
            security: tls::security(
                spec.secure,
                pool.tls.server_name.as_deref(),
                spec.host(),
                linked.tls.as_ref(),
            ),
            health: health.clone(),
        }
    }

    fn check(&self) -> Check<'_> {
        let ask = |method| Question::without_body(method, &self.target, &self.host, b"");
        Check {
            question: match self.health.method {
                ProbeMethod::Get => Some(ask(Method::Get)),
                ProbeMethod::Head => Some(ask(Method::Head)),
                ProbeMethod::Connect => None,
            },
            dial: Dial { bind: self.bind, preface: &self.preface, security: &self.security },
            status: &self.health.status,
            body: &self.health.body,
        }
    }
}

/// A connection that speaks for itself, in the words of the PROXY protocol.
fn preface(version: Option<ProxyVersion>) -> Vec<u8> {
    let mut out = Vec::new();
    match version {
        Some(ProxyVersion::V1) => proxy_protocol::write_v1(None, &mut out),
        Some(ProxyVersion::V2) => proxy_protocol::write_v2(None, &mut out),
        None => {}
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::path::Path;

    use async_net::TcpListener;
    use futures_lite::{AsyncReadExt, AsyncWriteExt, future};

    use crate::config::{self, Action, Plan};
    use crate::io::clock;
    use crate::io::reactor::Reactor;
    use crate::proxy::Runtime;
    use crate::stats::Health;
    use crate::upstream::Registry;

    fn health(interval: Duration) -> HealthSpec {
        HealthSpec {
            method: ProbeMethod::Get,
            path: "/healthz".to_owned(),
            host: None,
            status: vec![(200, 399)],
            body: String::new(),
            interval,
            timeout: Duration::from_secs(5),
            fall: 2,
            rise: 1,
        }
    }

    fn plan(upstreams: &str, health: Option<HealthSpec>) -> Arc<Plan> {
        let around = config::Surroundings {
            cwd: Path::new("/"),
            cores: 1,
            descriptors: 1024,
            stdout_is_terminal: false,
        };
        let Ok(Action::Run(mut plan, _)) =
            config::load(["--upstream".into(), upstreams.into()], [], &around)
        else {
            panic!("{upstreams}")
        };
        Arc::make_mut(&mut plan.pools[0]).health = health;
        plan.into()
    }

    /// An origin that answers with a status, and remembers the head that came last.
    struct Origin {
        listener: TcpListener,
        status: Cell<u16>,
        head: RefCell<String>,
    }

    impl Origin {
        async fn new() -> Origin {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            Origin { listener, status: Cell::new(200), head: RefCell::default() }
        }

        fn authority(&self) -> String {
            self.listener.local_addr().unwrap().to_string()
        }

        async fn serve(&self) {
            loop {
                let (mut stream, _) = self.listener.accept().await.unwrap();
                let mut head = [0; 1024];
                let octets = stream.read(&mut head).await.unwrap();
                self.head.replace(String::from_utf8_lossy(&head[..octets]).into_owned());
                let answer = format!("HTTP/1.1 {} Status\r\n\r\n", self.status.get());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    }

    /// What the tests hold of the keeper.
    struct Case {
        registry: RefCell<Registry>,
        current: Rc<Current>,
        mailbox: Mailbox<Command>,
        commands: Receiver<Command>,
        changes: Sender<Change>,
    }

    impl Case {
        /// Runs `test` beside the keeper of `plan` and `origin`.
        fn run(origin: &Origin, plan: Arc<Plan>, test: impl AsyncFnOnce(&Case)) {
            let mut registry = Registry::new(1);
            let current = Rc::new(Current::new(Runtime::link(plan, &mut registry, None)));
            let (mailbox, commands) = Mailbox::new(Reactor::new().unwrap().notifier());
            let (unreachable, _names) = flume::bounded(1);
            let (news, _log) = flume::bounded(1);
            let (changes, changed) = flume::bounded(8);
            let audience = Audience { mailboxes: vec![mailbox.clone()], unreachable, news };
            let keeping = keep(Rc::clone(&current), changed, audience);
            let case = Case { registry: registry.into(), current, mailbox, commands, changes };
            let late = async {
                Timer::after(Duration::from_secs(20)).await;
                panic!("it did not come to be so");
            };
            future::block_on(test(&case).or(keeping).or(origin.serve()).or(late));
        }

        fn entry(&self, at: usize) -> Arc<UpstreamState> {
            Arc::clone(&self.current.get().pools[0].upstreams[at].state)
        }

        fn adopt(&self, plan: Arc<Plan>) {
            let before = self.current.get();
            let runtime = Runtime::link(plan, &mut self.registry.borrow_mut(), Some(&before));
            self.current.set(runtime);
        }

        fn saw(&self, upstream: Arc<UpstreamState>, alive: bool) {
            let reason = if alive { "" } else { "connect_refused" };
            self.changes.try_send(Change { upstream, alive, reason, cause: None }).unwrap();
        }

        /// Waits for the next command to the core that says that something has changed.
        async fn told(&self) -> (Arc<UpstreamState>, bool) {
            match self.commands.recv_async().await.unwrap() {
                Command::Health(entry, down) => (entry, down),
                other => panic!("{other:?}"),
            }
        }
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            Timer::after(Duration::from_millis(1)).await;
        }
    }

    #[test]
    fn cores_hear_of_what_goes_down_and_comes_back() {
        let origin = future::block_on(Origin::new());
        let nobody = future::block_on(Origin::new()).authority(); // it is gone already
        let upstreams = format!("{}/b,{nobody}", origin.authority());
        let often = Some(health(Duration::from_millis(5)));
        Case::run(&origin, plan(&upstreams, often), async |case| {
            let [well, ill] = [0, 1].map(|at| case.entry(at));
            for _ in 0..2 {
                assert!(!case.told().await.1, "each task tells how it is when it begins");
            }
            let (entry, down) = case.told().await;
            assert!(Arc::ptr_eq(&entry, &ill) && down);
            let error = ill.condition().last_error.unwrap();
            assert_eq!(error.reason, CheckOutcome::ConnectRefused);
            assert!(error.text.contains("refused"), "{}", error.text);
            assert!(ill.checks(CheckOutcome::ConnectRefused).get() >= 2);
            until(|| well.health() == Health::Up).await;
            let line = origin.head.borrow().clone();
            let host = origin.authority();
            assert!(line.starts_with(&format!("GET /b/healthz HTTP/1.1\r\nHost: {host}\r\n")));
            for (status, down, outcome) in
                [(503, true, CheckOutcome::WrongStatus), (204, false, CheckOutcome::Ok)]
            {
                origin.status.set(status);
                let (entry, told) = case.told().await;
                assert!(Arc::ptr_eq(&entry, &well) && told == down, "{status}");
                assert!(well.checks(outcome).get() >= 1);
            }
            case.adopt(plan(&upstreams, None));
            for entry in [&well, &ill] {
                let (told, down) = case.told().await;
                assert!(Arc::ptr_eq(&told, entry) && !down, "checks have no say any more");
                assert_eq!(entry.condition(), Condition::default());
            }
        });
    }

    #[test]
    fn a_reload_forgets_nothing_and_changes_how_it_is_asked() {
        let origin = future::block_on(Origin::new());
        let often = health(Duration::from_millis(5));
        let authority = origin.authority();
        Case::run(&origin, plan(&authority, Some(often.clone())), async |case| {
            let entry = case.entry(0);
            until(|| entry.health() == Health::Up).await;
            origin.status.set(500);
            until(|| entry.health() == Health::Down).await;
            let since = entry.condition().since;
            let other = HealthSpec { path: "/other".to_owned(), ..often };
            case.adopt(plan(&authority, Some(other)));
            until(|| origin.head.borrow().starts_with("GET /other ")).await;
            assert!(Arc::ptr_eq(&entry, &case.entry(0)) && entry.is_excluded());
            assert_eq!(entry.condition().since, since);
        });
    }

    #[test]
    fn what_a_request_finds_brings_the_next_check_on() {
        let origin = future::block_on(Origin::new());
        let seldom = Some(health(Duration::from_secs(3600)));
        Case::run(&origin, plan(&origin.authority(), seldom), async |case| {
            let entry = case.entry(0);
            assert!(!case.told().await.1);
            for alive in [true, false, false] {
                case.saw(case.entry(0), alive);
            }
            until(|| entry.condition().failures > 0).await;
            assert_eq!(entry.health(), Health::Unknown, "two are as one, until the next check");
            until(|| entry.checks(CheckOutcome::Ok).get() == 1).await;
            assert_eq!((entry.health(), entry.condition().failures), (Health::Up, 0));
        });
    }

    #[test]
    fn without_checks_it_is_written_down_what_requests_find() {
        let origin = future::block_on(Origin::new());
        Case::run(&origin, plan(&origin.authority(), None), async |case| {
            let entry = case.entry(0);
            for (alive, health) in [(false, Health::Down), (true, Health::Up)] {
                case.saw(case.entry(0), alive);
                until(|| entry.condition().health == health).await;
            }
            assert!(entry.condition().last_healthy.is_some());
            assert!(case.commands.is_empty(), "it is shown, and no more");
        });
    }

    #[test]
    fn one_that_never_answers_is_asked_no_later_than_others() {
        const TIME: Duration = Duration::from_millis(300);
        let origin = future::block_on(Origin::new());
        // The kernel takes connections in, and nobody else does.
        let silent = future::block_on(Origin::new());
        let authority = silent.authority();
        let health = HealthSpec { timeout: TIME, ..health(TIME) };
        Case::run(&origin, plan(&authority, Some(health)), async |case| {
            let entry = case.entry(0);
            let failed = |times| {
                move |entry: &UpstreamState| entry.checks(CheckOutcome::NoAnswer).get() == times
            };
            until(|| failed(1)(&entry)).await;
            let started = clock::origin();
            until(|| failed(4)(&entry)).await;
            let elapsed = started.elapsed();
            assert!(elapsed > TIME * 5 / 2 && elapsed < TIME * 9 / 2, "three took {elapsed:?}");
        });
    }

    #[test]
    fn a_task_finds_nothing_any_more_once_a_reload_has_ended_it() {
        let origin = future::block_on(Origin::new());
        let authority = origin.authority();
        let often = Some(health(Duration::from_millis(5)));
        Case::run(&origin, plan(&authority, often), async |case| {
            let entry = case.entry(0);
            origin.status.set(500);
            until(|| entry.is_excluded()).await;
            // The core takes nothing out, so the news of the reload have to wait.
            while !case.commands.is_full() {
                case.mailbox.send(Command::Answered);
            }
            case.adopt(plan(&authority, None));
            until(|| !entry.condition().is_checked).await;
            let checks = entry.checks(CheckOutcome::WrongStatus).get();
            Timer::after(Duration::from_millis(100)).await;
            assert_eq!(entry.condition(), Condition::default());
            assert_eq!(entry.checks(CheckOutcome::WrongStatus).get(), checks);
        });
    }

    #[test]
    fn what_requests_of_an_old_plan_find_does_not_exclude_what_was_checked() {
        let origin = future::block_on(Origin::new());
        let seldom = Some(health(Duration::from_secs(3600)));
        Case::run(&origin, plan(&origin.authority(), seldom.clone()), async |case| {
            let gone = case.entry(0);
            until(|| gone.condition().is_checked).await;
            case.adopt(plan("127.0.0.1:1", seldom));
            until(|| case.entry(0).condition().is_checked).await;
            case.saw(Arc::clone(&gone), false);
            until(|| case.changes.is_empty()).await;
            assert!(!gone.is_excluded(), "{:?}", gone.condition());
        });
    }
}
