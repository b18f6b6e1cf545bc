//! The keys that tokens are signed by: a secret or public key, or a set of keys (RFC 7517).

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaPublicKeyComponents, VerificationAlgorithm,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::super::json;
use super::super::jws::{JwtFault, check_algorithms};
use super::pem;
use crate::config::JwtAlgorithm;

/// Octets of a key set.
const SET: usize = 256 * 1024;
/// Keys in it.
const KEYS: usize = 100;

/// Keys, each for the algorithms that it fits. Nothing that a token says adds one.
pub struct KeySet {
    keys: Vec<Key>,
    /// There is one key, so `kid` need not name it.
    is_single: bool,
}

struct Key {
    kid: Option<String>,
    checks: Vec<(JwtAlgorithm, Check)>,
}

/// How a signature is checked, with an algorithm and its key.
pub(super) enum Check {
    Mac(Box<hmac::Key>),
    Signature(ParsedPublicKey),
}

impl Check {
    /// Whether it takes a core's time: a signature does, a hash with a shared secret does not.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self, Check::Signature(_))
    }

    /// Whether `signature` is one of `message`.
    pub(super) fn is_signature(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Check::Mac(key) => hmac::verify(key, message, signature).is_ok(),
            Check::Signature(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

/// Why a key set is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetFault {
    /// It is none.
    Malformed(String),
    /// It is one, and has no key that fits.
    Unusable(String),
}

impl From<&str> for SetFault {
    fn from(why: &str) -> SetFault {
        SetFault::Malformed(why.to_owned())
    }
}

impl fmt::Display for SetFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (SetFault::Malformed(why) | SetFault::Unusable(why)) = self;
        f.write_str(why)
    }
}

impl KeySet {
    /// For HS256, HS384 and HS512 the secret as it is, to its last octet and at least as long as the hash (RFC 7518
    /// section 3.2); for the others one public key in PEM. A token may name its key as it likes.
    ///
    /// Errors say what is wrong, and nothing of the text.
    pub fn of_pem_or_secret(text: &str, algorithms: &[JwtAlgorithm]) -> Result<KeySet, String> {
        check_algorithms(algorithms)?;
        let material = if algorithms[0].is_symmetric() {
            if text.contains("-----BEGIN ") {
                return Err("this is a key in PEM, and these algorithms have a secret".to_owned());
            }
            Material::Secret(text.as_bytes().to_vec())
        } else {
            Material::of_public_key(pem::public_key(text)?)?
        };
        let checks = material.checks(algorithms.iter().copied());
        let too_short = matches!(material, Material::Secret(_)) && checks.len() < algorithms.len();
        if too_short {
            return Err(
                "a secret has at least 32 octets for HS256, 48 for HS384, 64 for HS512".to_owned()
            );
        }
        if checks.is_empty() {
            return Err(format!("the key is {}, and no algorithm is for that", material.name()));
        }
        Ok(KeySet { keys: vec![Key { kid: None, checks }], is_single: true })
    }

    /// The keys of a JWK Set (RFC 7517 section 5) of at most 256 KiB and 100 keys that fit `algorithms`. Those that are
    /// of another kind, for another purpose (`use`, `key_ops`, `alg`), or not well-formed are passed over; if none is
    /// left, the error says why the last one was.
    ///
    /// Two keys with one `kid` and an algorithm in common are an error, and so is a member that stands twice.
    pub fn of_jwks(text: &[u8], algorithms: &[JwtAlgorithm]) -> Result<KeySet, SetFault> {
        check_algorithms(algorithms)?;
        if text.len() > SET {
            return Err("a key set has at most 256 KiB".into());
        }
        let set = json::object(text).ok_or("a key set is a JSON object that says nothing twice")?;
        let jwks = set.get("keys").and_then(Value::as_array);
        let jwks = jwks.ok_or("a key set has its keys in an array called `keys`")?;
        if jwks.len() > KEYS {
            return Err("a key set has at most 100 keys".into());
        }
        let mut keys: Vec<Key> = Vec::new();
        let mut why = "there is no key in it";
        for jwk in jwks {
            match Key::of_jwk(jwk, algorithms) {
                Ok(key) if keys.iter().any(|other| other.is_taken_for(&key)) => {
                    let kid = key.kid.unwrap_or_default().escape_default().to_string();
                    return Err(SetFault::Malformed(format!("two keys are called {kid:.64}")));
                }
                Ok(key) => keys.push(key),
                Err(reason) => why = reason,
            }
        }
        if keys.is_empty() {
            return Err(SetFault::Unusable(format!("no key in the set can be used: {why}")));
        }
        Ok(KeySet { keys, is_single: false })
    }

