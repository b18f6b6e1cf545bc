//! What a signed token says, but for the signature: its shape (RFC 7515, the compact serialization), its header, its
//! claims (RFC 7519), and what they have to be (RFC 8725). No cryptography: what comes out of here is not believed yet.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::json;
use crate::config::{JwtAlgorithm, JwtSpec};

/// Octets of a token.
const TOKEN: usize = 8 * 1024;
/// Roles of one token.
const ROLES: usize = 64;
/// Octets of a subject, and of what the upstream gets in one field.
const VALUE: usize = 1024;
/// The last second of the year 9999: what lies behind it is no time.
const LAST: u64 = 253_402_300_799;

/// Why a token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JwtFault {
    /// No token at all, or one with something in it that is not what it has to be.
    Malformed,
    /// More than 8 KiB.
    TooLong,
    /// It is a token of another kind (`typ`).
    WrongType,
    /// Its algorithm is none that was asked for, or none that its key is for.
    WrongAlgorithm,
    /// Its header demands what we do not know (`crit`).
    CriticalHeader,
    /// No key is called so; or it names none, and several would do.
    UnknownKey,
    /// It was signed by somebody else, or changed.
    BadSignature,
    /// It was good once.
    Expired,
    /// It is not good yet, or was issued in the future.
    NotYet,
    /// Somebody else issued it, or nobody says who.
    WrongIssuer,
    /// It is for somebody else, or nobody says for whom.
    WrongAudience,
}

impl JwtFault {
    /// All of them.
    pub const ALL: [JwtFault; 11] = [
        JwtFault::Malformed,
        JwtFault::TooLong,
        JwtFault::WrongType,
        JwtFault::WrongAlgorithm,
        JwtFault::CriticalHeader,
        JwtFault::UnknownKey,
        JwtFault::BadSignature,
        JwtFault::Expired,
        JwtFault::NotYet,
        JwtFault::WrongIssuer,
        JwtFault::WrongAudience,
    ];

    /// The word for it in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            JwtFault::Malformed => "malformed",
            JwtFault::TooLong => "too_long",
            JwtFault::WrongType => "wrong_type",
            JwtFault::WrongAlgorithm => "wrong_algorithm",
            JwtFault::CriticalHeader => "critical_header",
            JwtFault::UnknownKey => "unknown_key",
            JwtFault::BadSignature => "bad_signature",
            JwtFault::Expired => "expired",
            JwtFault::NotYet => "not_yet",
            JwtFault::WrongIssuer => "wrong_issuer",
            JwtFault::WrongAudience => "wrong_audience",
        }
    }
}

/// Whether tokens may be signed with any of these: not with secrets and public keys both. Who knows a public key could
/// else sign with it as a secret (RFC 8725 section 2.1).
pub fn check_algorithms(algorithms: &[JwtAlgorithm]) -> Result<(), &'static str> {
    let symmetric = algorithms.iter().filter(|algorithm| algorithm.is_symmetric()).count();
    match (symmetric, algorithms.len()) {
        (_, 0) => Err("no algorithm is allowed"),
        (0, _) => Ok(()),
        (some, all) if some == all => Ok(()),
        _ => Err("HS256, HS384 and HS512 have a shared secret, the others a public key: not both"),
    }
}

/// The three parts of a token.
#[derive(Clone)]
pub struct Parts<'t> {
    /// What is signed: the first two, as they came.
    pub signed: &'t [u8],
    /// The header, decoded.
    header: Vec<u8>,
    /// The claims, as they came.
    claims: &'t [u8],
    /// The signature, as it came.
    signature: &'t [u8],
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// With what it was signed, one of those that were asked for.
    pub algorithm: JwtAlgorithm,
    /// By which key.
    pub kid: Option<String>,
}

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whom it is about (`sub`): at most 1 KiB, without control characters.
    pub subject: Option<String>,
    /// What they may; at most 64.
    pub roles: Vec<String>,
    /// Fields for the upstream with their values: visible ASCII and spaces within, at most 1 KiB each. Claims that
    /// come to something else are left out.
    pub forward: Vec<(String, String)>,
    /// When it ends (`exp`), without leeway: seconds since 1970.
    pub expires: u64,
}

