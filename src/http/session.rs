//! Whether a connection goes on (RFC 9112 section 9.3), what `Connection` names, and request ids.

use super::close::Reason;
use super::fields::{Field, Name};
use super::grammar;
use super::head::Version;

/// More connection options than this are refused: each is compared with every field.
const OPTIONS: usize = 32;

/// What the `Connection` fields of a head say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    /// There are options that may name fields.
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
            } else {
                options.others = true;
            }
        }
        if count > OPTIONS { Err(Reason::TooManyOptions) } else { Ok(options) }
    }

    /// Whether the connection goes on after a message of this version. HTTP/1.0 clients may ask for it: a reverse
    /// proxy is their origin server, which RFC 9112 section 9.3 allows what it forbids to forward proxies.
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

/// Whether a request id from outside may be used: 1 to 128 of letters, digits and `-_.:=+/@~`, so that it can be
/// written to any log or URL unescaped.
pub fn acceptable_id(id: &[u8]) -> bool {
    let safe = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:=+/@~".contains(b);
    (1..=128).contains(&id.len()) && id.iter().all(safe)
}