    /// No keys at all: every token names one that is unknown.
    pub fn none() -> KeySet {
        KeySet { keys: Vec::new(), is_single: false }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key of this name; where there is but one, or the token names none, the only one that fits.
    pub(super) fn find(
        &self,
        algorithm: JwtAlgorithm,
        kid: Option<&str>,
    ) -> Result<&Check, JwtFault> {
        let kid = kid.filter(|_| !self.is_single);
        let mut called = self.keys.iter().filter(|key| kid.is_none() || key.kid.as_deref() == kid);
        if kid.is_some() && called.clone().next().is_none() {
            return Err(JwtFault::UnknownKey);
        }
        let check = called.by_ref().find_map(|key| key.check(algorithm));
        match check {
            None => Err(JwtFault::WrongAlgorithm),
            Some(_) if called.any(|key| key.check(algorithm).is_some()) => {
                Err(JwtFault::UnknownKey)
            }
            Some(check) => Ok(check),
        }
    }
}

/// Names of keys, and nothing of the keys.
impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.kid)).finish()
    }
}

impl Key {
    fn of_jwk(jwk: &Value, algorithms: &[JwtAlgorithm]) -> Result<Key, &'static str> {
        let jwk = jwk.as_object().ok_or("a key is an object")?;
        let text = |name| match jwk.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(&**text)),
            Some(_) => Err("a member that has to be a text is something else"),
        };
        if text("use")?.is_some_and(|purpose| purpose != "sig") {
            return Err("it is not for signatures (`use`)");
        }
        if let Some(purposes) = jwk.get("key_ops") {
            let purposes = purposes.as_array().ok_or("`key_ops` is no array")?;
            if !purposes.iter().any(|purpose| purpose == "verify") {
                return Err("it is not for signatures (`key_ops`)");
            }
        }
        let own = text("alg")?;
        let kid = text("kid")?.map(str::to_owned);
        let material = Material::of_jwk(jwk)?;
        let fits = |algorithm: &JwtAlgorithm| own.is_none_or(|own| own == algorithm.name());
        let checks = material.checks(algorithms.iter().copied().filter(fits));
        if checks.is_empty() {
            return Err("it is for none of the algorithms");
        }
        Ok(Key { kid, checks })
    }

    fn check(&self, algorithm: JwtAlgorithm) -> Option<&Check> {
        let found = self.checks.iter().find(|(own, _)| *own == algorithm);
        found.map(|(_, check)| check)
    }

    /// A token can mean either by its `kid`.
    fn is_taken_for(&self, other: &Key) -> bool {
        self.kid.is_some()
            && self.kid == other.kid
            && self.checks.iter().any(|(algorithm, _)| other.check(*algorithm).is_some())
    }
}

/// A key that no algorithm was chosen for yet.
enum Material {
    Secret(Vec<u8>),
    /// `SubjectPublicKeyInfo`.
    Rsa(Vec<u8>),
    /// `SubjectPublicKeyInfo`, or the uncompressed point (SEC 1 section 2.3.3).
    P256(Vec<u8>),
    P384(Vec<u8>),
    /// `SubjectPublicKeyInfo`, or the 32 octets of RFC 8032.
    Ed25519(Vec<u8>),
}

impl Material {
    /// `der`: `SubjectPublicKeyInfo`.
    fn of_public_key(der: Vec<u8>) -> Result<Material, String> {
        let is = |algorithm| ParsedPublicKey::new(algorithm, &der).is_ok();
        if is(&ED25519) {
            Ok(Material::Ed25519(der))
        } else if is(&ECDSA_P256_SHA256_FIXED) {
            Ok(Material::P256(der))
        } else if is(&ECDSA_P384_SHA384_FIXED) {
            Ok(Material::P384(der))
        } else if is_sound_rsa(&der) {
            Ok(Material::Rsa(der))
        } else {
            Err("the key is none of RSA with 2048 to 8192 bits, P-256, P-384, Ed25519".to_owned())
        }
    }

