//! The way to a certificate (RFC 8555 section 7.1): account, order, authorization, challenge, certificate.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::account::bind;
use super::message::{self, Directory, Problem, Response};
use super::{AccountKey, Asked, World};
use crate::config::{AcmeBinding, AcmeChallenge};
use crate::tls::{ChallengeAnswer, pem};

/// How often a message is sent again whose nonce the server did not take (RFC 8555 section 6.5).
const NONCES: u32 = 8;
/// Looks at what the server is still busy with, and how long between two of them.
const LOOKS: u32 = 12;
const BETWEEN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// Octets of a chain.
const CHAIN_MOST: usize = 128 * 1024;

/// What is ordered.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The URL of the server's directory.
    pub directory: &'a str,
    /// Who orders.
    pub account: &'a AccountKey,
    /// Where the server may write to.
    pub contact: Option<&'a str>,
    /// The name, in lower case.
    pub name: &'a str,
    /// How it is shown that the name is ours.
    pub challenge: AcmeChallenge,
    /// What the account is bound to.
    pub binding: Option<&'a AcmeBinding>,
}

/// A certificate with its chain, and its key behind it, in PEM.
pub struct Issued(pub(super) String);

/// Why there is no certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// A sentence without its end.
    pub why: String,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl Refused {
    /// For this reason; nothing is known of when it would be another one.
    pub fn new(why: impl Into<String>) -> Refused {
        Refused { why: why.into(), retry_after: None }
    }
}

impl From<String> for Refused {
    fn from(why: String) -> Refused {
        Refused::new(why)
    }
}

/// Orders a certificate, and waits for it.
///
/// # Errors
/// Why there is none, in the server's words where it has any.
pub async fn order(world: &mut impl World, terms: Terms<'_>) -> Result<Issued, Refused> {
    let mut session = Session::begin(world, terms).await?;
    session.open_account().await?;
    let asked = json!({ "identifiers": [{ "type": "dns", "value": terms.name }] });
    let new_order = session.directory.new_order.clone();
    let begun = session.post(&new_order, &asked.to_string()).await?;
    let (order_url, order) = (begun.made_at()?, begun.page()?);
    for authorization in message::authorizations(&order)? {
        session.authorize(&authorization).await?;
    }
    let order = session.settled(&order_url).await?;
    let (key, request) = request(terms.name)?;
    if message::status(&order) != "ready" {
        return Err(unexpected("the order", &order));
    }
    let finalize = message::url(&order["finalize"], "the end of the order")?;
    session.post(&finalize, &json!({ "csr": request }).to_string()).await?;
    let order = session.settled(&order_url).await?;
    if message::status(&order) != "valid" {
        return Err(unexpected("the order", &order));
    }
    let certificate = message::url(&order["certificate"], "the certificate")?;
    let chain = session.post(&certificate, "").await?.body;
    let chain = String::from_utf8(chain).ok().filter(|chain| chain.len() <= CHAIN_MOST);
    let chain =
        chain.ok_or_else(|| Refused::new("the server's certificate is too long, or no text"))?;
    let key = pem::write("PRIVATE KEY", key.serialized_der());
    Ok(Issued(format!("{}\n{key}", chain.trim_end())))
}

/// A talk with a server, by one account.
struct Session<'w, 't, W> {
    world: &'w mut W,
    terms: Terms<'t>,
    directory: Directory,
    /// The URL that the server knows the account by.
    account: Option<String>,
    /// What the next message may carry.
    nonce: Option<String>,
}

impl<'w, 't, W: World> Session<'w, 't, W> {
    async fn begin(world: &'w mut W, terms: Terms<'t>) -> Result<Session<'w, 't, W>, Refused> {
        let answer = world.ask(terms.directory, Asked::Get).await?;
        if answer.status != 200 {
            return Err(refused(&answer));
        }
        let directory = Directory::read(&answer.page()?)?;
        Ok(Session { world, terms, directory, account: None, nonce: None })
    }

