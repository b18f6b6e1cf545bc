//! WHO DECIDES? The control plane, on the main thread: opens the doors, starts the cores, answers
//! signals, hands over or ends everything.
//!
//! Laws:
//! - The only place that wires the rooms together; no room knows it.
//! - Never in the data path: cores get commands and report back, and none of them waits for us.
//! - Only this thread starts a process, and only `handover` does.
//! - Every ending has a bound, and a second signal ends it at once.
//!
//! The files: `doors` (listening sockets, found or opened), `remedies` (what to do where the machine says
//! no), `inherit` (what the process before us left), `crew` (the cores), `events` (what they report),
//! `names` (resolving), `health` (what the log says of upstreams), `handover` (the next process), `drain`
//! (the end), `notify` (the service manager), `start` (cores and log), `program` (where we are on the disk).

mod crew;
mod doors;
mod drain;
mod events;
mod handover;
mod health;
mod inherit;
mod names;
mod notify;
mod program;
mod remedies;
mod start;

use std::env;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use async_io::Timer;
use async_signal::{Signal, Signals};
use flume::{Receiver, Sender};
use futures_lite::{FutureExt, StreamExt, future};
use smol::{LocalExecutor, Task};

use tidegate::admin::{self, View};
use tidegate::config::{Plan, Told};
use tidegate::io::listen::SocketFile;
use tidegate::proxy::{Command, Event};
use tidegate::stats::{Phase, Recorder, State};
use tidegate::upstream::{Registry, Runtime};

use crew::Crew;
pub use doors::{Door, Doors};
use handover::Heir;
pub use inherit::INHERIT;
use inherit::{Inheritance, Label, READY, Report};
use notify::Notify;

/// Runs the proxy until a signal ends it, unless `opened` fails, which is called when its doors are open.
/// The error is what to tell the user.
pub fn run(
    plan: Plan,
    told: &Told,
    opened: impl FnOnce(&Doors) -> Result<(), String>,
) -> Result<(), String> {
    let Inheritance { mut report, sockets } = Inheritance::take(|name| env::var_os(name))?;
    let result = start::enough_descriptors(&plan)
        .and_then(|()| Doors::open(&plan, told, sockets))
        .and_then(|doors| serve(plan, doors, &mut report, opened));
    if let Err(error) = &result {
        // Only if we have not been ready.
        report.send(error.as_bytes());
    }
    result
}

fn serve(
    plan: Plan,
    doors: Doors,
    report: &mut Report,
    opened: impl FnOnce(&Doors) -> Result<(), String>,
) -> Result<(), String> {
    let (recorder, writer, reopen) = start::log(&plan)?;
    let unwritten = recorder.as_ref().map(|recorder| Arc::clone(recorder.unwritten()));
    opened(&doors)?;
    let (mut live, admin) = Live::start(Arc::new(plan), doors, recorder, reopen)?;
    let executor = LocalExecutor::new();
    let result = smol::block_on(executor.run(live.run(&executor, admin, report)));
    drop(live);
    // The cores are gone, and with them the last senders: the writer writes what is left.
    if let Some(writer) = writer {
        let _ = writer.join(); // a panic has told of itself
    }
    let lost = unwritten.map_or(0, |lines| lines.get());
    if lost > 0 {
        tracing::warn!(lost, "lines of the access log could not be written");
    }
    result
}

/// Reports of one kind that wait at most.
const REPORTS: usize = 1024;

/// Why it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// We were told to stop.
    Stop,
    /// Another process has taken over.
    HandedOver,
}

/// Something to be answered.
enum News {
    /// A signal came; `None`: there will be no more of them.
    Signal(Option<Signal>),
    /// The new process is ready, or will not be.
    Heir(Result<(), Option<String>>),
}

