//! Who asks the admin, and what they may.
//!
//! Where no token is configured, whoever reaches it may look, and on loopback and over Unix sockets change things.
//! Where there are tokens, a change takes one whose role is not `read`; away from loopback and Unix sockets a look
//! takes a token, too.

use super::request::AdminRequest;
use super::{Refused, View};
use crate::base::{digest, same};
use crate::config::{Listen, Token};

/// The role that may look, and change nothing.
const READ: &str = "read";

/// Who has no token where there are some, or a wrong one.
pub(super) const NOBODY: &str = "nobody";

/// Whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// The name of the token, or the way that the question came.
    pub by: String,
    /// A token says who it is.
    pub is_known: bool,
    may_change: bool,
}

/// Who asks; `local`: over a Unix socket.
///
/// # Errors
/// Where a token is needed, or is not good.
pub(super) fn caller(view: &View, request: &AdminRequest, local: bool) -> Result<Caller, Refused> {
    let tokens = &view.plan.process.admin_tokens;
    let is_near = local || is_loopback(view);
    if tokens.is_empty() {
        let by = if local { "a Unix socket" } else { "the admin" }.to_owned();
        return Ok(Caller { by, is_known: false, may_change: is_near });
    }
    match &request.token {
        Some(token) => match find(tokens, token) {
            Some(token) => {
                let may_change =
                    token.roles.is_empty() || token.roles.iter().any(|role| **role != *READ);
                Ok(Caller { by: token.name.to_string(), is_known: true, may_change })
            }
            None => Err(unauthorized("this token is not one of the admin's")),
        },
        None if is_near => Ok(Caller { by: NOBODY.to_owned(), is_known: false, may_change: false }),
        None => Err(unauthorized("the admin wants a token: Authorization: Bearer TOKEN")),
    }
}

impl Caller {
    /// Whether this one may see whether credentials are good; `local`: over a Unix socket.
    pub fn may_judge(&self, view: &View, local: bool) -> bool {
        self.is_known || local || view.plan.process.admin_tokens.is_empty()
    }

    /// Whether this one may have the change made that is asked for.
    ///
    /// # Errors
    /// Why not.
    pub fn may_change(&self, view: &View, request: &AdminRequest) -> Result<(), Refused> {
        match self.may_change {
            true => {}
            false if view.plan.process.admin_tokens.is_empty() => {
                let message = "the admin can be reached from other machines, so nothing is changed here: \
                               give it a token with --admin-token, or have --admin listen on 127.0.0.1";
                return Err(Refused::new(403, "not_local", message));
            }
            false if self.is_known => {
                let message = "this token may look, and change nothing";
                return Err(Refused::new(403, "read_only", message));
            }
            false => {
                return Err(unauthorized("a change takes a token: Authorization: Bearer TOKEN"));
            }
        }
        let kind = request.content_type.split(';').next().unwrap_or_default().trim();
        match kind.eq_ignore_ascii_case("application/json") {
            true => Ok(()),
            // No page makes a browser send JSON to another origin unasked.
            false => {
                let message = "a change takes Content-Type: application/json";
                Err(Refused::new(415, "content_type", message))
            }
        }
    }
}

/// The token; how long that takes tells nothing of how near it is.
fn find<'t>(tokens: &'t [Token], presented: &[u8]) -> Option<&'t Token> {
    let digest = digest(presented);
    let is_it = |token: &&Token| same(&token.digest, &digest);
    tokens.iter().fold(None, |found, token| if is_it(&token) { Some(token) } else { found })
}

fn is_loopback(view: &View) -> bool {
    match &view.plan.process.admin {
        Some(Listen::Tcp(address)) => address.ip().is_loopback(),
        Some(Listen::Unix(_)) => true,
        Some(Listen::Any(_)) | None => false,
    }
}

pub(super) fn unauthorized(message: &'static str) -> Refused {
    Refused::new(401, "unauthorized", message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::admin::testing::view;
    use crate::http::Method;

    fn request(token: Option<&str>) -> AdminRequest {
        AdminRequest {
            method: Method::Post,
            path: "/reload".to_owned(),
            query: String::new(),
            host: String::new(),
            accept: String::new(),
            content_type: "application/json".to_owned(),
            token: token.map(|token| token.as_bytes().to_vec()),
            body: Vec::new(),
            keep: true,
        }
    }

    fn token(secret: &str, role: &str) -> Token {
        let roles = (!role.is_empty()).then(|| role.into()).into_iter().collect();
        let digest = digest(secret.as_bytes());
        Token { name: secret.into(), digest, shown: "***".into(), roles }
    }

    #[test]
    fn who_may_what_follows_from_token_and_place() {
        let here = Listen::Tcp(([127, 0, 0, 1], 8082).into());
        let away = Listen::Tcp(([192, 0, 2, 1], 8082).into());
        for (admin, has_tokens, presented, look, change) in [
            (&here, false, None, 200, 200),
            (&away, false, None, 200, 403),
            (&here, true, None, 200, 401),
            (&away, true, None, 401, 401),
            (&here, true, Some("wrong"), 401, 401),
            (&away, true, Some("all"), 200, 200),
            (&away, true, Some("look"), 200, 403),
            (&here, true, Some("look"), 200, 403),
            (&here, true, Some("work"), 200, 200),
        ] {
            let mut view = view();
            let mut plan = (*view.plan).clone();
            plan.process.admin = Some(admin.clone());
            if has_tokens {
                plan.process.admin_tokens =
                    vec![token("all", ""), token("look", "read"), token("work", "operate")];
            }
            view.plan = Arc::new(plan);
            let request = request(presented);
            let found = caller(&view, &request, false);
            let status = |found: Option<&Refused>| found.map_or(200, |refused| refused.status);
            assert_eq!(status(found.as_ref().err()), look, "{admin} {presented:?} looks");
            let refused = found.and_then(|caller| caller.may_change(&view, &request)).err();
            assert_eq!(status(refused.as_ref()), change, "{admin} {presented:?} changes");
        }
    }
}