    /// The account of the key, which is made where there is none.
    async fn open_account(&mut self) -> Result<(), Refused> {
        let Terms { account: key, binding, .. } = self.terms;
        let new_account = self.directory.new_account.clone();
        let mut asked = json!({ "termsOfServiceAgreed": true });
        match binding {
            Some(AcmeBinding { id, key: mac_key }) => {
                asked["externalAccountBinding"] = bind(id, mac_key, &key.public(), &new_account)?;
            }
            None if self.directory.wants_binding => {
                let why = "the server wants accounts that are bound to one with its owner: \
                           give acme-eab-kid and acme-eab-key";
                return Err(Refused::new(why));
            }
            None => {}
        }
        if let Some(contact) = self.terms.contact {
            asked["contact"] = json!([format!("mailto:{contact}")]);
        }
        let answer = self.post(&new_account, &asked.to_string()).await?;
        if answer.status == 201 {
            let terms = self.directory.terms.as_deref().unwrap_or("none");
            tracing::info!(
                directory = self.terms.directory,
                terms,
                "opened an account with an ACME server"
            );
        }
        self.account = Some(answer.made_at()?);
        Ok(())
    }

    /// Has the server look whether the name is ours, if it has not done so a while ago.
    async fn authorize(&mut self, url: &str) -> Result<(), Refused> {
        let Terms { account, name, challenge: kind, .. } = self.terms;
        let mut authorization = self.post(url, "").await?.page()?;
        if message::status(&authorization) == "pending" {
            let challenge = message::challenge(&authorization, kind.name())?;
            let text = account.authorization(&challenge.token);
            self.world.show(match kind {
                AcmeChallenge::Http01 => ChallengeAnswer::Http { token: challenge.token, text },
                AcmeChallenge::TlsAlpn01 => for_handshake(name, &text)?,
            });
            self.post(&challenge.url, "{}").await?;
            authorization = self.settled(url).await?;
        }
        if message::status(&authorization) == "valid" {
            return Ok(());
        }
        let why = match message::error_of(&authorization, kind.name()) {
            Some(problem) => problem.told(),
            None => format!("the authorization is {}", shown_status(&authorization)),
        };
        Err(Refused::new(format!(
            "the server looked for {name} by {}, in vain: {why}",
            kind.name()
        )))
    }

    /// An order or an authorization that the server is done with.
    async fn settled(&mut self, url: &str) -> Result<Value, Refused> {
        for look in 0..LOOKS {
            let answer = self.post(url, "").await?;
            let page = answer.page()?;
            if !matches!(message::status(&page), "pending" | "processing") {
                return Ok(page);
            }
            let (least, most) = BETWEEN;
            let usual = least.saturating_mul(1 << look.min(8));
            self.world.wait(answer.retry_after.unwrap_or(usual).clamp(least, most)).await;
        }
        Err(Refused::new("the server is not done with it after minutes"))
    }

    /// What the server answers to a message; an empty one asks for what is there (RFC 8555 section 6.3).
    async fn post(&mut self, url: &str, payload: &str) -> Result<Response, Refused> {
        let mut last = Refused::new("the server took no nonce of its own");
        for _ in 0..NONCES {
            let nonce = match self.nonce.take() {
                Some(nonce) => nonce,
                None => self.fresh_nonce().await?,
            };
            let mut header = json!({ "alg": "ES256", "nonce": nonce, "url": url });
            match &self.account {
                Some(account) => header["kid"] = json!(account),
                None => header["jwk"] = self.terms.account.public(),
            }
            let message = self.terms.account.sign(&header, payload)?;
            let answer = self.world.ask(url, Asked::Signed(&message)).await?;
            self.nonce = answer.nonce.as_deref().and_then(message::nonce);
            if (200..300).contains(&answer.status) {
                return Ok(answer);
            }
            last = refused(&answer);
            if problem(&answer).kind != "badNonce" {
                break;
            }
        }
        Err(last)
    }

    async fn fresh_nonce(&mut self) -> Result<String, Refused> {
        let url = self.directory.new_nonce.clone();
        let answer = self.world.ask(&url, Asked::Head).await?;
        let nonce = answer.nonce.as_deref().and_then(message::nonce);
        nonce.ok_or_else(|| Refused::new("the server gives no nonce"))
    }
}