/// The event loop's state.
struct Live {
    plan: Arc<Plan>,
    runtime: Arc<Runtime>,
    state: Arc<State>,
    view: Arc<View>,
    crew: Crew,
    signals: Signals,
    events: Receiver<Event>,
    reopen: Option<Sender<()>>,
    notify: Notify,
    program: Option<PathBuf>,
    /// The listening sockets, for the next process.
    copies: Vec<(Label, OwnedFd)>,
    /// Files to be removed at the end.
    files: Vec<SocketFile>,
    /// Those that are another process' to remove until we are ready.
    foreign_files: Vec<PathBuf>,
    /// Dropped when another process has taken over.
    hand_over: Option<Sender<()>>,
    handed_over: Receiver<()>,
}

impl Live {
    /// Starts the cores; they do not accept yet. Gives the admin's doors back.
    fn start(
        plan: Arc<Plan>,
        doors: Doors,
        recorder: Option<Recorder>,
        reopen: Option<Sender<()>>,
    ) -> Result<(Live, Vec<Door>), String> {
        use Signal::{Hup, Int, Quit, Term, Usr1, Usr2};
        let signals = Signals::new([Term, Int, Quit, Hup, Usr1, Usr2])
            .map_err(|error| format!("cannot take signals: {error}"))?;
        let mut copies = Vec::new();
        for door in doors.iter() {
            copies.extend(door.copies().map_err(|error| format!("cannot copy a socket: {error}"))?);
        }
        let files = |inherited| {
            doors.iter().filter(move |door| door.inherited == inherited).filter_map(Door::file)
        };
        let foreign_files = files(true).collect();
        let files = files(false).map(SocketFile::new).collect();
        let Doors { listen, admin } = doors;
        let runtime = Registry::new(plan.workers).link(Arc::clone(&plan));
        let (view, events, crew) = start::cores(&runtime, listen, recorder)?;
        let (hand_over, handed_over) = flume::bounded(1);
        let live = Live {
            plan,
            runtime,
            state: Arc::clone(&view.state),
            view: Arc::new(view),
            crew,
            signals,
            events,
            reopen,
            notify: Notify::from(|name| env::var_os(name)),
            program: program::find(),
            copies,
            files,
            foreign_files,
            hand_over: Some(hand_over),
            handed_over,
        };
        Ok((live, admin))
    }

    async fn run(
        &mut self,
        executor: &LocalExecutor<'_>,
        mut admin: Vec<Door>,
        report: &mut Report,
    ) -> Result<(), String> {
        if !report.is_awaited() {
            self.open_admin(executor, std::mem::take(&mut admin))?;
        }
        names::resolve_all(&self.runtime, &self.crew.mailboxes).await;
        let (runtime, mailboxes) = (Arc::clone(&self.runtime), self.crew.mailboxes.clone());
        let (unreachable, names) = flume::bounded(REPORTS);
        let (changes, changed) = flume::bounded(REPORTS);
        let passing = events::pass_on(self.events.clone(), unreachable, changes, mailboxes.clone());
        let _passing = executor.spawn(passing);
        let _resolving = executor.spawn(names::keep_resolving(runtime, mailboxes, names));
        let _health = executor.spawn(health::tell(self.view.upstreams.clone(), changed));
        // Until now the process before us has answered for us.
        self.open_admin(executor, admin)?;
        for address in &self.view.listen {
            tracing::info!(%address, "listening");
        }
        self.crew.tell(&Command::Accept);
        self.state.set(Phase::Ready);
        tracing::info!(workers = self.plan.workers, upstreams = self.plan.upstreams.len(), "ready");
        self.files.extend(self.foreign_files.drain(..).map(SocketFile::new));
        if report.is_awaited() {
            // The process before us tells the service manager.
            report.send(READY);
        } else {
            self.notify.tell("READY=1");
        }
        let watchdog = self.feed_watchdog(executor);
        let ending = self.until_told().await?;
        if ending == Ending::HandedOver {
            drop(watchdog);
            self.hand_over = None;
            self.files.drain(..).for_each(SocketFile::leave);
        }
        self.drain(ending).await
    }

