//! Response heads, read and judged (RFC 9112 section 4), as strictly as requests.

use super::close::Reason;
use super::connection::Options;
use super::fields::{self, Field, Seen, Span};
use super::framing::{self, Claims, Framing};
use super::grammar;
use super::head::{Limits, Method, Progress, Version};
use super::names::Name;
use super::upgrade::{self, Offer};
use crate::base::digits;

/// What was asked, as far as the answer means something else for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'p> {
    /// The method.
    pub method: Method,
    /// The protocol offered in the request that was sent. Without one a 101 is refused.
    pub offer: Option<Offer<'p>>,
}

impl From<Method> for Asked<'_> {
    fn from(method: Method) -> Self {
        Asked { method, offer: None }
    }
}

/// A response head; see [`super::Request`].
#[derive(Debug, Default)]
pub struct Response {
    /// The status code, 100 to 599.
    pub status: u16,
    /// The reason phrase.
    pub reason: Span,
    /// The version of the upstream.
    pub version: Version,
    /// The field lines, in order.
    pub fields: Vec<Field>,
    /// Octets of the head.
    pub len: usize,
    /// How long the body is.
    pub framing: Framing,
    /// The upstream lets the connection go on.
    pub persistent: bool,
    /// The `Content-Length`, also where there is no body to measure (`HEAD`, 304).
    pub(super) length: Option<u64>,
    /// `Connection` names fields to be removed.
    pub(super) names_fields: bool,
    seen: Seen,
}