/// What is wrong, by an answer that is none of those that were hoped for.
fn problem(answer: &Response) -> Problem {
    Problem::read(&serde_json::from_slice(&answer.body).unwrap_or_default())
}

fn refused(answer: &Response) -> Refused {
    let why = format!("the server answers {}: {}", answer.status, problem(answer).told());
    Refused { why, retry_after: answer.retry_after }
}

fn unexpected(what: &str, page: &Value) -> Refused {
    let told = match &page["error"] {
        Value::Null => format!("the server calls {what} {}", shown_status(page)),
        error => format!("the server gave {what} up: {}", Problem::read(error).told()),
    };
    Refused::new(told)
}

fn shown_status(page: &Value) -> &str {
    const KNOWN: [&str; 8] =
        ["pending", "processing", "ready", "valid", "invalid", "expired", "deactivated", "revoked"];
    KNOWN.into_iter().find(|known| *known == message::status(page)).unwrap_or("something unknown")
}

/// A key, and a request for a certificate for it (RFC 2986), in base64url.
fn request(name: &str) -> Result<(KeyPair, String), String> {
    let make = || {
        let key = KeyPair::generate()?; // ECDSA over P-256
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?;
        Ok((key, BASE64URL_NOPAD.encode(request.der())))
    };
    make().map_err(|error: rcgen::Error| format!("no certificate can be asked for: {error}"))
}

