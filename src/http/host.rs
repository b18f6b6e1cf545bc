//! The normal form of a host: what routes are matched by. RFC 3986 section 3.2.2, RFC 5952.
//!
//! In lower case, without a dot at the end, unreserved octets not percent-encoded, an IPv6 literal as short as can be.

use std::net::Ipv6Addr;
use std::str::FromStr;

use super::grammar::percent_encoded;
use super::write::Writer;

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
        let mut writer = Writer::new(buffer);
        let written = writer.put(b"[").and_then(|()| writer.ipv6(address.segments()));
        let written = written.and_then(|()| writer.put(b"]"));
        let length = written.map_or(0, |()| writer.len());
        return &buffer[..length];
    }
    let Some(mut length) = decode(host, buffer) else { return b"" };
    if buffer[..length].ends_with(b".") {
        length -= 1;
    }
    let host = &mut buffer[..length];
    host.make_ascii_lowercase();
    match host.split(|octet| *octet == b'.').any(<[u8]>::is_empty) {
        true => b"",
        false => host,
    }
}

/// Writes the octets of `host` into `buffer`, those that are unreserved not percent-encoded (RFC 3986 section
/// 6.2.2.2), and gives their number.
fn decode(host: &[u8], buffer: &mut [u8; LONGEST]) -> Option<usize> {
    let (mut rest, mut length) = (host, 0);
    while let Some((octet, behind)) = rest.split_first() {
        let is_unreserved = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
        let decoded = match octet {
            b'%' => percent_encoded(behind).filter(|(octet, _)| is_unreserved(*octet)),
            _ => None,
        };
        let (octet, behind) = decoded.unwrap_or((*octet, behind));
        *buffer.get_mut(length)? = octet;
        (length, rest) = (length + 1, behind);
    }
    Some(length)
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
            ("%61%2eB%2E", "a.b"),
            ("a%2fb", "a%2fb"),
            ("a%", "a%"),
            ("%2e", ""),
            ("a..b", ""),
            (".a", ""),
            ("a..", ""),
            (".", ""),
            ("", ""),
            ("192.0.2.1", "192.0.2.1"),
            ("[::1]:80", "[::1]"),
            ("[0:0:0:0::1]", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("[::ffff:192.0.2.1]", "[::ffff:c000:201]"),
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
