//! Questions that take time: they are asked elsewhere, and the request is judged again with the answer.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::credentials::{CacheKey, Outcome};
use super::authenticator::{Authentication, Authenticator, Fault};
use super::identity::Identity;
use super::kinds::Workspace;
use crate::config::AuthKind;
use crate::http::{Reason, Reply};

/// How long the outcome of a check holds.
#[cfg(any(feature = "jwt", feature = "passwords"))]
pub(super) const CHECK_HOLDS: Duration = Duration::from_secs(300);
/// How long a good password is known after its last use. It cannot change without a new [`Authenticator`], and whoever
/// uses it should not have to wait for a thread that may have much to do.
pub(super) const IN_USE_HOLDS: Duration = Duration::from_secs(3600);
/// How long anybody waits for a thread to look at a password.
const CHECK_PATIENCE: Duration = Duration::from_secs(10);

/// A question.
pub struct AuthQuestion {
    /// Who wants to know.
    pub auth: Arc<Authenticator>,
    pub(super) key: CacheKey,
    /// How long the answer holds.
    pub(super) holds: Holds,
    /// What is asked.
    pub asked: Asked,
}

/// How long an answer holds; zero: it is not remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holds {
    pub good: Duration,
    pub bad: Duration,
}

/// What is asked.
pub enum Asked {
    /// Are these credentials good? It takes long to find out.
    Check(SlowCheck),
    /// May this request pass? A service knows, if it is asked with these field lines.
    Service(Vec<u8>),
}

/// A check for which a core has no time: it is done on a thread of its own.
pub struct SlowCheck {
    /// Of what.
    pub kind: CheckKind,
    /// Does it.
    pub run: Box<dyn Fn(&mut Workspace) -> Answer + Send + Sync>,
    /// Who presented the credentials.
    pub client: Option<IpAddr>,
}

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// The hash of a password: tens of milliseconds, on purpose.
    Password,
    /// A signature with a public key: tens to hundreds of microseconds.
    Signature,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Yes: this is who asks.
    Good(Arc<Identity>),
    /// No; with more of it for operators.
    Rejected(&'static str),
    /// No, with this answer for the client.
    Relayed(Reply),
    /// Nobody knows.
    Unavailable,
}

/// What a check came to, as it is remembered.
pub(super) type Checked = Outcome<Arc<Identity>, Refusal>;

/// What is said to bad credentials.
#[derive(Clone)]
pub(super) enum Refusal {
    /// Why, in our words.
    Fault(Fault),
    /// A service's own answer.
    Relayed(Arc<Reply>),
}

impl From<Checked> for Authentication {
    fn from(checked: Checked) -> Authentication {
        match checked {
            Outcome::Good(identity) => Authentication::Accepted(identity),
            Outcome::Bad(Refusal::Fault(fault)) => Authentication::Rejected(fault),
            Outcome::Bad(Refusal::Relayed(reply)) => Authentication::Relayed(reply),
        }
    }
}

/// Octets of what is remembered, but for its frame.
pub(super) fn octets(checked: &Checked) -> usize {
    match checked {
        Outcome::Good(identity) => identity.octets(),
        Outcome::Bad(Refusal::Fault(_)) => 0,
        Outcome::Bad(Refusal::Relayed(reply)) => {
            let fields = reply.fields.iter().map(|(name, value)| name.len() + value.len());
            reply.body.len() + fields.sum::<usize>()
        }
    }
}

impl fmt::Debug for AuthQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthQuestion({})", self.auth.spec.name)
    }
}

/// The same credentials for the same auth: one answer is enough.
impl PartialEq for AuthQuestion {
    fn eq(&self, other: &AuthQuestion) -> bool {
        Arc::ptr_eq(&self.auth, &other.auth) && self.key == other.key
    }
}

impl AuthQuestion {
    /// What `answer` means for the request: who asks, or why it is refused. It is remembered from `now` on for a while.
    pub(super) fn answered(&self, answer: Answer, now: Duration) -> Authentication {
        let checked = match answer {
            Answer::Unavailable => {
                return Authentication::Rejected(Reason::AuthUnavailable.into());
            }
            Answer::Good(identity) => Outcome::Good(identity),
            Answer::Rejected(detail) => {
                Outcome::Bad(Refusal::Fault(Fault { reason: Reason::BadCredentials, detail }))
            }
            Answer::Relayed(reply) => Outcome::Bad(Refusal::Relayed(Arc::new(reply))),
        };
        let holds = match checked {
            Outcome::Good(_) => self.holds.good,
            Outcome::Bad(_) => self.holds.bad,
        };
        if !holds.is_zero() {
            self.auth.remember(self.key, &checked, now + holds);
        }
        checked.into()
    }

    /// What is to be checked, if that is what is asked.
    pub fn slow_check(&self) -> Option<&SlowCheck> {
        match &self.asked {
            Asked::Check(check) => Some(check),
            Asked::Service(_) => None,
        }
    }

    /// How long the answer is waited for.
    pub fn patience(&self) -> Duration {
        match &self.auth.spec.kind {
            AuthKind::Forward(spec) => spec.timeout,
            _ => CHECK_PATIENCE,
        }
    }
}
