//! TLS, linked for the plan that asks for it. What is linked already is used again, with its sessions, and the keys of
//! tickets outlive every plan: clients and upstreams go on with their sessions after a reload.

use std::env;
use std::sync::Arc;

use rustls::pki_types::UnixTime;

use crate::client::Security;
use crate::config::{Listen, Plan, TlsSpec, UpstreamTlsSpec};
use crate::proxy::{LinkedTls, ListenerTls};
use crate::stats::OwnCertificate;
use crate::tls::{self, CertificateFacts, ClientTls, ServerTls, TicketKeys};
use crate::upstream::{PoolTls, PoolsTls};

/// What was linked last.
#[derive(Default)]
pub struct TlsLinker {
    tickets: Option<TicketKeys>,
    listener: Option<(Arc<TlsSpec>, ListenerTls)>,
    /// Towards upstreams and services, one for each way in which that is asked for.
    clients: Vec<(Arc<UpstreamTlsSpec>, PoolTls)>,
}

impl TlsLinker {
    /// What `plan` asks for.
    ///
    /// # Errors
    /// All that is wrong with it. What was linked before serves on.
    pub fn link(&mut self, plan: &Plan) -> Result<LinkedTls, String> {
        let mut faults = Vec::new();
        let listener = self.listener(plan).unwrap_or_else(|told| {
            faults.extend(told);
            None
        });
        let mut clients = Clients { known: &self.clients, used: Vec::new(), faults };
        let (pools, services) = clients.of(plan);
        let Clients { used, faults, .. } = clients;
        if !faults.is_empty() {
            return Err(faults.join("; "));
        }
        let is_new = |tls: &PoolTls| !self.clients.iter().any(|(_, known)| Arc::ptr_eq(known, tls));
        let new = used.iter().filter(|(_, tls)| is_new(tls));
        let warnings = new.flat_map(|(_, tls)| &tls.warnings);
        warnings.for_each(|warning| tracing::warn!("upstream-tls: {warning}"));
        self.clients = used;
        self.listener.clone_from(&listener);
        Ok(LinkedTls { listener: listener.map(|(_, linked)| linked), pools, services })
    }

    /// What is wrong with what `plan` asks for, as far as that shows without a certificate of our own.
    pub fn fault(plan: &Plan) -> Option<String> {
        let spec = plan.listener.tls.as_ref().filter(|spec| !spec.certificates.is_empty());
        let linked = spec.map(|spec| ServerTls::link(spec, &TicketKeys::new(), None));
        let faults = linked.and_then(Result::err).unwrap_or_default();
        let mut clients = Clients { known: &[], used: Vec::new(), faults };
        clients.of(plan);
        (!clients.faults.is_empty()).then(|| clients.faults.join("; "))
    }

    /// The keys of tickets, for the process that takes over; a secret.
    pub fn export_tickets(&self) -> Option<Vec<u8>> {
        self.tickets.as_ref().map(TicketKeys::export)
    }

    /// Goes on with the keys of the process before us. To be called before anything is linked.
    pub fn import_tickets(&mut self, octets: &[u8]) {
        let tickets = self.tickets.get_or_insert_with(TicketKeys::new);
        if !tickets.import(octets) {
            tracing::warn!("the keys of session tickets make no sense: sessions begin anew");
        }
    }

    fn listener(
        &mut self,
        plan: &Plan,
    ) -> Result<Option<(Arc<TlsSpec>, ListenerTls)>, Vec<String>> {
        let Some(spec) = &plan.listener.tls else { return Ok(None) };
        if let Some((last, linked)) = &self.listener
            && last == spec
        {
            return Ok(Some((Arc::clone(spec), Arc::clone(linked))));
        }
        let tickets = self.tickets.get_or_insert_with(TicketKeys::new);
        let with_own = with_self_signed(spec, plan).map_err(|fault| vec![fault])?;
        let before = self.listener.as_ref().map(|(_, linked)| &**linked);
        let linked = ServerTls::link(&with_own, tickets, before)?;
        linked.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(Some((Arc::clone(spec), Arc::new(linked))))
    }
}

