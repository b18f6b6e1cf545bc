//! What a request presents: a bearer's secret (RFC 6750), or a name with a password (RFC 7617).

use std::fmt;

use data_encoding::BASE64;

use crate::http::{Field, Name, Request, grammar, looks_like};

/// Octets of a bearer's secret, and of what stands behind `Basic`.
const LONGEST: usize = 8 * 1024;
/// Octets of a user's name.
const USER: usize = 256;
/// Octets of a password.
const PASSWORD: usize = 1024;

/// What was found where credentials are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presented<T> {
    /// No credentials.
    Nothing,
    /// These.
    One(T),
    /// Several that differ, or what readers may take for different things.
    Ambiguous,
    /// More octets than are looked at: 8 KiB of a secret, 256 of a name, 1024 of a password.
    TooLong,
}

impl<T> Presented<T> {
    /// What `look` says of the one that was found.
    fn then<U>(self, look: impl FnOnce(T) -> Presented<U>) -> Presented<U> {
        match self {
            Presented::Nothing => Presented::Nothing,
            Presented::One(one) => look(one),
            Presented::Ambiguous => Presented::Ambiguous,
            Presented::TooLong => Presented::TooLong,
        }
    }
}

/// A user who says so, and the proof.
#[derive(Clone, PartialEq, Eq)]
pub struct NameAndPassword {
    /// The name: without control characters and colons.
    pub user: String,
    /// The password: octets in whatever encoding the client has, none of them a control character.
    pub password: Vec<u8>,
}

/// The secret in any of these fields: behind `Bearer` in `Authorization`, by itself in others.
///
/// The same secret in two fields is one secret. `Authorization` with another scheme has none. A field that is not
/// spelt as it was asked for but looks like it to some (`X_Api_Key`, `X.Api.Key`) is ambiguous whatever it holds.
pub fn bearer<'b>(fields: &[String], head: &Request, bytes: &'b [u8]) -> Presented<&'b [u8]> {
    let mut found = Presented::Nothing;
    for name in fields {
        let value = only_value(name, &head.fields, bytes);
        let one = if name.eq_ignore_ascii_case("Authorization") {
            value.then(behind_bearer)
        } else {
            value.then(|value| bare(value, u8::is_ascii_graphic))
        };
        found = match (found, one) {
            (_, Presented::Ambiguous) => return Presented::Ambiguous,
            (_, Presented::TooLong) => return Presented::TooLong,
            (found, Presented::Nothing) => found,
            (Presented::One(first), Presented::One(second)) if first != second => {
                return Presented::Ambiguous;
            }
            (_, one) => one,
        };
    }
    found
}

/// Name and password in `Authorization: Basic ...`: strict base64 with padding (RFC 4648 section 4), the name in UTF-8
/// up to the first colon, control characters nowhere (RFC 7617 section 2). A name may be empty.
pub fn basic(head: &Request, bytes: &[u8]) -> Presented<NameAndPassword> {
    let value = only_value("Authorization", &head.fields, bytes);
    value.then(|value| behind("Basic", value)).then(name_and_password)
}

fn name_and_password(text: &[u8]) -> Presented<NameAndPassword> {
    let Ok(decoded) = BASE64.decode(text) else { return Presented::Ambiguous };
    let Some(colon) = memchr::memchr(b':', &decoded) else { return Presented::Ambiguous };
    let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
    if user.len() > USER || password.len() > PASSWORD {
        return Presented::TooLong;
    }
    match std::str::from_utf8(user) {
        Ok(user)
            if !user.contains(char::is_control) && !password.iter().any(u8::is_ascii_control) =>
        {
            let (user, password) = (user.to_owned(), password.to_vec());
            Presented::One(NameAndPassword { user, password })
        }
        _ => Presented::Ambiguous,
    }
}

/// The value that all fields of this name have; empty ones count as any other.
fn only_value<'b>(name: &str, fields: &[Field], bytes: &'b [u8]) -> Presented<&'b [u8]> {
    let mut found = None;
    let is_authorization = name.eq_ignore_ascii_case("Authorization");
    for field in fields {
        let other = field.name.of(bytes);
        if is_authorization {
            if field.id != Name::Authorization {
                continue;
            }
        } else if !looks_like(name.as_bytes(), other) {
            continue;
        } else if !name.as_bytes().eq_ignore_ascii_case(other) {
            return Presented::Ambiguous;
        }
        let value = field.value.of(bytes);
        if found.is_some_and(|found| found != value) {
            return Presented::Ambiguous;
        }
        found = Some(value);
    }
    found.map_or(Presented::Nothing, Presented::One)
}

/// `Bearer`, spaces, and visible octets. RFC 6750 section 2.1 allows fewer, but senders do not keep to that; a comma or
/// a quote might be taken for a list or a parameter (RFC 9110 section 11.4), and is refused.
fn behind_bearer(value: &[u8]) -> Presented<&[u8]> {
    let taken = |octet: &u8| octet.is_ascii_graphic() && !matches!(octet, b',' | b'"');
    behind("Bearer", value).then(|secret| bare(secret, taken))
}