impl Response {
    /// Reads and judges the response head at the beginning of `bytes`; `asked` is the request it
    /// answers, or its method. Otherwise as [`super::Request::read`]; the reasons are those of an
    /// upstream at fault.
    ///
    /// A status of 101 is there only when `asked` has an offer and the answer proves that it was
    /// taken: what comes behind the head is then no HTTP any more.
    pub fn read<'p>(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        asked: impl Into<Asked<'p>>,
    ) -> Result<Progress, Reason> {
        let outcome = self.advance(bytes, limits, &asked.into()).map_err(Reason::by_upstream);
        if outcome != Ok(Progress::Partial) {
            self.seen = Seen::default();
        }
        outcome
    }

    /// Forgets everything but the storage; needed only when a head was left in the middle.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Response { fields, ..Response::default() };
    }

    /// The value of the first field called `name`; not for [`Name::Other`].
    pub fn get(&self, name: Name) -> Option<Span> {
        fields::get(&self.fields, name)
    }

    /// It only announces the answer: 1xx, but not 101, which is the end of HTTP.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    fn advance(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        asked: &Asked,
    ) -> Result<Progress, Reason> {
        let (window, room) = limits.window(bytes);
        if self.seen == Seen::default() {
            self.clear();
        }
        if self.seen.lines == 0 && !self.start_line(window)? {
            return if room { Ok(Progress::Partial) } else { Err(Reason::HeadTooLarge) };
        }
        match fields::read(window, &mut self.seen, &mut self.fields, limits.fields)? {
            None if room => Ok(Progress::Partial),
            None => Err(Reason::HeadTooLarge),
            Some(len) => {
                self.len = len;
                self.judge(bytes, asked)?;
                Ok(Progress::Complete)
            }
        }
    }

    /// Finds and judges the status line; `false` when it is not all there. Nothing may come before
    /// it.
    fn start_line(&mut self, window: &[u8]) -> Result<bool, Reason> {
        let known = window.len().min(7);
        if window[..known] != b"HTTP/1."[..known] {
            return Err(Reason::MalformedResponse);
        }
        let Some(len) = memchr::memchr(b'\n', &window[self.seen.to..]) else {
            self.seen.to = window.len();
            return Ok(false);
        };
        let end = self.seen.to + len;
        let line = window[..end].strip_suffix(b"\r").ok_or(Reason::BareLineFeed)?;
        self.status_line(line)?;
        self.seen = Seen::after(end + 1);
        Ok(true)
    }

    /// `HTTP-version SP status-code SP [ reason-phrase ]` (RFC 9112 section 4). Many leave the second
    /// space out when there is no phrase; that hurts nobody.
    fn status_line(&mut self, line: &[u8]) -> Result<(), Reason> {
        let malformed = Reason::MalformedResponse;
        let (version, rest) = line.split_at_checked(8).ok_or(malformed)?;
        self.version = Version::of(version)?;
        let Some(([b' ', code @ ..], rest)) = rest.split_first_chunk::<4>() else {
            return Err(malformed);
        };
        let status = digits(code).filter(|status| (100..600).contains(status));
        self.status = status.ok_or(malformed)? as u16;
        self.reason = match rest {
            [] => Span::new(line.len(), line.len()),
            [b' ', phrase @ ..] if phrase.iter().all(|b| grammar::is_value(*b)) => {
                Span::new(13, line.len())
            }
            _ => return Err(malformed),
        };
        Ok(())
    }

    fn judge(&mut self, bytes: &[u8], asked: &Asked) -> Result<(), Reason> {
        let options = Options::of(&self.fields, bytes)?;
        let switches = self.status == 101;
        if switches {
            let (connection, offer) = (options.upgrade, asked.offer.as_ref());
            upgrade::judge_switch(self.version, &self.fields, bytes, connection, offer)?;
        }
        let claims = Claims::of(&self.fields, bytes);
        self.framing = framing::of_response(self.status, asked.method, self.version, &claims)?;
        self.length = claims.length()?;
        self.names_fields = options.others;
        // A 204 that claims a body may well be followed by one.
        let dubious = self.status == 204 && (claims.coded() || self.length.unwrap_or(0) > 0);
        let endless = self.framing == Framing::UntilClose || switches;
        self.persistent = options.persistent(self.version) && !endless && !dubious;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::feed::every_way;
    use super::*;

    /// Status, reason phrase, framing, persistent.
    type Meaning = (u16, String, Framing, bool);

    fn read(text: &str, asked: Method) -> Option<Result<Meaning, Reason>> {
        every_way(text.as_bytes(), || {
            let mut head = Response::default();
            move |bytes: &[u8]| match head.read(
                bytes,
                &Limits { head: 200, ..Limits::default() },
                asked,
            ) {
                Ok(Progress::Partial) => None,
                Ok(Progress::Complete) => {
                    let reason = String::from_utf8_lossy(head.reason.of(bytes)).into_owned();
                    Some(Ok((head.status, reason, head.framing, head.persistent)))
                }
                Err(reason) => Some(Err(reason)),
            }
        })
    }

    fn get(text: &str) -> Result<Meaning, Reason> {
        read(text, Method::Get).expect("complete")
    }

    fn meaning(
        status: u16,
        reason: &str,
        framing: Framing,
        persistent: bool,
    ) -> Result<Meaning, Reason> {
        Ok((status, reason.to_owned(), framing, persistent))
    }

    #[test]
    fn ordinary_responses() {
        let ok = get("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(ok, meaning(200, "OK", Framing::Length(5), true));
        assert_eq!(
            get("HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n"),
            meaning(404, "", Framing::None, true)
        );
        assert_eq!(
            get("HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n"),
            meaning(404, "", Framing::None, true)
        );
        assert_eq!(
            get("HTTP/1.0 200 Not  so\tbad\r\n\r\n"),
            meaning(200, "Not  so\tbad", Framing::UntilClose, false)
        );
        assert_eq!(
            get("HTTP/1.1 103 Early\r\nLink: a\r\n\r\n"),
            meaning(103, "Early", Framing::None, true)
        );
        assert_eq!(read("HTTP/1.1 200 OK\r\nA: b\r\n", Method::Get), None);
    }

    #[test]
    fn a_connection_is_kept_only_when_the_end_is_certain() {
        let keep = |text: &str| get(text).unwrap().3;
        assert!(keep("HTTP/1.1 204 x\r\n\r\n"));
        assert!(keep("HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n"));
        assert!(keep("HTTP/1.0 200 x\r\nContent-Length: 9\r\nConnection: keep-alive\r\n\r\n"));
        assert!(!keep("HTTP/1.0 200 x\r\nContent-Length: 9\r\n\r\n"));
        assert!(!keep("HTTP/1.0 200 x\r\nConnection: keep-alive\r\n\r\n"));
        assert!(!keep("HTTP/1.1 200 x\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"));
        assert!(!keep("HTTP/1.1 204 x\r\nContent-Length: 9\r\n\r\n"));
        assert!(!keep("HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n"));
    }

    #[test]
    fn anything_odd_is_the_upstreams_fault() {
        for bad in [
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            " HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 600 OK\r\n\r\n",
            "HTTP/1.1 +20 OK\r\n\r\n",
            "HTTP/1.1 200\tOK\r\n\r\n",
            "HTTP/1.1 200 O\0K\r\n\r\n",
            "HTTP/1.1 200 OK\n\r\n",
            "HTTP/1.1 200 O\rK\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\n\r\n",
        ] {
            assert_eq!(get(bad), Err(Reason::MalformedResponse), "{bad:?}");
        }
        for bad in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5x\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
        ] {
            assert_eq!(
                get(&format!("HTTP/1.1 200 OK\r\n{bad}\r\n")),
                Err(Reason::BadResponseFraming),
                "{bad:?}"
            );
        }
        let long = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(200));
        assert_eq!(get(&long), Err(Reason::ResponseHeadTooLarge));
        let long = format!("HTTP/1.1 200 {}\r\n\r\n", "b".repeat(200));
        assert_eq!(get(&long), Err(Reason::ResponseHeadTooLarge));
        assert_eq!(get("HTTP/1.1 101 x\r\nUpgrade: a\r\n\r\n"), Err(Reason::UnaskedUpgrade));
        assert_eq!(
            Response::default().read(b"SSH-2.0", &Limits::default(), Method::Get),
            Err(Reason::MalformedResponse)
        );
    }

    #[test]
    fn head_has_no_body() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(read(text, Method::Head).unwrap(), meaning(200, "OK", Framing::None, true));
        let bare = "HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(read(bare, Method::Head).unwrap(), meaning(200, "OK", Framing::None, true));
    }
}
