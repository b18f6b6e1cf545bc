//! The normal form of a path: what routes are matched by.
//!
//! Octets that are percent-encoded are decoded, and a segment's parameters (`;` and what follows it) left out. So two
//! paths that an origin may take for the same have the same normal form. Where origins would not agree (dot segments,
//! empty segments, slashes in disguise) there is none: such a path is refused, and not resolved, because it leaves as
//! it came, and what was matched has to be what leaves.

use super::grammar::percent_encoded;

/// Origins take such a path for one thing or another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmbiguousPath;

/// Splits path and query of a target, without the `?`; a path that is empty is `/`.
pub fn split(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let (path, query) = match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    };
    (if path.is_empty() { b"/" } else { path }, query)
}

/// The normal form of a `path` that begins with a slash and has no query; in `scratch`, where it is another one than
/// the path itself.
///
/// # Errors
/// When it has a segment that is empty (but for the last), `.` or `..`, a slash or NUL that is encoded, a backslash,
/// or a percent sign that begins no octet.
pub fn normal<'a>(path: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], AmbiguousPath> {
    if !path.iter().any(|octet| matches!(octet, b'%' | b';' | b'\\')) {
        return is_unambiguous(path).then_some(path).ok_or(AmbiguousPath);
    }
    scratch.clear();
    let mut rest = path;
    let mut is_parameter = false;
    while let Some((octet, behind)) = rest.split_first() {
        rest = behind;
        let octet = match octet {
            b'/' => {
                is_parameter = false;
                scratch.push(b'/');
                continue;
            }
            b'%' => {
                let (encoded, behind) = percent_encoded(rest).ok_or(AmbiguousPath)?;
                rest = behind;
                encoded
            }
            octet => *octet,
        };
        match octet {
            b'/' | b'\\' | 0 => return Err(AmbiguousPath),
            // Encoded or not: an origin may cut before it decodes, or after.
            b';' => is_parameter = true,
            octet if !is_parameter => scratch.push(octet),
            _ => {}
        }
    }
    is_unambiguous(scratch).then_some(scratch.as_slice()).ok_or(AmbiguousPath)
}

/// No segment but the last is empty, and none is a dot segment (RFC 3986 section 3.3).
fn is_unambiguous(path: &[u8]) -> bool {
    let Some((b'/', rest)) = path.split_first() else { return false };
    let mut segments = rest.split(|octet| *octet == b'/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            b"" if segments.peek().is_some() => return false,
            b"." | b".." => return false,
            _ => {}
        }
    }
    true
}

/// The octets of `path` that its first `count` segments take up, with the slashes before them.
pub fn prefix_len(path: &[u8], count: usize) -> usize {
    let slashes = path.iter().enumerate().filter(|(_, octet)| **octet == b'/');
    slashes.map(|(at, _)| at).nth(count).unwrap_or(path.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_an_origin_takes_for_the_same_have_one_form() {
        for (path, form) in [
            ("/", Some("/")),
            ("/a/b", Some("/a/b")),
            ("/a/", Some("/a/")),
            ("/%61/%7e", Some("/a/~")),
            ("/a%20b", Some("/a b")),
            ("/%2B%21", Some("/+!")),
            ("/a;b/c;d=e", Some("/a/c")),
            ("/a%3Bb/c", Some("/a/c")),
            ("/a/;b", Some("/a/")),
            ("/%2541", Some("/%41")),
            ("/...", Some("/...")),
            ("/.a/b.", Some("/.a/b.")),
            ("", None),
            ("a", None),
            ("*", None),
            ("//", None),
            ("/a//b", None),
            ("/.", None),
            ("/a/../b", None),
            ("/a/./b", None),
            ("/a/%2e%2E", None),
            ("/a/.%2e/b", None),
            ("/a/..;x/b", None),
            ("/;x/b", None),
            ("/a%2fb", None),
            ("/a%5cb", None),
            ("/a\\b", None),
            ("/a%00", None),
            ("/a;%2f", None),
            ("/%", None),
            ("/%4", None),
            ("/%4g", None),
        ] {
            let mut scratch = Vec::new();
            let found = normal(path.as_bytes(), &mut scratch).ok();
            assert_eq!(found, form.map(str::as_bytes), "{path}");
        }
    }

    #[test]
    fn a_target_is_a_path_and_perhaps_a_query() {
        for (target, path, query) in [
            ("/a?b=c?d", "/a", Some("b=c?d")),
            ("/a?", "/a", Some("")),
            ("/a", "/a", None),
            ("", "/", None),
            ("?b", "/", Some("b")),
        ] {
            let expected = (path.as_bytes(), query.map(str::as_bytes));
            assert_eq!(split(target.as_bytes()), expected, "{target}");
        }
    }

    #[test]
    fn a_prefix_is_counted_in_segments() {
        for (path, count, len) in
            [("/v1/a", 1, 3), ("/v1", 1, 3), ("/v%31/a/b", 1, 5), ("/a/b/c", 2, 4), ("/a", 0, 0)]
        {
            assert_eq!(prefix_len(path.as_bytes(), count), len, "{path}");
        }
    }
}
