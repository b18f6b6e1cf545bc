//! Orders that clients of the admin ask for: taken down here, made by the control plane, one after the other.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use async_io::Timer;
use flume::{Receiver, Sender, TrySendError};
use futures_lite::FutureExt;
use serde_json::{Value, json};

use super::request::AdminRequest;
use super::{View, reply};
use crate::config::{HEAVIEST, Order, UpstreamOrder, Verb};
use crate::http::Reply;
use crate::stats::{AuditEvent, AuditRecord, Recorder};

/// Orders that wait to be made at most.
const WAITING: usize = 64;
/// An order takes at most so long; whoever gave it hears no more of it then.
const PATIENCE: Duration = Duration::from_secs(35);

/// An order that was given, and nobody has answered yet.
#[derive(Debug)]
pub struct PendingOrder {
    /// What to do.
    pub order: Order,
    /// Who gave it: the name of a token, or the way it came.
    pub by: String,
    answer: Sender<Outcome>,
}

/// What came of an order: the state it led to, or why there was none.
pub type Outcome = Result<Value, Refused>;

/// Why nothing has changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The status of the answer.
    pub status: u16,
    /// A word for scripts.
    pub code: &'static str,
    /// A sentence.
    pub message: Cow<'static, str>,
    /// The part of the order that is at fault; empty: no one part.
    pub field: &'static str,
    /// Everything there is to say, for a terminal; may be empty.
    pub text: String,
}

/// Where orders are taken down. What has no room is refused.
#[derive(Clone, Debug)]
pub struct Orders {
    given: Sender<PendingOrder>,
    /// Where changes and refused tokens are written down; `None`: nowhere.
    auditor: Option<Recorder<AuditRecord>>,
}

impl PendingOrder {
    /// Tells whoever gave it; nobody may be there any more.
    pub fn answer(self, outcome: Outcome) {
        let _ = self.answer.try_send(outcome);
    }
}

impl Orders {
    /// Where orders are taken down, and where they are taken from.
    pub fn new(auditor: Option<Recorder<AuditRecord>>) -> (Orders, Receiver<PendingOrder>) {
        let (given, receiver) = flume::bounded(WAITING);
        (Orders { given, auditor }, receiver)
    }

    /// Writes down that `by` wanted something changed, and why it was refused, if it was.
    pub fn audit(&self, what: &str, by: &str, refused: Option<&str>) {
        let Some(auditor) = &self.auditor else { return };
        let (what, by) = (what.to_owned(), by.to_owned());
        let event = AuditEvent::Change { what, by, refused: refused.map(str::to_owned) };
        let _ = auditor.record(Box::new(AuditRecord { time: SystemTime::now(), event }));
    }

    /// A token was refused, or there was none where one is needed.
    pub(super) fn refused(&self, what: &str, message: &str) {
        let what: String = what.chars().take(256).collect();
        self.audit(&what, "nobody", Some(message));
    }

    /// Has `order` carried out, and waits for what comes of it.
    pub(super) async fn give(&self, order: Order, by: &str) -> Reply {
        let (answer, answered) = flume::bounded(1);
        match self.given.try_send(PendingOrder { order, by: by.to_owned(), answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let message = "too many changes wait to be made; try again later";
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
        Err(Refused { status, code, message, field, text }) => {
            let mut error = json!({ "code": code, "message": message });
            if !field.is_empty() {
                error["field"] = field.into();
            }
            if !text.is_empty() {
                error["text"] = text.into();
            }
            reply::json(status, &json!({ "error": error }))
        }
    }
}

/// The order to change the upstream that the body of `request` names: `{"url": "http://..."}`.
///
/// # Errors
/// What to answer where it is not that.
pub(super) fn upstream(verb: Verb, request: &AdminRequest) -> Result<Order, Reply> {
    let refusal = |message: &str, field: &str| {
        let error = json!({ "code": "body", "message": message, "field": field });
        Err(reply::json(400, &json!({ "error": error })))
    };
    let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&request.body) else {
        return refusal(
            "the body must be a JSON object such as {\"url\":\"http://127.0.0.1:9001\"}",
            "",
        );
    };
    let (mut url, mut pool, mut weight) = (None, None, None);
    for (field, value) in &body {
        match (field.as_str(), value) {
            ("url", Value::String(text)) => url = Some(text.clone()),
            ("url", _) => return refusal("url must be a string", "url"),
            ("pool", Value::String(text)) => pool = Some(text.clone()),
            ("pool", _) => return refusal("pool must be the name of one", "pool"),
            ("weight", value) => match value.as_u64() {
                Some(number @ 1..=HEAVIEST) => weight = Some(number as u32),
                _ => return refusal("weight must be a number from 1 to 256", "weight"),
            },
            _ => return refusal("the body may have url, pool and weight", &escape(field)),
        }
    }
    match url {
        None => refusal("url is missing", "url"),
        Some(_) if verb == Verb::Weight && weight.is_none() => {
            refusal("weight is missing", "weight")
        }
        Some(url) => Ok(Order::Upstream(UpstreamOrder { verb, url, pool, weight })),
    }
}

/// The order to remove the upstream with this id; `None`: there is none.
pub(super) fn removal(view: &View, id: &str) -> Option<Order> {
    let upstream = view.upstreams.iter().find(|upstream| upstream.id == id)?;
    Some(Order::Upstream(UpstreamOrder {
        verb: Verb::Remove,
        url: upstream.name.to_string(),
        pool: Some(upstream.pool.to_string()),
        weight: None,
    }))
}

/// A name of somebody else's, as one line of bounded length.
fn escape(text: &str) -> String {
    text.escape_debug().take(64).collect()
}
