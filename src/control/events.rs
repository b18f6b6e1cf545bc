//! Reports of the cores, passed on to the parts of the control plane that need them.

use std::sync::Arc;

use flume::{Receiver, Sender};

use super::questions::PendingQuestion;
use crate::admin::{self, CurrentView, View};
use crate::config::show_duration;
use crate::io::signal::Mailbox;
use crate::proxy::{BreakerReport, Change, Command, Event, PageRequest, PageSlot};
use crate::stats::UpstreamState;
use crate::upstream::{BreakerStage, Outcome};

/// Passes reports on until the cores are gone. What one of the receivers cannot take in now is lost: the next
/// connection that is made, or cannot be, is reported in its place.
pub async fn pass_on(
    events: Receiver<Event>,
    unreachable: Sender<Arc<UpstreamState>>,
    changes: Sender<Change>,
    questions: Sender<PendingQuestion>,
    mailboxes: Vec<Mailbox<Command>>,
    view: Arc<CurrentView>,
) {
    while let Ok(event) = events.recv_async().await {
        match event {
            Event::Unreachable(entry) => drop(unreachable.try_send(entry)),
            Event::Changed(change) => {
                if let Err(full) = changes.try_send(change) {
                    full.into_inner().lost();
                }
            }
            Event::Breaker(turn) => told(&turn, &view.get()),
            // What there is no room for is dropped, and with it the slot: so whoever asked is told.
            Event::Ask(question, slot) => {
                let core = slot.core;
                if questions.try_send((question, slot)).is_err() {
                    mailboxes.get(core).map(|mailbox| mailbox.send(Command::Answered));
                }
            }
            Event::Page(request, PageSlot { core, reply }) => {
                let PageRequest { method, path, query, accept } = &*request;
                let page = admin::page(&view.get(), *method, path, query, accept);
                let _ = reply.try_send(page); // whoever asked may have gone
                mailboxes.get(core).map(|mailbox| mailbox.send(Command::Answered));
            }
            Event::Crowded(lack) => mailboxes.iter().for_each(|mailbox| {
                mailbox.send(Command::MakeRoom(lack));
            }),
        }
    }
}

/// Tells of a breaker that has turned. Each turn is one line: it opens no more often than its time lasts. Of one that
/// is lost on the way only the line is: whoever asks reads the breaker itself.
fn told(BreakerReport { upstream, stage, outcome }: &BreakerReport, view: &View) {
    let UpstreamState { name, pool, .. } = &**upstream;
    let (reason, status) = match outcome {
        Outcome::Failed(reason) => (reason.label(), None),
        Outcome::Answered(status) => ("status", Some(status)),
        Outcome::Connected | Outcome::Stale => ("", None), // nothing opens for such a one
    };
    match stage {
        BreakerStage::Open(_) => {
            // The plan may have changed meanwhile.
            let breaker = view.plan.pool(pool).and_then(|pool| pool.breaker.as_ref());
            let time = breaker.map(|breaker| format!(" for {}", show_duration(breaker.open)));
            let time = time.unwrap_or_default();
            tracing::warn!(upstream = %name, %pool, reason, status, "circuit breaker opened: no requests{time}");
        }
        BreakerStage::Closed => {
            tracing::info!(upstream = %name, %pool, "circuit breaker closed: requests resume");
        }
        BreakerStage::HalfOpen => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::testing::view;

    #[test]
    fn that_an_upstream_is_well_is_reported_until_somebody_takes_it_in() {
        let upstream = Arc::new(UpstreamState::new("default", "http://a", 1));
        let (unreachable, _names) = flume::bounded(1);
        let (changes, _full) = flume::bounded(1);
        let (questions, _asked) = flume::bounded(1);
        let (reports, events) = flume::bounded(3);
        for alive in [true, true, false] {
            upstream.set_alive(alive);
            let upstream = Arc::clone(&upstream);
            let change = Change { upstream, alive, reason: "", cause: None };
            reports.send(Event::Changed(change)).unwrap();
        }
        drop(reports);
        upstream.set_alive(true);
        let view = Arc::new(CurrentView::new(view()));
        smol::block_on(pass_on(events, unreachable, changes, questions, Vec::new(), view));
        assert!(upstream.is_alive() && upstream.set_alive(true), "the next request tells again");
    }
}
