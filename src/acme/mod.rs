//! MAY WE HAVE A CERTIFICATE? What an ACME client says to an ACME server (RFC 8555), and what the answers mean.
//!
//! Laws:
//! - No sockets and no clock: whoever orders brings both ([`World`]). The only files are those of the [`Store`].
//! - May use `base`, `config` and `tls`.
//! - A server may say anything: each answer is looked at before it is used, every repetition has a bound, and its words
//!   are told as text of bounded length. Only URLs with `https://` are asked.
//! - Keys never leave: not in an error, not in a `Debug`.

mod account;
mod message;
mod order;
mod store;

#[cfg(test)]
mod testing;

use std::future::Future;
use std::time::Duration;

pub use account::AccountKey;
pub use message::Response;
pub use order::{Issued, OrderError, OrderSpec, order};
pub use store::{Lock, Store};

use crate::tls::ChallengeAnswer;

/// What an order needs of the world.
pub trait World {
    /// The server's response.
    ///
    /// # Errors
    /// Why there is none.
    fn ask(
        &mut self,
        url: &str,
        request: Request<'_>,
    ) -> impl Future<Output = Result<Response, String>>;

    /// Waits.
    fn wait(&mut self, time: Duration) -> impl Future<Output = ()>;

    /// Whoever validates the name gets this from now on.
    fn show(&mut self, answer: ChallengeAnswer);
}

/// How a URL is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `POST` of a signed message, in JSON (RFC 7515 section 7.2.2).
    Post(&'a str),
}
