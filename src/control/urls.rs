//! What a URL answers: each address of its name is asked in turn, until one does.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt;

use super::tls;
use crate::client::{self, Answer, ClientSecurity, Question};
use crate::config::AskedUrl;
use crate::http::Method;
use crate::proxy::Runtime;
use crate::upstream::resolve::resolve;

/// Addresses that are asked, as many as for a check of an upstream.
const ADDRESSES: usize = 3;

/// What a question to it travels through. Its host is the name to be proved, whatever upstreams have to prove.
pub fn security(url: &AskedUrl, runtime: &Runtime) -> ClientSecurity {
    tls::security(url.secure, None, url.host(), runtime.tls.services.as_ref())
}

/// How a URL is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: Method,
    /// Further field lines, each with its CRLF.
    pub fields: &'a [u8],
    /// The body, and what it is; empty: none.
    pub body: &'a str,
    pub content_type: &'a str,
}

impl<'a> Request<'a> {
    /// A `GET` with these field lines.
    pub fn get(fields: &'a [u8]) -> Request<'a> {
        Request { method: Method::Get, fields, body: "", content_type: "" }
    }
}

/// The answer to `request`. It takes no longer than `patience`, whatever the name and its
/// addresses do.
///
/// # Errors
/// When there is no whole answer with a body of at most `body_most` octets.
pub async fn ask(
    url: &AskedUrl,
    security: &ClientSecurity,
    request: Request<'_>,
    body_most: usize,
    patience: Duration,
) -> io::Result<Answer> {
    let AskedUrl { place, authority, target, .. } = url;
    let Request { method, fields, body, content_type } = request;
    let question = Question { method, target, host: authority, fields, body, content_type };
    let asking = async {
        let addresses = resolve(place).await?;
        let mut answer = Err(io::Error::other("the name has no address"));
        let (mut left, tried) = (patience, addresses.len().min(ADDRESSES));
        for (at, address) in addresses.iter().take(tried).enumerate() {
            // One that says nothing leaves time for those behind it.
            let share = left / (tried - at) as u32;
            let reached = Cell::new(false);
            answer =
                client::ask_noting(address, security, question, body_most, share, &reached).await;
            // What may have been done is not done twice (RFC 9110 section 9.2.2).
            if answer.is_ok() || (reached.get() && method == Method::Post) {
                break;
            }
            left -= share;
        }
        answer
    };
    let late = async {
        Timer::after(patience).await;
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {patience:?}")))
    };
    asking.or(late).await
}
