//! What the tests of this room share: a folder, and a server in memory.

use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};

use super::{Request, Response, World};
use crate::base;
use crate::config::{AcmeChallenge, AcmeSpec, AskedUrl};
use crate::tls::ChallengeAnswer;

/// A folder that is gone with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        let random = HEXLOWER.encode(&base::random_secret()[..8]);
        let folder = Folder(std::env::temp_dir().join(format!("tidegate-acme-{random}")));
        std::fs::create_dir(&folder.0).unwrap();
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What is ordered of the server with this directory.
pub fn spec(directory: &str) -> AcmeSpec {
    AcmeSpec {
        names: vec!["a.test".to_owned()],
        directory: AskedUrl::read(directory).unwrap(),
        contact: None,
        challenge: AcmeChallenge::TlsAlpn01,
        ca: None,
        binding: None,
    }
}

/// The chain that it issues.
pub const CHAIN: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
/// The token of its challenges.
pub const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";
/// Where it is.
pub const DIRECTORY: &str = "https://ca.test/directory";

pub fn problem(kind: &str) -> Value {
    json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "words" })
}

/// A signed message, taken apart.
pub struct Opened {
    pub header: Value,
    pub payload: Vec<u8>,
    pub signed: String,
    pub signature: Vec<u8>,
}

impl Opened {
    pub fn new(message: &Value) -> Opened {
        let part = |name: &str| message[name].as_str().unwrap();
        let decoded = |name: &str| BASE64URL_NOPAD.decode(part(name).as_bytes()).unwrap();
        Opened {
            header: serde_json::from_slice(&decoded("protected")).unwrap(),
            payload: decoded("payload"),
            signed: format!("{}.{}", part("protected"), part("payload")),
            signature: decoded("signature"),
        }
    }

    /// By whoever has this key, of which the public half is given.
    pub fn is_signed_with(&self, public: &Value) -> bool {
        let half =
            |name: &str| BASE64URL_NOPAD.decode(public[name].as_str().unwrap().as_bytes()).unwrap();
        let point = [&[4][..], &half("x"), &half("y")].concat();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        public.verify(self.signed.as_bytes(), &self.signature).is_ok()
    }
}

