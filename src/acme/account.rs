//! Who asks: the key of an account, and messages that are signed with it (RFC 7515, RFC 8555 section 6.2).

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;
use hmac_sha256::HMAC;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

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

    /// What proves that whoever has this key has been asked for `token` (RFC 8555 section 8.1).
    pub fn authorization(&self, token: &str) -> String {
        let [x, y] = self.point();
        // In this order, and without blanks (RFC 7638 section 3).
        let public = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        format!("{token}.{}", BASE64URL_NOPAD.encode(&Sha256::digest(public)))
    }

    /// A message with this header, signed.
    pub fn sign(&self, header: &Value, payload: &str) -> Result<String, String> {
        let [header, payload] = [header.to_string().as_str(), payload]
            .map(|part| BASE64URL_NOPAD.encode(part.as_bytes()));
        let signed = format!("{header}.{payload}");
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| "a message to the server could not be signed")?;
        let signature = BASE64URL_NOPAD.encode(signature.as_ref());
        Ok(json!({ "protected": header, "payload": payload, "signature": signature }).to_string())
    }
}

/// Says by a message that whoever has the key `mac_key`, in base64url, has the account with this `public` half, too
/// (RFC 8555 section 7.3.4).
pub fn bind(id: &str, mac_key: &str, public: &Value, url: &str) -> Result<Value, String> {
    let mac_key = BASE64URL_NOPAD.decode(mac_key.as_bytes());
    let mac_key = mac_key.map_err(|_| "the key of the account elsewhere is not base64url")?;
    let header = json!({ "alg": "HS256", "kid": id, "url": url });
    let [header, payload] =
        [&header, public].map(|part| BASE64URL_NOPAD.encode(part.to_string().as_bytes()));
    let signature = HMAC::mac(format!("{header}.{payload}"), mac_key);
    let signature = BASE64URL_NOPAD.encode(&signature);
    Ok(json!({ "protected": header, "payload": payload, "signature": signature }))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

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
            of_rfc().authorization("token"),
            "token.oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
        );
    }

    #[test]
    fn what_is_signed_can_be_verified() {
        let pkcs8 = AccountKey::make().unwrap();
        let key = AccountKey::read(&pkcs8).unwrap();
        let message = key.sign(&json!({ "alg": "ES256" }), "{\"a\":1}").unwrap();
        let message: Value = serde_json::from_str(&message).unwrap();
        let part = |name: &str| message[name].as_str().unwrap().to_owned();
        let decoded = |name: &str| BASE64URL_NOPAD.decode(part(name).as_bytes()).unwrap();
        assert_eq!(decoded("protected"), b"{\"alg\":\"ES256\"}");
        assert_eq!(decoded("payload"), b"{\"a\":1}");
        let signed = format!("{}.{}", part("protected"), part("payload"));
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.0.public_key().as_ref());
        assert!(public.verify(signed.as_bytes(), &decoded("signature")).is_ok());
        assert!(AccountKey::read(&pkcs8[1..]).is_none());
        assert_eq!(format!("{key:?}"), "AccountKey");
    }
}
