//! Readers for who asks: tokens, users, algorithms, and the URLs of those who know.

use std::sync::Arc;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::conditions::is_name;
use super::diagnostics::{Diagnostic, instead, nearest, unclear, wrong};
use super::gate::{AskedUrl, JwtAlgorithm, Token, User};
use super::places;
use super::pool::{Secret, UpstreamSpec};
use crate::base::{digest, is_hash};

/// Octets of a token: fewer are guessed, and more fit no field.
const TOKEN: (usize, usize) = (8, 4096);
/// Octets of the name of a user.
const LONGEST_NAME: usize = 128;
/// Roles of one token or user.
const MOST_ROLES: usize = 16;

/// A token, before it has a name of its own.
pub struct NamedToken {
    /// What it is called, if it says so.
    pub name: Option<String>,
    /// Its SHA-256.
    pub digest: [u8; 32],
    /// What its bearer may.
    pub roles: Vec<Arc<str>>,
}

impl NamedToken {
    /// The token, called `name` unless it says otherwise; `shown`: what stands in its place.
    pub fn called(self, name: String, shown: &str) -> Token {
        let NamedToken { name: own, digest, roles } = self;
        Token { name: own.unwrap_or(name).into(), digest, shown: shown.into(), roles }
    }
}

/// `SECRET`, or `sha256:...` of one, and behind it perhaps `name=billing` and `role=writer`.
pub fn token(text: &str) -> Result<NamedToken, Diagnostic> {
    let (secret, name, roles) = with_roles(text)?;
    let digest = match secret.strip_prefix("sha256:") {
        Some(hex) => of_hex(hex).ok_or_else(|| {
            let right = "printf %s TOKEN | sha256sum makes one";
            wrong("behind sha256: stand 64 hexadecimal digits", right)
        })?,
        None => digest(bearer(secret)?),
    };
    Ok(NamedToken { name, digest, roles })
}

fn of_hex(text: &str) -> Option<[u8; 32]> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// The octets of a token that fits a field behind `Bearer` (RFC 6750 section 2.1) or alone.
fn bearer(secret: &str) -> Result<&[u8], Diagnostic> {
    let (least, most) = TOKEN;
    match secret.len() {
        length if length < least => {
            let s = if length == 1 { "" } else { "s" };
            let what = format!("a token of {length} octet{s} is soon guessed");
            Err(wrong(what, format!("it has at least {least}; openssl rand -hex 32 makes one")))
        }
        length if length > most => {
            Err(wrong("this is too long", format!("a token has at most {most} octets")))
        }
        _ if secret.bytes().all(is_of_token) => Ok(secret.as_bytes()),
        _ => Err(wrong(
            "no field can hold this",
            "a token has letters, digits and ASCII signs, but no comma and no quote",
        )),
    }
}

/// What may stand behind `Bearer`, and in a list of tokens.
fn is_of_token(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'"' | b',')
}

/// `name:hash`, or `hash name=...`, and behind it perhaps `role=writer`.
pub fn user(text: &str, shown: &str) -> Result<User, Diagnostic> {
    let (user, name, roles) = with_roles(text)?;
    let (name, hash) = match (name, user.split_once(':')) {
        (Some(name), None) => (name, user),
        (None, Some((name, hash))) => (name.to_owned(), hash),
        _ => {
            let what = "a user is a name and the hash of a password";
            return Err(wrong(what, "it looks like name:$argon2id$... or name:$2b$..."));
        }
    };
    let fine = |c: char| !c.is_control() && c != ':';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(fine) {
        return Err(wrong("this is not the name of a user", "it has no colon, and is not empty"));
    }
    is_hash(hash).map_err(|what| {
        wrong(what, "htpasswd -nB NAME makes one with bcrypt, argon2(1) one with argon2id")
    })?;
    Ok(User { name: name.into(), hash: Secret::new(hash, shown), roles })
}

/// What stands before the options, the name, and the roles.
type WithRoles<'t> = (&'t str, Option<String>, Vec<Arc<str>>);

fn with_roles(text: &str) -> Result<WithRoles<'_>, Diagnostic> {
    let mut words = text.split_whitespace();
    let value = words.next().unwrap_or_default();
    let (mut name, mut roles) = (None, Vec::new());
    for option in words {
        match option.split_once('=') {
            Some(("name", text)) if is_name(text) && name.is_none() => name = Some(text.to_owned()),
            Some(("role", text)) if is_name(text) && roles.len() < MOST_ROLES => {
                roles.push(text.into());
            }
            Some(("name" | "role", _)) => {
                let right = format!("letters, digits, . - and _; one name, {MOST_ROLES} roles");
                return Err(wrong("this is not a name, or one too many", right));
            }
            // It may be a part of the secret.
            _ => return Err(wrong("there is a blank in it", "behind it stand name= and role=")),
        }
    }
    Ok((value, name, roles))
}

