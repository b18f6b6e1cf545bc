//! What an ACME server says (RFC 8555 sections 6 and 7): taken apart, and looked at.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use super::OrderError;

/// What a problem's type begins with (RFC 8555 section 6.7).
const ACME_ERROR: &str = "urn:ietf:params:acme:error:";
/// Characters of the server's words that are told.
const WORDS_MOST: usize = 300;
/// Authorizations of an order, challenges of an authorization: one for one name has fewer.
const LIST_MOST: usize = 16;
/// Octets of a token (RFC 8555 section 8.1: 128 bits at least, in base64url).
const TOKEN: RangeInclusive<usize> = 22..=256;
/// Octets of a URL, or of a nonce.
const TEXT_MOST: usize = 2048;
/// Octets of a chain.
const CHAIN_OCTETS_MOST: usize = 128 * 1024;

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// `Location`.
    pub location: Option<String>,
    /// `Replay-Nonce`.
    pub nonce: Option<String>,
    /// `Retry-After`, where it is a number of seconds.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// What was asked for is in it.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The JSON of its body.
    pub fn json(&self) -> Result<Value, OrderError> {
        let page = serde_json::from_slice(&self.body).ok().filter(Value::is_object);
        page.ok_or_else(|| OrderError::new("the server's answer is no JSON object"))
    }

    /// The URL of what it made.
    pub fn location(&self) -> Result<String, OrderError> {
        let location = self.location.clone().map(Value::String).unwrap_or_default();
        url(&location, "Location")
    }

    /// The certificate chain of its body, in PEM. Nothing else may be in it (RFC 8555 section 9.1).
    pub fn chain(&self) -> Result<&str, OrderError> {
        let text = str::from_utf8(&self.body).unwrap_or_default();
        let is_certificate = |section: &str| section.starts_with("CERTIFICATE-----");
        let mut sections = text.split("-----BEGIN ").skip(1).peekable();
        let is_chain = sections.peek().is_some() && sections.all(is_certificate);
        match is_chain && text.len() <= CHAIN_OCTETS_MOST {
            true => Ok(text.trim_end()),
            false => Err(OrderError::new("what the server issued is no chain of certificates")),
        }
    }

    /// A nonce for the next message.
    pub fn next_nonce(&self) -> Option<String> {
        let is_nonce = |text: &&str| (1..=TEXT_MOST).contains(&text.len()) && is_base64url(text);
        self.nonce.as_deref().filter(is_nonce).map(str::to_owned)
    }

    /// What is wrong, where it says so.
    pub fn problem(&self) -> Problem {
        Problem::read(&serde_json::from_slice(&self.body).unwrap_or_default())
    }
}

/// Where a server takes what (RFC 8555 section 7.1.1).
#[derive(Clone, Debug)]
pub struct Directory {
    pub new_nonce: String,
    pub new_account: String,
    pub new_order: String,
    /// What whoever has an account has agreed to.
    pub terms_of_service: Option<String>,
    /// An account is bound to one that its owner keeps otherwise (RFC 8555 section 7.3.4).
    pub requires_binding: bool,
}

impl Directory {
    pub fn read(page: &Value) -> Result<Directory, OrderError> {
        let meta = &page["meta"];
        Ok(Directory {
            new_nonce: url(&page["newNonce"], "newNonce")?,
            new_account: url(&page["newAccount"], "newAccount")?,
            new_order: url(&page["newOrder"], "newOrder")?,
            terms_of_service: meta["termsOfService"].as_str().map(words),
            requires_binding: meta["externalAccountRequired"] == true,
        })
    }
}

/// How far an order or an authorization is (RFC 8555 section 7.1.6).
pub fn status(page: &Value) -> &str {
    page["status"].as_str().unwrap_or_default()
}

/// The same as it may be told.
pub fn shown_status(page: &Value) -> String {
    match words(status(page)) {
        none if none.is_empty() => "without a status".to_owned(),
        status => status,
    }
}

/// Where the authorizations of an order are.
pub fn authorizations(order: &Value) -> Result<Vec<String>, OrderError> {
    let all = array(&order["authorizations"]);
    if all.is_empty() || all.len() > LIST_MOST {
        return Err(OrderError::new(format!("the order has {} authorizations", all.len())));
    }
    all.iter().map(|one| url(one, "an authorization")).collect()
}

/// A way to prove that the name is ours.
#[derive(Debug, PartialEq, Eq)]
pub struct Challenge {
    pub url: String,
    pub token: String,
}

/// The challenge of this kind.
pub fn challenge(authorization: &Value, kind: &str) -> Result<Challenge, OrderError> {
    let all = array(&authorization["challenges"]);
    let all = &all[..all.len().min(LIST_MOST)];
    let Some(found) = all.iter().find(|one| one["type"] == kind) else {
        let kinds = all.iter().filter_map(|one| one["type"].as_str());
        let kinds = words(&kinds.collect::<Vec<_>>().join(", "));
        let why = match kinds.is_empty() {
            true => format!("the server does not offer {kind}, nor any other challenge"),
            false => format!("the server does not offer {kind}, but {kinds}"),
        };
        return Err(OrderError::new(why));
    };
    let token = found["token"].as_str().unwrap_or_default();
    if !TOKEN.contains(&token.len()) || !is_base64url(token) {
        return Err(OrderError::new("the challenge has no token in base64url"));
    }
    Ok(Challenge { url: url(&found["url"], "the challenge")?, token: token.to_owned() })
}

