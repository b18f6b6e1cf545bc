//! To the cores and back: immutable values over flume, and a knock on the reactor's door.

use super::reactor::Notifier;

/// Values a core may have waiting; a control plane that is this far ahead waits.
const WAITING: usize = 1024;

/// Sends values to one core, from any thread.
#[derive(Clone, Debug)]
pub struct Mailbox<T> {
    sender: flume::Sender<T>,
    notifier: Notifier,
}

impl<T> Mailbox<T> {
    /// A mailbox whose commands wake `notifier`'s reactor, and the end from which the core takes them.
    pub fn new(notifier: Notifier) -> (Mailbox<T>, flume::Receiver<T>) {
        let (sender, receiver) = flume::bounded(WAITING);
        (Mailbox { sender, notifier }, receiver)
    }

    /// Sends `value` as soon as fewer than `WAITING` are waiting, and lets others go on meanwhile. `false`: the core is
    /// gone.
    pub async fn deliver(&self, value: T) -> bool {
        let sent = self.sender.send_async(value).await.is_ok();
        self.notifier.notify();
        sent
    }

    /// Sends `value`; blocks while `WAITING` are waiting. `false`: the core is gone.
    pub fn send(&self, value: T) -> bool {
        let sent = self.sender.send(value).is_ok();
        self.notifier.notify();
        sent
    }
}