/// `ES256` and so on.
pub fn algorithm(text: &str) -> Result<JwtAlgorithm, Diagnostic> {
    let names = JwtAlgorithm::ALL.map(|(name, _)| name);
    if text.eq_ignore_ascii_case("none") {
        let what = "a token that nobody signed says nothing";
        return Err(wrong(what, format!("the algorithms are {}", names.join(", "))));
    }
    match JwtAlgorithm::ALL.iter().find(|(name, _)| *name == text) {
        Some((_, algorithm)) => Ok(*algorithm),
        None => match nearest(text, names).or(nearest(&text.to_uppercase(), names)) {
            Some(near) => Err(instead("no algorithm is called so here", [near])),
            None => Err(unclear("no algorithm is called so here")),
        },
    }
}

/// A path of claims: `realm_access.roles`.
pub fn claim(text: &str) -> Result<String, Diagnostic> {
    let is_part =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_control() || c == ',');
    match text.len() <= 256 && text.split('.').count() <= 8 && text.split('.').all(is_part) {
        true => Ok(text.to_owned()),
        false => Err(wrong("this is not a claim", "write a name, or a path such as a.b")),
    }
}

/// A URL that is asked. Its path is asked for as it is written: it is not ours to say what is the same.
pub fn asked_url(text: &str) -> Result<AskedUrl, Diagnostic> {
    let (start, query) = text.split_once('?').map_or((text, None), |(a, b)| (a, Some(b)));
    if !text.starts_with("http://") && !text.contains("://") {
        return Err(unclear("this is not a URL"));
    }
    if start.contains([' ', '\t']) || text.contains('#') {
        return Err(unclear("this is not a URL"));
    }
    let (bare, path) = without_path(start);
    let spec = match places::upstream(start) {
        Err(wrong) if path.is_some() => places::upstream(bare).map_err(|_| wrong)?,
        spec => spec?,
    };
    let UpstreamSpec { place, secure, authority, .. } = spec;
    let path = path.unwrap_or("/");
    let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    if !crate::http::grammar::is_target(target.as_bytes()) {
        return Err(unclear("this is not a URL"));
    }
    Ok(AskedUrl { text: text.to_owned(), place, secure, authority, target })
}

/// A URL up to its path, and that. The path of a Unix socket is none.
fn without_path(url: &str) -> (&str, Option<&str>) {
    let authority = url.find("://").map_or(0, |at| at + "://".len());
    match url[authority..].find('/') {
        Some(at) if !url[authority..].starts_with("unix:") => {
            (&url[..authority + at], Some(&url[authority + at..]))
        }
        _ => (url, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_may_have_a_name_and_roles() {
        let read = token("0123456789abcdef name=billing role=a role=b").ok().unwrap();
        let token = read.called("x".into(), "***");
        assert_eq!((&*token.name, token.roles.len()), ("billing", 2));
        let hashed = "sha256:9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f";
        assert_eq!(self::token(hashed).ok().unwrap().digest, token.digest);
        for (text, what) in [
            ("short", "a token of 5 octets is soon guessed"),
            ("0123456789abcdef secret", "there is a blank in it"),
            ("0123456789abcdef name=a,b", "this is not a name, or one too many"),
            ("sha256:12", "behind sha256: stand 64 hexadecimal digits"),
            ("0123456789abcdéf", "no field can hold this"),
        ] {
            assert_eq!(self::token(text).err().unwrap().wrong, what, "{text}");
        }
    }

    #[test]
    fn urls_are_asked_with_path_and_query() {
        for (text, authority, target) in [
            ("http://a", "a", "/"),
            ("http://a:81/x?y=1", "a:81", "/x?y=1"),
            ("http://127.0.0.1:9000/jwks.json", "127.0.0.1:9000", "/jwks.json"),
            ("http://A:80/", "a", "/"),
            ("http://a/x/", "a", "/x/"),
            ("http://a/x//y/../z;v=1?", "a", "/x//y/../z;v=1?"),
            ("http://a/%7Bx%7d/*", "a", "/%7Bx%7d/*"),
            ("http://a?x", "a", "/?x"),
        ] {
            let url = asked_url(text).unwrap();
            assert_eq!((url.authority.as_str(), url.target.as_str()), (authority, target));
        }
        for text in [
            "a",
            "ftp://a",
            "http://a/ b",
            "http://a/#x",
            "http:///x",
            "http://a:x/y",
            "http://a/é",
        ] {
            assert!(asked_url(text).is_err(), "{text}");
        }
        let secure = asked_url("https://a/x").map(|url| (url.secure, url.authority));
        assert_eq!(secure.ok(), cfg!(feature = "tls").then(|| (true, "a".to_owned())));
    }
}
