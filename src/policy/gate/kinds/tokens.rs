//! Tokens that were handed out.

use std::sync::Arc;

use super::super::super::MatchInput;
use super::super::super::credentials::{self, TokenTable};
use super::super::authenticator::{Authenticator, Look, only};
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
        let secret = match only(credentials::bearer(&auth.spec.fields, input.head, input.bytes)) {
            Ok(secret) => secret,
            Err(look) => return look,
        };
        let Some(identity) = self.0.find(secret) else {
            return Look::Bad(Reason::BadCredentials.into());
        };
        identity.count();
        Look::Good(Arc::clone(identity))
    }

    pub fn identities(&self) -> impl Iterator<Item = &Arc<Identity>> {
        self.0.iter()
    }
}
