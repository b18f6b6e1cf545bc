//! WHOM DO WE TRUST, AND WHO ARE WE? What was asked for as TLS becomes configurations of rustls.
//!
//! Laws:
//! - No sockets and no connections: `io` drives what is made here. The only files are those that outlive a process
//!   (`state_files`), which are read and written, and the system's list of CAs, which is read.
//! - May use `base` and `config`.
//! - What is wrong with what was asked for is told in sentences, all at once, and never with a key in them. Whoever
//!   calls goes on with what served before.
//! - A session is resumed under the settings that it began with, or not at all: who may come in, which versions, which
//!   certificates' names, and the name that the client asked for.
//! - Every list has a bound, and whatever is beyond it is refused, not left out.

mod certificate;
mod challenges;
mod client;
mod client_chain;
mod facts;
mod peer;
pub mod pem;
mod resolver;
mod self_signed;
mod served;
mod server;
pub mod state_files;
mod tickets;

#[cfg(test)]
mod testing;

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use certificate::facts_of;
pub use challenges::{ChallengeAnswer, Challenges, ShownAnswer, is_validation};
pub use client::{ClientTls, server_name};
pub use peer::{AltName, ClientCertificate, client_cert_field, client_certificate};
pub use self_signed::{SelfSigned, self_signed, self_signed_renewal_due_at};
pub use served::Served;
pub use server::ServerTls;
pub use tickets::TicketKeys;

/// The one application protocol that is spoken (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The cryptography, the same for all configurations.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
