//! The way to a certificate (RFC 8555 section 7.1): account, order, authorization, challenge, certificate.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::message::{self, Directory, Problem, Response};
use super::{AccountKey, Request, World};
use crate::config::{AcmeBinding, AcmeChallenge};
use crate::tls::{ChallengeAnswer, pem};

/// How often a message is sent whose nonce the server does not take (RFC 8555 section 6.5).
const NONCE_TRIES: u32 = 8;
/// How often a message is sent that asks for what is there, where no answer comes.
const ANSWER_TRIES: u32 = 3;
/// What a server calls it that it knows no account, or not how to look for one.
const NO_ACCOUNT: [&str; 3] = ["accountDoesNotExist", "externalAccountRequired", "malformed"];
/// How often it is asked whether the server is done with an order or an authorization.
const POLLS_MOST: u32 = 40;
/// The least and the longest wait between two polls, whatever the server says: the order has a time of its own.
const POLL_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// What is ordered.
#[derive(Clone, Copy, Debug)]
pub struct OrderSpec<'a> {
    /// The URL of the server's directory.
    pub directory: &'a str,
    /// Who orders.
    pub account: &'a AccountKey,
    /// Where the server may write to.
    pub contact: Option<&'a str>,
    /// What a new account is bound to.
    pub binding: Option<&'a AcmeBinding>,
    /// The name, in lower case.
    pub name: &'a str,
    /// How it is proved that the name is ours.
    pub challenge: AcmeChallenge,
}

/// A certificate with its chain, and its key behind it, in PEM.
pub struct Issued(pub(super) String);

/// Why no certificate was issued.
#[derive(Debug, PartialEq, Eq)]
pub struct OrderError {
    /// A sentence, without the full stop.
    pub why: String,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
    /// It is not about the name: others would get the same.
    pub is_for_all: bool,
    /// The server may have done what it was asked for, and its answer was lost.
    pub is_lost: bool,
    /// What the server calls it (RFC 8555 section 6.7); empty: it did not say.
    pub kind: String,
}

impl OrderError {
    /// An error that no problem of the server's stands behind.
    pub fn new(why: impl Into<String>) -> OrderError {
        OrderError {
            why: why.into(),
            retry_after: None,
            is_for_all: false,
            is_lost: false,
            kind: String::new(),
        }
    }

    /// The same, which is not about the name.
    fn for_all(self) -> OrderError {
        OrderError { is_for_all: true, ..self }
    }

    /// What an answer says that is not the one which was hoped for.
    fn of_response(what: &str, response: &Response) -> OrderError {
        let problem = response.problem();
        let why = format!("{what}: the server answers {}: {}", response.status, problem.explain());
        let (retry_after, kind) = (response.retry_after, problem.kind);
        OrderError { retry_after, kind, ..OrderError::new(why) }
    }
}

impl From<String> for OrderError {
    fn from(why: String) -> OrderError {
        OrderError::new(why)
    }
}

/// Orders a certificate, and waits for it.
///
/// # Errors
/// Why there is none, in the server's words where it has any.
pub async fn order(world: &mut impl World, spec: OrderSpec<'_>) -> Result<Issued, OrderError> {
    let mut talk = Conversation::begin(world, spec).await.map_err(OrderError::for_all)?;
    talk.open_account().await.map_err(OrderError::for_all)?;
    let (url, order) = talk.new_order().await?;
    for authorization in message::authorizations(&order)? {
        talk.authorize(&authorization).await?;
    }
    let order = talk.poll("the order", &url).await?;
    expect_status(&order, "ready")?;
    let (key, request) = certificate_request(spec.name)?;
    let finalize = message::url(&order["finalize"], "finalize")?;
    let asked = json!({ "csr": request }).to_string();
    let lost = match talk.post("finalize", &finalize, &asked).await {
        Err(error) if !error.is_lost => return Err(error),
        answer => answer.err(),
    };
    let order = talk.poll("the order", &url).await?;
    if let Some(error) = lost.filter(|_| message::status(&order) == "ready") {
        return Err(error); // the server has not heard of it
    }
    expect_status(&order, "valid")?;
    let certificate = message::url(&order["certificate"], "the certificate")?;
    let response = talk.post("the certificate", &certificate, "").await?;
    let key = pem::write("PRIVATE KEY", key.serialized_der());
    Ok(Issued(format!("{}\n{key}", response.chain()?)))
}

