//! Media types (RFC 9110 section 8.3.1) and the ranges that name several of them (section 12.5.1).
//!
//! ```text
//!   media-type  = type "/" subtype *( OWS ";" OWS [ name "=" ( token / quoted-string ) ] )
//!   media-range = "*/*" / type "/*" / type "/" subtype            without parameters here
//! ```
//! A `*` is an octet of tokens, but no registered type has one (RFC 6838 section 4.2): in a media
//! type it would look like a range, and is refused.

use super::grammar;

/// Type and subtype of a media type, as they came, without its parameters; `None`: it is none.
///
/// Two types with a comma between, as they come from joined fields, are none.
pub fn media_type(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let value = grammar::trim(value);
    let end = value.iter().position(|octet| *octet == b';').unwrap_or(value.len());
    let (essence, parameters) = value.split_at(end);
    let halves = halves(grammar::trim(essence))?;
    are_parameters(parameters).then_some(halves)
}

/// Whether `text` is a range that media types can be held against: `*/*`, `text/*`,
/// `application/json`, of either case.
pub fn is_range(text: impl AsRef<[u8]>) -> bool {
    range(text.as_ref()).is_some()
}

/// Whether a media type, taken apart by [`media_type`], is in a range. What is no range has none.
pub fn is_in((kind, subtype): (&[u8], &[u8]), text: impl AsRef<[u8]>) -> bool {
    let Some((kinds, subtypes)) = range(text.as_ref()) else { return false };
    let fits = |range: &[u8], name: &[u8]| range == b"*" || range.eq_ignore_ascii_case(name);
    fits(kinds, kind) && fits(subtypes, subtype)
}

/// Both halves of a range.
fn range(text: &[u8]) -> Option<(&[u8], &[u8])> {
    match text {
        b"*/*" => Some((b"*", b"*")),
        [kind @ .., b'/', b'*'] if is_name(kind) => Some((kind, b"*")),
        _ => halves(text),
    }
}

/// Both halves of a type without parameters.
fn halves(essence: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = essence.iter().position(|octet| *octet == b'/')?;
    let (kind, subtype) = (&essence[..slash], &essence[slash + 1..]);
    (is_name(kind) && is_name(subtype)).then_some((kind, subtype))
}

fn is_name(name: &[u8]) -> bool {
    grammar::is_token(name) && !name.contains(&b'*')
}

/// `parameters` (RFC 9110 section 5.6.6), with the first semicolon. White space around `=` is none
/// of it.
fn are_parameters(mut rest: &[u8]) -> bool {
    loop {
        rest = grammar::trim(rest);
        match rest {
            [] => return true,
            [b';', behind @ ..] => rest = grammar::trim(behind),
            _ => return false,
        }
        if matches!(rest, [] | [b';', ..]) {
            continue;
        }
        let Some(equals) = rest.iter().position(|octet| *octet == b'=') else { return false };
        let (name, value) = (&rest[..equals], &rest[equals + 1..]);
        let len = match value {
            [b'"', text @ ..] => quoted(text).map(|len| len + 1),
            _ => Some(value.iter().take_while(|octet| grammar::is_tchar(**octet)).count()),
        };
        match len {
            Some(len) if len > 0 && grammar::is_token(name) => rest = &value[len..],
            _ => return false,
        }
    }
}

/// Octets of a quoted string (RFC 9110 section 5.6.4) behind its first quote.
fn quoted(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text[at..] {
            [b'"', ..] => return Some(at + 1),
            [b'\\', octet, ..] if grammar::is_value(octet) => at += 2,
            [octet, ..] if octet != b'\\' && grammar::is_value(octet) => at += 1,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_has_two_halves_and_parameters() {
        for (value, halves) in [
            ("text/plain", ("text", "plain")),
            ("application/vnd.api+json", ("application", "vnd.api+json")),
            ("Text/HTML;Charset=\"utf-8\"", ("Text", "HTML")),
            (" text/html ; charset=utf-8\t", ("text", "html")),
            ("text/html;a=b;c=d", ("text", "html")),
            ("text/html;", ("text", "html")),
            ("text/html; ;; a=b ;", ("text", "html")),
            ("multipart/form-data; boundary=\"a;b,\\\"c\\\\\"", ("multipart", "form-data")),
            ("text/html;a=\"\"", ("text", "html")),
            ("text/html;a=\"h\u{e9}\"", ("text", "html")),
            ("x-a!#$%&'+-.^_`|~/1", ("x-a!#$%&'+-.^_`|~", "1")),
        ] {
            let (kind, subtype) = halves;
            let expected = Some((kind.as_bytes(), subtype.as_bytes()));
            assert_eq!(media_type(value.as_bytes()), expected, "{value}");
        }
        for value in [
            "",
            "text",
            "text/",
            "/html",
            "/",
            "text/html/x",
            "text /html",
            "text/ html",
            "te xt/html",
            "text/html x",
            "text/html, text/plain",
            "text/html,text/plain",
            "*/*",
            "text/*",
            "*/html",
            "text/h*",
            "text/html; charset",
            "text/html; charset=",
            "text/html; =utf-8",
            "text/html; charset =utf-8",
            "text/html; charset= utf-8",
            "text/html; a=b c=d",
            "text/html; a=\"b",
            "text/html; a=\"b\\",
            "text/html; a=\"b\\\"",
            "text/html; a=\"b\"c",
            "text/html; a=\"b\0\"",
            "text/html; a=b, text/plain",
            "text/html; a=b=c",
            "h\u{e9}/html",
            "text/html\0",
            "text/html\r\nX: y",
            "\"text\"/html",
        ] {
            assert_eq!(media_type(value.as_bytes()), None, "{value:?}");
        }
    }

    #[test]
    fn a_range_has_no_parameters() {
        for range in ["*/*", "text/*", "application/json", "Image/SVG+xml", "x/y"] {
            assert!(is_range(range), "{range}");
        }
        for other in [
            "",
            "*",
            "text",
            "*/json",
            "text/**",
            "te*/html",
            "text/h*",
            "application/*+json",
            "text/",
            "/*",
            "/",
            "text/* ",
            " text/html",
            "text/html;charset=utf-8",
            "text/html;q=1",
            "text/html,text/plain",
            "a/b/c",
            "a/b/*",
            "*/*/*",
        ] {
            assert!(!is_range(other), "{other:?}");
            assert!(!is_in((b"text", b"html"), other), "{other:?}");
        }
    }

    #[test]
    fn a_type_is_in_a_range_whatever_its_case() {
        let html = media_type(b"text/HTML; charset=utf-8").unwrap();
        for (range, is) in [
            ("*/*", true),
            ("text/*", true),
            ("TEXT/*", true),
            ("Text/html", true),
            ("text/htm", false),
            ("text/html5", false),
            ("application/*", false),
            ("application/html", false),
        ] {
            assert_eq!(is_in(html, range), is, "{range}");
        }
    }
}
