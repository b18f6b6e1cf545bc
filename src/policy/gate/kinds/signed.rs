//! Signed tokens (RFC 7519). What is wrong with a token besides its signature costs little to find, and is found here.
//! A signature with a public key is checked elsewhere, and what came of it is remembered, good or not.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::super::super::MatchInput;
use super::super::super::credentials::jws::{Claims, JwtFault};
use super::super::super::credentials::jwt::{JwtRules, KeySet, SetFault};
use super::super::super::credentials::{self, Outcome};
use super::super::authenticator::{Authentication, Authenticator, Fault, only};
use super::super::identity::Identity;
use super::super::judge::JudgedAt;
use super::super::question::{
    Answer, Asked, AuthQuestion, CHECK_HOLDS, CheckKind, Holds, SlowCheck,
};
use super::Workspace;
use crate::base::digest;
use crate::config::{JwtKeys, JwtSpec};
use crate::http::Reason;
use crate::http::write::field_line;

/// How long a signature that is not good is remembered.
const BAD_HOLDS: Duration = Duration::from_secs(30);

/// Whose signatures are believed.
pub struct Signed {
    keys: RwLock<Keys>,
    /// A token named a key that is not among them.
    wants_keys: AtomicBool,
}

/// The keys in use.
struct Keys {
    /// How often there were others: what was found out by those is forgotten.
    generation: u64,
    /// The SHA-256 of the set that was fetched last.
    set: [u8; 32],
    /// `None`: they have not come yet.
    rules: Option<Arc<JwtRules>>,
}

impl Signed {
    pub fn new(spec: &JwtSpec) -> Signed {
        let keys = own_keys(spec).and_then(Result::ok);
        let rules = keys.map(|keys| Arc::new(JwtRules::new(spec, keys)));
        let keys = Keys { generation: 0, set: [0; 32], rules };
        Signed { keys: RwLock::new(keys), wants_keys: AtomicBool::new(false) }
    }

    /// Why the keys that stand in the settings cannot be used.
    pub fn unusable(spec: &JwtSpec) -> Option<String> {
        own_keys(spec)?.err()
    }

    pub fn has_keys(&self) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.rules.as_ref().is_some_and(|rules| rules.has_keys())
    }

    /// Whether a token has named another key since the last call.
    pub fn take_wants_keys(&self) -> bool {
        self.wants_keys.swap(false, Relaxed)
    }

    /// Goes by the keys of this set from now on. What was found out by the same keys holds.
    ///
    /// # Errors
    /// When it is none, and the keys so far stay in use; or when none of its keys can be used, and there are none now.
    pub fn set_keys(&self, spec: &JwtSpec, set: &[u8]) -> Result<(), String> {
        let digest = digest(set);
        if self.keys.read().unwrap_or_else(PoisonError::into_inner).set == digest {
            return Ok(());
        }
        let (keys, result) = match KeySet::of_jwks(set, &spec.algorithms) {
            Ok(keys) => (keys, Ok(())),
            // Whoever withdraws the last key means it.
            Err(SetFault::Unusable(why)) => (KeySet::none(), Err(why)),
            Err(SetFault::Malformed(why)) => return Err(why),
        };
        let rules = Some(Arc::new(JwtRules::new(spec, keys)));
        let mut known = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        *known = Keys { generation: known.generation + 1, set: digest, rules };
        result
    }

    pub fn authenticate(
        &self,
        auth: &Arc<Authenticator>,
        input: &MatchInput<'_>,
        JudgedAt { now, unix_s }: JudgedAt,
    ) -> Authentication {
        let token = match only(credentials::bearer(&auth.spec.fields, input.head, input.bytes)) {
            Ok(token) => token,
            Err(otherwise) => return otherwise,
        };
        let (generation, rules) = {
            let known = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            (known.generation, known.rules.clone())
        };
        let Some(rules) = rules else {
            return Authentication::Rejected(Reason::AuthUnavailable.into());
        };
        let key = auth.key(&[token, &generation.to_ne_bytes()]);
        if let Some(known) = auth.remembered(key, now) {
            return known;
        }
        let left =
            |expires: u64| Duration::from_secs(expires.saturating_sub(unix_s)).min(CHECK_HOLDS);
        match rules.outlook(token, unix_s) {
            Ok((expires, true)) => {
                let (name, token) = (Arc::clone(&auth.spec.name), token.to_vec());
                let run = move |_: &mut Workspace| match rules.verify(&token, unix_s) {
                    Ok(claims) => Answer::Good(about(&name, claims)),
                    Err(why) => Answer::Rejected(why.label()),
                };
                let (kind, client) = (CheckKind::Signature, input.client());
                let asked = Asked::Check(SlowCheck { kind, run: Box::new(run), client });
                let (auth, holds) =
                    (Arc::clone(auth), Holds { good: left(expires), bad: BAD_HOLDS });
                Authentication::Ask(Arc::new(AuthQuestion { auth, key, holds, asked }))
            }
            Ok((_, false)) => match rules.verify(token, unix_s) {
                Ok(claims) => {
                    let until = now + left(claims.expires);
                    let checked = Outcome::Good(about(&auth.spec.name, claims));
                    auth.remember(key, &checked, until);
                    checked.into()
                }
                Err(why) => self.refused(why),
            },
            Err(why) => self.refused(why),
        }
    }

    fn refused(&self, why: JwtFault) -> Authentication {
        if why == JwtFault::UnknownKey {
            self.wants_keys.store(true, Relaxed);
        }
        let detail = why.label();
        Authentication::Rejected(Fault { reason: Reason::BadCredentials, detail })
    }
}

