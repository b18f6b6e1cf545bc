//! TLS, linked for the plan that asks for it. What is linked already is used again, with its sessions, and the keys of
//! tickets outlive every plan: clients and upstreams go on with their sessions after a reload.

use std::cell::OnceCell;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use rustls::pki_types::UnixTime;

use super::clock::since_epoch;
use crate::admin::ServedCertificate;
use crate::base::CertificateFacts;
use crate::client::ClientSecurity;
use crate::config::{Listen, Plan, TlsSpec, UpstreamTlsSpec};
use crate::proxy::{LinkedTls, ListenerTls};
use crate::tls::{self, ClientTls, Served, ServerTls, TicketKeys};
use crate::upstream::{PoolTls, PoolsTls};

/// How often is looked whether a certificate of our own is to be made anew, or made again where that failed.
const RENEWAL_LOOK: Duration = Duration::from_secs(60 * 60);

/// Links TLS, and knows what is in force.
#[derive(Default)]
pub struct TlsLinker {
    tickets: OnceCell<TicketKeys>,
    /// `None`: nothing has been linked yet, this is the start.
    in_force: Option<Linked>,
    /// What was looked at last, and is perhaps put in force next.
    prepared: Option<Linked>,
    /// When a certificate of our own was last to be made anew, after the epoch.
    last_renewal: Option<Duration>,
}

/// All that a plan asks for, by what asks for it.
#[derive(Clone, Default)]
struct Linked {
    listener: Option<(Arc<TlsSpec>, ListenerTls)>,
    /// Towards upstreams and services, one for each way in which that is asked for.
    upstreams: Vec<(Arc<UpstreamTlsSpec>, PoolTls)>,
}

