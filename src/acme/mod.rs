//! MAY WE HAVE A CERTIFICATE? What is said to an ACME server (RFC 8555), and what its answers mean.
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
pub use order::{Issued, Refused, Terms, order};
pub use store::{Lock, Store};

use crate::tls::ChallengeAnswer;

/// What an order needs of the world.
pub trait World {
    /// What the server at `url` answers: to a signed message, else to a `HEAD` or a `GET`.
    ///
    /// # Errors
    /// Why there is no answer.
    fn ask(
        &mut self,
        url: &str,
        asked: Asked<'_>,
    ) -> impl Future<Output = Result<Response, String>>;

    /// Waits.
    fn wait(&mut self, time: Duration) -> impl Future<Output = ()>;

    /// Whoever looks whether the name is ours gets this from now on.
    fn show(&mut self, answer: ChallengeAnswer);
}

/// How a URL is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// For what it is.
    Get,
    /// For the fields of its answer.
    Head,
    /// With a message that is signed, in JSON (RFC 7515 section 7.2.2).
    Signed(&'a str),
}