impl<'t> Parts<'t> {
    /// Exactly three parts with points between them (RFC 7515 section 7.1).
    pub fn of(token: &'t [u8]) -> Result<Parts<'t>, JwtFault> {
        if token.len() > TOKEN {
            return Err(JwtFault::TooLong);
        }
        let mut points = memchr::memchr_iter(b'.', token);
        let (Some(first), Some(second), None) = (points.next(), points.next(), points.next())
        else {
            return Err(JwtFault::Malformed);
        };
        let header = decoded(&token[..first])?;
        let (claims, signature) = (&token[first + 1..second], &token[second + 1..]);
        Ok(Parts { signed: &token[..second], header, claims, signature })
    }

    /// The signature.
    pub fn signature(&self) -> Result<Vec<u8>, JwtFault> {
        decoded(self.signature)
    }

    /// What the header says (RFC 7515 section 4.1). Keys and addresses of keys in it (`jwk`, `jku`, `x5c`, `x5u`) are
    /// not looked at: a token does not say whom to trust.
    pub fn header(&self, algorithms: &[JwtAlgorithm]) -> Result<Header, JwtFault> {
        let header = json::object(&self.header).ok_or(JwtFault::Malformed)?;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(JwtFault::CriticalHeader);
        }
        let name = text(&header, "alg")?.ok_or(JwtFault::Malformed)?;
        let known = JwtAlgorithm::ALL.iter().find(|(known, _)| *known == name);
        let algorithm = known.map(|(_, algorithm)| *algorithm);
        let algorithm = algorithm.filter(|algorithm| algorithms.contains(algorithm));
        let algorithm = algorithm.ok_or(JwtFault::WrongAlgorithm)?;
        if let Some(kind) = text(&header, "typ")? {
            let known = ["JWT", "at+jwt", "application/jwt", "application/at+jwt"];
            if !known.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
                return Err(JwtFault::WrongType);
            }
        }
        Ok(Header { algorithm, kid: text(&header, "kid")?.map(str::to_owned) })
    }
}

/// Who has the parts has the token.
impl fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts")
    }
}

/// What the claims of a token have to be, and what is taken from them.
#[derive(Clone, Debug)]
pub struct ClaimRules {
    issuer: Vec<String>,
    audience: Vec<String>,
    /// Seconds.
    leeway: u64,
    role: Option<String>,
    forward: Vec<(String, String)>,
}

impl ClaimRules {
    /// Those of a configuration.
    pub fn new(spec: &JwtSpec) -> ClaimRules {
        ClaimRules {
            issuer: spec.issuer.clone(),
            audience: spec.audience.clone(),
            leeway: spec.leeway.as_secs(),
            role: spec.role.clone(),
            forward: spec.forward.clone(),
        }
    }

    /// The claims of a token, if they hold at `unix_s`, seconds since 1970.
    ///
    /// `exp` has to be there. Fractions of seconds are cut off.
    pub fn claims(&self, parts: &Parts<'_>, unix_s: u64) -> Result<Claims, JwtFault> {
        let claims = json::object(&decoded(parts.claims)?).ok_or(JwtFault::Malformed)?;
        let expires = time(&claims, "exp")?.ok_or(JwtFault::Malformed)?;
        let (not_before, issued) = (time(&claims, "nbf")?, time(&claims, "iat")?);
        let (issuer, audience) = (text(&claims, "iss")?, texts(claims.get("aud"))?);
        let subject = text(&claims, "sub")?;
        if subject.is_some_and(|text| text.len() > VALUE || text.contains(char::is_control)) {
            return Err(JwtFault::Malformed);
        }
        if unix_s >= expires.saturating_add(self.leeway) {
            return Err(JwtFault::Expired);
        }
        let latest = unix_s.saturating_add(self.leeway);
        if not_before.max(issued).is_some_and(|time| time > latest) {
            return Err(JwtFault::NotYet);
        }
        let is_in = |list: &[String], text: &str| list.iter().any(|one| one == text);
        if !self.issuer.is_empty() && !issuer.is_some_and(|text| is_in(&self.issuer, text)) {
            return Err(JwtFault::WrongIssuer);
        }
        if !self.audience.is_empty() && !audience.iter().any(|text| is_in(&self.audience, text)) {
            return Err(JwtFault::WrongAudience);
        }
        Ok(Claims {
            subject: subject.map(str::to_owned),
            roles: self.roles(&claims)?,
            forward: self.forwarded(&claims),
            expires,
        })
    }

