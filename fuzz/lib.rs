//! What the fuzz targets share: the rooms under test, a connection put together from them, the opinions of
//! others, and splits.
//!
//! ```text
//! mkdir -p fuzz/corpus/request_head
//! cargo +nightly fuzz run request_head fuzz/corpus/request_head fuzz/seeds/request_head
//! ```
//! What is found goes to the first folder; the seeds stay few and readable.

#[path = "../src/base/mod.rs"]
pub mod base;
#[path = "../src/config/mod.rs"]
pub mod config;
#[path = "../src/http/mod.rs"]
pub mod http;
#[path = "../src/policy/mod.rs"]
pub mod policy;

pub mod connection;
#[cfg(feature = "tls")]
pub mod io;
pub mod opinions;
pub mod settings;

use std::sync::LazyLock;

/// Whether every `Content-Length` is a number to those who count with a sign, in 64 bits.
pub fn countable(fields: &[http::Field], bytes: &[u8]) -> bool {
    let lengths = fields.iter().filter(|field| field.id == http::Name::ContentLength);
    let text = |field: &http::Field| String::from_utf8_lossy(field.value.of(bytes)).into_owned();
    lengths.map(text).all(|length| length.parse::<i64>().is_ok())
}

/// What clients that are not trusted may not send, besides what nobody needs to name.
pub static WITHHELD: LazyLock<Vec<String>> =
    LazyLock::new(|| vec!["True-Client-IP".to_owned(), "X-A".to_owned()]);

/// A name as those see it who tell only letters and digits apart.
pub fn folded(name: &[u8]) -> String {
    let fold = |b: &u8| if b.is_ascii_alphanumeric() { b.to_ascii_uppercase() } else { b'_' };
    name.iter().map(|b| char::from(fold(b))).collect()
}

/// Whether `name` is one of those that are withheld, to such people.
pub fn is_withheld(name: &[u8]) -> bool {
    WITHHELD.iter().any(|withheld| folded(withheld.as_bytes()) == folded(name))
}

/// Cuts `data` into a few places to split at, and the octets to be split. The first octet says how
/// many places.
pub fn splits(data: &[u8]) -> (Vec<usize>, &[u8]) {
    let (count, rest) =
        data.split_first().map_or((0, data), |(n, rest)| (usize::from(n % 8), rest));
    let (places, bytes) = rest.split_at(count.min(rest.len()));
    let mut at = 0;
    let ends = places.iter().map(|step| {
        at = (at + usize::from(*step)).min(bytes.len());
        at
    });
    (ends.collect(), bytes)
}

/// Lets a reader see `bytes` in growing prefixes, those that end at `ends` and then all; gives what
/// it says when it is no longer `None`.
pub fn fed<T>(
    bytes: &[u8],
    ends: impl IntoIterator<Item = usize>,
    mut read: impl FnMut(&[u8]) -> Option<T>,
) -> Option<T> {
    ends.into_iter().find_map(|end| read(&bytes[..end])).or_else(|| read(bytes))
}

/// Feeds readers fresh from `make` whole, by the given splits, octet by octet, and with a tail; all
/// must say the same.
pub fn every_way<T, R>(bytes: &[u8], ends: &[usize], mut make: impl FnMut() -> R) -> Option<T>
where
    T: std::fmt::Debug + PartialEq,
    R: FnMut(&[u8]) -> Option<T>,
{
    let whole = make()(bytes);
    assert_eq!(fed(bytes, ends.iter().copied(), make()), whole, "split at {ends:?}");
    if bytes.len() < 1024 {
        assert_eq!(fed(bytes, 0..bytes.len(), make()), whole, "octet by octet");
    }
    if whole.is_some() {
        assert_eq!(make()(&[bytes, b"\r\nx: y\n\r\n\r\n"].concat()), whole, "with a tail");
    }
    whole
}
