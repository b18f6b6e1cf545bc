//! Whether a service lets a request pass.

use super::urls::{self, Request};
use crate::client;
use crate::config::{AuthKind, ForwardAuthSpec};
use crate::http::write::field_line;
use crate::http::{Reply, grammar};
use crate::policy::gate::{Answer, Asked, AuthQuestion, Identity};
use crate::proxy::Runtime;

/// Octets of the body of an answer.
const BODY_MOST: usize = 64 * 1024;
/// Fields of an answer that are relayed with it.
const RELAYED: [&str; 7] = [
    "Content-Type",
    "Content-Encoding",
    "WWW-Authenticate",
    "Location",
    "Set-Cookie",
    "Cache-Control",
    "Retry-After",
];

/// What the service says.
pub async fn ask(question: &AuthQuestion, runtime: &Runtime) -> Answer {
    let spec = &question.auth.spec;
    let (AuthKind::Forward(forward), Asked::Service(lines)) = (&spec.kind, &question.asked) else {
        return Answer::Unavailable;
    };
    let ForwardAuthSpec { url, timeout, fields, .. } = forward;
    let security = urls::security(url, runtime);
    let answer = match urls::ask(url, &security, Request::get(lines), BODY_MOST, *timeout).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(auth = %spec.name, %error, "the auth service did not answer");
            return Answer::Unavailable;
        }
    };
    match answer.status {
        200..300 => {
            let lines = copied(&answer, fields);
            Answer::Good(Identity::new(&spec.name, "", Vec::new(), lines))
        }
        300..500 => Answer::Relayed(relayed(answer)),
        // One that says that it failed says nothing of the credentials.
        _ => Answer::Unavailable,
    }
}

/// The lines of its fields that go on to the upstream.
fn copied(answer: &client::Answer, wanted: &[String]) -> Vec<u8> {
    let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
    let mut lines = Vec::new();
    for (name, value) in answer.fields.iter().filter(|(name, _)| is_wanted(name)) {
        field_line(&mut lines, name.as_bytes(), grammar::trim(value));
    }
    lines
}

/// The service's own answer, for the client.
fn relayed(answer: client::Answer) -> Reply {
    let mut reply = Reply::empty(if answer.status == 304 { 403 } else { answer.status });
    for name in RELAYED {
        let own = answer.fields.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        for (_, value) in own {
            reply.push(name, String::from_utf8_lossy(grammar::trim(value)).into_owned());
        }
    }
    reply.body = answer.body;
    reply.body.shrink_to_fit(); // the client may take its time
    reply
}
