//! Certificates from an ACME server: from what is given in `[tls]` as `acme` to what is to be ordered, and where.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;

use super::credential::asked_url;
use super::diagnostics::{Diagnostic, instead, wrong};
use super::gate::AskedUrl;
use super::given::{Given, Origin};
use super::parts;
use super::places;
use super::settings::Settings;
use super::tls::{AcmeBinding, AcmeChallenge, AcmeSpec};
use super::values;

/// Names, each of which has a certificate of its own.
const MOST: usize = 100;

/// What needs a name in `acme`.
const DETAILS: [&str; 6] = [
    "tls-acme-directory",
    "tls-acme-contact",
    "tls-acme-challenge",
    "tls-acme-ca",
    "tls-acme-eab-kid",
    "tls-acme-eab-key",
];
/// All of it.
pub const OF_ACME: [&str; 7] = {
    let [directory, contact, challenge, ca, kid, key] = DETAILS;
    ["tls-acme", directory, contact, challenge, ca, kid, key]
};

impl Settings<'_> {
    /// Certificates that are ordered, where there are names to order them for.
    pub(super) fn acme(&mut self) -> Option<Arc<AcmeSpec>> {
        if !cfg!(feature = "acme") {
            self.not_in_this_build(&OF_ACME, "ACME", "acme");
            return None;
        }
        let reader = self.reader();
        let names = self.all("tls-acme", MOST, dns_name);
        let names = self.without_repeats(names, Clone::clone);
        let directory = self.one("tls-acme-directory", directory);
        let contact = self.one("tls-acme-contact", contact);
        let challenge =
            self.one("tls-acme-challenge", |text| values::choice(&AcmeChallenge::ALL, text));
        let ca = self.one("tls-acme-ca", |path| reader.certificates(path));
        let binding = self.binding();
        if self.first_given(&["tls-acme"]).is_none()
            && let Some(given) = self.first_given(&DETAILS)
        {
            let what = "this is not used, since no certificate is ordered";
            self.warn(&given, wrong(what, "name what to order it for as acme, or leave it out"));
        }
        if names.is_empty() {
            return None;
        }
        let (directory, challenge) = (directory?, challenge?);
        Some(Arc::new(AcmeSpec { names, directory, contact, challenge, ca, binding }))
    }

    /// The account elsewhere that ours is bound to, where there is one.
    fn binding(&mut self) -> Option<AcmeBinding> {
        let [kid, key] = ["tls-acme-eab-kid", "tls-acme-eab-key"];
        let (given_kid, given_key) = (self.first_given(&[kid]), self.first_said(&[key]));
        let (id, secret) = (self.one(kid, key_id), self.secret(key, mac_key).flatten());
        match (given_kid, given_key) {
            (Some(given), None) => {
                let what = "the HMAC key that belongs to this key ID is missing";
                self.refuse_one(&given, wrong(what, beside(&given, "acme-eab-key")));
            }
            (None, Some(given)) => {
                let what = "the key ID that belongs to this HMAC key is missing";
                self.refuse_one(&given, wrong(what, beside(&given, "acme-eab-kid")));
            }
            _ => {}
        }
        Some(AcmeBinding { id: id?, key: secret? })
    }

    /// Both would have certificates for the names.
    pub(super) fn refuse_acme_beside_self_signed(&mut self) {
        if self.is_given("tls-self-signed")
            && let Some(given) = self.first_given(&["tls-acme"])
        {
            let what = "a self-signed certificate is made already, so none is ordered";
            self.refuse_one(&given, wrong(what, "leave one of acme and self-signed out"));
        }
    }

    /// A validation that nobody here can answer.
    pub(super) fn warn_of_unanswered_acme(&mut self, acme: &AcmeSpec, is_plain_spoken: bool) {
        if acme.challenge == AcmeChallenge::Http01
            && !is_plain_spoken
            && let Some(given) = self.first_given(&["tls-acme-challenge"])
        {
            let what = "the ACME server asks in plain HTTP at port 80, and no listener speaks that";
            let right = "add http://:80 to listen, or leave it out: tls-alpn-01 asks at port 443";
            self.warn(&given, wrong(what, right));
        }
    }
}

