//! The names of what a core counts by index.

use crate::http::{Method, Reason};
#[cfg(feature = "tls")]
use crate::io::Error;
use crate::io::TlsFault;
use crate::io::splice::Copied;
use crate::stats::Labels;

/// Those of every core.
pub const LABELS: Labels = Labels {
    methods: Method::LABELS,
    reasons: &REASONS,
    copies: &Copied::LABELS,
    handshakes: &HANDSHAKES,
};

const FAULTS: usize = TlsFault::ALL.len();

/// Faults of TLS, the time that was up, and connections that broke.
const HANDSHAKES: [&str; FAULTS + 2] = {
    let mut labels = ["timeout"; FAULTS + 2];
    let mut at = 0;
    while at < FAULTS {
        labels[at] = TlsFault::ALL[at].label();
        at += 1;
    }
    labels[FAULTS + 1] = "connection";
    labels
};

/// The place of a failed handshake among the labels.
#[cfg(feature = "tls")]
pub fn handshake(error: Error) -> usize {
    match error {
        Error::Tls(fault) => fault as usize,
        Error::Deadline => FAULTS,
        Error::Aborted | Error::Closed | Error::Os(_) => FAULTS + 1,
    }
}

const REASONS: [(&str, Option<&str>); Reason::ALL.len()] = {
    let mut labels = [("", None); Reason::ALL.len()];
    let mut at = 0;
    while at < labels.len() {
        labels[at] = (Reason::ALL[at].label(), Reason::ALL[at].fault().label());
        at += 1;
    }
    labels
};