impl TlsLinker {
    /// Looks whether what `plan` asks for can be had. Nothing of it is in force then.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn prepare(&mut self, plan: &Plan) -> Result<(), String> {
        self.prepared = Some(self.linked(plan)?.0);
        Ok(())
    }

    /// What `plan` asks for, in force from now on.
    ///
    /// # Errors
    /// All that is wrong with it. What was in force before stays so.
    pub fn link(&mut self, plan: &Plan) -> Result<LinkedTls, String> {
        let (linked, tls) = self.linked(plan)?;
        let before = self.in_force.take().unwrap_or_default();
        if let Some((_, new)) = &linked.listener
            && before.listener.is_none_or(|(_, old)| !Arc::ptr_eq(new, &old))
        {
            new.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        }
        let is_new = |tls: &PoolTls| !before.upstreams.iter().any(|(_, old)| Arc::ptr_eq(old, tls));
        let new = linked.upstreams.iter().filter(|(_, tls)| is_new(tls));
        let warnings = new.flat_map(|(_, tls)| &tls.warnings);
        warnings.for_each(|warning| tracing::warn!("upstream-tls: {warning}"));
        (self.in_force, self.prepared) = (Some(linked), None);
        Ok(tls)
    }

    /// What is wrong with what `plan` asks for, as far as that shows without a certificate of our own.
    pub fn fault(plan: &Plan) -> Option<String> {
        let spec = plan.listener.tls.as_ref();
        let faults = spec.map(|spec| ServerTls::faults(spec)).unwrap_or_default();
        let mut upstreams =
            UpstreamTlsLinker { known: Vec::new(), served: None, used: Vec::new(), faults };
        upstreams.of(plan);
        (!upstreams.faults.is_empty()).then(|| upstreams.faults.join("; "))
    }

    /// The keys of tickets, for the process that takes over; a secret.
    pub fn export_tickets(&self) -> Option<Vec<u8>> {
        self.tickets.get().map(TicketKeys::export)
    }

    /// Goes on with the keys of the process before us. To be called before anything is linked.
    pub fn import_tickets(&self, octets: &[u8]) {
        if !self.tickets.get_or_init(TicketKeys::new).import(octets) {
            tracing::warn!("the keys of session tickets make no sense: sessions begin anew");
        }
    }

    /// Waits until a certificate of our own is to be made anew: what is linked then has a new one.
    pub async fn renewal(&self) {
        loop {
            match self.until_renewal() {
                Some(Duration::ZERO) => return,
                wait => drop(Timer::after(wait.unwrap_or(RENEWAL_LOOK).min(RENEWAL_LOOK)).await),
            }
        }
    }

    /// One is about to be made anew; where that fails, it is tried again later.
    pub fn note_renewal(&mut self) {
        self.last_renewal = Some(since_epoch());
    }

    /// How long it is until then; `None`: no certificate of our own is in force.
    fn until_renewal(&self) -> Option<Duration> {
        let (spec, linked) = self.in_force.as_ref()?.listener.as_ref()?;
        let again = self
            .last_renewal
            .map_or(Duration::ZERO, |last| (last + RENEWAL_LOOK).saturating_sub(since_epoch()));
        Some(until_renewal(spec, linked)?.max(again))
    }

    fn linked(&self, plan: &Plan) -> Result<(Linked, LinkedTls), String> {
        let known: Vec<&Linked> = self.prepared.iter().chain(&self.in_force).collect();
        let served = self.in_force.as_ref().map(Linked::served);
        let mut faults = Vec::new();
        let listener = self.listener(plan, &known, served.as_ref()).unwrap_or_else(|told| {
            faults.extend(told);
            None
        });
        let known = known.into_iter().flat_map(|linked| &linked.upstreams).collect();
        let mut upstreams =
            UpstreamTlsLinker { known, served: served.as_ref(), used: Vec::new(), faults };
        let (pools, services) = upstreams.of(plan);
        if !upstreams.faults.is_empty() {
            return Err(upstreams.faults.join("; "));
        }
        let tls =
            LinkedTls { listener: listener.clone().map(|(_, linked)| linked), pools, services };
        Ok((Linked { listener, upstreams: upstreams.used }, tls))
    }

    fn listener(
        &self,
        plan: &Plan,
        known: &[&Linked],
        served: Option<&Served>,
    ) -> Result<Option<(Arc<TlsSpec>, ListenerTls)>, Vec<String>> {
        let Some(spec) = &plan.listener.tls else { return Ok(None) };
        let mut known = known.iter().filter_map(|linked| linked.listener.as_ref());
        let known = known.find(|(other, _)| other == spec);
        if let Some(known) = known
            && until_renewal(spec, &known.1) != Some(Duration::ZERO)
        {
            return Ok(Some(known.clone()));
        }
        let with_own = match (with_self_signed(spec, plan), known) {
            (Ok(with_own), _) => with_own,
            (Err(fault), None) => return Err(vec![fault]),
            // It must not be in the way of other changes.
            (Err(fault), Some(known)) => {
                tracing::error!("the self-signed certificate is not made anew: {fault}");
                return Ok(Some(known.clone()));
            }
        };
        let tickets = self.tickets.get_or_init(TicketKeys::new);
        let linked = ServerTls::link(&with_own, tickets, served)?;
        Ok(Some((Arc::clone(spec), Arc::new(linked))))
    }
}

impl Linked {
    /// As what it is while other settings are looked at.
    fn served(&self) -> Served {
        let listener = self.listener.as_ref().map(|(_, tls)| &**tls);
        Served::new(listener, self.upstreams.iter().map(|(_, tls)| &**tls))
    }
}

/// How long the certificate of our own is good for, where one was asked for.
fn until_renewal(spec: &TlsSpec, linked: &ServerTls) -> Option<Duration> {
    let facts = linked.certificates.last().filter(|_| !spec.self_signed.is_empty())?;
    Some(Duration::from_secs(tls::renewal_due_at(facts)).saturating_sub(since_epoch()))
}