/// A conversation with a server, by one account.
struct Conversation<'w, 's, W> {
    world: &'w mut W,
    spec: OrderSpec<'s>,
    directory: Directory,
    /// The URL that the server knows the account by.
    account: Option<String>,
    /// What the next message carries.
    nonce: Option<String>,
}

impl<'w, 's, W: World> Conversation<'w, 's, W> {
    async fn begin(
        world: &'w mut W,
        spec: OrderSpec<'s>,
    ) -> Result<Conversation<'w, 's, W>, OrderError> {
        let response = world.ask(spec.directory, Request::Get).await;
        let response = response.map_err(|why| format!("the directory: {why}"))?;
        if !response.is_success() {
            return Err(OrderError::of_response("the directory", &response));
        }
        let directory = Directory::read(&response.json()?)?;
        Ok(Conversation { world, spec, directory, account: None, nonce: None })
    }

    /// Finds the account of the key, or opens one where there is none.
    async fn open_account(&mut self) -> Result<(), OrderError> {
        let url = self.directory.new_account.clone();
        let known = self.post("newAccount", &url, r#"{"onlyReturnExisting":true}"#).await;
        let response = match known {
            Ok(response) => response,
            Err(error) if NO_ACCOUNT.contains(&&*error.kind) => {
                self.account = Some(self.new_account(&url).await?.location()?);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let account = response.location()?;
        self.account = Some(account.clone());
        let known = &response.json()?["contact"];
        if let Some(contact) = self.contact()
            && known.is_array() // else the server does not tell
            && *known != contact
        {
            let asked = json!({ "contact": contact }).to_string();
            if let Err(OrderError { why, .. }) = self.post("the account", &account, &asked).await {
                tracing::warn!(account, "the contact of an ACME account stays: {why}");
            }
        }
        Ok(())
    }

    async fn new_account(&mut self, url: &str) -> Result<Response, OrderError> {
        let mut asked = json!({ "termsOfServiceAgreed": true });
        if let Some(contact) = self.contact() {
            asked["contact"] = contact;
        }
        match self.spec.binding {
            Some(binding) => {
                asked["externalAccountBinding"] = self.spec.account.bind_to(binding, url)?;
            }
            None if self.directory.requires_binding => {
                let why = "the server requires external account binding: \
                           set acme-eab-kid and acme-eab-key";
                return Err(OrderError::new(why));
            }
            None => {}
        }
        let response = self.post("newAccount", url, &asked.to_string()).await?;
        let terms = self.directory.terms_of_service.as_deref().unwrap_or("none");
        let account = response.location()?;
        tracing::info!(account, terms, "opened an ACME account");
        Ok(response)
    }

    /// As the server has it (RFC 8555 section 7.1.2).
    fn contact(&self) -> Option<Value> {
        Some(json!([format!("mailto:{}", self.spec.contact?)]))
    }

    /// The URL of a new order, and the order.
    async fn new_order(&mut self) -> Result<(String, Value), OrderError> {
        let url = self.directory.new_order.clone();
        let asked = json!({ "identifiers": [{ "type": "dns", "value": self.spec.name }] });
        let response = self.post("newOrder", &url, &asked.to_string()).await?;
        Ok((response.location()?, response.json()?))
    }

    /// Has the server validate the name, unless it did so a while ago.
    async fn authorize(&mut self, url: &str) -> Result<(), OrderError> {
        let OrderSpec { account, name, challenge: kind, .. } = self.spec;
        let mut authorization = self.post("the authorization", url, "").await?.json()?;
        if message::status(&authorization) == "pending" {
            let challenge = message::challenge(&authorization, kind.name())?;
            let key_authorization = account.key_authorization(&challenge.token);
            self.world.show(match kind {
                AcmeChallenge::Http01 => {
                    ChallengeAnswer::Http { token: challenge.token, key_authorization }
                }
                AcmeChallenge::TlsAlpn01 => tls_alpn_answer(name, &key_authorization)?,
            });
            self.post("the challenge", &challenge.url, "{}").await?;
            authorization = self.poll("the authorization", url).await?;
        }
        if message::status(&authorization) == "valid" {
            return Ok(());
        }
        let why = match message::challenge_error(&authorization, kind.name()) {
            Some(problem) => problem.explain(),
            None => format!("the authorization is {}", message::shown_status(&authorization)),
        };
        let kind = kind.name();
        Err(OrderError::new(format!("the server could not validate {name} by {kind}: {why}")))
    }

    /// An order or an authorization, once the server is done with it.
    async fn poll(&mut self, what: &str, url: &str) -> Result<Value, OrderError> {
        let (least, most) = POLL_WAIT;
        let (mut waited, mut polls) = (Duration::ZERO, 0);
        loop {
            let response = self.post(what, url, "").await?;
            let page = response.json()?;
            if !matches!(message::status(&page), "pending" | "processing") {
                return Ok(page);
            }
            if polls == POLLS_MOST {
                let status = message::shown_status(&page);
                return Err(OrderError::new(format!("{what} is still {status} after {waited:?}")));
            }
            let usual = least.saturating_mul(1 << polls.min(8));
            let wait = response.retry_after.unwrap_or(usual).clamp(least, most);
            self.world.wait(wait).await;
            waited += wait;
            polls += 1;
        }
    }

    /// What the server answers to a message; an empty one asks for what is there (RFC 8555 section 6.3).
    async fn post(&mut self, what: &str, url: &str, payload: &str) -> Result<Response, OrderError> {
        let mut tries = 0;
        loop {
            let nonce = match self.nonce.take() {
                Some(nonce) => nonce,
                None => self.new_nonce().await?,
            };
            let mut header = json!({ "alg": "ES256", "nonce": nonce, "url": url });
            match &self.account {
                Some(account) => header["kid"] = json!(account),
                None => header["jwk"] = self.spec.account.public(),
            }
            let message = self.spec.account.sign(&header, payload)?;
            tries += 1;
            let response = match self.world.ask(url, Request::Post(&message)).await {
                Ok(response) => response,
                // What only asks can be asked again: what was issued is not to be lost for an answer that was.
                Err(_) if payload.is_empty() && tries < ANSWER_TRIES => {
                    self.world.wait(POLL_WAIT.0).await;
                    continue;
                }
                Err(why) => {
                    let error = OrderError::new(format!("{what}: {why}"));
                    return Err(OrderError { is_lost: true, ..error });
                }
            };
            self.nonce = response.next_nonce();
            if response.is_success() {
                return Ok(response);
            }
            let error = OrderError::of_response(what, &response);
            if error.kind != "badNonce" || tries >= NONCE_TRIES {
                return Err(error);
            }
        }
    }

    async fn new_nonce(&mut self) -> Result<String, OrderError> {
        let url = self.directory.new_nonce.clone();
        let response = self.world.ask(&url, Request::Head).await?;
        match response.next_nonce() {
            Some(nonce) if response.is_success() => Ok(nonce),
            None if response.is_success() => {
                Err(OrderError::new("newNonce: the server gives no nonce"))
            }
            _ => Err(OrderError::of_response("newNonce", &response)),
        }
    }
}

/// An order that the server is done with is as far as it has to be.
fn expect_status(order: &Value, wanted: &str) -> Result<(), OrderError> {
    match (message::status(order), &order["error"]) {
        (status, _) if status == wanted => Ok(()),
        (_, Value::Null) => {
            let status = message::shown_status(order);
            Err(OrderError::new(format!("the order is {status}, and not {wanted}")))
        }
        (_, error) => {
            let why = Problem::read(error).explain();
            Err(OrderError::new(format!("the server gave the order up: {why}")))
        }
    }
}

/// A key, and a request for a certificate for it (RFC 2986), in base64url.
fn certificate_request(name: &str) -> Result<(KeyPair, String), String> {
    let make = || {
        let key = KeyPair::generate()?; // ECDSA over P-256
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?;
        Ok((key, BASE64URL_NOPAD.encode(request.der())))
    };
    make().map_err(|error: rcgen::Error| format!("no certificate can be asked for: {error}"))
}

/// What a validation by a handshake is shown (RFC 8737 section 3).
fn tls_alpn_answer(name: &str, key_authorization: &str) -> Result<ChallengeAnswer, String> {
    let make = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        let digest = Sha256::digest(key_authorization);
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
    use super::super::testing::{CHAIN, DIRECTORY, FakeServer, TOKEN, problem};
    use super::*;
    use crate::config::Secret;

    fn ordered_with(
        server: &mut FakeServer,
        challenge: AcmeChallenge,
        binding: Option<&AcmeBinding>,
    ) -> Result<Issued, OrderError> {
        let account = AccountKey::read(&AccountKey::make().unwrap()).unwrap();
        server.account = account.public();
        let spec = OrderSpec {
            directory: DIRECTORY,
            account: &account,
            contact: Some("ops@a.test"),
            binding,
            name: "a.test",
            challenge,
        };
        let issued = smol::block_on(order(server, spec));
        if let Some(ChallengeAnswer::Http { token, key_authorization }) = &server.shown {
            assert_eq!(*key_authorization, account.key_authorization(token));
        }
        issued
    }

    fn ordered(server: &mut FakeServer, challenge: AcmeChallenge) -> Result<Issued, OrderError> {
        ordered_with(server, challenge, None)
    }

    #[test]
    fn a_certificate_is_issued_step_by_step() {
        let mut server = FakeServer::new();
        let issued = ordered(&mut server, AcmeChallenge::TlsAlpn01).ok().unwrap().0;
        assert!(issued.starts_with(&format!("{CHAIN}-----BEGIN PRIVATE KEY-----\n")));
        let asked = "directory nonce account account new-order authorization challenge \
                     authorization authorization order finalize order order certificate";
        assert_eq!(server.asked.join(" "), asked);
        assert_eq!(server.waited, 2);
        let Some(ChallengeAnswer::TlsAlpn { name, .. }) = server.shown else { panic!() };
        assert_eq!(name, "a.test");
        let mut server = FakeServer::new();
        assert!(ordered(&mut server, AcmeChallenge::Http01).is_ok());
        let Some(ChallengeAnswer::Http { token, .. }) = server.shown else { panic!() };
        assert_eq!(token, TOKEN);
    }

    #[test]
    fn a_validation_is_shown_the_digest_of_the_key_authorization() {
        let answer = tls_alpn_answer("a.test", "token.thumbprint").unwrap();
        let ChallengeAnswer::TlsAlpn { key, .. } = answer else { panic!() };
        // id-pe-acmeIdentifier, critical, with an OCTET STRING of 32 octets in one (RFC 8737 section 3).
        let head = [
            6, 8, 43, 6, 1, 5, 5, 7, 1, 31, // 1.3.6.1.5.5.7.1.31
            1, 1, 255, 4, 34, 4, 32,
        ];
        let extension = [&head[..], &Sha256::digest("token.thumbprint")].concat();
        assert!(key.cert[0].windows(extension.len()).any(|octets| octets == extension));
    }

    #[test]
    fn an_account_is_opened_once_and_its_contact_kept_up_to_date() {
        for (known, opened, changed) in [
            (None, 2, 0),
            (Some(json!({ "contact": ["mailto:ops@a.test"] })), 1, 0),
            (Some(json!({ "contact": ["mailto:old@a.test"] })), 1, 1),
            (Some(json!({ "contact": [] })), 1, 1),
            (Some(json!({})), 1, 0),
        ] {
            let mut server = FakeServer { known, ..FakeServer::new() };
            assert!(ordered(&mut server, AcmeChallenge::Http01).is_ok());
            let asked = |what: &str| server.asked.iter().filter(|one| *one == what).count();
            assert_eq!((asked("account"), asked("account/1")), (opened, changed));
        }
    }

    #[test]
    fn a_new_account_is_bound_where_that_is_required() {
        let binding = AcmeBinding { id: "kid-1".into(), key: Secret::new("AAECAwQFBgcICQ", "***") };
        for (binding, required, why) in [
            (None, false, ""),
            (Some(&binding), false, ""),
            (Some(&binding), true, ""),
            (
                None,
                true,
                "the server requires external account binding: set acme-eab-kid and acme-eab-key",
            ),
        ] {
            let mut server = FakeServer { requires_binding: required, ..FakeServer::new() };
            let error = ordered_with(&mut server, AcmeChallenge::Http01, binding).err();
            assert_eq!(error.map_or(String::new(), |error| error.why), why);
            assert_eq!(server.bound, binding.is_some());
            // Some servers say so of one that is only looked for.
            if binding.is_some() {
                let page = problem("externalAccountRequired");
                let refused = vec![("account", 403, page)];
                server = FakeServer { instead: refused, ..FakeServer::new() };
                let error = ordered_with(&mut server, AcmeChallenge::Http01, binding).err();
                assert!(error.is_some() && server.bound, "it was tried");
            }
            // One that is there needs none.
            server = FakeServer {
                known: Some(json!({})),
                requires_binding: required,
                ..FakeServer::new()
            };
            assert!(ordered_with(&mut server, AcmeChallenge::Http01, None).is_ok());
        }
    }

    #[test]
    fn a_name_that_was_validated_before_is_not_validated_again() {
        let mut server = FakeServer { authorization: vec!["valid"], ..FakeServer::new() };
        assert!(ordered(&mut server, AcmeChallenge::TlsAlpn01).is_ok());
        assert!(server.shown.is_none() && !server.asked.contains(&"challenge".to_owned()));
    }

    #[test]
    fn a_nonce_that_is_not_taken_is_replaced_a_few_times() {
        for (bad_nonces, is_issued) in [(1, true), (NONCE_TRIES - 1, true), (99, false)] {
            let mut server = FakeServer { bad_nonces, ..FakeServer::new() };
            let error = ordered(&mut server, AcmeChallenge::TlsAlpn01).err();
            assert_eq!(error.is_none(), is_issued, "{error:?}");
            // Each answer brings the next one.
            assert_eq!(server.asked.iter().filter(|asked| *asked == "nonce").count(), 1);
            assert!(server.asked.len() < 30);
        }
    }

    #[test]
    fn what_does_not_end_is_left_alone() {
        for (authorization, order, why) in [
            (vec!["pending"], vec!["ready"], "the authorization is still pending after 555s"),
            (vec!["valid"], vec!["processing"], "the order is still processing after 555s"),
            (
                vec!["valid"],
                vec!["ready", "processing"],
                "the order is still processing after 555s",
            ),
        ] {
            let mut server = FakeServer { authorization, order, ..FakeServer::new() };
            let error = ordered(&mut server, AcmeChallenge::Http01).err().unwrap();
            assert_eq!(error.why, why);
            assert!(server.asked.len() < 60);
        }
    }

    #[test]
    fn an_answer_that_is_lost_loses_no_certificate() {
        for (lost, is_issued) in [(0, true), (ANSWER_TRIES - 1, true), (ANSWER_TRIES, false)] {
            let mut server = FakeServer { lost: ("certificate", lost), ..FakeServer::new() };
            let error = ordered(&mut server, AcmeChallenge::Http01).err();
            let why = error.map(|error| error.why);
            assert_eq!(why.as_deref(), (!is_issued).then_some("the certificate: no answer"));
        }
        for (order, why) in [
            (vec!["ready", "processing", "valid"], None),
            (vec!["ready", "ready"], Some("finalize: no answer")),
        ] {
            let mut server = FakeServer { lost: ("finalize", 1), order, ..FakeServer::new() };
            let error = ordered(&mut server, AcmeChallenge::Http01).err();
            assert_eq!(error.map(|error| error.why).as_deref(), why);
        }
        // What may have been done is not done twice.
        let mut server = FakeServer { lost: ("new-order", 1), ..FakeServer::new() };
        assert!(ordered(&mut server, AcmeChallenge::Http01).is_err());
    }

    #[test]
    fn whatever_the_server_answers_an_order_ends() {
        let mut issued = 0;
        for seed in 0..2000 {
            let dice = Some(fastrand::Rng::with_seed(seed));
            let mut server = FakeServer { dice, ..FakeServer::new() };
            match ordered(&mut server, AcmeChallenge::Http01) {
                Ok(_) => issued += 1,
                Err(OrderError { why, .. }) => {
                    assert!(why.len() < 2500 && !why.contains(char::is_control), "{seed}: {why:?}");
                }
            }
            assert!(server.asked.len() < 900, "{seed}: {} questions", server.asked.len());
        }
        assert!((100..1900).contains(&issued), "{issued}");
    }

    #[test]
    fn why_there_is_none_is_told_in_the_servers_words() {
        let at = |end, status, page| FakeServer::answering(end, status, page);
        let invalid = |authorization| FakeServer { authorization, ..FakeServer::new() };
        let gone = json!({ "status": "invalid", "error": problem("unauthorized") });
        for (server, expected) in [
            (
                invalid(vec!["pending", "invalid"]),
                "the server could not validate a.test by http-01: words (unauthorized)",
            ),
            (
                invalid(vec!["expired"]),
                "the server could not validate a.test by http-01: words (unauthorized)",
            ),
            (
                at("authorization", 200, json!({ "status": "deactivated" })),
                "the server could not validate a.test by http-01: the authorization is deactivated",
            ),
            (
                at("directory", 404, json!({})),
                "the directory: the server answers 404: it does not say why",
            ),
            (at("directory", 200, json!([])), "the server's answer is no JSON object"),
            (at("directory", 200, json!({})), "the server gives no https:// URL for newNonce"),
            (at("nonce", 503, json!({})), "newNonce: the server answers 503: it does not say why"),
            (
                at("account", 400, problem("invalidContact")),
                "newAccount: the server answers 400: words (invalidContact)",
            ),
            (
                at("new-order", 403, problem("rejectedIdentifier")),
                "newOrder: the server answers 403: words (rejectedIdentifier)",
            ),
            (at("new-order", 201, json!({})), "the order has 0 authorizations"),
            (at("order", 200, gone), "the server gave the order up: words (unauthorized)"),
            (at("order", 200, json!({ "status": "new" })), "the order is new, and not ready"),
            (
                at("finalize", 403, problem("badCSR")),
                "finalize: the server answers 403: words (badCSR)",
            ),
            (
                at("certificate", 200, json!({})),
                "what the server issued is no chain of certificates",
            ),
        ] {
            let mut server = server;
            let error = ordered(&mut server, AcmeChallenge::Http01).err().unwrap();
            assert_eq!((error.why.as_str(), error.retry_after), (expected, None));
        }
        for end in ["new-order", "account"] {
            let mut server = at(end, 429, problem("rateLimited"));
            let error = ordered(&mut server, AcmeChallenge::Http01).err().unwrap();
            assert_eq!(error.retry_after, Some(Duration::from_secs(3600)));
            assert_eq!(error.is_for_all, end == "account");
            assert_eq!(server.asked.iter().filter(|asked| *asked == end).count(), 1, "{end}");
        }
    }
}