    fn open_admin(&self, executor: &LocalExecutor<'_>, doors: Vec<Door>) -> Result<(), String> {
        for door in doors {
            tracing::info!(address = %door.address(), "admin");
            let listener = door.into_admin().map_err(|error| error.to_string())?;
            let handed_over = self.handed_over.clone();
            let handed_over = async move {
                // It is never sent anything: it is done when the other end is dropped.
                let _ = handed_over.recv_async().await;
            };
            executor.spawn(admin::serve(listener, Arc::clone(&self.view), handed_over)).detach();
        }
        Ok(())
    }

    /// Tells the service manager that we live, as long as the task is held.
    fn feed_watchdog(&self, executor: &LocalExecutor<'_>) -> Option<Task<()>> {
        let notify = self.notify.clone();
        notify.watchdog.map(|every| {
            executor.spawn(async move {
                loop {
                    notify.tell("WATCHDOG=1");
                    Timer::after(every).await;
                }
            })
        })
    }

    /// Answers signals until it is time to end.
    async fn until_told(&self) -> Result<Ending, String> {
        let mut heir: Option<Heir> = None;
        loop {
            match self.news(&mut heir).await? {
                News::Signal(Some(Signal::Hup)) => {
                    tracing::warn!(
                        "settings are read at the start: SIGUSR2 starts anew, with them"
                    );
                }
                News::Signal(Some(Signal::Usr1)) => self.reopen_log(),
                News::Signal(Some(Signal::Usr2)) if heir.is_some() => {
                    tracing::warn!("an upgrade is under way already");
                }
                News::Signal(Some(Signal::Usr2)) => heir = self.start_heir(),
                News::Signal(_) => {
                    heir.take().map(Heir::give_up);
                    return Ok(Ending::Stop);
                }
                News::Heir(Ok(())) => {
                    let pid = heir.as_ref().map_or(0, Heir::pid);
                    tracing::info!(pid, "handed over to the new process");
                    self.notify.tell(&format!("MAINPID={pid}"));
                    return Ok(Ending::HandedOver);
                }
                News::Heir(Err(why)) => {
                    let status = heir.take().map(Heir::give_up).unwrap_or_default();
                    let why = why.unwrap_or_else(|| format!("it ended with {status}"));
                    tracing::error!(%why, "the upgrade failed; this process goes on");
                }
            }
        }
    }

    /// Waits for something to happen; an error is the end of a core.
    async fn news(&self, heir: &mut Option<Heir>) -> Result<News, String> {
        let failure = async { Err(self.crew.failure().await) };
        let signal = async {
            let signal = (&self.signals).next().await;
            Ok(News::Signal(signal.and_then(Result::ok)))
        };
        let settled = async {
            match heir {
                Some(heir) => Ok(News::Heir(heir.settle().await)),
                None => future::pending().await,
            }
        };
        failure.or(settled).or(signal).await
    }

    fn start_heir(&self) -> Option<Heir> {
        let Some(program) = self.program.as_deref().filter(|_| std::process::id() != 1) else {
            // A container ends with its first process, so the second one could not outlive us.
            tracing::error!("no upgrade: this is process 1, or its program cannot be found");
            return None;
        };
        match Heir::start(program, &self.copies) {
            Ok(heir) => {
                tracing::info!(program = %program.display(), pid = heir.pid(), "upgrade begins");
                Some(heir)
            }
            Err(error) => {
                let program = program.display();
                tracing::error!(%program, %error, "the upgrade failed; this process goes on");
                None
            }
        }
    }

    fn reopen_log(&self) {
        if let Some(reopen) = &self.reopen {
            let _ = reopen.try_send(());
            tracing::info!("access log reopened");
        }
    }
}

/// A number in decimal, of digits only.
fn digits(text: &str) -> Option<u64> {
    let digit = |octet: u8| octet.is_ascii_digit().then(|| u64::from(octet - b'0'));
    let add = |value: u64, octet| value.checked_mul(10)?.checked_add(digit(octet)?);
    (!text.is_empty()).then(|| text.bytes().try_fold(0, add)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(digits("0"), Some(0));
        assert_eq!(digits("18446744073709551615"), Some(u64::MAX));
        for text in ["", "+1", "-1", " 1", "1 ", "0x1", "18446744073709551616"] {
            assert_eq!(digits(text), None, "{text}");
        }
    }
}
