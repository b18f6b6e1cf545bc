//! Reports of the cores, passed on to the parts of the control plane that need them.

use std::sync::Arc;

use flume::{Receiver, Sender};

use crate::admin::{self, CurrentView};
use crate::io::signal::Mailbox;
use crate::proxy::{Change, Command, Event, PageRequest, PageSlot, Turn};
use crate::stats::{CheckOutcome, UpstreamState};
use crate::upstream::{Outcome, Stage};

/// Passes reports on until the cores are gone. What one of the receivers cannot take in now is lost: the next
/// report of its kind makes it good.
pub async fn pass_on(
    events: Receiver<Event>,
    unreachable: Sender<Arc<UpstreamState>>,
    changes: Sender<Change>,
    mailboxes: Vec<Mailbox<Command>>,
    view: Arc<CurrentView>,
) {
    while let Ok(event) = events.recv_async().await {
        match event {
            Event::Unreachable(entry) => drop(unreachable.try_send(entry)),
            Event::Changed(change) => drop(changes.try_send(change)),
            Event::Turned(turn) => told(&turn),
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

/// Tells of a breaker that has turned. Each turn is one line: it opens no more often than its time lasts.
fn told(Turn { upstream, stage, outcome }: &Turn) {
    let UpstreamState { name, pool, .. } = &**upstream;
    let (reason, status) = match outcome {
        Outcome::Failed(reason) => (reason.label(), None),
        Outcome::Answered(status) => (CheckOutcome::WrongStatus.label(), Some(status)),
        Outcome::Connected | Outcome::Stale => ("", None), // nothing opens for such a one
    };
    match stage {
        Stage::Open(_) => {
            tracing::warn!(upstream = %name, %pool, reason, status, "breaker open: no requests for a while");
        }
        Stage::Closed => {
            tracing::info!(upstream = %name, %pool, "breaker closed: requests go there again");
        }
        Stage::HalfOpen => {}
    }
}
