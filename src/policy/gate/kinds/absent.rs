//! Credentials that this build knows nothing of: nobody has good ones.

use std::sync::Arc;

use super::super::super::MatchInput;
use super::super::authenticator::{Authentication, Authenticator};
use super::super::judge::JudgedAt;
#[cfg(not(feature = "jwt"))]
use crate::config::JwtSpec;
#[cfg(not(feature = "passwords"))]
use crate::config::User;
use crate::http::Reason;

/// In place of names with passwords.
#[cfg(not(feature = "passwords"))]
pub struct Passwords;

/// In place of memory for their hashes.
#[cfg(not(feature = "passwords"))]
#[derive(Default)]
pub struct Workspace(());

/// In place of signed tokens.
#[cfg(not(feature = "jwt"))]
pub struct Signed;

#[cfg(not(feature = "passwords"))]
impl Passwords {
    pub fn new(_: &[User]) -> Passwords {
        Passwords
    }

    pub fn authenticate(
        &self,
        _: &Arc<Authenticator>,
        _: &MatchInput<'_>,
        _: JudgedAt,
    ) -> Authentication {
        Authentication::Rejected(Reason::AuthUnavailable.into())
    }
}

#[cfg(not(feature = "jwt"))]
impl Signed {
    pub fn new(_: &JwtSpec) -> Signed {
        Signed
    }

    pub fn unusable(_: &JwtSpec) -> Option<String> {
        Some("this build knows nothing of signed tokens".to_owned())
    }

    pub fn has_keys(&self) -> bool {
        true
    }

    pub fn take_wants_keys(&self) -> bool {
        false
    }

    pub fn set_keys(&self, _: &JwtSpec, _: &[u8]) -> Result<(), String> {
        Err("this build knows nothing of signed tokens".to_owned())
    }

    pub fn authenticate(
        &self,
        _: &Arc<Authenticator>,
        _: &MatchInput<'_>,
        _: JudgedAt,
    ) -> Authentication {
        Authentication::Rejected(Reason::AuthUnavailable.into())
    }
}
