//! What the tests of this room share: a folder, and a server in memory.

use std::path::PathBuf;
use std::time::Duration;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};

use super::{Asked, Response, World};
use crate::base;
use crate::config::{AcmeChallenge, AcmeSpec, AskedUrl, Place};
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
    let (_, rest) = directory.split_once("://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    AcmeSpec {
        names: vec!["a.test".to_owned()],
        directory: AskedUrl {
            text: directory.to_owned(),
            place: Place::Tcp { host: host.to_owned(), port: 443 },
            secure: true,
            authority: host.to_owned(),
            target: format!("/{path}"),
        },
        contact: None,
        challenge: AcmeChallenge::TlsAlpn01,
        ca: None,
        binding: None,
    }
}

/// What a server in memory answers, and what it was asked.
pub struct Memory {
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

/// The chain that it issues.
pub const CHAIN: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
/// The token of its challenges.
pub const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";
/// Where it is.
pub const DIRECTORY: &str = "https://ca.test/directory";

impl Memory {
    /// One that issues.
    pub fn new() -> Memory {
        Memory {
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
    pub fn answering(end: &'static str, status: u16, page: Value) -> Memory {
        Memory { instead: vec![(end, status, page)], ..Memory::new() }
    }

    /// Looks at a message as servers do, and gives its payload.
    fn opened(&mut self, url: &str, message: &str) -> Result<Vec<u8>, Value> {
        let message: Value = serde_json::from_str(message).unwrap();
        let part = |name: &str| BASE64URL_NOPAD.decode(message[name].as_str().unwrap().as_bytes());
        let header: Value = serde_json::from_slice(&part("protected").unwrap()).unwrap();
        assert_eq!((&header["alg"], &header["url"]), (&json!("ES256"), &json!(url)));
        assert_eq!(header["kid"].is_string(), !url.ends_with("/account"), "{header}");
        assert_ne!(header["kid"].is_string(), header["jwk"].is_object(), "{header}");
        if self.bad_nonces > 0 {
            self.bad_nonces -= 1;
            return Err(json!({ "type": "urn:ietf:params:acme:error:badNonce" }));
        }
        assert_eq!(header["nonce"], json!(format!("n{}", self.nonce)), "a nonce is used once");
        Ok(part("payload").unwrap())
    }
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

/// The next of a list, the last of which stays.
fn next(list: &mut Vec<&'static str>) -> &'static str {
    if list.len() > 1 { list.remove(0) } else { list[0] }
}

impl World for Memory {
    async fn ask(&mut self, url: &str, asked: Asked<'_>) -> Result<Response, String> {
        let end = url.strip_prefix("https://ca.test/").unwrap().to_owned();
        self.asked.push(end.clone());
        let message = match asked {
            Asked::Get | Asked::Head => Ok(Vec::new()),
            Asked::Signed(message) => self.opened(url, message),
        };
        self.nonce += 1;
        let nonce = Some(format!("n{}", self.nonce)).filter(|_| asked != Asked::Get);
        let (mut status, mut location) = (200, None);
        let page = match (&*end, message) {
            (_, Err(problem)) => {
                status = 400;
                problem
            }
            ("directory", _) => json!({
                "newNonce": "https://ca.test/nonce",
                "newAccount": "https://ca.test/account",
                "newOrder": "https://ca.test/new-order",
            }),
            ("account", _) => {
                (status, location) = (201, Some("https://ca.test/account/1".to_owned()));
                json!({ "status": "valid" })
            }
            ("new-order", _) => {
                (status, location) = (201, Some("https://ca.test/order".to_owned()));
                json!({ "status": "pending", "authorizations": ["https://ca.test/authorization"] })
            }
            ("authorization", _) => {
                let challenges = ["http-01", "tls-alpn-01"].map(|kind| {
                    let error =
                        json!({ "type": "urn:ietf:params:acme:error:unauthorized", "detail": "no" });
                    let url = "https://ca.test/challenge";
                    json!({ "type": kind, "url": url, "token": TOKEN, "error": error })
                });
                json!({ "status": next(&mut self.authorization), "challenges": challenges })
            }
            ("order", _) => json!({
                "status": next(&mut self.order),
                "finalize": "https://ca.test/finalize",
                "certificate": "https://ca.test/certificate",
            }),
            ("finalize", Ok(payload)) => {
                assert!(serde_json::from_slice::<Value>(&payload).unwrap()["csr"].is_string());
                json!({ "status": "processing" })
            }
            ("challenge", Ok(payload)) => {
                assert!(self.shown.is_some() && payload == b"{}");
                json!({ "status": "pending" })
            }
            ("certificate", _) => {
                return Ok(Response { status, nonce, body: CHAIN.into(), ..Response::default() });
            }
            _ => json!({}),
        };
        let retry_after = None;
        let mut response =
            Response { status, location, nonce, retry_after, body: page.to_string().into() };
        if let Some((_, status, page)) = self.instead.iter().find(|(of, ..)| *of == end) {
            (response.status, response.body) = (*status, page.to_string().into());
            response.retry_after = (*status == 429).then_some(Duration::from_secs(3600));
            response.location = response.location.filter(|_| *status < 300);
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
