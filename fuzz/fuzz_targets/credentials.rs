//! Whatever a request presents is one thing or refused: no two readers of an accepted one find different credentials,
//! and what a token says forges no line. The first octet says what the rest is: field lines, a token, a header and
//! claims with a line end between them, the hash of a password, and with the feature `jwt` keys.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::base::PasswordHash;
use tidegate_fuzz::config::{JwtAlgorithm, JwtKeys, JwtSpec, Secret};
use tidegate_fuzz::http::{Limits, Progress, Request};
use tidegate_fuzz::policy::credentials::jws::{ClaimRules, JwtFault, Parts};
use tidegate_fuzz::policy::credentials::{NameAndPassword, Presented, basic, bearer};

const NOW: u64 = 1_700_000_000;

static FIELDS: LazyLock<Vec<String>> =
    LazyLock::new(|| vec!["Authorization".to_owned(), "X-Api-Key".to_owned()]);

static SPEC: LazyLock<JwtSpec> = LazyLock::new(|| JwtSpec {
    keys: JwtKeys::Key(Secret::new("", Secret::MASK)),
    algorithms: vec![JwtAlgorithm::Hs256],
    issuer: vec![],
    audience: vec!["shop".to_owned()],
    leeway: Duration::from_secs(60),
    role: Some("realm_access.roles".to_owned()),
    forward: vec![("X-User".to_owned(), "sub".to_owned()), ("X-A".to_owned(), "a.b".to_owned())],
});

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 5 {
        0 => presented(data),
        1 => drop(token(data)),
        2 => {
            let end = data.iter().position(|octet| *octet == b'\n').unwrap_or(data.len());
            let (header, claims) = (&data[..end], data.get(end + 1..).unwrap_or_default());
            let (header, claims) = (BASE64URL_NOPAD.encode(header), BASE64URL_NOPAD.encode(claims));
            let text = format!("{header}.{claims}");
            let said = token(format!("{text}.AA").as_bytes());
            signed(&text, said);
        }
        3 => {
            let text = String::from_utf8_lossy(data);
            if let Ok(PasswordHash::Argon2id { memory, passes, lanes, .. }) =
                PasswordHash::of(&text)
            {
                assert!(memory <= 1 << 18 && memory >= 8 * lanes && passes * memory <= 1 << 20);
            }
        }
        _ => keys(data),
    }
});

fn presented(lines: &[u8]) {
    let bytes = [b"GET / HTTP/1.1\r\nHost: a\r\n", lines, b"\r\n"].concat();
    let mut head = Request::default();
    if head.read(&bytes, &Limits::default()) != Ok(Progress::Complete) {
        return;
    }
    let values = |name: &str| -> Vec<&[u8]> {
        let called = |text: &[u8]| text.eq_ignore_ascii_case(name.as_bytes());
        let fields = head.fields.iter().filter(|field| called(field.name.of(&bytes)));
        fields.map(|field| field.value.of(&bytes)).collect()
    };
    if let Presented::One(secret) = bearer(&FIELDS, &head, &bytes) {
        assert!(!secret.is_empty() && secret.iter().all(u8::is_ascii_graphic));
        let keys = values("X-Api-Key");
        assert!(keys.iter().all(|value| value.is_empty() || *value == secret));
        for value in values("Authorization") {
            let mut words = value.split(|octet| matches!(octet, b' ' | b'\t'));
            if words.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer")) {
                assert!(words.filter(|word| !word.is_empty()).all(|word| word == secret));
            }
        }
    }
    if let Presented::One(NameAndPassword { user, password }) = basic(&head, &bytes) {
        assert!(!user.contains(':') && !user.contains(char::is_control));
        let text = BASE64.encode(&[user.as_bytes(), b":", &password].concat());
        assert!(values("Authorization").iter().all(|value| value.ends_with(text.as_bytes())));
        assert!(matches!(bearer(&FIELDS[..1], &head, &bytes), Presented::Nothing));
    }
}

/// What is found wrong with a token before its signature is looked at.
fn token(text: &[u8]) -> Result<(), JwtFault> {
    let parts = Parts::of(text)?;
    let header = parts.header(&SPEC.algorithms)?;
    assert_eq!(header.algorithm, JwtAlgorithm::Hs256);
    let claims = ClaimRules::new(&SPEC).claims(&parts, NOW)?;
    assert!(claims.expires + 60 > NOW && claims.roles.len() <= 64);
    for (field, value) in &claims.forward {
        assert!(field.starts_with("X-") && value.len() <= 1024);
        assert!(value.bytes().all(|octet| matches!(octet, b' '..=b'~')) && value.trim() == value);
    }
    // A reader that is not as strict finds the same.
    let part = text.split(|octet| *octet == b'.').nth(1).expect("three parts");
    let json = BASE64URL_NOPAD.decode(part).expect("it was decoded before");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("it was read before");
    assert_eq!(json.get("sub").and_then(|value| value.as_str()), claims.subject.as_deref());
    parts.signature().map(drop)
}

/// The same with a signature that is good, and with one that is not.
#[cfg(feature = "jwt")]
fn signed(text: &str, said: Result<(), JwtFault>) {
    use tidegate_fuzz::policy::credentials::jwt::{JwtRules, KeySet};
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    static RULES: LazyLock<JwtRules> = LazyLock::new(|| {
        let keys = KeySet::of_pem_or_secret(SECRET, &SPEC.algorithms).expect("a secret");
        JwtRules::new(&SPEC, keys)
    });
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = BASE64URL_NOPAD.encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref());
    let good = RULES.verify(format!("{text}.{signature}").as_bytes(), NOW);
    if text.len() < 8000 {
        assert_eq!(good.map(drop), said);
    }
    assert!(RULES.verify(format!("{text}.AA").as_bytes(), NOW).is_err());
}

#[cfg(feature = "jwt")]
fn keys(text: &[u8]) {
    use tidegate_fuzz::policy::credentials::jwt::KeySet;
    let public = [JwtAlgorithm::Rs256, JwtAlgorithm::Es256, JwtAlgorithm::EdDsa];
    for algorithms in [&public[..], &SPEC.algorithms] {
        if let Ok(keys) = KeySet::of_jwks(text, algorithms) {
            assert!((1..=100).contains(&keys.len()));
        }
        let text = String::from_utf8_lossy(text);
        if let Ok(keys) = KeySet::of_pem_or_secret(&text, algorithms) {
            assert_eq!(keys.len(), 1);
        }
    }
}

#[cfg(not(feature = "jwt"))]
fn signed(_: &str, _: Result<(), JwtFault>) {}

#[cfg(not(feature = "jwt"))]
fn keys(_: &[u8]) {}
