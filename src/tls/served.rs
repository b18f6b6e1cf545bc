//! What serves already, while other settings are looked at: out of date as it may be, it does not stand in the way of
//! them, but nothing that is out of date takes its place.

use std::collections::BTreeSet;

use super::{ClientTls, ServerTls};
use crate::base::CertificateFacts;
use crate::config::PemFile;

/// The certificates of ours that are shown, and the revocation lists that hold.
#[derive(Debug, Default)]
pub struct Served {
    fingerprints: BTreeSet<String>,
    crl: Option<PemFile>,
}

impl Served {
    /// What is in force.
    pub fn new<'c>(
        listener: Option<&ServerTls>,
        upstreams: impl Iterator<Item = &'c ClientTls>,
    ) -> Served {
        let of_listener = listener.into_iter().flat_map(|tls| &tls.certificates);
        let shown = of_listener.chain(upstreams.filter_map(|tls| tls.certificate.as_ref()));
        Served {
            fingerprints: shown.map(|facts| facts.fingerprint_sha256.clone()).collect(),
            crl: listener.and_then(|tls| tls.crl.clone()),
        }
    }

    /// This very certificate is shown.
    pub fn has_certificate(&self, facts: &CertificateFacts) -> bool {
        self.fingerprints.contains(&facts.fingerprint_sha256)
    }

    /// These very lists hold.
    pub(super) fn has_crl(&self, crl: &PemFile) -> bool {
        self.crl.as_ref().is_some_and(|held| held.text == crl.text)
    }
}
