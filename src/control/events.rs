//! Reports of the cores, passed on to the parts of the control plane that need them.

use std::sync::Arc;

use flume::{Receiver, Sender};

use crate::io::signal::Mailbox;
use crate::proxy::{Change, Command, Event};
use crate::stats::UpstreamState;

/// Passes reports on until the cores are gone. What one of the receivers cannot take in now is lost: the next
/// report of its kind makes it good.
pub async fn pass_on(
    events: Receiver<Event>,
    unreachable: Sender<Arc<UpstreamState>>,
    changes: Sender<Change>,
    mailboxes: Vec<Mailbox<Command>>,
) {
    while let Ok(event) = events.recv_async().await {
        match event {
            Event::Unreachable(entry) => drop(unreachable.try_send(entry)),
            Event::Changed(change) => drop(changes.try_send(change)),
            Event::Crowded(lack) => mailboxes.iter().for_each(|mailbox| {
                mailbox.send(Command::MakeRoom(lack));
            }),
        }
    }
}
