//! Cookies that keep a client with its upstream: each upstream has a token, which names nothing and cannot be guessed.
//!
//! A token is a MAC over the names of pool and upstream, so it stays the same while the secret does, and one that
//! was made up fits no upstream.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use hmac_sha256::HMAC;

use crate::config::Sticky;
use crate::stats::UpstreamState;

/// Octets of a MAC that a token has: too many to guess one.
const MAC: usize = 16;

/// The tokens of a pool.
pub struct Tokens {
    sticky: Sticky,
    secret: Box<[u8]>,
    upstreams: HashMap<Box<str>, Arc<UpstreamState>>,
}

impl Tokens {
    /// Those of these upstreams. `secret`: where the settings have none.
    pub fn of<'u>(
        sticky: &Sticky,
        secret: &[u8],
        upstreams: impl Iterator<Item = &'u Arc<UpstreamState>>,
    ) -> Tokens {
        let secret = sticky.secret.as_deref().map_or(secret, str::as_bytes);
        Tokens {
            sticky: sticky.clone(),
            secret: secret.into(),
            upstreams: upstreams.map(|one| (token(secret, one).into(), Arc::clone(one))).collect(),
        }
    }

    /// The name of the cookie.
    pub fn cookie(&self) -> &str {
        &self.sticky.cookie
    }

    /// The upstream whose token this is.
    pub fn upstream(&self, token: &[u8]) -> Option<&Arc<UpstreamState>> {
        self.upstreams.get(std::str::from_utf8(token).ok()?)
    }

    /// The field line that gives a client the token of this upstream (RFC 6265 section 4.1).
    pub fn line(&self, upstream: &UpstreamState) -> String {
        let Sticky { cookie, max_age, .. } = &self.sticky;
        let max_age =
            max_age.map_or_else(String::new, |age| format!("; Max-Age={}", age.as_secs()));
        let token = token(&self.secret, upstream);
        format!("Set-Cookie: {cookie}={token}; Path=/{max_age}; HttpOnly; SameSite=Lax\r\n")
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens") // and nothing that would let anybody make one
    }
}

fn token(secret: &[u8], UpstreamState { pool, name, .. }: &UpstreamState) -> String {
    let mac = HMAC::mac(format!("{pool}\n{name}"), secret);
    BASE64URL_NOPAD.encode(&mac[..MAC])
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

    fn upstreams(pool: &str) -> [Arc<UpstreamState>; 2] {
        URLS.map(|url| Arc::new(UpstreamState::new(pool, url, 1)))
    }

    fn tokens(secret: Option<&str>, by_default: &[u8], pool: &str) -> Tokens {
        let max_age = secret.map(|_| Duration::from_secs(3600));
        let sticky = Sticky {
            cookie: "tg".to_owned(),
            max_age,
            secret: secret.map(|text| Secret::new(text, Secret::MASK)),
        };
        Tokens::of(&sticky, by_default, upstreams(pool).iter())
    }

    #[test]
    fn a_token_stands_for_its_upstream_alone_and_names_nothing() {
        let mine = tokens(Some("0123456789abcdef"), b"", "shop");
        for upstream in upstreams("shop") {
            let line = mine.line(&upstream);
            let token = line.split(['=', ';']).nth(1).unwrap();
            assert_eq!(mine.upstream(token.as_bytes()).unwrap().name, upstream.name);
            assert!(!line.contains("10.0.0") && token.len() == 22, "{line}");
            for (other, same) in [
                (tokens(Some("0123456789abcdef"), b"x", "shop"), true),
                (tokens(Some("another secret!!"), b"", "shop"), false),
                (tokens(Some("0123456789abcdef"), b"", "other"), false),
                (tokens(None, b"", "shop"), false),
            ] {
                assert_eq!(other.upstream(token.as_bytes()).is_some(), same);
            }
            assert!(line.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax\r\n"));
            assert!(mine.upstream(&token.as_bytes()[1..]).is_none());
        }
        assert!(mine.upstream(b"").is_none() && mine.upstream(b"\xff").is_none());
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
