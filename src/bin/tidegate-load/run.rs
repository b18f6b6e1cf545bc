//! A run: a worker on each thread, until the end of the plan or a signal.

use std::io;
use std::sync::Arc;
use std::thread;

use async_signal::{Signal, Signals};
use futures_lite::{FutureExt, StreamExt};

use super::plan::Plan;
use super::progress::Progress;
use super::tally::Tally;
use super::worker::{self, Event, Live, Stop};
use tidegate::io::signal::Mailbox;

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// What was counted.
    pub tally: Tally,
    /// Somebody could be connected to.
    pub connected: bool,
}

/// Does what the plan says, until its end or a signal (INT, TERM). `standing` is told once how many idle
/// connections stand; with `shows`, progress is shown on standard error.
///
/// # Errors
/// When the kernel refuses threads or descriptors for them.
pub fn run(plan: &Arc<Plan>, shows: bool, standing: impl FnMut(usize)) -> io::Result<Outcome> {
    let (sender, events) = flume::unbounded();
    let mut lives = Vec::new();
    let mut threads = Vec::new();
    for index in 0..plan.threads {
        let live = Arc::new(Live::default());
        lives.push(Arc::clone(&live));
        let (plan, sender) = (Arc::clone(plan), sender.clone());
        let run = move || worker::run(plan, index, live, sender);
        threads.push(thread::Builder::new().name(format!("load-{index}")).spawn(run)?);
    }
    drop(sender);
    let signals = Signals::new([Signal::Int, Signal::Term])?;
    let progress = shows.then(|| Progress::new(plan, lives));
    let outcome = smol::block_on(attend(plan.threads, &events, signals, progress, standing));
    for thread in threads {
        // What it had to say it has said; a panic shows as a missing word of farewell.
        let _ = thread.join();
    }
    outcome
}

/// What the main thread hears of.
enum News {
    Event(Option<Event>),
    Signal,
    Tick,
}

/// Listens to the threads until the last of them is done.
async fn attend(
    threads: usize,
    events: &flume::Receiver<Event>,
    mut signals: Signals,
    mut progress: Option<Progress>,
    mut standing: impl FnMut(usize),
) -> io::Result<Outcome> {
    let mut outcome = Outcome { tally: Tally::default(), connected: false };
    let mut mailboxes: Vec<Mailbox<Stop>> = Vec::new();
    let (mut done, mut stand, mut stood, mut stopped) = (0, 0, 0, false);
    let mut failed = None;
    while done < threads {
        let event = async { News::Event(events.recv_async().await.ok()) };
        let signal = async {
            signals.next().await;
            News::Signal
        };
        let tick = async {
            Progress::tick(progress.as_mut()).await;
            News::Tick
        };
        match event.or(signal).or(tick).await {
            News::Event(Some(Event::Runs(mailbox))) => {
                if stopped {
                    mailbox.send(Stop);
                }
                mailboxes.push(mailbox);
            }
            News::Event(Some(Event::Stand(connections))) => {
                (stand, stood) = (stand + connections, stood + 1);
                if stood == threads {
                    standing(stand);
                }
            }
            News::Event(Some(Event::Done(tally, connected))) => {
                outcome.tally.add(&tally);
                outcome.connected |= connected;
                done += 1;
            }
            News::Event(Some(Event::Failed(error))) => {
                (failed, stopped) = (Some(error), true);
                done += 1;
                stop(&mailboxes);
            }
            News::Event(None) => return Err(io::Error::other("a thread panicked")),
            News::Signal => {
                stopped = true;
                stop(&mailboxes);
            }
            News::Tick => {}
        }
    }
    Progress::clear(progress.as_mut());
    failed.map_or(Ok(outcome), Err)
}

/// Tells all threads that the run is over; one that is gone needs no telling.
fn stop(mailboxes: &[Mailbox<Stop>]) {
    for mailbox in mailboxes {
        mailbox.send(Stop);
    }
}