/// What stands behind a scheme and spaces. The scheme alone is nothing; with a tab behind it, it is one to some readers
/// and another to others.
fn behind<'v>(scheme: &str, value: &'v [u8]) -> Presented<&'v [u8]> {
    let end = value.iter().position(|octet| grammar::is_ows(*octet)).unwrap_or(value.len());
    let (name, rest) = value.split_at(end);
    if !name.eq_ignore_ascii_case(scheme.as_bytes()) {
        return Presented::Nothing;
    }
    let secret = rest.iter().position(|octet| *octet != b' ').map_or(&rest[..0], |at| &rest[at..]);
    match secret {
        [] => Presented::Nothing,
        [b'\t', ..] => Presented::Ambiguous,
        secret if secret.len() > LONGEST => Presented::TooLong,
        secret => Presented::One(secret),
    }
}

fn bare(value: &[u8], taken: impl Fn(&u8) -> bool) -> Presented<&[u8]> {
    match value {
        [] => Presented::Nothing,
        value if value.len() > LONGEST => Presented::TooLong,
        value if value.iter().all(taken) => Presented::One(value),
        _ => Presented::Ambiguous,
    }
}

/// Which case it is, and nothing of what was found.
impl<T> fmt::Debug for Presented<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Presented::Nothing => "Nothing",
            Presented::One(_) => "One",
            Presented::Ambiguous => "Ambiguous",
            Presented::TooLong => "TooLong",
        })
    }
}

