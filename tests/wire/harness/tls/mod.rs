//! Certificates in files, a client and an origin that speak TLS: by rustls, as nothing of tidegate's own may answer it.

mod certificate;
mod client;
mod origin;

pub use certificate::{Authority, Certificate, pem, serving};
pub use client::{Tls, alert, asked, connect, converse, get, over, secured, speaking, trusting};
pub use origin::{Sealed, SecureOrigin};
