//! A run: a load thread for each part, until the end of the workload or a signal.

use std::io;
use std::sync::Arc;
use std::thread;

use async_signal::{Signal, Signals};
use futures_lite::{FutureExt, StreamExt};

use super::load_thread::{self, LiveCounts, Stop, ThreadEvent};
use super::progress::ProgressLine;
use super::tally::Tally;
use super::workload::Workload;
use tidegate::io::signal::Mailbox;

/// How a run ended.
#[derive(Debug)]
pub struct RunOutcome {
    /// What was counted.
    pub tally: Tally,
    /// Somebody could be connected to.
    pub connected: bool,
}

/// Does what the workload says, until its end or a signal (INT, TERM). `standing` is told once how many idle
/// connections stand; with `shows`, progress is shown on standard error.
///
/// # Errors
/// When the kernel refuses threads or descriptors for them.
pub fn run(
    workload: &Arc<Workload>,
    shows: bool,
    standing: impl FnMut(usize),
) -> io::Result<RunOutcome> {
    let (sender, events) = flume::unbounded();
    let mut lives = Vec::new();
    let mut threads = Vec::new();
    for index in 0..workload.threads {
        let live = Arc::new(LiveCounts::default());
        lives.push(Arc::clone(&live));
        let (workload, sender) = (Arc::clone(workload), sender.clone());
        let run = move || load_thread::run(workload, index, live, sender);
        threads.push(thread::Builder::new().name(format!("load-{index}")).spawn(run)?);
    }
    drop(sender);
    let signals = Signals::new([Signal::Int, Signal::Term])?;
    let progress = shows.then(|| ProgressLine::new(workload, lives));
    let outcome = smol::block_on(supervise(workload.threads, &events, signals, progress, standing));
    for thread in threads {
        // What it had to say it has said; a panic shows as a missing word of farewell.
        let _ = thread.join();
    }
    outcome
}

/// What the main thread hears of.
enum RunEvent {
    ThreadEvent(Option<ThreadEvent>),
    Signal,
    Tick,
}

/// Listens to the threads until the last of them is done.
async fn supervise(
    threads: usize,
    events: &flume::Receiver<ThreadEvent>,
    mut signals: Signals,
    mut progress: Option<ProgressLine>,
    mut standing: impl FnMut(usize),
) -> io::Result<RunOutcome> {
    let mut outcome = RunOutcome { tally: Tally::default(), connected: false };
    let mut mailboxes: Vec<Mailbox<Stop>> = Vec::new();
    let (mut done, mut stand, mut stood, mut stopped) = (0, 0, 0, false);
    let mut failed = None;
    while done < threads {
        let event = async { RunEvent::ThreadEvent(events.recv_async().await.ok()) };
        let signal = async {
            signals.next().await;
            RunEvent::Signal
        };
        let tick = async {
            ProgressLine::tick(progress.as_mut()).await;
            RunEvent::Tick
        };
        match event.or(signal).or(tick).await {
            RunEvent::ThreadEvent(Some(ThreadEvent::Runs(mailbox))) => {
                if stopped {
                    mailbox.send(Stop);
                }
                mailboxes.push(mailbox);
            }
            RunEvent::ThreadEvent(Some(ThreadEvent::Stand(connections))) => {
                (stand, stood) = (stand + connections, stood + 1);
                if stood == threads {
                    standing(stand);
                }
            }
            RunEvent::ThreadEvent(Some(ThreadEvent::Done(tally, connected))) => {
                outcome.tally.add(&tally);
                outcome.connected |= connected;
                done += 1;
            }
            RunEvent::ThreadEvent(Some(ThreadEvent::Failed(error))) => {
                (failed, stopped) = (Some(error), true);
                done += 1;
                stop(&mailboxes);
            }
            RunEvent::ThreadEvent(None) => return Err(io::Error::other("a thread panicked")),
            RunEvent::Signal => {
                stopped = true;
                stop(&mailboxes);
            }
            RunEvent::Tick => {}
        }
    }
    ProgressLine::clear(progress.as_mut());
    failed.map_or(Ok(outcome), Err)
}

/// Tells all threads that the run is over; one that is gone needs no telling.
fn stop(mailboxes: &[Mailbox<Stop>]) {
    for mailbox in mailboxes {
        mailbox.send(Stop);
    }
}
