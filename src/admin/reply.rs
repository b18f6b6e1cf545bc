//! An answer, and its octets.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::base::imf_fixdate;
use crate::http::write::phrase;

const JSON: &str = "application/json";

/// An answer of the admin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub status: u16,
    /// `Content-Type`.
    pub kind: &'static str,
    /// Further fields.
    pub fields: Vec<(&'static str, String)>,
    pub body: String,
}

impl Reply {
    /// Text of some kind.
    pub fn text(kind: &'static str, body: String) -> Reply {
        Reply { status: 200, kind, fields: Vec::new(), body }
    }

    /// A page of JSON.
    pub fn json(status: u16, value: &Value) -> Reply {
        Reply { status, ..Reply::text(JSON, format!("{value}\n")) }
    }

    /// `{"error": {"code": ..., "message": ...}}`.
    pub fn error(status: u16, code: &str, message: &str) -> Reply {
        Reply::json(status, &json!({ "error": { "code": code, "message": message } }))
    }

    /// The octets to send; `bodiless` for HEAD.
    pub fn octets(&self, bodiless: bool, keep: bool) -> Vec<u8> {
        let mut out = String::with_capacity(256 + self.body.len());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let date = imf_fixdate(since.as_secs());
        // Writing to a `String` cannot fail.
        let _ = write!(out, "HTTP/1.1 {} {}\r\n", self.status, phrase(self.status));
        let _ = write!(out, "Date: {}\r\n", String::from_utf8_lossy(&date));
        let _ = write!(out, "Content-Type: {}\r\n", self.kind);
        let _ = write!(out, "Content-Length: {}\r\n", self.body.len());
        out.push_str("Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
        for (name, value) in &self.fields {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        out.push_str(if keep { "\r\n" } else { "Connection: close\r\n\r\n" });
        out.push_str(if bodiless { "" } else { &self.body });
        out.into_bytes()
    }
}
