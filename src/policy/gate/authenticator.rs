//! One who tells who asks: a kind of credentials, with what is known of those who have presented some.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::super::MatchInput;
use super::super::credentials::{CacheKey, CheckCache, Outcome, Presented};
use super::identity::Identity;
use super::judge::JudgedAt;
use super::kinds::{Passwords, Service, Signed, Tokens};
use super::question::{AuthQuestion, Checked, IN_USE_HOLDS, Refusal, octets};
use crate::base::random_secret;
use crate::config::{AskedUrl, AuthKind, AuthSpec, JwtKeys};
use crate::http::{Reason, Reply};

/// Outcomes of checks that are remembered, good ones and bad ones each.
const REMEMBERED: usize = 16_384;
/// Octets of what is remembered of one; the rows of the memory reckon with them.
const REMEMBERED_OCTETS: usize = 1024;
/// Tokens whose requests are shown one by one: scrapers have bounds, too.
const SHOWN: usize = 1000;

/// One who tells who asks.
pub struct Authenticator {
    /// As it was asked for.
    pub spec: Arc<AuthSpec>,
    kind: Kind,
    cache: CheckCache<Arc<Identity>, Refusal>,
    /// Requests, by what became of their credentials.
    counts: [AtomicU64; AuthOutcome::ALL.len()],
}

enum Kind {
    Tokens(Tokens),
    Passwords(Passwords),
    Signed(Signed),
    Service(Service),
}

/// What the credentials in a request, or their absence, come to.
pub(super) enum Authentication {
    /// There are none of this kind.
    Absent,
    Accepted(Arc<Identity>),
    Rejected(Fault),
    /// A service rejects them, with this answer for the client.
    Relayed(Arc<Reply>),
    /// Somebody has to be asked, which takes time.
    Ask(Arc<AuthQuestion>),
}

/// Why credentials are no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub reason: Reason,
    /// More of it, for operators and not for who presented them; empty: there is no more.
    pub detail: &'static str,
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Fault {
        Fault { reason, detail: "" }
    }
}

impl Fault {
    /// Of two faults of a request, this is the one to tell: that nobody can say whether credentials are good comes
    /// before that others, of another kind, are not.
    pub fn outweighs(&self, other: &Fault) -> bool {
        let weight = |fault: &Fault| match fault.reason {
            Reason::AmbiguousCredentials => 2,
            Reason::AuthUnavailable => 1,
            _ => 0,
        };
        weight(self) > weight(other)
    }
}

/// What becomes of a request's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthOutcome {
    /// They are good.
    Accepted,
    /// The request is refused for them.
    Refused,
    /// Whether they are good could not be found out.
    Unavailable,
}

impl AuthOutcome {
    /// All of them, with their words.
    const ALL: [(AuthOutcome, &'static str); 3] = [
        (AuthOutcome::Accepted, "accepted"),
        (AuthOutcome::Refused, "refused"),
        (AuthOutcome::Unavailable, "unavailable"),
    ];
}

/// The credentials that were presented, or what is to be said where there are not exactly these.
pub(super) fn only<T>(presented: Presented<T>) -> Result<T, Authentication> {
    match presented {
        Presented::One(credentials) => Ok(credentials),
        Presented::Nothing => Err(Authentication::Absent),
        Presented::Ambiguous | Presented::TooLong => {
            Err(Authentication::Rejected(Reason::AmbiguousCredentials.into()))
        }
    }
}

/// Keys that are fetched.
#[derive(Clone, Debug)]
pub struct KeySource {
    /// From where.
    pub url: AskedUrl,
    /// How often.
    pub refresh: Duration,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authenticator({})", self.spec.name)
    }
}

impl Authenticator {
    /// One that knows nobody yet.
    pub fn new(spec: &Arc<AuthSpec>) -> Authenticator {
        let kind = match &spec.kind {
            AuthKind::Token(tokens) => Kind::Tokens(Tokens::new(&spec.name, tokens)),
            AuthKind::Basic(users) => Kind::Passwords(Passwords::new(users)),
            AuthKind::Jwt(jwt) => Kind::Signed(Signed::new(jwt)),
            AuthKind::Forward(forward) => Kind::Service(Service::new(forward)),
        };
        let cache = CheckCache::new(random_secret(), REMEMBERED);
        Authenticator { spec: Arc::clone(spec), kind, cache, counts: Default::default() }
    }