/// The certificates that are shown, to clients and to the upstreams of pools.
pub fn own_certificates(linked: &LinkedTls) -> Vec<OwnCertificate> {
    let own = |shown_to: &str, facts: &CertificateFacts| OwnCertificate {
        shown_to: shown_to.to_owned(),
        names: facts.names.clone(),
        issuer: facts.issuer.clone(),
        not_before: facts.not_before,
        not_after: facts.not_after,
        fingerprint_sha256: facts.fingerprint_sha256.clone(),
    };
    let listener = linked.listener.iter().flat_map(|tls| &tls.certificates);
    let mut all: Vec<_> = listener.map(|facts| own("clients", facts)).collect();
    let mut pools: Vec<_> = linked.pools.iter().collect();
    pools.sort_by_key(|(name, _)| Arc::clone(name));
    let services = linked.services.iter().map(|tls| ("services", tls));
    let pools = pools.into_iter().map(|(name, tls)| (&**name, tls)).chain(services);
    all.extend(pools.filter_map(|(name, tls)| Some(own(name, tls.certificate.as_ref()?))));
    all
}

/// TLS towards others, while it is linked.
struct Clients<'k> {
    known: &'k [(Arc<UpstreamTlsSpec>, PoolTls)],
    used: Vec<(Arc<UpstreamTlsSpec>, PoolTls)>,
    faults: Vec<String>,
}

impl Clients<'_> {
    /// That of the pools and the services of `plan`.
    fn of(&mut self, plan: &Plan) -> (PoolsTls, Option<PoolTls>) {
        let mut pools = PoolsTls::new();
        for pool in plan.pools.iter() {
            let mut secure = pool.upstreams.iter().filter(|one| one.secure).peekable();
            if secure.peek().is_none() {
                continue;
            }
            for one in secure {
                if let Err(fault) = tls::server_name(&pool.tls, one.host()) {
                    self.faults.push(format!("{}: {fault}", one.name));
                }
            }
            let linked = self.link(&format!("upstream-tls of pool {}", pool.name), &pool.tls);
            pools.extend(linked.map(|linked| (Arc::clone(&pool.name), linked)));
        }
        let urls = plan.auths.iter().filter_map(|auth| auth.url());
        let mut urls = urls.filter(|url| url.secure).peekable();
        if urls.peek().is_none() {
            return (pools, None);
        }
        for url in urls {
            if let Err(fault) = tls::server_name(&UpstreamTlsSpec::default(), url.host()) {
                self.faults.push(format!("https://{}: {fault}", url.authority));
            }
        }
        (pools, self.link("upstream-tls", &plan.service_tls))
    }

    fn link(&mut self, what: &str, spec: &Arc<UpstreamTlsSpec>) -> Option<PoolTls> {
        let known = self.used.iter().chain(self.known).find(|(known, _)| known == spec);
        let linked = match known {
            Some((_, linked)) => Ok(Arc::clone(linked)),
            None => ClientTls::link(spec).map(Arc::new),
        };
        let linked = linked.map_err(|fault| self.faults.push(format!("{what}: {fault}"))).ok()?;
        if self.used.iter().all(|(used, _)| used != spec) {
            self.used.push((Arc::clone(spec), Arc::clone(&linked)));
        }
        Some(linked)
    }
}

/// What a question to `host` travels through, where that is to be TLS, by what was linked for it.
pub fn security(
    is_secure: bool,
    spec: &UpstreamTlsSpec,
    host: &str,
    linked: Option<&PoolTls>,
) -> Security {
    if !is_secure {
        return Security::Plain;
    }
    match (linked, tls::server_name(spec, host)) {
        (Some(linked), Ok(name)) => Security::Tls(Arc::clone(&linked.config), name),
        _ => Security::Unlinked,
    }
}

/// With the certificate of our own that was asked for, and a line that says how to try it.
fn with_self_signed(spec: &Arc<TlsSpec>, plan: &Plan) -> Result<Arc<TlsSpec>, String> {
    let Some(name) = spec.self_signed.first() else { return Ok(Arc::clone(spec)) };
    let host = if name.contains(':') { format!("[{name}]") } else { name.clone() };
    let port = match plan.listener.secure.first() {
        Some(Listen::Any(port)) => *port,
        Some(Listen::Tcp(address)) => address.port(),
        Some(Listen::Unix(_)) | None => 443,
    };
    let (state, home) = (env::var_os("XDG_STATE_HOME"), env::var_os("HOME"));
    let is_root = rustix::process::geteuid().is_root();
    let folder = tls::state_folder(state, home, is_root);
    let folder =
        folder.ok_or("a self-signed certificate is kept in a home, and there is none: set HOME")?;
    let made = tls::self_signed(&spec.self_signed, &folder, UnixTime::now())?;
    let ca = made.ca.display();
    tracing::info!(%ca, "self-signed certificate, for development: curl --cacert {ca} https://{host}:{port}/");
    let mut spec = TlsSpec::clone(spec);
    spec.certificates.push(made.certificate);
    Ok(Arc::new(spec))
}
