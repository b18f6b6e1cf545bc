//! TLS, linked for the plan that asks for it. What is linked already is used again, with its sessions, and the keys of
//! tickets outlive every plan: clients and upstreams go on with their sessions after a reload.

use std::cell::OnceCell;
use std::env;
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use flume::{Receiver, Sender};
use futures_lite::FutureExt;
use rustls::pki_types::UnixTime;

#[cfg(feature = "acme")]
use super::acme;
use super::clock::since_epoch;
use super::current::Current;
use crate::admin::{CurrentView, ServedCertificate};
use crate::base::CertificateFacts;
use crate::client::ClientSecurity;
#[cfg(feature = "acme")]
use crate::config::AcmeSpec;
use crate::config::{CertificateSpec, Listen, Plan, TlsSpec, UpstreamTlsSpec};
use crate::proxy::{LinkedTls, ListenerTls};
use crate::tls::{self, Challenges, ClientTls, Served, ServerTls, TicketKeys, state_files};
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
    /// What an ACME server is answered, by whatever is linked.
    challenges: Arc<Challenges>,
    /// Filled when a certificate was stored that is not in force.
    stored: StoredSignal,
    /// Such a certificate has been told of, and is to be linked next.
    is_outdated: bool,
}

/// Why certificates are linked anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// One of our own ends soon.
    SelfSigned,
    /// One is stored that is not in force.
    Stored,
}

/// Tells that a certificate was stored.
struct StoredSignal {
    #[cfg_attr(not(feature = "acme"), expect(dead_code, reason = "this build orders none"))]
    sender: Sender<()>,
    receiver: Receiver<()>,
}

