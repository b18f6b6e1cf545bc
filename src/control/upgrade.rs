//! An upgrade: the new process that is to take over, and who asked for it.

use std::borrow::Cow;
use std::time::Duration;

use async_io::Timer;
use futures_lite::future;
use serde_json::json;

use super::{ControlPlane, handed};
use crate::admin::{PendingOrder, Refused};
use crate::process::successor::Successor;

/// The process that is about to take over has read what is kept already: a change now would be lost.
pub const UPGRADING: Refused = Refused {
    status: 503,
    code: "upgrading",
    message: Cow::Borrowed("an upgrade is under way; try again when it is over"),
    field: "",
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

    /// Ends the new process.
    pub fn give_up(self) {
        self.successor.give_up();
    }

    /// The new process will not be ready.
    pub fn fail(self, why: Option<String>) {
        let status = self.successor.give_up();
        let why = why.unwrap_or_else(|| format!("it ended with {status}"));
        failed(self.asked_by, &why);
    }
}

/// Tells that this process goes on, and why.
fn failed(asked_by: Option<PendingOrder>, why: &str) {
    tracing::error!(%why, "the upgrade failed; this process goes on");
    if let Some(pending) = asked_by {
        let message = format!("not upgraded: {why}; the old process goes on").into();
        let text = String::new();
        pending.answer(Err(Refused { status: 500, code: "upgrade", message, field: "", text }));
    }
}

impl ControlPlane {
    /// Starts the new process; `None`: that failed, and whoever asked has been told.
    pub(super) fn begin_upgrade(&self, asked_by: Option<PendingOrder>) -> Option<Upgrade> {
        match self.start_successor() {
            Ok(successor) => Some(Upgrade { successor, asked_by }),
            Err(why) => {
                failed(asked_by, &why);
                None
            }
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
        let handed =
            handed::write(&self.current.get(), self.followed.known(), self.registry.secret());
        let successor = Successor::start(program, &handed, self.listening.copies())
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        tracing::info!(program = %program.display(), pid = successor.pid(), "upgrade begins");
        Ok(successor)
    }

    /// The new process is ready.
    pub(super) async fn hand_over(&mut self, Upgrade { successor, asked_by }: Upgrade) {
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
