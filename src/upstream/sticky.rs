//! Cookies that keep a client with its upstream: each upstream has a token, which names nothing and cannot be guessed.
//!
//! A token is a MAC over the names of pool and upstream, so it stays the same while the secret does, and one that
//! was made up fits no upstream.

use std::collections::HashMap;

use data_encoding::BASE64URL_NOPAD;
use hmac_sha256::HMAC;

use crate::config::Sticky;

/// Octets of a MAC that a token has: too many to guess one.
const MAC: usize = 16;

/// The tokens of a pool.
#[derive(Debug)]
pub struct Tokens {
    sticky: Sticky,
    /// By the places of the upstreams.
    of: Vec<Box<str>>,
    places: HashMap<Box<str>, usize>,
}

impl Tokens {
    /// Those of the upstreams with these names. `secret`: where the settings have none.
    pub fn of<'n>(
        sticky: &Sticky,
        secret: &[u8],
        pool: &str,
        upstreams: impl Iterator<Item = &'n str>,
    ) -> Tokens {
        let secret = sticky.secret.as_deref().map_or(secret, str::as_bytes);
        let token = |name: &str| -> Box<str> {
            let mac = HMAC::mac(format!("{pool}\n{name}"), secret);
            BASE64URL_NOPAD.encode(&mac[..MAC]).into()
        };
        let of: Vec<Box<str>> = upstreams.map(token).collect();
        let places = of.iter().cloned().zip(0..).collect();
        Tokens { sticky: sticky.clone(), of, places }
    }

    /// The name of the cookie.
    pub fn cookie(&self) -> &str {
        &self.sticky.cookie
    }

    /// The place of the upstream whose token this is.
    pub fn place(&self, token: &[u8]) -> Option<usize> {
        self.places.get(std::str::from_utf8(token).ok()?).copied()
    }

    /// The field line that gives a client the token of the upstream at this place (RFC 6265 section 4.1).
    pub fn line(&self, place: usize) -> String {
        let Sticky { cookie, max_age, .. } = &self.sticky;
        let max_age =
            max_age.map_or_else(String::new, |age| format!("; Max-Age={}", age.as_secs()));
        let token = &self.of[place];
        format!("Set-Cookie: {cookie}={token}; Path=/{max_age}; HttpOnly; SameSite=Lax\r\n")
    }
}

/// The values of the cookies called `name` among those of a `Cookie` field (RFC 6265 section 4.2).
pub fn cookies<'c>(field: &'c [u8], name: &'c str) -> impl Iterator<Item = &'c [u8]> {
    field.split(|octet| *octet == b';').filter_map(move |pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Secret;

    const URLS: [&str; 2] = ["http://10.0.0.1:1", "http://10.0.0.2:1"];

    fn tokens(secret: Option<&str>, by_default: &[u8], pool: &str) -> Tokens {
        let max_age = secret.map(|_| Duration::from_secs(3600));
        let sticky = Sticky {
            cookie: "tg".to_owned(),
            max_age,
            secret: secret.map(|text| Secret::new(text, Secret::MASK)),
        };
        Tokens::of(&sticky, by_default, pool, URLS.into_iter())
    }

    #[test]
    fn a_token_stands_for_its_upstream_alone_and_names_nothing() {
        let mine = tokens(Some("0123456789abcdef"), b"", "shop");
        for place in 0..2 {
            let line = mine.line(place);
            let token = line.split(['=', ';']).nth(1).unwrap();
            assert_eq!(mine.place(token.as_bytes()), Some(place));
            assert!(!line.contains("10.0.0") && token.len() == 22, "{line}");
            for (other, same) in [
                (tokens(Some("0123456789abcdef"), b"x", "shop"), true),
                (tokens(Some("another secret!!"), b"", "shop"), false),
                (tokens(Some("0123456789abcdef"), b"", "other"), false),
                (tokens(None, b"", "shop"), false),
            ] {
                assert_eq!(other.place(token.as_bytes()).is_some(), same);
            }
            assert_eq!(mine.place(&token.as_bytes()[1..]), None);
        }
        assert_eq!(mine.place(b""), None);
        assert_eq!(mine.place(b"\xff"), None);
        assert!(mine.line(0).ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax\r\n"));
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        for (field, value) in [
            (&b"tg=a"[..], Some(&b"a"[..])),
            (b"x=1; tg=a; y=2", Some(b"a")),
            (b"tg=a;tg=b", Some(b"a")), // and then the other
            (b"xtg=a; tgx=b", None),
            (b"tg = a", None),
            (b"tg=\"a\"", Some(b"a")),
            (b"tg=", Some(b"")),
            (b"tg", None),
            (b"", None),
        ] {
            assert_eq!(cookies(field, "tg").next(), value, "{}", String::from_utf8_lossy(field));
        }
    }
}
