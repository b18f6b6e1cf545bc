//! Origins (HTML, "serialization of an origin"; RFC 6454 section 6.2) and the patterns that name
//! several of them; and whether what a CORS policy lists can be meant (Fetch, "CORS protocol").
//!
//! ```text
//!   origin  = scheme "://" host [ ":" port ]         as browsers write it
//!   pattern = "*" / scheme "://" [ "*." ] host [ ":" port ]
//!   host    = label *( "." label ) / "[" IPv6 "]"    label = 1*( ALPHA / DIGIT / "-" / "_" )
//! ```
//! `null`, the origin of what has none, is no [`Origin`]: who says so may be anybody.

use std::net::Ipv6Addr;
use std::str::FromStr;

use super::{grammar, host};
use crate::base::digits;

/// Fields of answers that are a policy's: an upstream's own give way, since browsers refuse two.
pub const OWNED: [&str; 6] = [
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Credentials",
    "Access-Control-Expose-Headers",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
    "Access-Control-Max-Age",
];

/// Octets of the longest host.
const HOST_MOST: usize = 253;

/// An origin, as a browser writes it: in lower case, without the default port of its scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'o>(Parts<'o>);

/// An origin or a pattern but `*`, of either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts<'o> {
    scheme: &'o [u8],
    /// It is about the names below the host.
    below: bool,
    host: &'o [u8],
    /// `None`: the default of the scheme.
    port: Option<u64>,
}

impl<'o> Origin<'o> {
    /// The origin that `Origin` names; `None`: it names none, several, or one that no browser would
    /// write so. What is one has nothing in it but letters, digits and `+-._:/[]`.
    pub fn of(value: &'o [u8]) -> Option<Self> {
        let parts = Parts::of(value)?;
        let bare = parts.scheme.len() + "://".len() + parts.host.len();
        let default_port = parts.port.is_none() && value.len() > bare;
        let is_canonical = !default_port && !value.iter().any(u8::is_ascii_uppercase);
        (is_canonical && !parts.below).then_some(Origin(parts))
    }

    /// Whether a pattern names it: `https://app.example.org` one origin, `https://*.example.org`
    /// those of all sub-domains but not of `example.org` itself, `*` all. Scheme and port have to be
    /// the same.
    pub fn is_in(self, pattern: &str) -> bool {
        if pattern == "*" {
            return true;
        }
        let Some(pattern) = Parts::of(pattern.as_bytes()) else { return false };
        let host = match pattern.below {
            false => self.0.host.eq_ignore_ascii_case(pattern.host),
            true => is_sub_domain(self.0.host, pattern.host),
        };
        host && self.0.scheme.eq_ignore_ascii_case(pattern.scheme) && self.0.port == pattern.port
    }
}

impl<'o> Parts<'o> {
    fn of(text: &'o [u8]) -> Option<Self> {
        let colon = text.iter().position(|octet| *octet == b':')?;
        let scheme = &text[..colon];
        let authority = text[colon..].strip_prefix(b"://")?;
        let (below, authority) = match authority.strip_prefix(b"*.") {
            Some(behind) => (true, behind),
            None => (false, authority),
        };
        let host = host::without_port(authority);
        let port = match &authority[host.len()..] {
            [] => None,
            [b':', text @ ..] => Some(port(text)?),
            _ => return None,
        };
        let default_port = match () {
            () if scheme.eq_ignore_ascii_case(b"http") => Some(80),
            () if scheme.eq_ignore_ascii_case(b"https") => Some(443),
            () => None,
        };
        let is_sound = is_scheme(scheme) && (is_name(host) || !below && is_ipv6(host));
        let port = port.filter(|port| Some(*port) != default_port);
        is_sound.then_some(Parts { scheme, below, host, port })
    }
}

/// RFC 3986 section 3.1.
fn is_scheme(scheme: &[u8]) -> bool {
    let fits = |octet: &u8| octet.is_ascii_alphanumeric() || b"+-.".contains(octet);
    scheme.first().is_some_and(u8::is_ascii_alphabetic) && scheme.iter().all(fits)
}

/// Labels with dots between.
fn is_name(host: &[u8]) -> bool {
    let fits = |octet: &u8| octet.is_ascii_alphanumeric() || b"-_".contains(octet);
    let mut labels = host.split(|octet| *octet == b'.');
    host.len() <= HOST_MOST && labels.all(|label| !label.is_empty() && label.iter().all(fits))
}

/// An IPv6 address in brackets.
fn is_ipv6(host: &[u8]) -> bool {
    let text = host.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]"));
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    text.is_some_and(|text| Ipv6Addr::from_str(text).is_ok())
}

