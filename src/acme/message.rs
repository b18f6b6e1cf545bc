//! What an ACME server says (RFC 8555 sections 6 and 7): taken apart, and looked at.

use std::time::Duration;

use serde_json::Value;

use super::Refused;

/// What a problem's type begins with (RFC 8555 section 6.7).
const OF_ACME: &str = "urn:ietf:params:acme:error:";
/// Characters of the server's words that are told.
const WORDS_MOST: usize = 300;
/// Authorizations of an order, challenges of an authorization: more are none of an order for one name.
const LIST_MOST: usize = 16;
/// Octets of a token, and the fewest (RFC 8555 section 8.1: 128 bits in base64url).
const TOKEN: std::ops::RangeInclusive<usize> = 22..=256;
/// Octets of a URL, or of a nonce.
const TEXT_MOST: usize = 2048;

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// `Location`.
    pub location: Option<String>,
    /// `Replay-Nonce`.
    pub nonce: Option<String>,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The JSON of its body.
    pub fn page(&self) -> Result<Value, Refused> {
        let page = serde_json::from_slice(&self.body).ok().filter(Value::is_object);
        page.ok_or_else(|| Refused::new("the server's answer is not JSON"))
    }

    /// Where what it made is.
    pub fn made_at(&self) -> Result<String, Refused> {
        let location = self.location.clone().map(Value::String).unwrap_or_default();
        url(&location, "the Location of what was made")
    }
}

/// Where a server takes what (RFC 8555 section 7.1.1).
#[derive(Clone, Debug)]
pub struct Directory {
    pub new_nonce: String,
    pub new_account: String,
    pub new_order: String,
    /// What whoever has an account has agreed to.
    pub terms: Option<String>,
    /// An account takes one elsewhere (RFC 8555 section 7.3.4).
    pub wants_binding: bool,
}

impl Directory {
    pub fn read(page: &Value) -> Result<Directory, Refused> {
        let meta = &page["meta"];
        Ok(Directory {
            new_nonce: url(&page["newNonce"], "newNonce")?,
            new_account: url(&page["newAccount"], "newAccount")?,
            new_order: url(&page["newOrder"], "newOrder")?,
            terms: meta["termsOfService"].as_str().map(words),
            wants_binding: meta["externalAccountRequired"] == true,
        })
    }
}

/// How far an order or an authorization is (RFC 8555 section 7.1.6).
pub fn status(page: &Value) -> &str {
    page["status"].as_str().unwrap_or_default()
}

/// Where the authorizations of an order are.
pub fn authorizations(order: &Value) -> Result<Vec<String>, Refused> {
    let all = order["authorizations"].as_array().map_or(&[][..], Vec::as_slice);
    if all.is_empty() || all.len() > LIST_MOST {
        return Err(Refused::new(format!("the order has {} authorizations", all.len())));
    }
    all.iter().map(|one| url(one, "an authorization")).collect()
}

/// A way to show that the name is ours.
#[derive(Debug, PartialEq, Eq)]
pub struct Challenge {
    pub url: String,
    pub token: String,
}

/// The challenge of this kind.
pub fn challenge(authorization: &Value, kind: &str) -> Result<Challenge, Refused> {
    let all = authorization["challenges"].as_array().map_or(&[][..], Vec::as_slice);
    let all = &all[..all.len().min(LIST_MOST)];
    let Some(found) = all.iter().find(|one| one["type"] == kind) else {
        let kinds: Vec<String> =
            all.iter().filter_map(|one| one["type"].as_str().map(words)).collect();
        let told = format!("the server does not offer {kind}, but {}", kinds.join(", "));
        return Err(Refused::new(told));
    };
    let token = found["token"].as_str().unwrap_or_default();
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
    if !TOKEN.contains(&token.len()) || !token.bytes().all(is_plain) {
        return Err(Refused::new("the token of the challenge is none"));
    }
    Ok(Challenge { url: url(&found["url"], "the challenge")?, token: token.to_owned() })
}

/// Why the challenge of this kind failed.
pub fn error_of(authorization: &Value, kind: &str) -> Option<Problem> {
    let mut all = authorization["challenges"].as_array()?.iter().take(LIST_MOST);
    let error = &all.find(|one| one["type"] == kind)?["error"];
    error.is_object().then(|| Problem::read(error))
}

/// A URL that may be asked.
pub fn url(value: &Value, what: &str) -> Result<String, Refused> {
    let is_good = |text: &&str| {
        let is_graphic = text.bytes().all(|octet| octet.is_ascii_graphic());
        text.starts_with("https://") && text.len() <= TEXT_MOST && is_graphic
    };
    match value.as_str().filter(is_good) {
        Some(text) => Ok(text.to_owned()),
        None => Err(Refused::new(format!("the server names no https:// URL for {what}"))),
    }
}

/// A nonce that may stand in a message (RFC 8555 section 6.5.1).
pub fn nonce(text: &str) -> Option<String> {
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
    let is_one = !text.is_empty() && text.len() <= TEXT_MOST && text.bytes().all(is_plain);
    is_one.then(|| text.to_owned())
}

