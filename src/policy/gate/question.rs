//! Questions that take time: they are asked elsewhere, and the request is judged again with the answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::super::credentials::{CacheKey, Outcome};
use super::authenticator::{Authenticator, Look};
use super::identity::Identity;
use crate::config::{AuthKind, User};
use crate::http::{Reason, Reply};

/// How long the outcome of a check holds.
pub(super) const CHECK_HOLDS: Duration = Duration::from_secs(300);
/// How long anybody waits for a thread to look at a password.
const CHECK_PATIENCE: Duration = Duration::from_secs(10);

/// Octets of an answer that is remembered.
const REMEMBERED_MOST: usize = 1024;

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
    /// Is this the password? To find out is slow on purpose: on a thread of its own.
    Password(Box<dyn Fn() -> Answer + Send + Sync>),
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

/// What is remembered of an answer.
#[derive(Clone)]
pub(super) enum Remembered {
    Who(Arc<Identity>),
    Said(Arc<Reply>),
    Nothing,
}

impl fmt::Debug for AuthQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthQuestion({})", self.auth.spec.name)
    }
}

fn octets(reply: &Reply) -> usize {
    let fields = reply.fields.iter().map(|(name, value)| name.len() + value.len());
    reply.body.len() + fields.sum::<usize>()
}

impl AuthQuestion {
    /// What `answer` means for the request: who asks, or why it is refused. It is remembered from `now` on for a while.
    pub(super) fn answered(&self, answer: Answer, now: Duration) -> Look {
        let (outcome, look) = match answer {
            Answer::Unavailable => return Look::Bad(Reason::AuthUnavailable),
            Answer::Good { user, lines } => {
                let (name, roles) = user.map_or_else(Default::default, |user| {
                    (Arc::clone(&user.name), user.roles.clone())
                });
                let identity = Identity::new(&self.auth.spec.name, &name, roles, lines);
                (Outcome::Good(Remembered::Who(Arc::clone(&identity))), Look::Good(identity))
            }
            Answer::Bad(Some(reply)) => {
                let reply = Arc::new(reply);
                (Outcome::Bad(Remembered::Said(Arc::clone(&reply))), Look::Said(reply))
            }
            Answer::Bad(None) => {
                (Outcome::Bad(Remembered::Nothing), Look::Bad(Reason::BadCredentials))
            }
        };
        let holds = match &self.auth.spec.kind {
            AuthKind::Forward(spec) => spec.cache,
            _ => CHECK_HOLDS,
        };
        // What is long is asked for again: what is remembered has a bound.
        let is_short = match &look {
            Look::Good(who) => who.lines.len() <= REMEMBERED_MOST,
            Look::Said(reply) => octets(reply) <= REMEMBERED_MOST,
            _ => true,
        };
        if !holds.is_zero() && is_short {
            self.auth.remember(self.key, outcome, now + holds);
        }
        look
    }

    /// How long the answer is waited for.
    pub fn patience(&self) -> Duration {
        match &self.auth.spec.kind {
            AuthKind::Forward(spec) => spec.timeout,
            _ => CHECK_PATIENCE,
        }
    }
}
