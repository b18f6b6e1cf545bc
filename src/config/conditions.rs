//! Readers for what a route asks of requests: hosts, paths, methods, fields.

use std::net::Ipv4Addr;
use std::str::FromStr;

use super::diagnostics::{Diagnostic, instead, unclear, wrong};
use super::route::{HostPattern, PathPattern};
use crate::base::digits;
use crate::http::path::normal;
use crate::http::{HOP_BY_HOP, Method, Name, grammar, host};

/// Octets of a host name (RFC 1035 section 2.3.4).
const LONGEST_HOST: usize = 253;
/// Octets of a path, or of a value.
const LONGEST: usize = 4096;

/// What a pool or a route may be called.
pub fn is_name(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=64).contains(&text.len()) && text.chars().all(fine)
}

/// A name of our own making.
pub fn name(text: &str) -> Result<String, Diagnostic> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(wrong("this is not a name", "write letters, digits, . - and _, at most 64")),
    }
}

/// `example.org` or `*.example.org`; case, port and trailing dot make no difference to a host.
pub fn host(text: &str) -> Result<HostPattern, Diagnostic> {
    if text == "*" {
        return Err(wrong("a route without a host matches every host", "leave the host out"));
    }
    if !text.is_ascii() {
        return Err(wrong(
            "a host is compared in ASCII",
            "write its A-labels, which begin with xn--",
        ));
    }
    if text.contains('%') {
        return Err(wrong("a host is not percent-encoded", "write letters, digits, - and dots"));
    }
    if let Some((_, rest)) = text.split_once("://") {
        return Err(instead("a host has no scheme", [rest.trim_end_matches('/')]));
    }
    let (is_below, name) = match text.strip_prefix("*.") {
        Some(domain) => (true, domain),
        None => (false, text),
    };
    if name.contains('*') {
        return Err(instead("a star stands for whole labels, at the beginning", ["*.example.org"]));
    }
    if let Some((host, port)) = name.rsplit_once(':')
        && !host.contains(':')
        && port.bytes().all(|octet| octet.is_ascii_digit())
    {
        let star = if is_below { "*." } else { "" };
        return Err(instead(
            "the port of a request makes no difference",
            [format!("{star}{host}")],
        ));
    }
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let is_label = |label: &str| (1..=63).contains(&label.len());
    let is_name = name.split('.').all(is_label) && grammar::is_authority(name.as_bytes());
    let is_literal = !is_below && name.starts_with('[') && grammar::is_authority(name.as_bytes());
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = digits(last).is_some() && (is_below || Ipv4Addr::from_str(name).is_err());
    if name.len() > LONGEST_HOST || !(is_name || is_literal) || is_number {
        return Err(unclear("this is not a host"));
    }
    let mut buffer = [0; host::LONGEST];
    let name = String::from_utf8_lossy(host::normal(name.as_bytes(), &mut buffer)).into_owned();
    Ok(if is_below { HostPattern::Below(name) } else { HostPattern::Exact(name) })
}

/// `/a/b`, which is that path alone, or `/a/*`, which is `/a` and all below it.
pub fn path(text: &str) -> Result<PathPattern, Diagnostic> {
    if text == "*" {
        return Err(instead("every path is written otherwise", ["/*"]));
    }
    if let Some((_, rest)) = text.split_once("://") {
        let at = rest.find('/').unwrap_or(rest.len());
        return Err(instead("this is a URL, and its path is wanted", [&rest[at..]]));
    }
    if !text.starts_with('/') {
        return Err(instead("a path begins with a slash", [format!("/{text}")]));
    }
    let below = text.strip_suffix("/*");
    let path = below.unwrap_or(text);
    if path.contains('*') {
        let right = "write a path such as /x, or /x/* for it and all below";
        return Err(wrong("a star stands for whole segments, at the end", right));
    }
    if path.contains(['?', '#']) {
        let at = path.find(['?', '#']).unwrap_or_default();
        let rest = [&path[..at]];
        return Err(
            instead("a path has no query", rest).and("; there is query = { name = \"value\" }")
        );
    }
    if path.contains(['{', '}', '[', ']']) {
        let what = "a path stands for itself, and is no pattern";
        return Err(wrong(what, "write a path such as /x/*, and other brackets percent-encoded"));
    }
    if path.contains(';') || path.to_ascii_lowercase().contains("%3b") {
        return Err(wrong(
            "what stands behind ; in a segment is left out when paths are compared",
            "leave it out",
        ));
    }
    let mut scratch = Vec::new();
    let normal = match path {
        "" => b"",
        path => normal(path.as_bytes(), &mut scratch).map_err(|_| ambiguous())?,
    };
    if text.len() > LONGEST || path.bytes().any(|octet| octet.is_ascii_control() || octet == b' ') {
        return Err(wrong(
            "this is not a path",
            "write a path of visible characters, others percent-encoded",
        ));
    }
    if below.is_some() && normal.ends_with(b"/") {
        return Err(ambiguous());
    }
    Ok(PathPattern { text: text.to_owned(), normal: normal.to_vec(), below: below.is_some() })
}