/// The keys that stand in the settings; `None`: they are fetched.
fn own_keys(spec: &JwtSpec) -> Option<Result<KeySet, String>> {
    match &spec.keys {
        JwtKeys::Key(key) => Some(KeySet::of_pem_or_secret(key.trim_end(), &spec.algorithms)),
        JwtKeys::Set(set) => {
            let keys = KeySet::of_jwks(set.as_bytes(), &spec.algorithms);
            Some(keys.map_err(|fault| fault.to_string()))
        }
        JwtKeys::Url { .. } => None,
    }
}

fn about(auth: &Arc<str>, claims: Claims) -> Arc<Identity> {
    let mut lines = Vec::new();
    for (field, value) in &claims.forward {
        field_line(&mut lines, field.as_bytes(), value.as_bytes());
    }
    let roles = claims.roles.into_iter().map(Into::into).collect();
    Identity::new(auth, &claims.subject.unwrap_or_default(), roles, lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{JwtAlgorithm, Secret};

    #[test]
    fn the_same_keys_again_are_no_others() {
        let spec = JwtSpec {
            keys: JwtKeys::Set(Secret::new("", Secret::MASK)),
            algorithms: vec![JwtAlgorithm::Hs256],
            issuer: Vec::new(),
            audience: Vec::new(),
            leeway: Duration::ZERO,
            role: None,
            forward: Vec::new(),
        };
        let signed = Signed::new(&spec);
        let set = |kid: &str| {
            let k = "A".repeat(43);
            format!("{{\"keys\":[{{\"kty\":\"oct\",\"kid\":\"{kid}\",\"k\":\"{k}\"}}]}}")
        };
        for (kid, generation) in [("a", 1), ("a", 1), ("b", 2), ("b", 2), ("a", 3)] {
            signed.set_keys(&spec, set(kid).as_bytes()).unwrap();
            assert_eq!(signed.keys.read().unwrap().generation, generation, "{kid}");
        }
        assert!(signed.set_keys(&spec, b"{}").is_err());
        assert_eq!((signed.has_keys(), signed.keys.read().unwrap().generation), (true, 3));
        // Who withdraws the last key means it.
        for (n, none) in [r#"{"keys":[]}"#, r#"{"keys":[{"kty":"EC"}]}"#].iter().enumerate() {
            assert!(signed.set_keys(&spec, none.as_bytes()).is_err());
            let generation = signed.keys.read().unwrap().generation;
            assert_eq!((signed.has_keys(), generation), (false, 4 + n as u64));
        }
    }
}