/// Why the challenge of this kind failed.
pub fn challenge_error(authorization: &Value, kind: &str) -> Option<Problem> {
    let mut all = array(&authorization["challenges"]).iter().take(LIST_MOST);
    let error = &all.find(|one| one["type"] == kind)?["error"];
    error.is_object().then(|| Problem::read(error))
}

/// A URL that may be asked.
pub fn url(value: &Value, what: &str) -> Result<String, OrderError> {
    let is_good = |text: &&str| {
        let is_graphic = text.bytes().all(|octet| octet.is_ascii_graphic());
        text.starts_with("https://") && text.len() <= TEXT_MOST && is_graphic
    };
    match value.as_str().filter(is_good) {
        Some(text) => Ok(text.to_owned()),
        None => Err(OrderError::new(format!("the server gives no https:// URL for {what}"))),
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Only characters of base64url (RFC 4648 section 5), without padding.
fn is_base64url(text: &str) -> bool {
    text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
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
        let detail = |part: &Value| part["detail"].as_str().map(words);
        // Of an order for one name the first part says it all.
        let details = [detail(page), detail(&page["subproblems"][0])];
        Problem {
            kind: words(kind.strip_prefix(ACME_ERROR).unwrap_or(kind)),
            detail: details.into_iter().flatten().collect::<Vec<_>>().join(": "),
        }
    }

    /// As a part of a sentence.
    pub fn explain(&self) -> String {
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
    // Some characters turn the direction of what follows (UAX #9).
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
        assert_eq!((read.new_order.as_str(), read.requires_binding), ("https://b/o", true));
        assert_eq!(read.terms_of_service.as_deref(), Some("https://a/terms"));
        for (key, value) in [
            ("newNonce", json!(null)),
            ("newAccount", json!("http://a/a")),
            ("newOrder", json!(["https://a/o"])),
            ("newOrder", json!("https://a/o\r\nX: y")),
            ("newOrder", json!(format!("https://a/{}", "a".repeat(TEXT_MOST)))),
        ] {
            let mut page = whole.clone();
            page[key] = value;
            let why = Directory::read(&page).unwrap_err().why;
            assert_eq!(why, format!("the server gives no https:// URL for {key}"));
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
        for (page, expected) in [
            (page(token), "the server does not offer tls-alpn-01, but dns-01, http-01"),
            (json!({}), "the server does not offer tls-alpn-01, nor any other challenge"),
        ] {
            assert_eq!(challenge(&page, "tls-alpn-01").unwrap_err().why, expected);
        }
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
    fn a_chain_has_certificates_and_nothing_else() {
        let section =
            |label: &str| format!("-----BEGIN {label}-----\nAA==\n-----END {label}-----\n");
        let one = section("CERTIFICATE");
        for (body, is_chain) in [
            (one.clone(), true),
            (one.repeat(2), true),
            (format!("Issuer: A\n{one}\n"), true),
            (String::new(), false),
            ("AA==".to_owned(), false),
            (format!("{one}{}", section("PRIVATE KEY")), false),
            (section("TRUSTED CERTIFICATE"), false),
            (one.repeat(CHAIN_OCTETS_MOST / one.len() + 1), false),
        ] {
            let response = Response { body: body.clone().into(), ..Response::default() };
            assert_eq!(response.chain().is_ok(), is_chain, "{body:.99}");
        }
        let response = Response { body: vec![0xff; 9], ..Response::default() };
        assert!(response.chain().is_err());
    }

    #[test]
    fn the_servers_words_are_told_and_cannot_do_harm() {
        for (page, expected) in [
            (
                json!({ "type": "urn:ietf:params:acme:error:dns", "detail": "no name" }),
                "no name (dns)",
            ),
            (json!({ "type": "about:blank", "detail": "a\r\n\u{1b}[2J" }), "a???[2J (about:blank)"),
            (json!({ "detail": "whole", "subproblems": [{ "detail": "part" }] }), "whole: part"),
            (json!({ "type": "urn:ietf:params:acme:error:malformed" }), "malformed"),
            (json!({ "type": 1, "detail": [] }), "it does not say why"),
        ] {
            assert_eq!(Problem::read(&page).explain(), expected);
        }
        let long = Problem::read(&json!({ "detail": "é".repeat(9999) })).explain();
        assert_eq!(long.chars().count(), WORDS_MOST);
        assert_eq!(shown_status(&json!({ "status": "in\nvalid" })), "in?valid");
        assert_eq!(shown_status(&json!({})), "without a status");
    }

    #[test]
    fn a_nonce_is_base64url() {
        for (nonce, is_one) in [("abc-_9", true), ("", false), ("a b", false), ("a\"b", false)] {
            let response = Response { nonce: Some(nonce.to_owned()), ..Response::default() };
            assert_eq!(response.next_nonce().is_some(), is_one, "{nonce}");
        }
    }
}
