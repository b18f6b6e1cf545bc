//! Who asks: the key of an account, and messages that are signed with it (RFC 7515, RFC 8555 section 6.2).

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;
use hmac_sha256::HMAC;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::config::AcmeBinding;

/// The key of an account: ECDSA over P-256, which every server takes (RFC 8555 section 6.2: `ES256`).
pub struct AccountKey(EcdsaKeyPair);

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey")
    }
}

impl AccountKey {
    /// A new one, in PKCS#8.
    pub fn make() -> Result<Vec<u8>, String> {
        let made =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Ok(made.map_err(|_| "no key of an account could be made")?.as_ref().to_vec())
    }

    /// The one that stands in this PKCS#8.
    pub fn read(pkcs8: &[u8]) -> Option<AccountKey> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok().map(AccountKey)
    }

    /// The coordinates of its public half, in base64url.
    fn point(&self) -> [String; 2] {
        // An octet says that both follow (SEC 1 section 2.3.3).
        let point = self.0.public_key().as_ref();
        let (x, y) = point[1..].split_at((point.len() - 1) / 2);
        [x, y].map(|half| BASE64URL_NOPAD.encode(half))
    }

    /// Its public half (RFC 7517).
    pub fn public(&self) -> Value {
        let [x, y] = self.point();
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
    }

    /// What proves that whoever has this key was given `token` (RFC 8555 section 8.1).
    pub fn key_authorization(&self, token: &str) -> String {
        let [x, y] = self.point();
        // In this order, and without blanks (RFC 7638 section 3).
        let public = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        format!("{token}.{}", BASE64URL_NOPAD.encode(&Sha256::digest(public)))
    }

    /// A message with this header, signed.
    pub fn sign(&self, header: &Value, payload: &str) -> Result<String, String> {
        let message = jws(header, payload, |signed| {
            self.0
                .sign(&SystemRandom::new(), signed)
                .ok()
                .map(|signature| signature.as_ref().into())
        });
        Ok(message.ok_or("a message to the server could not be signed")?.to_string())
    }

    /// A message that binds the account of this key to another one (RFC 8555 section 7.3.4). `url`: where the account
    /// is opened.
    pub fn bind_to(&self, binding: &AcmeBinding, url: &str) -> Result<Value, String> {
        let AcmeBinding { id, key } = binding;
        let header = json!({ "alg": "HS256", "kid": id, "url": url });
        let message = jws(&header, &self.public().to_string(), |signed| {
            let key = BASE64URL_NOPAD.decode(key.as_bytes()).ok()?;
            Some(HMAC::mac(signed, key).to_vec())
        });
        Ok(message.ok_or("acme-eab-key is not base64url")?)
    }
}

/// A message in JSON whose parts are in base64url (RFC 7515 section 7.2.2).
fn jws(
    header: &Value,
    payload: &str,
    sign: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> Option<Value> {
    let encode = |part: &str| BASE64URL_NOPAD.encode(part.as_bytes());
    let (header, payload) = (encode(&header.to_string()), encode(payload));
    let signature = BASE64URL_NOPAD.encode(&sign(format!("{header}.{payload}").as_bytes())?);
    Some(json!({ "protected": header, "payload": payload, "signature": signature }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Opened;
    use super::*;
    use crate::config::Secret;

    /// A key of a test vector: the example of RFC 7515 appendix A.3, in PKCS#8.
    fn of_rfc() -> AccountKey {
        let [d, x, y] = [
            "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        ]
        .map(|part| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap());
        let point = [&[4][..], &x, &y].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &d,
            &point,
        );
        AccountKey(pair.unwrap())
    }

    #[test]
    fn its_public_half_is_that_of_the_example() {
        let public = of_rfc().public();
        assert_eq!(public["x"], "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
        assert_eq!(public["y"], "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        // As Python's json and hashlib compute it.
        assert_eq!(
            of_rfc().key_authorization("token"),
            "token.oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
        );
    }

    #[test]
    fn what_is_signed_can_be_verified() {
        let pkcs8 = AccountKey::make().unwrap();
        let key = AccountKey::read(&pkcs8).unwrap();
        let message = key.sign(&json!({ "alg": "ES256" }), "{\"a\":1}").unwrap();
        let opened = Opened::new(&serde_json::from_str(&message).unwrap());
        assert_eq!(opened.header, json!({ "alg": "ES256" }));
        assert_eq!(opened.payload, b"{\"a\":1}");
        assert!(opened.is_signed_with(&key.public()));
        assert!(!opened.is_signed_with(&of_rfc().public()));
        assert!(AccountKey::read(&pkcs8[1..]).is_none());
        assert_eq!(format!("{key:?}"), "AccountKey");
    }

    #[test]
    fn an_account_is_bound_by_a_key_that_both_know() {
        let key = Secret::new(
            "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
            "***",
        );
        let binding = AcmeBinding { id: "kid-1".into(), key };
        let message = of_rfc().bind_to(&binding, "https://ca.test/account").unwrap();
        let opened = Opened::new(&message);
        let header = json!({ "alg": "HS256", "kid": "kid-1", "url": "https://ca.test/account" });
        assert_eq!(opened.header, header);
        assert_eq!(opened.payload, of_rfc().public().to_string().as_bytes());
        let mac_key = BASE64URL_NOPAD.decode(binding.key.as_bytes()).unwrap();
        assert_eq!(HMAC::mac(&opened.signed, mac_key).to_vec(), opened.signature);
        let odd = AcmeBinding { key: Secret::new("not base64url", "***"), ..binding };
        assert!(of_rfc().bind_to(&odd, "https://ca.test/account").is_err());
    }
}
