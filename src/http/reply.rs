//! The answers tidegate makes itself: refusals, and the pages of the admin. One type, and one way to write it.

use std::borrow::Cow;

use super::close::Reason;
use super::forward::FieldEdits;
use super::write::{Full, SELF, Writer, phrase};
use super::{grammar, upgrade};

/// The methods listed in `Allow` with a 405 that tidegate answers itself.
const ALLOW: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";
/// How long a client should stay away after a 503, in seconds.
const RETRY_AFTER_S: &str = "1";
/// `Content-Type` of a refusal.
const TEXT: &str = "text/plain; charset=utf-8";

/// An answer that is there whole: final, and not a 304. A 204 has no body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Fields about the content. `Date`, the length, the identity and what is about the connection are added when it is
    /// written.
    pub fields: Vec<(&'static str, Cow<'static, str>)>,
    /// The content.
    pub body: Vec<u8>,
}

/// The form of a refusal's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalForm {
    /// For a person at a terminal.
    Text,
    /// For a program.
    Json,
    /// For a browser.
    Html,
}

impl RefusalForm {
    /// The form that `Accept` asks for first (RFC 9110 section 12.5.1), text where it takes anything.
    pub fn accepted(accept: &[u8]) -> RefusalForm {
        let mut best = (RefusalForm::Text, 0);
        for range in accept.split(|octet| *octet == b',') {
            let mut parts = range.split(|octet| *octet == b';').map(grammar::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let form = match kind.as_slice() {
                b"text/html" | b"application/xhtml+xml" => RefusalForm::Html,
                b"application/json" | b"application/problem+json" => RefusalForm::Json,
                b"text/plain" | b"text/*" | b"*/*" => RefusalForm::Text,
                _ => continue,
            };
            let weight =
                parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
            let weight = weight.map_or(1000, thousandths);
            if weight > best.1 {
                best = (form, weight);
            }
        }
        best.0
    }

    /// `Content-Type` and content.
    fn write(self, status: u16, reason: Reason, id: &str) -> (&'static str, String) {
        // Explanations and labels need no escapes, and an identity is of letters, digits and a few marks.
        let (phrase, explain, label) = (phrase(status), reason.explain(), reason.label());
        match self {
            RefusalForm::Text => {
                let lines = format!("reason: {label}\nrequest: {id}\n");
                (TEXT, format!("{status} {phrase}: {explain}\n{lines}"))
            }
            RefusalForm::Json => (
                "application/json",
                format!(
                    "{{\"status\":{status},\"title\":\"{phrase}\",\"detail\":\"{explain}\",\
                     \"reason\":\"{label}\",\"request\":\"{id}\"}}\n"
                ),
            ),
            RefusalForm::Html => (
                "text/html; charset=utf-8",
                format!(
                    "<!doctype html>\n<title>{status} {phrase}</title>\n<h1>{status} {phrase}</h1>\n\
                     <p>{explain}</p>\n<p>reason: <code>{label}</code><br>request: <code>{id}</code></p>\n"
                ),
            ),
        }
    }
}

/// A weight in thousandths; what is not one counts as nothing.
fn thousandths(weight: &[u8]) -> u32 {
    match weight {
        [b'1', ..] => 1000,
        [b'0', b'.', fraction @ ..]
            if fraction.len() <= 3 && fraction.iter().all(u8::is_ascii_digit) =>
        {
            let padded = fraction.iter().chain(b"000").take(3);
            padded.fold(0, |value, octet| value * 10 + u32::from(octet - b'0'))
        }
        _ => 0,
    }
}

/// What a reply is written for.
#[derive(Clone, Copy, Debug)]
pub struct ReplyEdits<'a> {
    /// `Date`, from [`imf_fixdate`](crate::base::imf_fixdate).
    pub date: &'a [u8],
    /// `X-Request-Id`.
    pub request_id: Option<&'a [u8]>,
    /// The connection goes on.
    pub persistent: bool,
    /// What a route says of the fields.
    pub fields: FieldEdits<'a>,
}

impl Reply {
    /// Content of this `Content-Type`, which no cache keeps.
    ///
    /// Some statuses of ours (404, 405, 414, 501) could be cached by default (RFC 9110 section 15.1).
    pub fn new(status: u16, kind: &'static str, body: String) -> Reply {
        let fields = vec![("Content-Type", kind.into()), ("Cache-Control", "no-store".into())];
        Reply { status, fields, body: body.into() }
    }

    /// A 204, which has no content.
    pub fn empty(status: u16) -> Reply {
        Reply { status, fields: Vec::new(), body: Vec::new() }
    }

    /// Says why the request known as `id` is refused: to a person in the body, to a program in `Proxy-Status`
    /// (RFC 9209).
    pub fn refusal(status: u16, reason: Reason, id: &str, form: RefusalForm) -> Reply {
        let (kind, body) = form.write(status, reason, id);
        let mut reply = Reply::new(status, kind, body);
        match status {
            405 => reply.push("Allow", ALLOW),
            // Another version of WebSocket (RFC 6455 section 4.2.2), or else of HTTP (RFC 9110 section 15.5.22).
            426 if reason == Reason::WebsocketVersion => {
                reply.push("Sec-WebSocket-Version", upgrade::VERSION);
                reply.push("Upgrade", upgrade::WEBSOCKET);
            }
            426 => reply.push("Upgrade", "HTTP/1.1"),
            503 => reply.push("Retry-After", RETRY_AFTER_S),
            _ => {}
        }
        if let Some(error) = reason.error_type() {
            // Explanations need no escapes: a test of the table sees to it.
            let details = reason.explain();
            reply.push("Proxy-Status", format!("{SELF}; error={error}; details=\"{details}\""));
        }
        reply
    }

