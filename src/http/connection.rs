//! Whether a connection goes on (RFC 9112 section 9.3), what `Connection` names, and request ids.

use super::close::Reason;
use super::fields::Field;
use super::grammar;
use super::head::Version;
use super::names::Name;

/// More connection options than this are refused: each is compared with every field.
const OPTIONS: usize = 32;

/// What the `Connection` fields of a head say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// There are options that may name fields; those above never leave anyway.
    pub(super) others: bool,
}

impl Options {
    /// Reads all `Connection` fields.
    pub(super) fn of(fields: &[Field], bytes: &[u8]) -> Result<Self, Reason> {
        let mut options = Options::default();
        let mut count = 0;
        for option in connection(fields, bytes) {
            count += 1;
            if option.eq_ignore_ascii_case(b"close") {
                options.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                options.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                options.upgrade = true;
            } else {
                options.others = true;
            }
        }
        if count > OPTIONS { Err(Reason::TooManyOptions) } else { Ok(options) }
    }

    /// Whether the connection goes on after a message of this version. HTTP/1.0 clients may ask for
    /// it: a reverse proxy is their origin server, which RFC 9112 section 9.3 allows what it
    /// forbids to forward proxies.
    pub(super) fn persistent(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

fn connection<'b>(fields: &'b [Field], bytes: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
    let fields = fields.iter().filter(|field| field.id == Name::Connection);
    fields.flat_map(|field| grammar::list(field.value.of(bytes)))
}

/// Whether a `Connection` field names `name`.
pub(super) fn names(fields: &[Field], bytes: &[u8], name: &[u8]) -> bool {
    connection(fields, bytes).any(|option| option.eq_ignore_ascii_case(name))
}

/// Whether a request id from outside may be used: 1 to 128 of letters, digits and `-_.:=+/@~`, so
/// that it can be written to any log or URL unescaped.
pub fn acceptable_id(id: &[u8]) -> bool {
    let safe = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:=+/@~".contains(b);
    (1..=128).contains(&id.len()) && id.iter().all(safe)
}

#[cfg(test)]
mod tests {
    use super::super::fields::{self, Seen};
    use super::*;

    fn with<T>(text: &str, ask: impl FnOnce(&[Field], &[u8]) -> T) -> T {
        let bytes = [text.as_bytes(), b"\r\n"].concat();
        let mut lines = Vec::new();
        let end = fields::read(&bytes, &mut Seen::after(0), &mut lines, fields::MOST);
        assert_eq!(end, Ok(Some(bytes.len())));
        ask(&lines, &bytes)
    }

    #[test]
    fn whether_a_connection_goes_on() {
        for (text, http10, http11) in [
            ("", false, true),
            ("Connection: close\r\n", false, false),
            ("Connection: Keep-Alive\r\n", true, true),
            ("Connection: keep-alive, Close\r\n", false, false),
            ("Connection: keep-alive\r\nConnection: close\r\n", false, false),
            ("Connection: x,\tkeep-alive\r\n", true, true),
            ("Connection: closed\r\n", false, true),
            ("Connection: \"close\"\r\n", false, true),
            ("Proxy-Connection: keep-alive\r\n", false, true),
        ] {
            let options = with(text, Options::of).unwrap();
            assert_eq!(options.persistent(Version::Http10), http10, "{text}");
            assert_eq!(options.persistent(Version::Http11), http11, "{text}");
        }
    }

    #[test]
    fn connection_names_fields_in_any_case_and_line() {
        let text = "Connection: X-One, close\r\nConnection: x-two\r\n";
        assert!(with(text, Options::of).unwrap().others);
        assert!(with(text, |fields, bytes| names(fields, bytes, b"x-ONE")));
        assert!(with(text, |fields, bytes| names(fields, bytes, b"X-Two")));
        assert!(!with(text, |fields, bytes| names(fields, bytes, b"x-on")));
        let known = with("Connection: close, UPGRADE\r\n", Options::of).unwrap();
        assert!(known.close && known.upgrade && !known.others);
    }

    #[test]
    fn options_are_bounded() {
        let some = |n| format!("Connection: {}\r\n", vec!["a"; n].join(","));
        assert!(with(&some(OPTIONS), Options::of).is_ok());
        assert_eq!(with(&some(OPTIONS + 1), Options::of), Err(Reason::TooManyOptions));
    }

    #[test]
    fn a_request_id_is_safe_anywhere() {
        assert!(
            acceptable_id(b"a")
                && acceptable_id(b"0af7-65_1.b:c=+/@~")
                && acceptable_id(&[b'x'; 128])
        );
        for bad in
            [&b""[..], &[b'x'; 129], b"a b", b"a\"b", b"a\r\nb", b"a,b", b"<a>", b"\xff", b"a%"]
        {
            assert!(!acceptable_id(bad), "{bad:?}");
        }
    }
}