/// What to give beside it, as it is called there.
fn beside(given: &Given, key: &str) -> String {
    match given.origin {
        Origin::File(_) => format!("give {key} as well"),
        _ => format!("give --tls-{key} as well"),
    }
}

/// A name that an ACME server can validate.
fn dns_name(text: &str) -> Result<String, Diagnostic> {
    if text.starts_with("*.") {
        let right = "name each host: a wildcard takes the challenge dns-01, which is not there";
        return Err(wrong("no certificate with a wildcard can be ordered", right));
    }
    if IpAddr::from_str(text.trim_matches(['[', ']'])).is_ok() {
        return Err(wrong("certificates are ordered for names", "name a host, not an address"));
    }
    let name = places::server_name(text)?.to_ascii_lowercase();
    match name.strip_suffix('.') {
        Some(bare) => Err(instead("a certificate has no dot at the end of a name", [bare])),
        None if name.contains('_') => {
            let right = "name a host of letters, digits, - and dots";
            Err(wrong("no certificate can have an underscore in a name", right))
        }
        None => Ok(name),
    }
}

/// What is asked is asked over TLS alone (RFC 8555 section 6.1).
fn directory(text: &str) -> Result<AskedUrl, Diagnostic> {
    if let Some(rest) = text.strip_prefix("http://") {
        return Err(instead("ACME is spoken over TLS alone", [format!("https://{rest}")]));
    }
    asked_url(text)
}

/// An address of mail (RFC 8555 section 7.3: one, and without fields).
fn contact(text: &str) -> Result<String, Diagnostic> {
    let bare = text.strip_prefix("mailto:").unwrap_or(text);
    let is_part = |part: &str| {
        let is_odd = |c: char| !c.is_ascii_graphic() || ",?&%<>\"\\".contains(c);
        !part.is_empty() && !part.contains(is_odd)
    };
    match bare.split_once('@') {
        Some((user, host)) if is_part(user) && is_part(host) && !host.contains('@') => {
            if bare == text {
                Ok(bare.to_owned())
            } else {
                Err(instead("the address alone", [bare]))
            }
        }
        _ => Err(wrong("this is not an address of mail", "write one, such as ops@example.org")),
    }
}

/// The name of a key, as the CA gave it.
fn key_id(text: &str) -> Result<String, Diagnostic> {
    match !text.is_empty()
        && text.len() <= 256
        && text.bytes().all(|octet| octet.is_ascii_graphic())
    {
        true => Ok(text.to_owned()),
        false => Err(wrong("this is not a key ID", "copy what the CA gave you")),
    }
}

/// A key for an HMAC, which is handed out in base64url.
fn mac_key(text: &str) -> Result<Option<String>, Diagnostic> {
    let Some(text) = parts::secret(text)? else { return Ok(None) };
    let bare = text.trim_end_matches('=');
    match BASE64URL_NOPAD.decode(bare.as_bytes()) {
        Ok(_) => Ok(Some(bare.to_owned())),
        Err(_) => {
            let right = "copy what the CA gave you: letters, digits, - and _";
            Err(wrong("this is not a key in base64url", right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_hosts() {
        for (text, expected) in [
            ("example.org", Ok("example.org")),
            ("WWW.Example.org", Ok("www.example.org")),
            ("*.example.org", Err("no certificate with a wildcard can be ordered")),
            ("a_b.test", Err("no certificate can have an underscore in a name")),
            ("a.test.", Err("a certificate has no dot at the end of a name")),
            ("192.0.2.7", Err("certificates are ordered for names")),
            ("[2001:db8::7]", Err("certificates are ordered for names")),
            ("https://a.test/", Err("a name has no scheme")),
            ("a.test:443", Err("a name has no port")),
        ] {
            let found = dns_name(text).map_err(|told| told.wrong);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }

    #[test]
    fn a_contact_is_one_address() {
        for (text, is_one) in [
            ("ops@example.org", true),
            ("a.b+c@example.org", true),
            ("mailto:ops@example.org", false),
            ("ops", false),
            ("@example.org", false),
            ("a@b@c", false),
            ("a@b,c@d", false),
            ("a@b?subject=x", false),
            ("ops@", false),
            ("o ps@a", false),
        ] {
            assert_eq!(contact(text).is_ok(), is_one, "{text}");
        }
    }
}