impl Default for StoredSignal {
    fn default() -> StoredSignal {
        let (sender, receiver) = flume::bounded(1);
        StoredSignal { sender, receiver }
    }
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
        (self.in_force, self.prepared, self.is_outdated) = (Some(linked), None, false);
        Ok(tls)
    }

    /// What is wrong with what `plan` asks for, as far as that shows without a certificate of our own.
    pub fn fault(plan: &Plan) -> Option<String> {
        let spec = plan.listener.tls.as_ref();
        #[cfg_attr(not(feature = "acme"), expect(unused_mut, reason = "this build orders none"))]
        let mut faults = spec.map(|spec| ServerTls::faults(spec)).unwrap_or_default();
        #[cfg(feature = "acme")]
        {
            let acme = spec.and_then(|spec| spec.acme.as_ref());
            faults.extend(acme.and_then(|acme| acme_server_tls(acme).err()));
        }
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

    /// Waits until there is a certificate to be had in place of one in force: what is linked then has it.
    pub async fn renewal(&self) -> Renewal {
        let of_our_own = async {
            loop {
                match self.until_renewal() {
                    Some(Duration::ZERO) => return Renewal::SelfSigned,
                    wait => _ = Timer::after(wait.unwrap_or(RENEWAL_LOOK).min(RENEWAL_LOOK)).await,
                }
            }
        };
        let stored = async {
            let _ = self.stored.receiver.recv_async().await; // we hold the sender
            Renewal::Stored
        };
        of_our_own.or(stored).await
    }

    /// It is about to be linked; where one of our own cannot be made, that is tried again later.
    pub fn note_renewal(&mut self, renewal: Renewal) {
        match renewal {
            Renewal::SelfSigned => {
                tracing::info!(
                    "the self-signed certificate expires in a month: another one is made"
                );
                self.last_renewal = Some(since_epoch());
            }
            Renewal::Stored => self.is_outdated = true,
        }
    }

    /// Orders certificates for as long as it is held.
    #[cfg(feature = "acme")]
    pub fn ordering(
        &self,
        current: &Rc<Current>,
        view: &Arc<CurrentView>,
    ) -> impl Future<Output = ()> + use<> {
        let context = acme::Context {
            current: Rc::clone(current),
            state: state_folder().ok(),
            challenges: Arc::clone(&self.challenges),
            stored: self.stored.sender.clone(),
            view: Arc::clone(view),
        };
        acme::run(context)
    }

    /// Nothing can be ordered in this build.
    #[cfg(not(feature = "acme"))]
    pub fn ordering(
        &self,
        _: &Rc<Current>,
        _: &Arc<CurrentView>,
    ) -> impl Future<Output = ()> + use<> {
        std::future::pending()
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
            && !self.is_outdated
            && until_renewal(spec, &known.1) != Some(Duration::ZERO)
        {
            return Ok(Some(known.clone()));
        }
        let with_own = match (with_own_certificates(spec, plan, served), known) {
            (Ok(with_own), _) => with_own,
            (Err(fault), None) => return Err(vec![fault]),
            // It must not be in the way of other changes.
            (Err(fault), Some(known)) => {
                tracing::error!("the certificates in force stay: {fault}");
                return Ok(Some(known.clone()));
            }
        };
        let tickets = self.tickets.get_or_init(TicketKeys::new);
        let mut linked = ServerTls::link(&with_own, tickets, served)?;
        if spec.acme.is_some() {
            linked = linked.answering(&self.challenges);
        }
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
    Some(Duration::from_secs(tls::self_signed_renewal_due_at(facts)).saturating_sub(since_epoch()))
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

/// TLS towards an ACME server.
///
/// # Errors
/// What is wrong with those who sign its certificate.
#[cfg(feature = "acme")]
pub fn acme_server_tls(spec: &AcmeSpec) -> Result<PoolTls, String> {
    let of_server = UpstreamTlsSpec { ca: spec.ca.clone(), ..UpstreamTlsSpec::default() };
    let linked = ClientTls::link(&of_server, None).map(Arc::new);
    linked.map_err(|why| format!("acme-ca: {why}"))
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

/// With the certificates that lie in the folder of what outlives a process: those that were issued, or one of our own.
#[cfg_attr(not(feature = "acme"), expect(unused_variables, reason = "this build orders none"))]
fn with_own_certificates(
    spec: &Arc<TlsSpec>,
    plan: &Plan,
    served: Option<&Served>,
) -> Result<Arc<TlsSpec>, String> {
    let own = match &spec.acme {
        #[cfg(feature = "acme")]
        Some(acme) => {
            acme_server_tls(acme)?;
            acme::stored(acme, &state_folder()?, served)?
        }
        _ if !spec.self_signed.is_empty() => vec![self_signed(&spec.self_signed, plan)?],
        _ => return Ok(Arc::clone(spec)),
    };
    let mut spec = TlsSpec::clone(spec);
    spec.certificates.extend(own);
    Ok(Arc::new(spec))
}

/// A certificate of our own, and a line in the log that says how to try it.
fn self_signed(names: &[String], plan: &Plan) -> Result<CertificateSpec, String> {
    let name = names.first().map_or("localhost", String::as_str);
    let host = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    let port = match plan.listener.secure.first() {
        Some(Listen::Any(port)) => *port,
        Some(Listen::Tcp(address)) => address.port(),
        Some(Listen::Unix(_)) | None => 443,
    };
    // The kernel chooses one: the line that says where we listen has it.
    let port = if port == 0 { "PORT".to_owned() } else { port.to_string() };
    let made = tls::self_signed(names, &state_folder()?.join("tls"), UnixTime::now())?;
    let ca = made.ca.display();
    tracing::info!(%ca, "self-signed certificate, for development: curl --cacert {ca} https://{host}:{port}/");
    Ok(made.certificate)
}

/// There is no place for what outlives a process.
pub const NO_STATE: &str =
    "there is no folder for keys and certificates: set XDG_STATE_HOME, or HOME";

fn state_folder() -> Result<PathBuf, String> {
    let (state, home) = (env::var_os("XDG_STATE_HOME"), env::var_os("HOME"));
    let is_root = rustix::process::geteuid().is_root();
    Ok(state_files::state_folder(state, home, is_root).ok_or(NO_STATE)?)
}
