//! Tokens that were handed out.

use std::sync::Arc;

use super::super::super::MatchInput;
use super::super::super::credentials::{self, TokenTable};
use super::super::authenticator::{Authentication, Authenticator, only};
use super::super::identity::Identity;
use crate::config::Token;
use crate::http::Reason;

/// Those that are good, and whose they are.
pub struct Tokens {
    table: TokenTable<Arc<Identity>>,
    /// Whose they are, in the order of the settings.
    identities: Vec<Arc<Identity>>,
}

impl Tokens {
    pub fn new(auth: &Arc<str>, tokens: &[Token]) -> Tokens {
        let identity = |one: &Token| Identity::new(auth, &one.name, one.roles.clone(), Vec::new());
        let identities: Vec<Arc<Identity>> = tokens.iter().map(identity).collect();
        let digests = tokens.iter().map(|one| one.digest);
        Tokens { table: TokenTable::new(digests.zip(identities.iter().cloned())), identities }
    }

    pub fn authenticate(&self, auth: &Authenticator, input: &MatchInput<'_>) -> Authentication {
        let secret = match only(credentials::bearer(&auth.spec.fields, input.head, input.bytes)) {
            Ok(secret) => secret,
            Err(otherwise) => return otherwise,
        };
        let Some(identity) = self.table.find(secret) else {
            return Authentication::Rejected(Reason::BadCredentials.into());
        };
        identity.count();
        Authentication::Accepted(Arc::clone(identity))
    }

    pub fn identities(&self) -> impl Iterator<Item = &Arc<Identity>> {
        self.identities.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest;

    #[test]
    fn tokens_are_told_in_the_order_of_the_settings() {
        let names: Vec<Arc<str>> = (0..100).map(|n| format!("token-{n}").into()).collect();
        let token = |name: &Arc<str>| Token {
            name: Arc::clone(name),
            digest: digest(name.as_bytes()),
            shown: "***".into(),
            roles: Vec::new(),
        };
        let tokens: Vec<Token> = names.iter().map(token).collect();
        let tokens = Tokens::new(&"client".into(), &tokens);
        let told: Vec<Arc<str>> = tokens.identities().map(|one| Arc::clone(&one.name)).collect();
        assert_eq!(told, names);
        assert_eq!(tokens.table.find(b"token-7").unwrap().name, names[7]);
    }
}
