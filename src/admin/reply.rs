//! Pages of the admin, and their octets.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::base::imf_fixdate;
use crate::http::forward::FieldEdits;
use crate::http::write::Writer;
use crate::http::{Reply, ReplyEdits};

const JSON: &str = "application/json";

/// Room for the head of a reply; ours are a tenth of it.
const HEAD: usize = 4096;

/// Text of some kind, which is what it says it is.
pub(super) fn text(status: u16, kind: &'static str, body: String) -> Reply {
    let mut reply = Reply::new(status, kind, body);
    reply.push("X-Content-Type-Options", "nosniff");
    reply
}

/// A page of JSON.
pub(super) fn json(status: u16, value: &Value) -> Reply {
    text(status, JSON, format!("{value}\n"))
}

/// `{"error": {"code": ..., "message": ...}}`.
pub(super) fn error(status: u16, code: &str, message: &str) -> Reply {
    json(status, &json!({ "error": { "code": code, "message": message } }))
}

/// The octets to send; `bodiless` for HEAD.
pub(super) fn octets(reply: &Reply, bodiless: bool, persistent: bool) -> Vec<u8> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let date = imf_fixdate(since.as_secs());
    let mut head = [0; HEAD];
    let mut out = Writer::new(&mut head);
    // It fits, for nothing in it comes from outside.
    let fields = FieldEdits::default();
    let edits = ReplyEdits { date: &date, request_id: None, persistent, fields };
    let _fits = reply.head(&mut out, &edits);
    let body: &[u8] = if bodiless { &[] } else { &reply.body };
    [out.written(), body].concat()
}