    /// The same with another body.
    pub fn with_body(mut self, kind: &'static str, body: String) -> Reply {
        for (name, value) in &mut self.fields {
            if *name == "Content-Type" {
                *value = kind.into();
            }
        }
        Reply { body: body.into(), ..self }
    }

    /// One more field.
    pub fn push(&mut self, name: &'static str, value: impl Into<Cow<'static, str>>) {
        self.fields.push((name, value.into()));
    }

    /// Writes the head; `body` follows it, unless the request was `HEAD`.
    ///
    /// # Errors
    /// Where `out` has no room for it.
    pub fn head(&self, out: &mut Writer, edits: &ReplyEdits) -> Result<(), Full> {
        out.put(b"HTTP/1.1 ")?;
        out.decimal(self.status.into())?;
        out.put_all(&[b" ", phrase(self.status).as_bytes(), b"\r\nDate: ", edits.date])?;
        out.put(b"\r\n")?;
        // RFC 9110 section 8.6: a 204 speaks of no length.
        if self.status != 204 {
            out.put(b"Content-Length: ")?;
            out.decimal(self.body.len() as u64)?;
            out.put(b"\r\n")?;
        }
        let FieldEdits { removed, lines } = edits.fields;
        let is_removed = |name: &str| {
            removed.iter().copied().flatten().any(|one| one.eq_ignore_ascii_case(name))
        };
        for (name, value) in self.fields.iter().filter(|(name, _)| !is_removed(name)) {
            out.put_all(&[name.as_bytes(), b": ", value.as_bytes(), b"\r\n"])?;
        }
        out.put(lines)?;
        if let Some(id) = edits.request_id {
            out.put_all(&[b"X-Request-Id: ", id, b"\r\n"])?;
        }
        // `Upgrade` is about this connection, too.
        out.put(match (self.status, edits.persistent) {
            (426, true) => b"Connection: Upgrade\r\n\r\n",
            (426, false) => b"Connection: Upgrade, close\r\n\r\n",
            (_, true) => b"\r\n",
            (_, false) => b"Connection: close\r\n\r\n",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(reply: &Reply, persistent: bool) -> String {
        let date = b"Sun, 06 Nov 1994 08:49:37 GMT";
        let fields = FieldEdits::default();
        let edits = ReplyEdits { date, request_id: Some(b"id-1"), persistent, fields };
        let mut buffer = [0; 2048];
        let mut out = Writer::new(&mut buffer);
        reply.head(&mut out, &edits).unwrap();
        String::from_utf8(out.written().to_vec()).unwrap()
    }

    #[test]
    fn a_refusal_tells_a_person_and_a_program_why() {
        let reply = Reply::refusal(502, Reason::UpstreamReset, "id-1", RefusalForm::Text);
        assert_eq!(
            head(&reply, true),
            "HTTP/1.1 502 Bad Gateway\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 89\r\n\
             Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
             Proxy-Status: tidegate; error=connection_terminated; details=\"The upstream reset the connection.\"\r\n\
             X-Request-Id: id-1\r\n\r\n"
        );
        assert_eq!(
            String::from_utf8(reply.body.clone()).unwrap(),
            "502 Bad Gateway: The upstream reset the connection.\nreason: upstream_reset\nrequest: id-1\n"
        );
        assert!(head(&reply, false).ends_with("X-Request-Id: id-1\r\nConnection: close\r\n\r\n"));
    }

    #[test]
    fn a_status_has_the_fields_it_asks_for() {
        for (status, reason, asked) in [
            (405, Reason::MaxForwardsSpent, "\r\nAllow: GET, HEAD, "),
            (426, Reason::VersionNotSupported, "\r\nUpgrade: HTTP/1.1\r\n"),
            (
                426,
                Reason::WebsocketVersion,
                "\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n",
            ),
            (426, Reason::WebsocketVersion, "\r\nConnection: Upgrade, close\r\n"),
            (503, Reason::NoUpstream, "\r\nRetry-After: 1\r\n"),
            (503, Reason::NoUpstream, "\r\nConnection: close\r\n"),
        ] {
            let head = head(&Reply::refusal(status, reason, "", RefusalForm::Text), false);
            assert!(head.contains(asked), "{asked:?} in {head}");
        }
        let kept =
            head(&Reply::refusal(426, Reason::WebsocketVersion, "", RefusalForm::Text), true);
        assert!(kept.contains("\r\nConnection: Upgrade\r\n"));
        for reason in Reason::ALL {
            if let Some(status) = reason.status().filter(|status| *status != 499) {
                assert_ne!(phrase(status), "", "{reason:?}");
            }
        }
    }
}
