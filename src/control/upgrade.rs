//! An upgrade: the new process that is to take over, and who asked for it.

use std::borrow::Cow;
use std::time::Duration;

use async_io::Timer;
use futures_lite::future;
use serde_json::json;

use super::handed::{self, Secrets};
use super::{BY_SIGNAL, ControlPlane};
use crate::admin::{PendingOrder, Refused};
use crate::config::Order;
use crate::process::successor::Successor;

/// The process that is about to take over has read what is kept already: a change now would be lost.
pub const UPGRADING: Refused = Refused {
    status: 503,
    code: "upgrading",
    message: Cow::Borrowed("an upgrade is under way; try again when it is over"),
    field: Cow::Borrowed(""),
    text: String::new(),
};

/// How long the admin has to send its last answer. Both processes accept meanwhile.
const FAREWELL: Duration = Duration::from_millis(200);

/// An upgrade under way.
pub struct Upgrade {
    successor: Successor,
    /// Waits for how it goes; `None`: it was asked for by a signal.
    asked_by: Option<PendingOrder>,
}

impl Upgrade {
    /// Waits until the new process is ready; may be dropped and called again.
    ///
    /// # Errors
    /// When it will not be: in its words, if it said any.
    pub async fn settle(&mut self) -> Result<(), Option<String>> {
        self.successor.settle().await
    }

    /// Who asked for it.
    fn by(&self) -> &str {
        by(self.asked_by.as_ref())
    }
}

/// Who asked for an upgrade, as the audit log has it.
fn by(asked_by: Option<&PendingOrder>) -> &str {
    asked_by.map_or(BY_SIGNAL, |pending| &pending.by)
}

impl ControlPlane {
    /// Starts the new process; `None`: that failed, and whoever asked has been told.
    pub(super) fn begin_upgrade(&self, asked_by: Option<PendingOrder>) -> Option<Upgrade> {
        match self.start_successor() {
            Ok(successor) => Some(Upgrade { successor, asked_by }),
            Err(why) => {
                self.upgrade_failed(asked_by, &why);
                None
            }
        }
    }

    /// The new process will not be ready: `why` has its own words.
    pub(super) fn fail_upgrade(
        &self,
        Upgrade { successor, asked_by }: Upgrade,
        why: Option<String>,
    ) {
        let status = successor.give_up();
        let why = why.unwrap_or_else(|| format!("it ended with {status}"));
        self.upgrade_failed(asked_by, &why);
    }

    /// Ends the new process, as this one is told to end.
    pub(super) fn give_upgrade_up(&self, upgrade: Upgrade) {
        let stopped = Refused::new(503, "ending", "this process was told to end meanwhile");
        self.audit(&Order::Upgrade, upgrade.by(), &Err(stopped));
        upgrade.successor.give_up();
    }

    /// An upgrade is under way, so this order is not carried out.
    pub(super) fn refuse_while_upgrading(&self, pending: PendingOrder) {
        let refused = Err(UPGRADING);
        self.audit(&pending.order, &pending.by, &refused);
        pending.answer(refused);
    }

    /// Tells that this process goes on, and why.
    fn upgrade_failed(&self, asked_by: Option<PendingOrder>, why: &str) {
        tracing::error!(%why, "the upgrade failed; this process goes on");
        let message = format!("not upgraded: {why}; the old process goes on");
        let refused = Err(Refused::new(500, "upgrade", message));
        self.audit(&Order::Upgrade, by(asked_by.as_ref()), &refused);
        if let Some(pending) = asked_by {
            pending.answer(refused);
        }
    }

    fn start_successor(&self) -> Result<Successor, String> {
        if std::process::id() == 1 {
            // The second process could not outlive us.
            return Err("a container ends with its first process: start another container".into());
        }
        let Some(program) = &self.program else {
            return Err("the program that this process runs cannot be found".into());
        };
        let secrets =
            Secrets { cookies: self.registry.secret(), tickets: self.tls.export_tickets() };
        let handed = handed::write(&self.current.get(), self.followed.known(), &secrets);
        let successor = Successor::start(program, &handed, self.listening.copies())
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        tracing::info!(program = %program.display(), pid = successor.pid(), "upgrade begins");
        Ok(successor)
    }

    /// The new process is ready.
    pub(super) async fn hand_over(&mut self, upgrade: Upgrade) {
        self.audit(&Order::Upgrade, upgrade.by(), &Ok(json!(null)));
        let Upgrade { successor, asked_by } = upgrade;
        // Whoever comes from here on finds the new process, those first who hear that it has taken over.
        self.hand_over = None;
        future::yield_now().await;
        let pid = successor.pid();
        tracing::info!(pid, "handed over to the new process");
        self.notify.tell(&format!("MAINPID={pid}"));
        if let Some(pending) = asked_by {
            pending.answer(Ok(json!({ "pid": pid })));
            // With nothing under way we could be gone before the admin has sent it.
            Timer::after(FAREWELL).await;
        }
    }
}
