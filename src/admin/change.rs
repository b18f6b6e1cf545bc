//! Changes that clients of the admin ask for: taken down here, made by the control plane, one after the other.

use std::time::Duration;

use async_io::Timer;
use flume::{Receiver, Sender, TrySendError};
use futures_lite::FutureExt;
use serde_json::{Value, json};

use super::{View, reply};
use crate::config::{Listen, Order};
use crate::http::Reply;

/// Changes that wait to be made at most.
const WAITING: usize = 16;
/// A change takes at most so long; whoever asked for it hears no more of it then.
const PATIENCE: Duration = Duration::from_secs(30);

/// A change that was asked for.
#[derive(Debug)]
pub struct Change {
    /// What to do.
    pub order: Order,
    answer: Sender<Outcome>,
}

/// What came of a change: the state it led to, or why there was none.
pub type Outcome = Result<Value, Refused>;

/// Why a change was not made. Nothing is different then.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// A word for scripts.
    pub code: &'static str,
    /// A sentence.
    pub message: String,
    /// Everything there is to say, for a terminal; may be empty.
    pub text: String,
}

/// Where changes are taken down. What has no room is refused.
#[derive(Clone, Debug)]
pub struct Changes(Sender<Change>);

impl Change {
    /// Tells whoever asked; nobody may be there any more.
    pub fn answer(self, outcome: Outcome) {
        let _ = self.answer.try_send(outcome);
    }
}

impl Changes {
    /// Where changes are taken down, and where they are taken from.
    pub fn new() -> (Changes, Receiver<Change>) {
        let (sender, receiver) = flume::bounded(WAITING);
        (Changes(sender), receiver)
    }

    /// Has `order` carried out, and waits for what comes of it.
    pub(super) async fn ask(&self, order: Order) -> Reply {
        let (answer, answered) = flume::bounded(1);
        match self.0.try_send(Change { order, answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let message = "too many changes wait to be made; ask again later";
                return reply::error(503, "busy", message);
            }
            Err(TrySendError::Disconnected(_)) => return ending(),
        }
        let made = async { answered.recv_async().await.map_or_else(|_| ending(), page) };
        let late = async {
            Timer::after(PATIENCE).await;
            reply::error(504, "late", "the change is not made yet; /status will tell")
        };
        made.or(late).await
    }
}

fn ending() -> Reply {
    reply::error(503, "ending", "this process is about to end and changes nothing any more")
}

fn page(outcome: Outcome) -> Reply {
    match outcome {
        Ok(state) => reply::json(200, &state),
        Err(Refused { code, message, text }) => {
            let mut error = json!({ "code": code, "message": message });
            if !text.is_empty() {
                error["text"] = text.into();
            }
            reply::json(400, &json!({ "error": error }))
        }
    }
}

/// Why nobody may change anything through this admin; `local`: the client came over a Unix socket.
///
/// Whoever reaches a loopback address is on this machine. It may be a browser: but no page makes one send JSON to another
/// origin unasked.
pub(super) fn refusal(view: &View, content_type: &str, local: bool) -> Option<Reply> {
    let is_loopback = match &view.plan.process.admin {
        Some(Listen::Tcp(address)) => address.ip().is_loopback(),
        Some(Listen::Unix(_)) => true,
        Some(Listen::Any(_)) | None => false,
    };
    if !local && !is_loopback {
        let message = "the admin can be reached from other machines, so nothing is changed here: \
                       have --admin listen on 127.0.0.1 or on a Unix socket";
        return Some(reply::error(403, "not_local", message));
    }
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let message = "a change takes Content-Type: application/json";
        return Some(reply::error(415, "content_type", message));
    }
    None
}
