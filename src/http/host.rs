//! The normal form of a host: what routes are matched by. RFC 3986 section 3.2.2, RFC 5952.
//!
//! In lower case, without a dot at the end, an IPv6 literal in its shortest form.

use std::io::Write;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Octets of the longest host that has a normal form.
pub const LONGEST: usize = 256;

/// `host[:port]` without the port.
pub fn without_port(authority: &[u8]) -> &[u8] {
    let end = match authority.first() {
        // The brackets of an IPv6 literal.
        Some(b'[') => authority.iter().position(|octet| *octet == b']').map(|at| at + 1),
        _ => authority.iter().position(|octet| *octet == b':'),
    };
    &authority[..end.unwrap_or(authority.len())]
}

/// The normal form of a host, written into `buffer`; empty where it has none: it is too long, or a label is empty.
pub fn normal<'b>(host: &[u8], buffer: &'b mut [u8; LONGEST]) -> &'b [u8] {
    if let Some(address) = ipv6(host) {
        let mut rest = &mut buffer[..];
        let written = write!(rest, "[{address}]");
        let left = rest.len();
        return if written.is_ok() { &buffer[..LONGEST - left] } else { b"" };
    }
    let host = host.strip_suffix(b".").unwrap_or(host);
    let is_empty = |label: &[u8]| label.is_empty();
    let Some(place) = buffer.get_mut(..host.len()) else { return b"" };
    if host.split(|octet| *octet == b'.').any(is_empty) {
        return b"";
    }
    place.copy_from_slice(host);
    place.make_ascii_lowercase();
    place
}

/// The address of an IPv6 literal in brackets.
fn ipv6(host: &[u8]) -> Option<Ipv6Addr> {
    let inner = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    Ipv6Addr::from_str(std::str::from_utf8(inner).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_for_all_ways_to_write_a_host() {
        for (written, normalized) in [
            ("a.b", "a.b"),
            ("A.b:80", "a.b"),
            ("a.b.:1", "a.b"),
            ("a..b", ""),
            (".a", ""),
            ("a..", ""),
            (".", ""),
            ("", ""),
            ("192.0.2.1", "192.0.2.1"),
            ("[::1]:80", "[::1]"),
            ("[0:0:0:0::1]", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"),
            ("[v1.X]", "[v1.x]"),
            ("[::1", "[::1"),
        ] {
            let mut buffer = [0; LONGEST];
            let found = normal(without_port(written.as_bytes()), &mut buffer);
            assert_eq!(String::from_utf8_lossy(found), normalized, "{written}");
        }
        let long = [b'a'; LONGEST + 1];
        assert_eq!(normal(&long[..LONGEST], &mut [0; LONGEST]), &long[..LONGEST]);
        assert_eq!(normal(&long, &mut [0; LONGEST]), b"");
    }
}
