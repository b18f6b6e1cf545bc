//! An ACME server, as an order sees it: asked over TLS, and shown the answers to its challenges.

use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;

use super::super::{tls, urls};
use crate::acme::{Request, Response, World};
use crate::base::digits;
use crate::client::Answer;
use crate::config::AskedUrl;
use crate::http::Method;
use crate::tls::{ChallengeAnswer, Challenges, ShownAnswer};
use crate::upstream::PoolTls;

/// How long one answer may take, and how many octets it may have.
const PATIENCE: Duration = Duration::from_secs(30);
const BODY_MOST: usize = 256 * 1024;
/// Field lines of each request (RFC 8555 section 6.1).
const FIELDS: &str = concat!("User-Agent: tidegate/", env!("CARGO_PKG_VERSION"), "\r\n");

/// The server.
pub struct Server<'c> {
    tls: &'c PoolTls,
    challenges: &'c Arc<Challenges>,
    shown: Option<ShownAnswer>,
}

impl<'c> Server<'c> {
    pub fn new(tls: &'c PoolTls, challenges: &'c Arc<Challenges>) -> Server<'c> {
        Server { tls, challenges, shown: None }
    }
}

impl World for Server<'_> {
    async fn ask(&mut self, url: &str, request: Request<'_>) -> Result<Response, String> {
        let url = AskedUrl::read(url).ok_or("the server gives a URL that cannot be asked")?;
        let security = tls::security(url.secure, None, url.host(), Some(self.tls));
        let (method, body) = match request {
            Request::Get => (Method::Get, ""),
            Request::Head => (Method::Head, ""),
            Request::Post(message) => (Method::Post, message),
        };
        let request = urls::Request {
            method,
            fields: FIELDS.as_bytes(),
            content_type: "application/jose+json",
            body,
        };
        let answer = urls::ask(&url, &security, request, BODY_MOST, PATIENCE).await;
        answer.map(response).map_err(|error| format!("{}: {error}", url.shown()))
    }

    async fn wait(&mut self, time: Duration) {
        Timer::after(time).await;
    }

    fn show(&mut self, answer: ChallengeAnswer) {
        self.shown = None; // first: what goes takes with it whatever is shown
        self.shown = Some(self.challenges.show(answer));
    }
}

fn response(answer: Answer) -> Response {
    let field = |name: &str| {
        let (_, value) = answer.fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(value).trim().to_owned())
    };
    // A date says as much (RFC 9110 section 10.2.3), but servers give seconds.
    let seconds = |text: String| digits(&text).map(Duration::from_secs);
    Response {
        status: answer.status,
        location: field("Location"),
        nonce: field("Replay-Nonce"),
        retry_after: field("Retry-After").and_then(seconds),
        body: answer.body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_an_answer_are_found_whatever_their_case() {
        let fields = [("replay-nonce", "n"), ("LOCATION", "https://a/1"), ("Retry-After", "7")];
        let answer = Answer {
            status: 201,
            fields: fields.map(|(name, value)| (name.into(), value.into())).into(),
            body: b"x".to_vec(),
        };
        let found = response(answer.clone());
        assert_eq!(found.nonce.as_deref(), Some("n"));
        assert_eq!(found.location.as_deref(), Some("https://a/1"));
        assert_eq!(found.retry_after, Some(Duration::from_secs(7)));
        let odd = Answer { fields: vec![("Retry-After".into(), b"soon".into())], ..answer };
        assert_eq!(response(odd).retry_after, None);
    }
}