    /// A text with spaces between the roles, as `scope` has (RFC 8693 section 4.2), or a list of texts.
    fn roles(&self, claims: &Map<String, Value>) -> Result<Vec<String>, JwtFault> {
        let roles = match self.role.as_deref().and_then(|path| claim(claims, path)) {
            Some(Value::String(text)) => text.split(' ').filter(|role| !role.is_empty()).collect(),
            other => texts(other)?,
        };
        if roles.len() > ROLES {
            return Err(JwtFault::Malformed);
        }
        Ok(roles.into_iter().map(str::to_owned).collect())
    }

    fn forwarded(&self, claims: &Map<String, Value>) -> Vec<(String, String)> {
        let line = |(field, path): &(String, String)| {
            let value = field_value(claim(claims, path)?)?;
            Some((field.clone(), value))
        };
        self.forward.iter().filter_map(line).collect()
    }
}

/// Base64url without padding, and no stray bits at the end (RFC 7515 section 2).
fn decoded(part: &[u8]) -> Result<Vec<u8>, JwtFault> {
    BASE64URL_NOPAD.decode(part).map_err(|_| JwtFault::Malformed)
}

/// The claim at a path: a member called just so, or `a.b` for the member `b` of the member `a`.
fn claim<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    let stepwise = || {
        let mut steps = path.split('.');
        let first = claims.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.as_object()?.get(step))
    };
    claims.get(path).or_else(stepwise)
}

/// The member that has to be a text where it is there.
fn text<'c>(members: &'c Map<String, Value>, name: &str) -> Result<Option<&'c str>, JwtFault> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(JwtFault::Malformed),
    }
}

/// A text, a list of texts, or nothing.
fn texts(value: Option<&Value>) -> Result<Vec<&str>, JwtFault> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(Value::Array(values)) => {
            let texts: Option<_> = values.iter().map(Value::as_str).collect();
            texts.ok_or(JwtFault::Malformed)
        }
        Some(_) => Err(JwtFault::Malformed),
    }
}

/// A `NumericDate` (RFC 7519 section 2) in whole seconds; 0 for what was before 1970.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, JwtFault> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let Value::Number(number) = value else { return Err(JwtFault::Malformed) };
    let whole = number.as_u64().or_else(|| number.as_i64().map(|_| 0));
    // Floats are cut towards zero, and those without a place among the integers go to the nearest one.
    let seconds = whole.or_else(|| number.as_f64().map(|float| float as u64));
    seconds.filter(|seconds| *seconds <= LAST).map(Some).ok_or(JwtFault::Malformed)
}

