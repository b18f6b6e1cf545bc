//! The grammar below everything: characters, numbers, hosts, lists (RFC 9110 section 5.6, RFC
//! 3986).

use crate::base::digits;
use std::net::Ipv6Addr;

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;
const NAME: u8 = 8;

/// Which classes each octet belongs to.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let b = octet as u8;
        let visible = 0x21 <= b && b <= 0x7e;
        if b.is_ascii_alphanumeric() || one_of(b, b"!#$%&'*+-.^_`|~") {
            classes[octet] |= TOKEN;
        }
        if visible || b == b' ' || b == b'\t' || b >= 0x80 {
            classes[octet] |= VALUE;
        }
        if visible && b != b'#' {
            classes[octet] |= TARGET;
        }
        // RFC 3986 reg-name less the comma: `X-Forwarded-Host` is read as a list.
        if b.is_ascii_alphanumeric() || one_of(b, b"-._~!$&'()*+;=") {
            classes[octet] |= NAME;
        }
        octet += 1;
    }
    classes
};

const fn one_of(b: u8, set: &[u8]) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == b {
            return true;
        }
        i += 1;
    }
    false
}

const fn is(b: u8, class: u8) -> bool {
    CLASSES[b as usize] & class != 0
}

/// `tchar` (RFC 9110 section 5.6.2).
pub const fn is_tchar(b: u8) -> bool {
    is(b, TOKEN)
}

/// An octet of a field value: VCHAR, obs-text, SP or HTAB (RFC 9110 section 5.5).
pub const fn is_value(b: u8) -> bool {
    is(b, VALUE)
}

/// SP or HTAB.
pub const fn is_ows(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

/// `token`: one or more `tchar`.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| is_tchar(*b))
}

/// Octets of a request target as tidegate lets it through: visible ASCII, no fragment. Browsers
/// send more than RFC 3986 allows (`|`, `"`, `{`), and none of that is ambiguous.
pub fn is_target(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| is(*b, TARGET))
}

/// `bytes` without SP and HTAB at both ends.
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The value of one hexadecimal digit, of either case.
pub const fn hex(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

/// The octet that two hexadecimal digits behind a percent sign encode (RFC 3986 section 2.1), and what follows them.
pub fn percent_encoded(behind: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, rest @ ..] = behind else { return None };
    Some((hex(*high)? << 4 | hex(*low)?, rest))
}

/// The elements of a comma-separated list (RFC 9110 section 5.6.1), trimmed, empty ones left out. A
/// comma in a quoted string does not separate.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let end = list_element_end(bytes);
        rest = bytes.get(end + 1..);
        Some(trim(&bytes[..end]))
    })
    .filter(|element| !element.is_empty())
}

fn list_element_end(bytes: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (i, b) in bytes.iter().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return i,
            _ => {}
        }
    }
    bytes.len()
}

/// `uri-host [ ":" port ]` with a host that is not empty and no user information (RFC 9110 section
/// 7.2, RFC 3986 section 3.2): a registered name or IPv4 address, or an IPv6 address in brackets.
pub fn is_authority(bytes: &[u8]) -> bool {
    if let [b'[', rest @ ..] = bytes {
        let Some(end) = memchr::memchr(b']', rest) else { return false };
        return is_ipv6(&rest[..end]) && is_port(&rest[end + 1..]);
    }
    let name = registered_name(bytes);
    name > 0 && is_port(&bytes[name..])
}

/// How many octets at the front of `bytes` are those of a registered name.
fn registered_name(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += bytes[at..].iter().take_while(|b| is(**b, NAME)).count();
        match &bytes[at..] {
            [b'%', behind @ ..] if percent_encoded(behind).is_some() => at += 3,
            _ => return at,
        }
    }
}

fn is_ipv6(bytes: &[u8]) -> bool {
    // The standard library reads exactly RFC 4291 text, without a zone.
    std::str::from_utf8(bytes)
        .is_ok_and(|text| <Ipv6Addr as std::str::FromStr>::from_str(text).is_ok())
}

/// Nothing, or `:` and a port; RFC 3986 lets the port be empty.
fn is_port(bytes: &[u8]) -> bool {
    match bytes {
        [] | [b':'] => true,
        [b':', port @ ..] => digits(port).is_some_and(|port| port <= u64::from(u16::MAX)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_of_either_case() {
        assert_eq!(
            (hex(b'0'), hex(b'9'), hex(b'a'), hex(b'F')),
            (Some(0), Some(9), Some(10), Some(15))
        );
        assert!(b"gG@`/:+x ".iter().all(|b| hex(*b).is_none()));
    }

    #[test]
    fn a_token_has_no_delimiters() {
        assert!(is_token(b"Content-Length") && is_token(b"!#$%&'*+-.^_`|~09azAZ"));
        for delimiter in b"\"(),/:;<=>?@[\\]{} \t\r\n\0\x7f\x80\xff" {
            assert!(!is_token(&[b'a', *delimiter]), "{delimiter}");
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn a_list_minds_quotes_and_empty_elements() {
        let elements = |value: &'static [u8]| list(value).collect::<Vec<_>>();
        assert_eq!(elements(b"close"), [b"close"]);
        assert_eq!(elements(b" ,a,,\tb , "), [b"a", b"b"]);
        assert_eq!(elements(b"a;x=\"1,\\\",2\" , b"), [&b"a;x=\"1,\\\",2\""[..], b"b"]);
        assert!(elements(b"").is_empty() && elements(b" , ,").is_empty());
    }

    #[test]
    fn an_authority_is_a_host_and_a_port() {
        for good in [
            "a",
            "example.com",
            "example.com:80",
            "127.0.0.1:8080",
            "a:",
            "[::1]",
            "[::1]:443",
            "[::ffff:1.2.3.4]",
            "xn--bcher-kva.example",
            "under_score",
            "a%20b",
            "a!$&'()*+;=b",
            "a:65535",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "user@host",
            "a:b",
            "a:+1",
            "a:65536",
            "a:80:80",
            "[::1",
            "::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "[]",
            "a/b",
            "a?b",
            "a#b",
            "a%2",
            "a%zz",
            "a,b",
            "a\\b",
            "h\u{e9}",
            "a\0",
            "[1.2.3.4]",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn trimming_takes_only_blanks() {
        assert_eq!(trim(b" \ta b\t "), b"a b");
        assert_eq!(trim(b" \t"), b"");
        assert_eq!(trim(b"\x0ba"), b"\x0ba");
    }
}
