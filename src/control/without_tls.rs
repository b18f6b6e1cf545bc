//! In place of what links TLS, in a build without it: no plan asks for any.

use std::future::Pending;
use std::rc::Rc;
use std::sync::Arc;

use super::current::Current;
use crate::admin::{CurrentView, ServedCertificate};
use crate::client::ClientSecurity;
use crate::config::Plan;
use crate::proxy::LinkedTls;
use crate::upstream::PoolTls;

/// There is none.
#[derive(Clone, Copy, Debug)]
pub enum Renewal {}

/// Links nothing.
#[derive(Default)]
pub struct TlsLinker {}

impl TlsLinker {
    pub fn prepare(&mut self, _: &Plan) -> Result<(), String> {
        Ok(())
    }

    pub fn link(&mut self, _: &Plan) -> Result<LinkedTls, String> {
        Ok(LinkedTls::default())
    }

    pub fn fault(_: &Plan) -> Option<String> {
        None
    }

    pub fn export_tickets(&self) -> Option<Vec<u8>> {
        None
    }

    pub fn import_tickets(&self, _: &[u8]) {}

    pub async fn renewal(&self) -> Renewal {
        std::future::pending().await
    }

    pub fn note_renewal(&mut self, renewal: Renewal) {
        match renewal {}
    }

    pub fn ordering(&self, _: &Rc<Current>, _: &Arc<CurrentView>) -> Pending<()> {
        std::future::pending()
    }
}

/// None.
pub fn served_certificates(_: &LinkedTls) -> Vec<ServedCertificate> {
    Vec::new()
}

/// What a question travels through.
pub fn security(is_secure: bool, _: Option<&str>, _: &str, _: Option<&PoolTls>) -> ClientSecurity {
    if is_secure { ClientSecurity::Unlinked } else { ClientSecurity::Plain }
}
