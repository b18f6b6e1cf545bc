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
use crate::http::{Reply, userinfo};
use crate::stats::{AuditEvent, AuditRecord, Recorder};

/// Orders that wait to be made at most.
const WAITING: usize = 64;
/// Characters that the audit log has of what was asked for, and of why it was refused.
const AUDITED: usize = 256;
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
    pub field: Cow<'static, str>,
    /// Everything there is to say, for a terminal; may be empty.
    pub text: String,
}

impl Refused {
    /// No part of the order is at fault.
    pub fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Refused {
        let (message, field, text) = (message.into(), Cow::Borrowed(""), String::new());
        Refused { status, code, message, field, text }
    }

    /// What whoever asked is told.
    pub(super) fn reply(&self) -> Reply {
        let Refused { status, code, message, field, text } = self;
        let mut error = json!({ "code": code, "message": message });
        for (key, value) in [("field", &**field), ("text", text)] {
            if !value.is_empty() {
                error[key] = value.into();
            }
        }
        let mut reply = reply::json(*status, &json!({ "error": error }));
        if *status == 401 {
            reply.push("WWW-Authenticate", "Bearer realm=\"admin\"");
        }
        reply
    }
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

    /// Writes down that `by` wanted this done, and why it was refused, if it was.
    pub fn audit(&self, what: &str, by: &str, refused: Option<&str>) {
        let (what, by) = (audited(what), by.to_owned());
        self.write_down(AuditEvent::Change { what, by, refused: refused.map(audited) });
    }

    /// Writes down that `by` was not let see the page at `path`.
    pub(super) fn audit_look(&self, path: &str, by: &str, refused: &str) {
        let (path, by, refused) = (audited(path), by.to_owned(), audited(refused));
        self.write_down(AuditEvent::Look { path, by, refused });
    }

    fn write_down(&self, event: AuditEvent) {
        let Some(auditor) = &self.auditor else { return };
        auditor.record_or_count(Box::new(AuditRecord { time: SystemTime::now(), event }));
    }

    /// Has `order` carried out, and waits for what comes of it. Whoever carries it out writes it down.
    pub(super) async fn give(&self, order: Order, by: &str) -> Reply {
        let what = order.to_string();
        let refuse = |refused: Refused| {
            self.audit(&what, by, Some(&refused.message));
            refused.reply()
        };
        let (answer, answered) = flume::bounded(1);
        match self.given.try_send(PendingOrder { order, by: by.to_owned(), answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let message = "too many changes wait to be made; try again later";
                return refuse(Refused::new(503, "busy", message));
            }
            Err(TrySendError::Disconnected(_)) => return refuse(ending()),
        }
        let made = async {
            match answered.recv_async().await {
                Ok(Ok(state)) => reply::json(200, &state),
                Ok(Err(refused)) => refused.reply(),
                Err(_) => refuse(ending()),
            }
        };
        let late = async {
            Timer::after(PATIENCE).await;
            reply::error(504, "late", "the change is not made yet; /status will tell")
        };
        made.or(late).await
    }
}

/// As the audit log may have it: without secrets, and of bounded length.
fn audited(text: &str) -> String {
    userinfo::hide(text).chars().take(AUDITED).collect()
}

fn ending() -> Refused {
    Refused::new(503, "ending", "this process is about to end and changes nothing any more")
}

/// The order to change the upstream that the body of `request` names: `{"url": "http://..."}`.
///
/// # Errors
/// What to answer where it is not that.
pub(super) fn upstream(verb: Verb, request: &AdminRequest) -> Result<Order, Refused> {
    let refusal = |message: &'static str, field: &str| {
        Err(Refused { field: field.to_owned().into(), ..Refused::new(400, "body", message) })
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

/// The order to remove the upstream with this id.
///
/// # Errors
/// What to answer where there is none.
pub(super) fn removal(view: &View, id: &str) -> Result<Order, Refused> {
    let upstream = view.upstreams.iter().find(|upstream| upstream.id == id);
    let none = || Refused::new(404, "not_found", "there is no upstream of this id");
    let upstream = upstream.ok_or_else(none)?;
    Ok(Order::Upstream(UpstreamOrder {
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