    /// Why what `spec` has cannot be used, if it cannot.
    pub(super) fn unusable(spec: &AuthSpec) -> Option<String> {
        match &spec.kind {
            AuthKind::Jwt(jwt) => Signed::unusable(jwt),
            _ => None,
        }
    }

    /// Keys that have to be fetched.
    pub fn source(&self) -> Option<KeySource> {
        let AuthKind::Jwt(jwt) = &self.spec.kind else { return None };
        match &jwt.keys {
            JwtKeys::Url { url, refresh } => {
                Some(KeySource { url: url.clone(), refresh: *refresh })
            }
            JwtKeys::Key(_) | JwtKeys::Set(_) => None,
        }
    }

    /// No keys are needed, or they have come.
    pub fn has_keys(&self) -> bool {
        match &self.kind {
            Kind::Signed(signed) => signed.has_keys(),
            _ => true,
        }
    }

    /// Goes by the keys of this set from now on.
    ///
    /// # Errors
    /// When it is none, or has none that fits; the keys so far stay in use.
    pub fn set_keys(&self, set: &[u8]) -> Result<(), String> {
        match (&self.spec.kind, &self.kind) {
            (AuthKind::Jwt(jwt), Kind::Signed(signed)) => signed.set_keys(jwt, set),
            _ => Err("no keys are wanted".to_owned()),
        }
    }

    /// Whether a token has come since the last call whose key is not among those that there are.
    pub fn take_wants_keys(&self) -> bool {
        match &self.kind {
            Kind::Signed(signed) => signed.take_wants_keys(),
            _ => false,
        }
    }

    /// Requests by what became of their credentials, with the word for it.
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        AuthOutcome::ALL.map(|(outcome, word)| (word, self.counts[outcome as usize].load(Relaxed)))
    }

    /// Those who have a token of their own: the first thousand.
    pub fn identities(&self) -> impl Iterator<Item = &Arc<Identity>> {
        let tokens = match &self.kind {
            Kind::Tokens(tokens) => Some(tokens.identities().take(SHOWN)),
            _ => None,
        };
        tokens.into_iter().flatten()
    }

    /// Who asks, by the credentials in `input`.
    pub(super) fn authenticate(
        self: &Arc<Self>,
        input: &MatchInput<'_>,
        at: JudgedAt,
    ) -> Authentication {
        match &self.kind {
            Kind::Tokens(tokens) => tokens.authenticate(self, input),
            Kind::Passwords(passwords) => passwords.authenticate(self, input, at),
            Kind::Signed(signed) => signed.authenticate(self, input, at),
            Kind::Service(service) => service.authenticate(self, input, at),
        }
    }

    /// Counts what became of a request.
    pub(super) fn count(&self, outcome: AuthOutcome) {
        self.counts[outcome as usize].fetch_add(1, Relaxed);
    }

    /// What stands for these credentials where outcomes are remembered.
    pub(super) fn key(&self, credentials: &[&[u8]]) -> CacheKey {
        self.cache.key(credentials)
    }

    /// What is long is found out again instead: what is remembered has a bound.
    pub(super) fn remember(&self, key: CacheKey, checked: &Checked, until: Duration) {
        if octets(checked) <= REMEMBERED_OCTETS {
            self.cache.put(key, checked.clone(), until);
        }
    }

    pub(super) fn remembered(&self, key: CacheKey, now: Duration) -> Option<Authentication> {
        let checked = self.cache.get(key, now)?;
        if matches!((&self.spec.kind, &checked), (AuthKind::Basic(_), Outcome::Good(_))) {
            self.cache.renew(key, now + IN_USE_HOLDS);
        }
        Some(checked.into())
    }
}
