//! Names with passwords (RFC 7617). What came of a check is remembered, for the next one is as slow.

use std::sync::Arc;

use super::super::super::MatchInput;
use super::super::super::credentials;
use super::super::super::credentials::password::{Users, Workspace};
use super::super::authenticator::{Authentication, Authenticator, only};
use super::super::identity::Identity;
use super::super::judge::JudgedAt;
use super::super::question::{
    Answer, Asked, AuthQuestion, CHECK_HOLDS, CheckKind, Holds, IN_USE_HOLDS, SlowCheck,
};
use crate::config::User;

/// Those who have a password.
pub struct Passwords(Users);

impl Passwords {
    pub fn new(users: &[User]) -> Passwords {
        Passwords(Users::new(users))
    }

    pub fn authenticate(
        &self,
        auth: &Arc<Authenticator>,
        input: &MatchInput<'_>,
        JudgedAt { now, .. }: JudgedAt,
    ) -> Authentication {
        let found = match only(credentials::basic(input.head, input.bytes)) {
            Ok(found) => found,
            Err(otherwise) => return otherwise,
        };
        let key = auth.key(&[found.user.as_bytes(), &found.password]);
        if let Some(known) = auth.remembered(key, now) {
            return known;
        }
        let (candidate, password) = (self.0.find(&found.user), found.password);
        let name = Arc::clone(&auth.spec.name);
        let run =
            move |workspace: &mut Workspace| match candidate.clone().check(&password, workspace) {
                Some(user) => {
                    Answer::Good(Identity::new(&name, &user.name, user.roles.clone(), Vec::new()))
                }
                None => Answer::Rejected(""),
            };
        let (kind, client) = (CheckKind::Password, input.client());
        let asked = Asked::Check(SlowCheck { kind, run: Box::new(run), client });
        let holds = Holds { good: IN_USE_HOLDS, bad: CHECK_HOLDS };
        Authentication::Ask(Arc::new(AuthQuestion { auth: Arc::clone(auth), key, holds, asked }))
    }
}