/// What went wrong, by the server's own words (RFC 7807).
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is called, without what all names begin with.
    pub kind: String,
    /// The words.
    pub detail: String,
}

impl Problem {
    pub fn read(page: &Value) -> Problem {
        let kind = page["type"].as_str().unwrap_or_default();
        let of_part = |part: &Value| part["detail"].as_str().map(words);
        // Of an order for one name the first part says it all.
        let part = of_part(&page["subproblems"][0]);
        let detail = [of_part(page), part].into_iter().flatten().collect::<Vec<_>>().join(": ");
        Problem { kind: words(kind.strip_prefix(OF_ACME).unwrap_or(kind)), detail }
    }

    /// In a sentence.
    pub fn told(&self) -> String {
        let Problem { kind, detail } = self;
        match (kind.is_empty(), detail.is_empty()) {
            (true, true) => "it does not say why".to_owned(),
            (true, false) => detail.clone(),
            (false, true) => kind.clone(),
            (false, false) => format!("{detail} ({kind})"),
        }
    }
}

/// Words of the server's, as they may stand in a log.
fn words(text: &str) -> String {
    let is_odd = |c: char| c.is_control() || ('\u{200b}'..='\u{206f}').contains(&c);
    let plain = |c: char| if is_odd(c) { '?' } else { c };
    text.chars().take(WORDS_MOST).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_directory_names_what_is_asked() {
        let whole = json!({
            "newNonce": "https://a/n", "newAccount": "https://a/a", "newOrder": "https://b/o",
            "meta": { "termsOfService": "https://a/terms", "externalAccountRequired": true },
        });
        let read = Directory::read(&whole).unwrap();
        assert_eq!((read.new_order.as_str(), read.wants_binding), ("https://b/o", true));
        assert_eq!(read.terms.as_deref(), Some("https://a/terms"));
        for (key, value) in [
            ("newNonce", json!(null)),
            ("newAccount", json!("http://a/a")),
            ("newOrder", json!(["https://a/o"])),
            ("newOrder", json!("https://a/o\r\nX: y")),
            ("newOrder", json!(format!("https://a/{}", "a".repeat(TEXT_MOST)))),
        ] {
            let mut page = whole.clone();
            page[key] = value;
            let told = Directory::read(&page).unwrap_err().why;
            assert_eq!(told, format!("the server names no https:// URL for {key}"));
        }
    }

    #[test]
    fn a_challenge_has_a_token() {
        let token = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";
        let page = |token: &str| {
            json!({ "challenges": [
                { "type": "dns-01", "url": "https://a/d", "token": token },
                { "type": "http-01", "url": "https://a/h", "token": token },
            ]})
        };
        let found = challenge(&page(token), "http-01").unwrap();
        assert_eq!(found, Challenge { url: "https://a/h".into(), token: token.into() });
        let long = "a".repeat(TOKEN.end() + 1);
        for bad in ["", "short", "../../../../../etc/passwd/aaaaaaaaaaaa", &long] {
            assert!(challenge(&page(bad), "http-01").is_err(), "{bad}");
        }
        let told = challenge(&page(token), "tls-alpn-01").unwrap_err().why;
        assert_eq!(told, "the server does not offer tls-alpn-01, but dns-01, http-01");
    }

    #[test]
    fn an_order_for_a_name_has_few_authorizations() {
        for (list, count) in [
            (json!(["https://a/1"]), Some(1)),
            (json!([]), None),
            (json!(["https://a/1", 2]), None),
            (json!(vec!["https://a/1"; LIST_MOST + 1]), None),
            (json!("https://a/1"), None),
        ] {
            let found = authorizations(&json!({ "authorizations": list })).ok();
            assert_eq!(found.map(|all| all.len()), count, "{list}");
        }
    }

    #[test]
    fn the_servers_words_are_told_and_cannot_do_harm() {
        for (page, expected) in [
            (
                json!({ "type": "urn:ietf:params:acme:error:dns", "detail": "no such name" }),
                "no such name (dns)",
            ),
            (
                json!({ "type": "about:blank", "detail": "a\r\nb\u{1b}[2J" }),
                "a??b?[2J (about:blank)",
            ),
            (json!({ "detail": "whole", "subproblems": [{ "detail": "part" }] }), "whole: part"),
            (json!({ "type": "urn:ietf:params:acme:error:malformed" }), "malformed"),
            (json!({ "type": 1, "detail": [] }), "it does not say why"),
        ] {
            assert_eq!(Problem::read(&page).told(), expected);
        }
        let long = Problem::read(&json!({ "detail": "é".repeat(9999) })).told();
        assert_eq!(long.chars().count(), WORDS_MOST);
    }

    #[test]
    fn a_nonce_is_base64url() {
        for (text, is_one) in [("abc-_9", true), ("", false), ("a b", false), ("a\"b", false)] {
            assert_eq!(nonce(text).is_some(), is_one, "{text}");
        }
    }
}