/// A port without leading zeros.
fn port(text: &[u8]) -> Option<u64> {
    let leading_zero = text.len() > 1 && text[0] == b'0';
    digits(text).filter(|port| !leading_zero && *port <= u64::from(u16::MAX))
}

/// Whether `host` is a name below `domain`: whole labels, one or more.
fn is_sub_domain(host: &[u8], domain: &[u8]) -> bool {
    let Some(at) = host.len().checked_sub(domain.len()) else { return false };
    let (front, back) = host.split_at(at);
    front.len() > 1 && front.ends_with(b".") && back.eq_ignore_ascii_case(domain)
}

/// Whether `text` is a pattern of origins.
pub fn is_origin_pattern(text: &str) -> bool {
    text == "*" || Parts::of(text.as_bytes()).is_some()
}

/// What of a policy cannot be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The list that is at fault: `origin`, `method`, `header` or `expose`.
    pub list: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// What to write instead.
    pub remedy: &'static str,
}

/// Whether what a policy lists can be meant: patterns of origins, methods, fields of requests,
/// fields of answers; `credentials`: cookies may come along.
///
/// # Errors
/// The first mistake that there is.
pub fn check(
    origins: &[String],
    methods: &[String],
    headers: &[String],
    expose: &[String],
    credentials: bool,
) -> Result<(), Mistake> {
    let has_star = |list: &[String]| list.iter().any(|text| text == "*");
    let are_tokens = |list: &[String]| list.iter().all(|text| grammar::is_token(text.as_bytes()));
    let are_origins = origins.iter().all(|text| is_origin_pattern(text));
    for (is_wrong, list, what, remedy) in [
        (origins.is_empty(), "origin", "no origin is named", "write https://app.example.org"),
        (!are_origins, "origin", "this is not an origin", "write https://app.example.org"),
        (
            has_star(origins) && origins.len() > 1,
            "origin",
            "a star stands for every origin, so others beside it say nothing",
            "leave the star or the others out",
        ),
        (
            has_star(origins) && credentials,
            "origin",
            "with credentials, every page could act for whoever reads it",
            "name the origins, or leave cors-credentials out",
        ),
        (!are_tokens(methods), "method", "this is not a method", "write PUT, for example"),
        (has_star(methods), "method", "a star names no method", "name every method"),
        (!are_tokens(headers), "header", "this is not the name of a field", "write X-A"),
        (has_star(headers), "header", "a star names no field of requests", "name every field"),
        (!are_tokens(expose), "expose", "this is not the name of a field", "write X-A"),
        (
            has_star(expose) && expose.len() > 1,
            "expose",
            "a star stands for every field, so others beside it say nothing",
            "leave the star or the others out",
        ),
        (
            has_star(expose) && credentials,
            "expose",
            "with credentials, a star names no field of answers",
            "name every field, or leave cors-credentials out",
        ),
    ] {
        if is_wrong {
            return Err(Mistake { list, what, remedy });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_as_browsers_write_it() {
        let long = format!("https://{}.example", "a.".repeat(122) + "a");
        for origin in [
            "https://example.org",
            "http://localhost:8080",
            "https://a-b_c.example.org:8443",
            "http://192.0.2.1",
            "https://[2001:db8::1]",
            "https://[2001:db8::1]:8443",
            "https://xn--bcher-kva.example",
            "chrome-extension://abcdefghijklmnop",
            "http://a:443",
            "https://a:80",
            "a+b.c-1://d:0",
            &long,
        ] {
            assert!(Origin::of(origin.as_bytes()).is_some(), "{origin}");
            assert!(is_origin_pattern(origin), "{origin}");
        }
        let longer = format!("https://{}.example", "a.".repeat(123) + "a");
        for other in [
            "",
            "null",
            "*",
            "https:",
            "https://",
            "https:///",
            "https://:80",
            "https://example.org/",
            "https://example.org/path",
            "https://example.org?",
            "https://example.org#",
            "https://user@example.org",
            "https://example.org:",
            "https://example.org:+80",
            "https://example.org:080",
            "https://example.org:65536",
            "https://example.org:80:80",
            "https://a.example https://b.example",
            "https://a.example,https://b.example",
            " https://a.example",
            "https://a.example ",
            "https://a.example\r\nX: y",
            "https://a.example\0",
            "https://.example.org",
            "https://example.org.",
            "https://a..b",
            "https://[::1",
            "https://[::1]x",
            "https://[1.2.3.4]",
            "https://[]",
            "https://::1",
            "https://b\u{fc}cher.example",
            "https://a%2eb",
            "example.org",
            "//example.org",
            "://example.org",
            "1https://example.org",
            "ht tp://example.org",
            "https//example.org",
            &longer,
        ] {
            assert_eq!(Origin::of(other.as_bytes()), None, "{other:?}");
            assert!(other == "*" || !is_origin_pattern(other), "{other:?}");
        }
        // What a pattern may be, and an origin is not.
        for pattern in [
            "https://Example.org",
            "HTTPS://example.org",
            "https://example.org:443",
            "http://example.org:80",
            "https://*.example.org",
            "https://*.example.org:8443",
        ] {
            assert!(is_origin_pattern(pattern), "{pattern}");
            assert_eq!(Origin::of(pattern.as_bytes()), None, "{pattern}");
        }
        for other in [
            "**",
            "https://*",
            "https://*.",
            "https://**.example.org",
            "https://*.*.example.org",
            "https://a.*.example.org",
            "https://*a.example.org",
            "https://*.[::1]",
            "*://example.org",
            "https://example.org:*",
            "*.example.org",
        ] {
            assert!(!is_origin_pattern(other), "{other}");
        }
    }

    #[test]
    fn a_pattern_names_whole_labels_of_one_scheme_and_port() {
        for (pattern, origin, expected) in [
            ("*", "https://a", true),
            ("https://example.org", "https://example.org", true),
            ("https://Example.ORG", "https://example.org", true),
            ("HTTPS://example.org:443", "https://example.org", true),
            ("http://example.org:80", "http://example.org", true),
            ("http://example.org:443", "http://example.org:443", true),
            ("https://[2001:DB8::1]:1", "https://[2001:db8::1]:1", true),
            ("https://example.org", "http://example.org", false),
            ("https://example.org", "https://example.org:8443", false),
            ("https://example.org:8443", "https://example.org", false),
            ("https://example.org", "https://example.orga", false),
            ("https://example.org", "https://aexample.org", false),
            ("https://example.org", "https://a.example.org", false),
            ("https://*.example.org", "https://a.example.org", true),
            ("https://*.Example.org", "https://a.b.example.org", true),
            ("https://*.example.org:8443", "https://a.example.org:8443", true),
            ("https://*.example.org", "https://example.org", false),
            ("https://*.example.org", "https://aexample.org", false),
            ("https://*.example.org", "https://a-example.org", false),
            ("https://*.example.org", "https://a.example.org.evil.example", false),
            ("https://*.example.org", "https://a.example.org:8443", false),
            ("https://*.example.org", "http://a.example.org", false),
            ("https://*.example.org", "https://org", false),
            ("nonsense", "https://a", false),
        ] {
            let parsed = Origin::of(origin.as_bytes()).unwrap();
            assert_eq!(parsed.is_in(pattern), expected, "{pattern} {origin}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        type Lists<'a> = [&'a [&'a str]; 4];
        let told = |lists: Lists<'_>, credentials| {
            let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
            let [a, b, c, d]: [Vec<String>; 4] = lists.map(owned);
            let mistake = check(&a, &b, &c, &d, credentials).err();
            mistake.map_or(String::new(), |Mistake { list, what, .. }| format!("{list}: {what}"))
        };
        let app: &[&str] = &["https://a.example"];
        for (lists, credentials, part) in [
            ([app, &[], &[], &[]], true, ""),
            ([&["*"], &["PUT"], &["X-A"], &["*"]], false, ""),
            ([app, &["PUT", "patch"], &["Content-Type"], &["X-A", "X-B"]], true, ""),
            ([&[], &[], &[], &[]], false, "origin: no origin"),
            ([&["a.example"], &[], &[], &[]], false, "origin: this is not"),
            ([&["null"], &[], &[], &[]], false, "origin: this is not"),
            ([&["https://a.example", "*"], &[], &[], &[]], false, "origin: a star stands"),
            ([&["*"], &[], &[], &[]], true, "origin: with credentials"),
            ([app, &["P T"], &[], &[]], false, "method: this is not"),
            ([app, &[""], &[], &[]], false, "method: this is not"),
            ([app, &["*"], &[], &[]], false, "method: a star"),
            ([app, &[], &["X-A, X-B"], &[]], false, "header: this is not"),
            ([app, &[], &[], &["X:"]], false, "expose: this is not"),
            ([app, &[], &["*"], &[]], false, "header: a star"),
            ([app, &[], &[], &["*", "X-A"]], false, "expose: a star stands"),
            ([app, &[], &[], &["*"]], true, "expose: with credentials"),
        ] {
            let why = told(lists, credentials);
            assert!(why.starts_with(part) && why.is_empty() == part.is_empty(), "{lists:?}: {why}");
        }
    }
}
