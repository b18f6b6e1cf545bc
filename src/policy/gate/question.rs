//! Questions that take time: they are asked elsewhere, and the request is judged again with the answer.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::credentials::{CacheKey, Outcome};
use super::authenticator::{Authentication, Authenticator, Fault};
use super::identity::Identity;
use super::kinds::Workspace;
use crate::config::{AuthKind, User};
use crate::http::{Reason, Reply};

/// How long the outcome of a check holds.
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
    /// What is asked.
    pub asked: Asked,
}

/// What is asked.
pub enum Asked {
    /// Is this the password?
    Password {
        /// Finds out, which is slow on purpose: on a thread of its own.
        check: Box<dyn Fn(&mut Workspace) -> Answer + Send + Sync>,
        /// Who asks.
        client: Option<IpAddr>,
    },
    /// May this request pass? A service knows, if it is asked with these field lines.
    Service(Vec<u8>),
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Yes.
    Good {
        /// Whose password it is, where it is one.
        user: Option<Arc<User>>,
        /// Field lines for the upstream.
        lines: Vec<u8>,
    },
    /// No; with this answer for the client, if there is one.
    Bad(Option<Reply>),
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
            Answer::Unavailable => return Authentication::Rejected(Reason::AuthUnavailable.into()),
            Answer::Good { user, lines } => {
                let (name, roles) = user.map_or_else(Default::default, |user| {
                    (Arc::clone(&user.name), user.roles.clone())
                });
                Outcome::Good(Identity::new(&self.auth.spec.name, &name, roles, lines))
            }
            Answer::Bad(Some(reply)) => Outcome::Bad(Refusal::Relayed(Arc::new(reply))),
            Answer::Bad(None) => Outcome::Bad(Refusal::Fault(Reason::BadCredentials.into())),
        };
        let holds = match (&self.auth.spec.kind, &checked) {
            (AuthKind::Forward(spec), _) => spec.cache,
            (_, Outcome::Good(_)) => IN_USE_HOLDS,
            (_, Outcome::Bad(_)) => CHECK_HOLDS,
        };
        if !holds.is_zero() {
            self.auth.remember(self.key, &checked, now + holds);
        }
        checked.into()
    }

    /// How long the answer is waited for.
    pub fn patience(&self) -> Duration {
        match &self.auth.spec.kind {
            AuthKind::Forward(spec) => spec.timeout,
            _ => CHECK_PATIENCE,
        }
    }
}