/// What a claim is in a field of a request; `None`: nothing that could be relied on there.
///
/// Numbers only where their text is surely the number that was signed. Spaces at the ends would be lost on the way.
fn field_value(value: &Value) -> Option<String> {
    const EXACT: f64 = (1_u64 << 53) as f64;
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().filter(|float| float.abs() < EXACT)?;
            float.to_string()
        }
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let is_good = !text.is_empty()
        && text.len() <= VALUE
        && text.bytes().all(|octet| matches!(octet, b' '..=b'~'))
        && text.trim_ascii().len() == text.len();
    is_good.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{JwtKeys, Secret};
    use std::time::Duration;

    const NOW: u64 = 1_700_000_000;
    const ES256: &[JwtAlgorithm] = &[JwtAlgorithm::Es256, JwtAlgorithm::EdDsa];

    fn spec() -> JwtSpec {
        JwtSpec {
            keys: JwtKeys::Key(Secret::new("", Secret::MASK)),
            algorithms: ES256.to_vec(),
            issuer: vec![],
            audience: vec![],
            leeway: Duration::from_secs(60),
            role: None,
            forward: vec![],
        }
    }

    fn encoded(text: &str) -> String {
        BASE64URL_NOPAD.encode(text.as_bytes())
    }

    fn header(text: &str) -> Result<Header, JwtFault> {
        Parts::of(format!("{}.e30.AA", encoded(text)).as_bytes())?.header(ES256)
    }

    fn claims(spec: &JwtSpec, text: &str) -> Result<Claims, JwtFault> {
        let token = format!("e30.{}.AA", encoded(text));
        ClaimRules::new(spec).claims(&Parts::of(token.as_bytes())?, NOW)
    }

    #[test]
    fn every_fault_has_a_label_of_its_own() {
        let mut labels = JwtFault::ALL.map(JwtFault::label).to_vec();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), JwtFault::ALL.len());
    }

    #[test]
    fn secrets_and_public_keys_do_not_mix() {
        use JwtAlgorithm::{EdDsa, Es256, Hs256, Hs512, Rs256};
        for (algorithms, good) in [
            (&[][..], false),
            (&[Hs256], true),
            (&[Hs256, Hs512], true),
            (&[Rs256, Es256, EdDsa], true),
            (&[Hs256, Rs256], false),
            (&[EdDsa, Hs512], false),
        ] {
            assert_eq!(check_algorithms(algorithms).is_ok(), good, "{algorithms:?}");
        }
    }

    #[test]
    fn a_token_has_three_parts_of_strict_base64url() {
        let good =
            format!("{}.{}.AA", encoded("{\"alg\":\"ES256\"}"), encoded("{\"exp\":1800000000}"));
        let read = |token: &[u8]| {
            let parts = Parts::of(token)?;
            parts.header(ES256)?;
            ClaimRules::new(&spec()).claims(&parts, NOW)?;
            parts.signature()
        };
        assert_eq!(read(good.as_bytes()), Ok(vec![0]));
        assert_eq!(read(good.trim_end_matches("AA").as_bytes()), Ok(vec![]));
        let (head, rest) = good.split_once('.').unwrap();
        for bad in [
            "".to_owned(),
            "...".to_owned(),
            "..".to_owned(),
            good.trim_end_matches(".AA").to_owned(),
            format!("{good}."),
            format!("{good}.AA"),
            format!(".{good}"),
            format!(" {good}"),
            format!("{good} "),
            format!("{good}\n"),
            format!("{head}=.{rest}"),
            format!("{head} .{rest}"),
            format!("{head}.\n{rest}"),
            good.replace(".AA", ".AA=="),
            good.replace(".AA", ".AB"), // stray bits
            good.replace(".AA", ".A"),
            good.replace(".AA", ".+A"),
            good.replace(".AA", "./A"),
            good.replace(".AA", ".\u{e9}A"),
            good.replace(".AA", "%2eAA"),
        ] {
            assert_eq!(read(bad.as_bytes()), Err(JwtFault::Malformed), "{bad:?}");
        }
        let long = format!("{good}{}", "A".repeat(TOKEN - good.len()));
        assert!(Parts::of(long.as_bytes()).is_ok());
        let longer = format!("{long}A");
        assert_eq!(Parts::of(longer.as_bytes()).unwrap_err(), JwtFault::TooLong);
    }

    #[test]
    fn a_header_names_an_algorithm_that_was_asked_for() {
        let is =
            |algorithm, kid: Option<&str>| Ok(Header { algorithm, kid: kid.map(str::to_owned) });
        for (text, expected) in [
            ("{\"alg\":\"ES256\"}", is(JwtAlgorithm::Es256, None)),
            (" {\"typ\":\"JWT\",\r\n \"alg\":\"EdDSA\"}", is(JwtAlgorithm::EdDsa, None)),
            ("{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}", is(JwtAlgorithm::Es256, None)),
            ("{\"alg\":\"ES256\",\"typ\":\"jwt\"}", is(JwtAlgorithm::Es256, None)),
            ("{\"alg\":\"ES256\",\"typ\":\"application/AT+JWT\"}", is(JwtAlgorithm::Es256, None)),
            ("{\"alg\":\"ES256\",\"kid\":\"\"}", is(JwtAlgorithm::Es256, Some(""))),
            (
                "{\"alg\":\"ES256\",\"kid\":\"../../etc/passwd\"}",
                is(JwtAlgorithm::Es256, Some("../../etc/passwd")),
            ),
            (
                "{\"alg\":\"ES256\",\"jku\":\"http://a\",\"jwk\":{\"kty\":\"oct\"},\"x5c\":[1]}",
                is(JwtAlgorithm::Es256, None),
            ),
            ("{\"alg\":\"none\"}", Err(JwtFault::WrongAlgorithm)),
            ("{\"alg\":\"None\"}", Err(JwtFault::WrongAlgorithm)),
            ("{\"alg\":\"NONE\"}", Err(JwtFault::WrongAlgorithm)),
            ("{\"alg\":\"nOnE\"}", Err(JwtFault::WrongAlgorithm)),
            ("{\"alg\":\"\"}", Err(JwtFault::WrongAlgorithm)),
            ("{\"alg\":\"es256\"}", Err(JwtFault::WrongAlgorithm)),
            ("{\"alg\":\"ES256 \"}", Err(JwtFault::WrongAlgorithm)),
            ("{\"alg\":\"ES256\\u0000\"}", Err(JwtFault::WrongAlgorithm)),
            ("{\"alg\":\"HS256\"}", Err(JwtFault::WrongAlgorithm)),
            ("{\"alg\":\"RS256\"}", Err(JwtFault::WrongAlgorithm)),
            ("{\"alg\":null}", Err(JwtFault::Malformed)),
            ("{\"alg\":[\"ES256\"]}", Err(JwtFault::Malformed)),
            ("{}", Err(JwtFault::Malformed)),
            ("{\"ALG\":\"ES256\"}", Err(JwtFault::Malformed)),
            ("[]", Err(JwtFault::Malformed)),
            ("", Err(JwtFault::Malformed)),
            ("{\"alg\":\"none\",\"alg\":\"ES256\"}", Err(JwtFault::Malformed)),
            ("{\"alg\":\"ES256\",\"\\u0061lg\":\"none\"}", Err(JwtFault::Malformed)),
            ("{\"alg\":\"ES256\",\"kid\":1}", Err(JwtFault::Malformed)),
            ("{\"alg\":\"ES256\",\"kid\":null}", Err(JwtFault::Malformed)),
            ("{\"alg\":\"ES256\",\"typ\":1}", Err(JwtFault::Malformed)),
            ("{\"alg\":\"ES256\",\"typ\":\"dpop+jwt\"}", Err(JwtFault::WrongType)),
            ("{\"alg\":\"ES256\",\"typ\":\"\"}", Err(JwtFault::WrongType)),
            ("{\"alg\":\"ES256\",\"crit\":[\"exp\"],\"exp\":1}", Err(JwtFault::CriticalHeader)),
            ("{\"alg\":\"ES256\",\"crit\":[]}", Err(JwtFault::CriticalHeader)),
            ("{\"alg\":\"none\",\"crit\":null}", Err(JwtFault::CriticalHeader)),
            ("{\"alg\":\"ES256\",\"b64\":false}", Err(JwtFault::CriticalHeader)),
        ] {
            assert_eq!(header(text), expected, "{text}");
        }
    }

    #[test]
    fn times_are_numbers_and_hold_with_leeway() {
        use JwtFault::{Expired, Malformed, NotYet};
        for (text, expected) in [
            ("{\"exp\":1700000001}", Ok(1_700_000_001)),
            ("{\"exp\":1699999941}", Ok(1_699_999_941)),
            ("{\"exp\":1699999940}", Err(Expired)),
            ("{\"exp\":1699999940.9}", Err(Expired)),
            ("{\"exp\":1699999941.0}", Ok(1_699_999_941)),
            ("{\"exp\":1.8e9}", Ok(1_800_000_000)),
            ("{\"exp\":253402300799}", Ok(LAST)),
            ("{\"exp\":253402300800}", Err(Malformed)),
            ("{\"exp\":18446744073709551615}", Err(Malformed)),
            ("{\"exp\":99999999999999999999}", Err(Malformed)),
            ("{\"exp\":1e300}", Err(Malformed)),
            ("{\"exp\":1e400}", Err(Malformed)),
            ("{\"exp\":0}", Err(Expired)),
            ("{\"exp\":-1}", Err(Expired)),
            ("{\"exp\":-1e300}", Err(Expired)),
            ("{\"exp\":\"1800000000\"}", Err(Malformed)),
            ("{\"exp\":null}", Err(Malformed)),
            ("{\"exp\":true}", Err(Malformed)),
            ("{\"exp\":[1800000000]}", Err(Malformed)),
            ("{}", Err(Malformed)),
            ("{\"exp\":1800000000,\"exp\":1800000000}", Err(Malformed)),
            ("{\"exp\":1,\"e\\u0078p\":1800000000}", Err(Malformed)),
            ("{\"exp\":1800000000,\"a\":{\"b\":1,\"b\":2}}", Err(Malformed)),
            ("[{\"exp\":1800000000}]", Err(Malformed)),
            ("{\"exp\":1800000000,\"nbf\":1700000060}", Ok(1_800_000_000)),
            ("{\"exp\":1800000000,\"nbf\":1700000061}", Err(NotYet)),
            ("{\"exp\":1800000000,\"nbf\":-5}", Ok(1_800_000_000)),
            ("{\"exp\":1800000000,\"nbf\":\"x\"}", Err(Malformed)),
            ("{\"exp\":1800000000,\"iat\":1700000060.9}", Ok(1_800_000_000)),
            ("{\"exp\":1800000000,\"iat\":1700000061}", Err(NotYet)),
            ("{\"exp\":1800000000,\"iat\":1,\"nbf\":1700000061}", Err(NotYet)),
            ("{\"exp\":1800000000,\"iat\":null}", Err(Malformed)),
        ] {
            let found = claims(&spec(), text).map(|claims| claims.expires);
            assert_eq!(found, expected, "{text}");
        }
        let strict = JwtSpec { leeway: Duration::ZERO, ..spec() };
        for (text, good) in [
            ("{\"exp\":1700000001,\"nbf\":1700000000,\"iat\":1700000000}", true),
            ("{\"exp\":1700000000}", false),
            ("{\"exp\":1700000001,\"nbf\":1700000001}", false),
        ] {
            assert_eq!(claims(&strict, text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn issuer_and_audience_are_those_that_were_asked_for() {
        use JwtFault::{Malformed, WrongAudience, WrongIssuer};
        let both = JwtSpec {
            issuer: vec!["https://id".to_owned(), "other".to_owned()],
            audience: vec!["shop".to_owned(), "cart".to_owned()],
            ..spec()
        };
        for (text, expected) in [
            ("\"iss\":\"https://id\",\"aud\":\"shop\"", Ok(())),
            ("\"iss\":\"other\",\"aud\":[\"x\",\"cart\"]", Ok(())),
            ("\"iss\":\"https://id/\",\"aud\":\"shop\"", Err(WrongIssuer)),
            ("\"iss\":\"HTTPS://ID\",\"aud\":\"shop\"", Err(WrongIssuer)),
            ("\"iss\":\"\",\"aud\":\"shop\"", Err(WrongIssuer)),
            ("\"aud\":\"shop\"", Err(WrongIssuer)),
            ("\"iss\":[\"other\"],\"aud\":\"shop\"", Err(Malformed)),
            ("\"iss\":\"other\",\"aud\":\"shop cart\"", Err(WrongAudience)),
            ("\"iss\":\"other\",\"aud\":[]", Err(WrongAudience)),
            ("\"iss\":\"other\",\"aud\":[\"x\"]", Err(WrongAudience)),
            ("\"iss\":\"other\"", Err(WrongAudience)),
            ("\"iss\":\"other\",\"aud\":[\"shop\",1]", Err(Malformed)),
            ("\"iss\":\"other\",\"aud\":{\"shop\":1}", Err(Malformed)),
            ("\"iss\":\"other\",\"aud\":null", Err(Malformed)),
        ] {
            let text = format!("{{\"exp\":1800000000,{text}}}");
            assert_eq!(claims(&both, &text).map(drop), expected, "{text}");
        }
        let text = "{\"exp\":1800000000,\"iss\":\"x\",\"aud\":\"y\"}";
        assert!(claims(&spec(), text).is_ok());
    }

    #[test]
    fn roles_are_texts_at_a_path() {
        let many = format!("[{}]", vec!["\"r\""; ROLES + 1].join(","));
        for (path, text, expected) in [
            ("scope", "{\"scope\":\"a b  c\"}", Some("a b c")),
            ("roles", "{\"roles\":[\"a\",\"b c\"]}", Some("a|b c")),
            ("realm_access.roles", "{\"realm_access\":{\"roles\":[\"a\"]}}", Some("a")),
            ("https://a.example/roles", "{\"https://a.example/roles\":[\"a\"]}", Some("a")),
            ("a.b.c", "{\"a\":{\"b\":{\"c\":\"x\"}}}", Some("x")),
            ("a.b", "{\"a\":[{\"b\":\"x\"}]}", Some("")),
            ("a.b", "{\"a\":\"b\"}", Some("")),
            ("a", "{}", Some("")),
            ("a", "{\"a\":\"\"}", Some("")),
            ("a", "{\"a\":null}", None),
            ("a", "{\"a\":1}", None),
            ("a", "{\"a\":{\"b\":1}}", None),
            ("a", "{\"a\":[\"x\",1]}", None),
            ("a", "{\"a\":[[\"x\"]]}", None),
            ("a", &format!("{{\"a\":{many}}}"), None),
        ] {
            let rules = JwtSpec { role: Some(path.to_owned()), ..spec() };
            let text = text.replacen('{', "{\"exp\":1800000000,", 1).replace(",}", "}");
            let found = claims(&rules, &text).map(|claims| claims.roles).ok();
            let separator = if path == "roles" { "|" } else { " " };
            assert_eq!(found.map(|roles| roles.join(separator)).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_forwarded_can_forge_no_line() {
        let field = ("X-User".to_owned(), "a".to_owned());
        let rules = JwtSpec { forward: vec![field], ..spec() };
        let long = "x".repeat(VALUE);
        for (value, expected) in [
            ("\"ada\"", Some("ada")),
            ("\"Ada L.\"", Some("Ada L.")),
            ("7", Some("7")),
            ("-7", Some("-7")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("18446744073709551616", None),
            ("1.5", Some("1.5")),
            ("1e300", None),
            ("true", Some("true")),
            ("false", Some("false")),
            ("null", None),
            ("[\"a\"]", None),
            ("{\"b\":1}", None),
            ("\"\"", None),
            ("\" ada\"", None),
            ("\"ada \"", None),
            ("\"a\\r\\nX-Admin: 1\"", None),
            ("\"a\\nb\"", None),
            ("\"a\\u0000b\"", None),
            ("\"a\\tb\"", None),
            ("\"a\\u007fb\"", None),
            ("\"J\u{f6}rg\"", None),
            ("\"\u{10a}\"", None),
            (&format!("\"{long}\""), Some(&*long)),
            (&format!("\"{long}x\""), None),
        ] {
            let claims = claims(&rules, &format!("{{\"exp\":1800000000,\"a\":{value}}}")).unwrap();
            let found = claims.forward.iter().map(|(field, value)| (&**field, &**value)).next();
            assert_eq!(found, expected.map(|value| ("X-User", value)), "{value}");
        }
    }

    #[test]
    fn a_subject_is_a_text() {
        for (value, expected) in [
            ("\"ada\"", Ok(Some("ada"))),
            ("\"J\u{f6}rg\"", Ok(Some("J\u{f6}rg"))),
            ("\"\"", Ok(Some(""))),
            ("7", Err(JwtFault::Malformed)),
            ("null", Err(JwtFault::Malformed)),
            ("\"a\\nb\"", Err(JwtFault::Malformed)),
            (&format!("\"{}\"", "x".repeat(VALUE + 1)), Err(JwtFault::Malformed)),
        ] {
            let found = claims(&spec(), &format!("{{\"exp\":1800000000,\"sub\":{value}}}"));
            let found = found.map(|claims| claims.subject);
            assert_eq!(found.as_ref().map(Option::as_deref).map_err(|f| *f), expected, "{value}");
        }
        let none = claims(&spec(), "{\"exp\":1800000000}").unwrap();
        assert_eq!((none.subject, none.roles, none.forward), (None, vec![], vec![]));
    }
}
