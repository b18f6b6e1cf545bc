//! Tokens that were handed out.

use std::sync::Arc;

use super::super::super::MatchInput;
use super::super::super::credentials::{self, Presented, TokenTable};
use super::super::authenticator::{Authenticator, Look};
use super::super::identity::Identity;
use crate::config::Token;
use crate::http::Reason;

/// Those that are good, and whose they are.
pub struct Tokens(TokenTable<Arc<Identity>>);

impl Tokens {
    pub fn new(auth: &Arc<str>, tokens: &[Token]) -> Tokens {
        let identity = |one: &Token| {
            (one.digest, Identity::new(auth, &one.name, one.roles.clone(), Vec::new()))
        };
        Tokens(TokenTable::new(tokens.iter().map(identity)))
    }

    pub fn look(&self, auth: &Authenticator, input: &MatchInput<'_>) -> Look {
        match credentials::bearer(&auth.spec.fields, input.head, input.bytes) {
            Presented::Nothing => Look::Nothing,
            Presented::Ambiguous | Presented::TooLong => Look::Bad(Reason::AmbiguousCredentials),
            Presented::One(secret) => match self.0.find(secret) {
                Some(identity) => {
                    identity.count();
                    Look::Good(Arc::clone(identity))
                }
                None => Look::Bad(Reason::BadCredentials),
            },
        }
    }

    pub fn identities(&self) -> impl Iterator<Item = &Arc<Identity>> {
        self.0.iter()
    }
}