/// What a server in memory answers, and what it was asked.
pub struct FakeServer {
    /// Whose signature it expects.
    pub account: Value,
    /// That account, where it has been opened before.
    pub known: Option<Value>,
    /// Accounts have to be bound; and one was.
    pub requires_binding: bool,
    pub bound: bool,
    /// So many answers to a question at the end of a URL are lost.
    pub lost: (&'static str, u32),
    /// Messages whose nonce it does not take.
    pub bad_nonces: u32,
    /// What replaces the answer to a question at the end of a URL: a status and a page.
    pub instead: Vec<(&'static str, u16, Value)>,
    /// How far an authorization and an order are at each look; the last stays.
    pub authorization: Vec<&'static str>,
    pub order: Vec<&'static str>,
    /// Ends of URLs, in order.
    pub asked: Vec<String>,
    /// Seconds.
    pub waited: u64,
    pub shown: Option<ChallengeAnswer>,
    /// Answers are changed by these dice.
    pub dice: Option<fastrand::Rng>,
    /// The number of the nonce that was given last.
    pub nonce: u64,
}

impl FakeServer {
    /// One that issues.
    pub fn new() -> FakeServer {
        FakeServer {
            account: Value::Null,
            known: None,
            requires_binding: false,
            bound: false,
            lost: ("", 0),
            bad_nonces: 0,
            instead: Vec::new(),
            authorization: vec!["pending", "pending", "valid"],
            order: vec!["ready", "processing", "valid"],
            asked: Vec::new(),
            waited: 0,
            shown: None,
            dice: None,
            nonce: 0,
        }
    }

    /// One that answers a question at the end of a URL so.
    pub fn answering(end: &'static str, status: u16, page: Value) -> FakeServer {
        FakeServer { instead: vec![(end, status, page)], ..FakeServer::new() }
    }

    /// Looks at a message as servers do, and gives its payload.
    fn opened(&mut self, url: &str, message: &str) -> Result<Value, Value> {
        let message = Opened::new(&serde_json::from_str(message).unwrap());
        assert!(message.is_signed_with(&self.account));
        let mut header = json!({ "alg": "ES256", "url": url });
        match url.ends_with("/account") {
            true => header["jwk"] = self.account.clone(),
            false => header["kid"] = json!("https://ca.test/account/1"),
        }
        if self.bad_nonces > 0 {
            self.bad_nonces -= 1;
            return Err(problem("badNonce"));
        }
        if self.dice.is_none() {
            header["nonce"] = json!(format!("n{}", self.nonce)); // each is used once
            assert_eq!(message.header, header);
        }
        Ok(serde_json::from_slice(&message.payload).unwrap_or_default())
    }

    /// The answer to a message, and where what it made is.
    fn answer(&mut self, end: &str, asked: &Value) -> (u16, Value, Option<&'static str>) {
        match end {
            "directory" => {
                let page = json!({
                    "newNonce": "https://ca.test/nonce",
                    "newAccount": "https://ca.test/account",
                    "newOrder": "https://ca.test/new-order",
                    "meta": { "externalAccountRequired": self.requires_binding },
                });
                (200, page, None)
            }
            "account" => {
                let at = Some("https://ca.test/account/1");
                match &self.known {
                    Some(account) => (200, account.clone(), at),
                    None if asked["onlyReturnExisting"] == true => {
                        (400, problem("accountDoesNotExist"), None)
                    }
                    None => {
                        assert_eq!(asked["termsOfServiceAgreed"], true);
                        assert_eq!(asked["contact"], json!(["mailto:ops@a.test"]));
                        self.bound = asked["externalAccountBinding"].is_object();
                        (201, json!({ "contact": asked["contact"] }), at)
                    }
                }
            }
            "account/1" => {
                assert_eq!(asked, &json!({ "contact": ["mailto:ops@a.test"] }));
                (200, json!({}), None)
            }
            "new-order" => {
                let names = json!({ "identifiers": [{ "type": "dns", "value": "a.test" }] });
                assert_eq!(asked, &names);
                let page = json!({ "authorizations": ["https://ca.test/authorization"] });
                (201, page, Some("https://ca.test/order"))
            }
            "authorization" => {
                let challenges = ["http-01", "tls-alpn-01"].map(|kind| {
                    let (url, error) = ("https://ca.test/challenge", problem("unauthorized"));
                    json!({ "type": kind, "url": url, "token": TOKEN, "error": error })
                });
                let status = next(&mut self.authorization);
                (200, json!({ "status": status, "challenges": challenges }), None)
            }
            "challenge" => {
                assert!(self.shown.is_some() && asked == &json!({}));
                (200, json!({ "status": "pending" }), None)
            }
            "order" => {
                let page = json!({
                    "status": next(&mut self.order),
                    "finalize": "https://ca.test/finalize",
                    "certificate": "https://ca.test/certificate",
                });
                (200, page, None)
            }
            "finalize" => {
                let request = BASE64URL_NOPAD.decode(asked["csr"].as_str().unwrap().as_bytes());
                assert!(request.unwrap().windows(6).any(|octets| octets == b"a.test"));
                (200, json!({ "status": "processing" }), None)
            }
            _ => (200, json!({}), None),
        }
    }
}

impl World for FakeServer {
    async fn ask(&mut self, url: &str, request: Request<'_>) -> Result<Response, String> {
        let end = url.strip_prefix("https://ca.test/").unwrap().to_owned();
        self.asked.push(end.clone());
        let asked = match request {
            Request::Get | Request::Head => Ok(Value::Null),
            Request::Post(message) => self.opened(url, message),
        };
        let (status, page, location) = match asked {
            Err(problem) => (400, problem, None),
            Ok(asked) => self.answer(&end, &asked),
        };
        self.nonce += 1;
        if self.lost.0 == end && self.lost.1 > 0 {
            self.lost.1 -= 1;
            return Err("no answer".to_owned());
        }
        let mut response = Response {
            status,
            location: location.map(str::to_owned),
            nonce: Some(format!("n{}", self.nonce)).filter(|_| request != Request::Get),
            retry_after: None,
            body: if end == "certificate" { CHAIN.into() } else { page.to_string().into() },
        };
        if let Some((_, status, page)) = self.instead.iter().find(|(of, ..)| *of == end) {
            (response.status, response.body) = (*status, page.to_string().into());
            response.retry_after = (*status == 429).then_some(Duration::from_secs(3600));
        }
        if let Some(dice) = &mut self.dice {
            spoil(&mut response, dice);
        }
        Ok(response)
    }

    async fn wait(&mut self, time: Duration) {
        self.waited += time.as_secs();
    }

    fn show(&mut self, answer: ChallengeAnswer) {
        self.shown = Some(answer);
    }
}

/// The next of a list, the last of which stays.
fn next(list: &mut Vec<&'static str>) -> &'static str {
    if list.len() > 1 { list.remove(0) } else { list[0] }
}

/// Changes an answer in a few places, or leaves it as it is.
fn spoil(response: &mut Response, dice: &mut fastrand::Rng) {
    let odd = |dice: &mut fastrand::Rng| match dice.u8(..8) {
        0 => Value::Null,
        1 => json!(-1),
        2 => json!("x".repeat(dice.usize(..9000))),
        3 => json!([[[[]]]]),
        4 => json!({ "status": "pending" }),
        5 => json!("https://ca.test/../order\r\nA: b"),
        6 => json!("valid"),
        _ => json!(vec![json!("https://ca.test/authorization"); dice.usize(..40)]),
    };
    if let Ok(mut page) = serde_json::from_slice::<Value>(&response.body)
        && let Some(fields) = page.as_object_mut()
    {
        for value in fields.values_mut() {
            if dice.u8(..12) == 0 {
                *value = odd(dice);
            }
        }
        response.body = page.to_string().into();
    }
    match dice.u8(..40) {
        0 => response.status = dice.u16(100..600),
        1 => response.nonce = Some("a\"b\r\n".to_owned()),
        2 => response.nonce = None,
        3 => response.location = Some("http://ca.test/1".to_owned()),
        4 => response.retry_after = Some(Duration::MAX),
        5 => response.body.truncate(dice.usize(..64)),
        6 => response.body = vec![dice.u8(..); 300_000],
        _ => {}
    }
}
