//! In place of what links TLS, in a build without it: no plan asks for any.

use crate::client::Security;
use crate::config::{Plan, UpstreamTlsSpec};
use crate::proxy::LinkedTls;
use crate::stats::OwnCertificate;
use crate::upstream::PoolTls;

/// Links nothing.
#[derive(Default)]
pub struct TlsLinker {}

impl TlsLinker {
    pub fn link(&mut self, _: &Plan) -> Result<LinkedTls, String> {
        Ok(LinkedTls::default())
    }

    pub fn fault(_: &Plan) -> Option<String> {
        None
    }

    pub fn export_tickets(&self) -> Option<Vec<u8>> {
        None
    }

    pub fn import_tickets(&mut self, _: &[u8]) {}
}

/// None.
pub fn own_certificates(_: &LinkedTls) -> Vec<OwnCertificate> {
    Vec::new()
}

/// What a question travels through.
pub fn security(is_secure: bool, _: &UpstreamTlsSpec, _: &str, _: Option<&PoolTls>) -> Security {
    if is_secure { Security::Unlinked } else { Security::Plain }
}