/// `/v1`: what a path begins with; without a slash at its end, as it was written and in normal form.
pub fn prefix(text: &str) -> Result<(&str, Vec<u8>), Diagnostic> {
    if text == "/" {
        return Err(wrong("every path begins with that, and nothing changes", "leave it out"));
    }
    let text = text.strip_suffix('/').unwrap_or(text);
    if !text.starts_with('/') {
        return Err(instead("a path begins with a slash", [format!("/{text}")]));
    }
    if !grammar::is_target(text.as_bytes())
        || text.contains(['?', ';', '*', '{', '}'])
        || text.len() > LONGEST
    {
        return Err(wrong(
            "this is not the beginning of a path",
            "write the beginning of a path, such as /v1",
        ));
    }
    let mut scratch = Vec::new();
    match normal(text.as_bytes(), &mut scratch) {
        Ok(normal) if !normal.ends_with(b"/") => Ok((text, normal.to_vec())),
        _ => Err(ambiguous()),
    }
}

fn ambiguous() -> Diagnostic {
    let right = "write it without dot segments, empty segments, and slashes in disguise";
    wrong("no request with such a path gets through", right)
}

/// A method (RFC 9110 section 9.1): case counts.
pub fn method(text: &str) -> Result<String, Diagnostic> {
    if text == "*" {
        return Err(wrong("a route without a method matches every method", "leave the method out"));
    }
    if !grammar::is_token(text.as_bytes()) || text.len() > 32 {
        return Err(unclear("this is not a method"));
    }
    if Method::of(text.as_bytes()) == Method::Connect {
        return Err(wrong("CONNECT is not implemented", "leave it out"));
    }
    let upper = text.to_ascii_uppercase();
    match Method::of(upper.as_bytes()) {
        Method::Other => Ok(text.to_owned()),
        _ if upper != text => Err(instead("methods are written in capitals", [upper])),
        _ => Ok(upper),
    }
}

/// A name, and the value that stands behind `between`, if any.
pub fn pair<'t>(text: &'t str, between: &str) -> (&'t str, Option<&'t str>) {
    match text.split_once(between) {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    }
}

/// `name` or `name=value`, of a field that a request may have.
pub fn field(text: &str) -> Result<(String, Option<String>), Diagnostic> {
    let (name, value) = pair(text, "=");
    if !grammar::is_token(name.as_bytes()) || name.len() > 64 {
        return Err(unclear("this is not the name of a field"));
    }
    let kind = Name::of(name.as_bytes());
    if kind.is(HOP_BY_HOP) || matches!(kind, Name::Host | Name::Lookalike) {
        let what = "routes do not look at this field";
        return Err(wrong(what, "leave it out; hosts are compared by host = \"example.org\""));
    }
    Ok((name.to_owned(), value.map(field_value).transpose()?))
}

/// `name` or `name=value`, of a parameter of the query.
pub fn parameter(text: &str) -> Result<(String, Option<String>), Diagnostic> {
    let (name, value) = pair(text, "=");
    if name.is_empty() || text.len() > LONGEST {
        return Err(wrong("the name of a parameter is missing", "write { name = \"value\" }"));
    }
    Ok((name.to_owned(), value.map(str::to_owned)))
}

/// The value of a field, as it may stand in a message.
pub fn field_value(text: &str) -> Result<String, Diagnostic> {
    if !text.bytes().all(grammar::is_value) || text.trim() != text || text.len() > LONGEST {
        let right = "write one line without blanks around it";
        return Err(wrong("this is not the value of a field", right));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_exact_or_all_below_a_domain() {
        let exact = |name: &str| Ok(HostPattern::Exact(name.to_owned()));
        let below = |name: &str| Ok(HostPattern::Below(name.to_owned()));
        for (text, expected) in [
            ("Example.ORG.", exact("example.org")),
            ("*.example.org", below("example.org")),
            ("[::1]", exact("[::1]")),
            ("192.0.2.1", exact("192.0.2.1")),
            ("*", Err("leave the host out")),
            ("example.org:8080", Err("write example.org")),
            ("*.example.org:80", Err("write *.example.org")),
            ("http://example.org/", Err("write example.org")),
            ("a*.example.org", Err("write *.example.org")),
            ("b\u{fc}cher.example", Err("write its A-labels, which begin with xn--")),
            ("a..b", Err("")),
            ("", Err("")),
        ] {
            let found = host(text).map_err(|wrong| wrong.right());
            assert_eq!(found, expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn paths_are_exact_or_all_below_one() {
        for (text, expected) in [
            ("/", Some(("/", false))),
            ("/*", Some(("", true))),
            ("/a/*", Some(("/a", true))),
            ("/%61", Some(("/a", false))),
            ("/a/", Some(("/a/", false))),
            ("a", None),
            ("*", None),
            ("/a*", None),
            ("/*/a", None),
            ("/a/../b", None),
            ("/a//*", None),
            ("/a;b", None),
            ("/a?b", None),
            ("http://a/b", None),
        ] {
            let found = path(text).ok().map(|found| (found.normal, found.below));
            let expected = expected.map(|(normal, below)| (normal.as_bytes().to_vec(), below));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn methods_are_written_as_they_are_sent() {
        for (text, fine) in
            [("GET", true), ("PURGE", true), ("get", false), ("CONNECT", false), ("A B", false)]
        {
            assert_eq!(method(text).is_ok(), fine, "{text}");
        }
    }
}