    /// RFC 7518 section 6, RFC 8037 section 2.
    fn of_jwk(jwk: &Map<String, Value>) -> Result<Material, &'static str> {
        let octets = |name| {
            let text = jwk.get(name).and_then(Value::as_str).ok_or("a member of it is missing")?;
            let octets = BASE64URL_NOPAD.decode(text.as_bytes());
            octets.map_err(|_| "a member of it is not base64url without padding")
        };
        let fixed = |name, len| {
            octets(name).and_then(|octets| {
                if octets.len() == len {
                    Ok(octets)
                } else {
                    Err("a coordinate has another length")
                }
            })
        };
        let point = |len| -> Result<Vec<u8>, &'static str> {
            Ok([&[4][..], &fixed("x", len)?, &fixed("y", len)?].concat())
        };
        let member = |name| jwk.get(name).and_then(Value::as_str);
        match (member("kty"), member("crv")) {
            (Some("oct"), _) => Ok(Material::Secret(octets("k")?)),
            (Some("RSA"), _) => {
                let components = RsaPublicKeyComponents { n: octets("n")?, e: octets("e")? };
                let der = components.as_der().ok().map(|der| der.as_ref().to_vec());
                let der = der.filter(|der| is_sound_rsa(der));
                der.map(Material::Rsa).ok_or("it is no RSA key with 2048 to 8192 bits")
            }
            (Some("EC"), Some("P-256")) => Ok(Material::P256(point(32)?)),
            (Some("EC"), Some("P-384")) => Ok(Material::P384(point(48)?)),
            (Some("OKP"), Some("Ed25519")) => Ok(Material::Ed25519(fixed("x", 32)?)),
            _ => Err("it is of another kind (`kty`, `crv`)"),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Material::Secret(_) => "a secret",
            Material::Rsa(_) => "one of RSA",
            Material::P256(_) => "one of P-256",
            Material::P384(_) => "one of P-384",
            Material::Ed25519(_) => "one of Ed25519",
        }
    }

    /// How it checks signatures of those algorithms that it fits.
    fn checks(&self, algorithms: impl Iterator<Item = JwtAlgorithm>) -> Vec<(JwtAlgorithm, Check)> {
        algorithms.filter_map(|algorithm| Some((algorithm, self.check(algorithm)?))).collect()
    }

    fn check(&self, algorithm: JwtAlgorithm) -> Option<Check> {
        let (how, octets): (&'static dyn VerificationAlgorithm, _) = match (self, algorithm) {
            (Material::Secret(secret), algorithm) => return mac(secret, algorithm),
            (Material::Rsa(octets), JwtAlgorithm::Rs256) => (&RSA_PKCS1_2048_8192_SHA256, octets),
            (Material::Rsa(octets), JwtAlgorithm::Rs384) => (&RSA_PKCS1_2048_8192_SHA384, octets),
            (Material::Rsa(octets), JwtAlgorithm::Rs512) => (&RSA_PKCS1_2048_8192_SHA512, octets),
            (Material::Rsa(octets), JwtAlgorithm::Ps256) => (&RSA_PSS_2048_8192_SHA256, octets),
            (Material::Rsa(octets), JwtAlgorithm::Ps384) => (&RSA_PSS_2048_8192_SHA384, octets),
            (Material::Rsa(octets), JwtAlgorithm::Ps512) => (&RSA_PSS_2048_8192_SHA512, octets),
            (Material::P256(octets), JwtAlgorithm::Es256) => (&ECDSA_P256_SHA256_FIXED, octets),
            (Material::P384(octets), JwtAlgorithm::Es384) => (&ECDSA_P384_SHA384_FIXED, octets),
            (Material::Ed25519(octets), JwtAlgorithm::EdDsa) => (&ED25519, octets),
            _ => return None,
        };
        ParsedPublicKey::new(how, octets).ok().map(Check::Signature)
    }
}

fn mac(secret: &[u8], algorithm: JwtAlgorithm) -> Option<Check> {
    let (how, least) = match algorithm {
        JwtAlgorithm::Hs256 => (hmac::HMAC_SHA256, 32),
        JwtAlgorithm::Hs384 => (hmac::HMAC_SHA384, 48),
        JwtAlgorithm::Hs512 => (hmac::HMAC_SHA512, 64),
        _ => return None,
    };
    (secret.len() >= least).then(|| Check::Mac(Box::new(hmac::Key::new(how, secret))))
}

/// Of 2048 to 8192 bits, with an exponent that is odd and not 1.
fn is_sound_rsa(der: &[u8]) -> bool {
    PublicEncryptingKey::from_der(der).is_ok()
}
