//! TLS towards clients, linked for the plan that asks for it. What is linked already is used again, and the keys of
//! tickets outlive every plan: a client goes on with its session after a reload.

use std::env;
use std::sync::Arc;

use rustls::pki_types::UnixTime;

use crate::config::{AuthKind, AuthSpec, ForwardAuthSpec, JwtKeys, JwtSpec, Plan, TlsSpec};
use crate::proxy::ListenerTls;
use crate::tls::{self, ServerTls, TicketKeys};

/// What was linked last.
#[derive(Default)]
pub struct TlsLinker {
    tickets: Option<TicketKeys>,
    last: Option<(Arc<TlsSpec>, ListenerTls)>,
}

impl TlsLinker {
    /// What the listeners of `plan` speak; `None`: no TLS.
    ///
    /// # Errors
    /// All that is wrong with what was asked for. What was linked before serves on.
    pub fn link(&mut self, plan: &Plan) -> Result<Option<ListenerTls>, String> {
        let Some(spec) = &plan.listener.tls else { return Ok(None) };
        if let Some((last, linked)) = &self.last
            && last == spec
        {
            return Ok(Some(Arc::clone(linked)));
        }
        let tickets = self.tickets.get_or_insert_with(TicketKeys::new);
        let with_own = with_self_signed(spec)?;
        let before = self.last.as_ref().map(|(_, linked)| &**linked);
        let linked =
            ServerTls::link(&with_own, tickets, before).map_err(|faults| faults.join("; "))?;
        linked.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let linked = Arc::new(linked);
        self.last = Some((Arc::clone(spec), Arc::clone(&linked)));
        Ok(Some(linked))
    }

    /// What is wrong with what `plan` asks for, as far as that shows without a certificate of our own.
    pub fn fault(plan: &Plan) -> Option<String> {
        if is_to_be_spoken(plan) {
            return Some("TLS towards upstreams and services is not there yet".to_owned());
        }
        let spec = plan.listener.tls.as_ref().filter(|spec| !spec.certificates.is_empty())?;
        let faults = ServerTls::link(spec, &TicketKeys::new(), None).err()?;
        Some(faults.join("; "))
    }
}

/// TLS towards upstreams and services is read from the settings, and nothing speaks it yet.
fn is_to_be_spoken(plan: &Plan) -> bool {
    let is_asked = |auth: &Arc<AuthSpec>| match &auth.kind {
        AuthKind::Jwt(JwtSpec { keys: JwtKeys::Url { url, .. }, .. })
        | AuthKind::Forward(ForwardAuthSpec { url, .. }) => url.secure,
        _ => false,
    };
    plan.upstreams().any(|(_, upstream)| upstream.secure) || plan.auths.iter().any(is_asked)
}

/// With the certificate of our own that was asked for, and a line that says how to try it.
fn with_self_signed(spec: &Arc<TlsSpec>) -> Result<Arc<TlsSpec>, String> {
    let Some(name) = spec.self_signed.first() else { return Ok(Arc::clone(spec)) };
    let (state, home) = (env::var_os("XDG_STATE_HOME"), env::var_os("HOME"));
    let is_root = rustix::process::geteuid().is_root();
    let folder = tls::state_folder(state, home, is_root);
    let folder =
        folder.ok_or("a self-signed certificate is kept in a home, and there is none: set HOME")?;
    let made = tls::self_signed(&spec.self_signed, &folder, UnixTime::now())?;
    let ca = made.ca.display();
    tracing::info!(%ca, "self-signed certificate, for development: curl --cacert {ca} https://{name}");
    let mut spec = TlsSpec::clone(spec);
    spec.certificates.push(made.certificate);
    Ok(Arc::new(spec))
}