impl fmt::Debug for NameAndPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameAndPassword").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Limits;

    /// What `look` says of a GET with these field lines.
    fn with<T>(lines: &[u8], look: impl FnOnce(&Request, &[u8]) -> T) -> T {
        let text = [b"GET / HTTP/1.1\r\nHost: a\r\n", lines, b"\r\n"].concat();
        let limits = Limits { head: 60_000, ..Limits::default() };
        let mut head = Request::default();
        head.read(&text, &limits).unwrap();
        look(&head, &text)
    }

    fn name(of: &Presented<&[u8]>) -> String {
        match of {
            Presented::One(secret) => format!("One {}", String::from_utf8_lossy(secret)),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_bearer_has_one_secret_or_none() {
        let fields = ["Authorization", "X-Api-Key", "X-Token"].map(str::to_owned);
        let of =
            |lines: &str| with(lines.as_bytes(), |head, bytes| name(&bearer(&fields, head, bytes)));
        for (lines, expected) in [
            ("", "Nothing"),
            ("Authorization: Bearer abc\r\n", "One abc"),
            ("authorization: bEARER   abc  \r\n", "One abc"),
            ("Authorization: Bearer a-b._~+/9==\r\n", "One a-b._~+/9=="),
            ("Authorization: Bearer 1|a:b\r\n", "One 1|a:b"),
            ("Authorization: Basic YTpi\r\n", "Nothing"),
            ("Authorization: abc\r\n", "Nothing"),
            ("Authorization: Bearerabc\r\n", "Nothing"),
            ("Authorization: Bearer\r\n", "Nothing"),
            ("Authorization:\r\n", "Nothing"),
            ("Authorization: Bearer\tabc\r\n", "Ambiguous"),
            ("Authorization: Bearer \tabc\r\n", "Ambiguous"),
            ("Authorization: Bearer a b\r\n", "Ambiguous"),
            ("Authorization: Bearer a,b\r\n", "Ambiguous"),
            ("Authorization: Bearer \"a\"\r\n", "Ambiguous"),
            ("Authorization: Bearer h\u{e9}\r\n", "Ambiguous"),
            ("Authorization: Bearer abc\r\nAuthorization: Bearer abc\r\n", "One abc"),
            ("Authorization: Bearer abc\r\nAuthorization: Bearer abd\r\n", "Ambiguous"),
            ("Authorization: Bearer abc\r\nAuthorization: Basic YTpi\r\n", "Ambiguous"),
            ("Authorization: Basic YTpi\r\nAuthorization: Bearer abc\r\n", "Ambiguous"),
            ("X-Api-Key: abc\r\n", "One abc"),
            ("x-API-key:  a,b  \r\n", "One a,b"),
            ("X-Api-Key:\r\n", "Nothing"),
            ("X-Api-Key: a b\r\n", "Ambiguous"),
            ("X-Api-Key: abc\r\nX-Api-Key: abd\r\n", "Ambiguous"),
            ("X-Api-Key: abc\r\nX-Api-Key:\r\n", "Ambiguous"),
            ("X_Api_Key: abc\r\n", "Ambiguous"),
            ("X.Api.Key: abc\r\nX-Api-Key: abc\r\n", "Ambiguous"),
            ("Authorization: Bearer abc\r\nX-Api-Key: abc\r\n", "One abc"),
            ("Authorization: Bearer abc\r\nX-Api-Key: abd\r\n", "Ambiguous"),
            ("Authorization: Basic YTpi\r\nX-Api-Key: abc\r\n", "One abc"),
            ("Authorization: Bearer a b\r\nX-Api-Key: abc\r\n", "Ambiguous"),
            ("X-Token: abc\r\nX-Api-Key: abc\r\n", "One abc"),
            ("X-Token: abc\r\nX-Api-Key: ab\r\n", "Ambiguous"),
            ("X-Other: abc\r\n", "Nothing"),
        ] {
            assert_eq!(of(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_secret_may_be_8_kib_long() {
        let fields = ["Authorization", "X-Api-Key"].map(str::to_owned);
        for before in ["Authorization: Bearer ", "X-Api-Key: "] {
            for (len, expected) in [(LONGEST, "One"), (LONGEST + 1, "TooLong")] {
                let lines = format!("{before}{}\r\n", "a".repeat(len));
                let found = with(lines.as_bytes(), |head, bytes| {
                    format!("{:?}", bearer(&fields, head, bytes))
                });
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn only_fields_that_were_asked_for_are_looked_at() {
        let fields = ["X-Api-Key".to_owned()];
        let lines = b"Authorization: Bearer abc\r\nX-Api-Key: abd\r\n";
        assert_eq!(with(lines, |head, bytes| name(&bearer(&fields, head, bytes))), "One abd");
        assert_eq!(with(lines, |head, bytes| name(&bearer(&[], head, bytes))), "Nothing");
    }

    fn basic_of(lines: &[u8]) -> String {
        with(lines, |head, bytes| match basic(head, bytes) {
            Presented::One(NameAndPassword { user, password }) => {
                format!("One {user:?} {}", password.escape_ascii())
            }
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn a_name_ends_at_the_first_colon() {
        for (plain, expected) in [
            (&b"Aladdin:open sesame"[..], "One \"Aladdin\" open sesame"),
            (b"test:123\xc2\xa3", "One \"test\" 123\\xc2\\xa3"),
            (b"test:123\xa3", "One \"test\" 123\\xa3"),
            (b"J\xc3\xb6rg:a:b:", "One \"J\u{f6}rg\" a:b:"),
            (b":", "One \"\" "),
            (b"a:", "One \"a\" "),
            (b":b", "One \"\" b"),
            (b"J\xf6rg:a", "Ambiguous"),
            (b"a", "Ambiguous"),
            (b"a\0:b", "Ambiguous"),
            (b"a:b\0", "Ambiguous"),
            (b"a:b\n", "Ambiguous"),
            (b"a\x7f:b", "Ambiguous"),
            (b"a\xc2\x85:b", "Ambiguous"),
        ] {
            let line = format!("Authorization: Basic {}\r\n", BASE64.encode(plain));
            assert_eq!(basic_of(line.as_bytes()), expected, "{}", plain.escape_ascii());
        }
    }

    #[test]
    fn base64_is_strict_and_the_field_stands_once() {
        for (lines, expected) in [
            ("", "Nothing"),
            ("Authorization: Bearer YTpi\r\n", "Nothing"),
            ("Authorization: Basic\r\n", "Nothing"),
            ("Authorization: bASIC  YTpi\r\n", "One \"a\" b"),
            ("Authorization: Basic YTo=\r\n", "One \"a\" "),
            ("Authorization: Basic YTo\r\n", "Ambiguous"),
            ("Authorization: Basic YTp=\r\n", "Ambiguous"),
            ("Authorization: Basic YTpi=\r\n", "Ambiguous"),
            ("Authorization: Basic YTpi YTpi\r\n", "Ambiguous"),
            ("Authorization: Basic Y-_i\r\n", "Ambiguous"),
            ("Authorization: Basic\tYTpi\r\n", "Ambiguous"),
            ("Authorization: Basic YTpi\r\nAuthorization: Basic YTpi\r\n", "One \"a\" b"),
            ("Authorization: Basic YTpi\r\nAuthorization: Basic YTpj\r\n", "Ambiguous"),
            ("Authorization: Basic YTpi\r\nAuthorization: Bearer YTpi\r\n", "Ambiguous"),
        ] {
            assert_eq!(basic_of(lines.as_bytes()), expected, "{lines:?}");
        }
    }

    #[test]
    fn names_and_passwords_have_bounds() {
        for (user, password, expected) in [
            (USER, PASSWORD, "One"),
            (USER + 1, 1, "TooLong"),
            (1, PASSWORD + 1, "TooLong"),
            (6000, 1000, "TooLong"),
        ] {
            let plain = format!("{}:{}", "a".repeat(user), "b".repeat(password));
            let line = format!("Authorization: Basic {}\r\n", BASE64.encode(plain.as_bytes()));
            let found = with(line.as_bytes(), |head, bytes| format!("{:?}", basic(head, bytes)));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let both = NameAndPassword { user: "ada".to_owned(), password: b"hunter2".to_vec() };
        assert_eq!(format!("{both:?}"), "NameAndPassword { user: \"ada\", .. }");
        assert_eq!(format!("{:?}", Presented::One(&both)), "One");
    }
}