/// What a handshake shows that looks for `name` (RFC 8737 section 3).
fn for_handshake(name: &str, authorization: &str) -> Result<ChallengeAnswer, String> {
    let make = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        let digest = Sha256::digest(authorization);
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
        let certificate = params.self_signed(&key)?;
        Ok((certificate.der().to_vec(), key.serialized_der().to_vec()))
    };
    let made: Result<_, rcgen::Error> = make();
    let (certificate, key) =
        made.map_err(|error| format!("no certificate for a validation can be made: {error}"))?;
    ChallengeAnswer::tls_alpn(name, certificate, key)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CHAIN, DIRECTORY, Memory, TOKEN};
    use super::*;

    fn ordered(server: &mut Memory, challenge: AcmeChallenge) -> Result<Issued, Refused> {
        let account = AccountKey::read(&AccountKey::make().unwrap()).unwrap();
        let terms = Terms {
            directory: DIRECTORY,
            account: &account,
            contact: Some("ops@a.test"),
            name: "a.test",
            challenge,
            binding: None,
        };
        smol::block_on(order(server, terms))
    }

    #[test]
    fn a_certificate_is_issued_step_by_step() {
        let mut server = Memory::new();
        let issued = ordered(&mut server, AcmeChallenge::TlsAlpn01).ok().unwrap().0;
        assert!(issued.starts_with(&format!("{CHAIN}-----BEGIN PRIVATE KEY-----\n")));
        let asked = "directory nonce account new-order authorization challenge authorization \
                     authorization order finalize order order certificate";
        assert_eq!(server.asked.join(" "), asked);
        assert_eq!(server.waited, 2);
        assert!(
            matches!(server.shown, Some(ChallengeAnswer::TlsAlpn { name, .. }) if name == "a.test")
        );
        let mut server = Memory::new();
        assert!(ordered(&mut server, AcmeChallenge::Http01).is_ok());
        let Some(ChallengeAnswer::Http { token, text }) = server.shown else { panic!() };
        assert!(token == TOKEN && text.starts_with(&format!("{TOKEN}.")));
    }

    #[test]
    fn a_name_that_was_looked_for_before_is_not_looked_for() {
        let mut server = Memory { authorization: vec!["valid"], ..Memory::new() };
        assert!(ordered(&mut server, AcmeChallenge::TlsAlpn01).is_ok());
        assert!(server.shown.is_none() && !server.asked.contains(&"challenge".to_owned()));
    }

    #[test]
    fn a_nonce_that_is_not_taken_is_replaced_a_few_times() {
        for (bad_nonces, is_issued) in [(1, true), (NONCES - 1, true), (NONCES, false)] {
            let mut server = Memory { bad_nonces, ..Memory::new() };
            let told = ordered(&mut server, AcmeChallenge::TlsAlpn01).err();
            assert_eq!(told.is_none(), is_issued, "{told:?}");
            // Each answer brings the next one.
            assert_eq!(server.asked.iter().filter(|asked| *asked == "nonce").count(), 1);
        }
    }

    #[test]
    fn what_does_not_end_is_left_alone() {
        for server in [
            Memory { authorization: vec!["pending"], ..Memory::new() },
            Memory { order: vec!["processing"], ..Memory::new() },
            Memory { order: vec!["ready", "processing"], ..Memory::new() },
        ] {
            let mut server = server;
            let told = ordered(&mut server, AcmeChallenge::Http01).err().unwrap();
            assert_eq!(told.why, "the server is not done with it after minutes");
            assert!(server.waited < 180 && server.asked.len() < 30, "{}", server.waited);
        }
    }

    #[test]
    fn whatever_the_server_answers_an_order_ends() {
        let mut issued = 0;
        for seed in 0..2000 {
            let dice = Some(fastrand::Rng::with_seed(seed));
            let mut server = Memory { dice, ..Memory::new() };
            match ordered(&mut server, AcmeChallenge::Http01) {
                Ok(_) => issued += 1,
                Err(Refused { why, .. }) => {
                    assert!(why.len() < 2500 && !why.contains(char::is_control), "{seed}: {why:?}");
                }
            }
            assert!(server.asked.len() < 600, "{seed}: {} questions", server.asked.len());
        }
        assert!((100..1900).contains(&issued), "{issued}");
    }

    #[test]
    fn why_there_is_none_is_told_in_the_servers_words() {
        let invalid = |authorization| Memory { authorization, ..Memory::new() };
        let at = |end, status, page| Memory::answering(end, status, page);
        let problem = |kind: &str| json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "words" });
        let binding = json!({
            "newNonce": "https://ca.test/nonce", "newAccount": "https://ca.test/account",
            "newOrder": "https://ca.test/new-order", "meta": { "externalAccountRequired": true },
        });
        let gone = json!({ "status": "invalid", "error": problem("unauthorized") });
        for (server, expected) in [
            (
                invalid(vec!["pending", "invalid"]),
                "the server looked for a.test by http-01, in vain: no (unauthorized)",
            ),
            (
                invalid(vec!["expired"]),
                "the server looked for a.test by http-01, in vain: no (unauthorized)",
            ),
            (at("directory", 404, json!({})), "the server answers 404: it does not say why"),
            (at("directory", 200, json!([])), "the server's answer is not JSON"),
            (at("directory", 200, json!({})), "the server names no https:// URL for newNonce"),
            (
                at("directory", 200, binding),
                "the server wants accounts that are bound to one with its owner: give acme-eab-kid and acme-eab-key",
            ),
            (
                at("account", 400, problem("invalidContact")),
                "the server answers 400: words (invalidContact)",
            ),
            (
                at("new-order", 403, problem("rejectedIdentifier")),
                "the server answers 403: words (rejectedIdentifier)",
            ),
            (at("new-order", 201, json!({})), "the order has 0 authorizations"),
            (at("order", 200, gone), "the server gave the order up: words (unauthorized)"),
            (
                at("order", 200, json!({ "status": "new" })),
                "the server calls the order something unknown",
            ),
            (at("finalize", 403, problem("badCSR")), "the server answers 403: words (badCSR)"),
        ] {
            let mut server = server;
            let told = ordered(&mut server, AcmeChallenge::Http01).err().unwrap();
            assert_eq!((told.why.as_str(), told.retry_after), (expected, None));
        }
        let mut server = at("new-order", 429, problem("rateLimited"));
        let told = ordered(&mut server, AcmeChallenge::Http01).err().unwrap();
        assert_eq!(told.retry_after, Some(Duration::from_secs(3600)));
    }
}