/// The certificates that are shown, to clients and to the upstreams of pools.
pub fn served_certificates(linked: &LinkedTls) -> Vec<ServedCertificate> {
    let served = |shown_to: String, facts: &CertificateFacts| ServedCertificate {
        shown_to,
        facts: facts.clone(),
    };
    let of_listener = linked.listener.iter().flat_map(|tls| &tls.certificates);
    let mut all: Vec<_> = of_listener.map(|facts| served("clients".to_owned(), facts)).collect();
    let mut pools: Vec<_> = linked.pools.iter().collect();
    pools.sort_by_key(|(name, _)| Arc::clone(name));
    let services = linked.services.iter().map(|tls| ("services".to_owned(), tls));
    let pools = pools.into_iter().map(|(name, tls)| (format!("pool:{name}"), tls)).chain(services);
    all.extend(pools.filter_map(|(name, tls)| Some(served(name, tls.certificate.as_ref()?))));
    all
}

/// Links TLS towards upstreams and services.
struct UpstreamTlsLinker<'k> {
    known: Vec<&'k (Arc<UpstreamTlsSpec>, PoolTls)>,
    served: Option<&'k Served>,
    used: Vec<(Arc<UpstreamTlsSpec>, PoolTls)>,
    faults: Vec<String>,
}

impl UpstreamTlsLinker<'_> {
    /// That of the pools and the services of `plan`.
    fn of(&mut self, plan: &Plan) -> (PoolsTls, Option<PoolTls>) {
        let mut pools = PoolsTls::new();
        for pool in plan.pools.iter() {
            let mut secure = pool.upstreams.iter().filter(|one| one.secure).peekable();
            if secure.peek().is_none() {
                continue;
            }
            for one in secure {
                if let Err(fault) = tls::server_name(pool.tls.server_name.as_deref(), one.host()) {
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
            if let Err(fault) = tls::server_name(None, url.host()) {
                self.faults.push(format!("https://{}: {fault}", url.authority));
            }
        }
        (pools, self.link("upstream-tls", &plan.service_tls))
    }

    fn link(&mut self, what: &str, spec: &Arc<UpstreamTlsSpec>) -> Option<PoolTls> {
        let mut known = self.used.iter().chain(self.known.iter().copied());
        let known = known.find(|(known, _)| known == spec);
        let linked = match known {
            Some((_, linked)) => Ok(Arc::clone(linked)),
            None => ClientTls::link(spec, self.served).map(Arc::new),
        };
        let linked = linked.map_err(|fault| self.faults.push(format!("{what}: {fault}"))).ok()?;
        if self.used.iter().all(|(used, _)| used != spec) {
            self.used.push((Arc::clone(spec), Arc::clone(&linked)));
        }
        Some(linked)
    }
}

/// What a question to `host` travels through, where that is to be TLS, by what was linked for it; `server_name`: the
/// name that it has to prove, in place of its own.
pub fn security(
    is_secure: bool,
    server_name: Option<&str>,
    host: &str,
    linked: Option<&PoolTls>,
) -> ClientSecurity {
    if !is_secure {
        return ClientSecurity::Plain;
    }
    match linked.map(|linked| linked.towards(server_name, host)) {
        Some(Ok((config, name))) => ClientSecurity::Tls(config, name),
        Some(Err(_)) | None => ClientSecurity::Unlinked,
    }
}

/// With the certificate of our own that was asked for, and a line that says how to try it.
fn with_self_signed(spec: &Arc<TlsSpec>, plan: &Plan) -> Result<Arc<TlsSpec>, String> {
    if spec.self_signed.is_empty() {
        return Ok(Arc::clone(spec));
    }
    let name = spec.self_signed.first().map_or("localhost", String::as_str);
    let host = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    let port = match plan.listener.secure.first() {
        Some(Listen::Any(port)) => *port,
        Some(Listen::Tcp(address)) => address.port(),
        Some(Listen::Unix(_)) | None => 443,
    };
    // The kernel chooses one: the line that says where we listen has it.
    let port = if port == 0 { "PORT".to_owned() } else { port.to_string() };
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
