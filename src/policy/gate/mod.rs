//! MAY IT? What a route demands of a request, linked with what is known of those who ask.
//!
//! The order is one, whatever the order of the settings: networks, media type, a preflight, certificate,
//! credentials, role, limits. (Listener, route and method come before; the size of the body behind.) What is
//! cheap and says the least about us comes first; limits come behind credentials, for they may count by those,
//! and a refused request counts in none.
//!
//! Laws:
//! - [`judge`] decides, and does nothing else: whoever has to be asked is asked by others, and judged again.
//! - What is linked is shared by all cores and outlives the plan, as far as the next plan says the same of it.
//! - A request that is refused here reaches no upstream.

mod authenticator;
mod certificate;
mod identity;
mod judge;
mod kinds;
mod limits;
mod question;

use std::collections::HashMap;
use std::sync::Arc;

use super::{MatchInput, NetworkSet};
use crate::config::{AuthKind, AuthSpec, Gate, LimitKey, LimitSpec, NetworkList, Plan};
use crate::http::Name;

pub use authenticator::{Authenticator, KeySource};
pub use certificate::ShownCertificate;
pub use identity::Identity;
pub use judge::{GateFacts, JudgedAt, LocalReply, Ruling, judge, readable, serves};
pub use kinds::Workspace;
pub use limits::{LimitStanding, LinkedLimit};
pub use question::{Answer, Asked, AuthQuestion, CheckKind, SlowCheck};

/// What a route demands, ready to be looked at.
#[derive(Debug)]
pub struct LinkedGate {
    /// As it was asked for.
    pub spec: Arc<Gate>,
    allow: Option<Arc<NetworkSet>>,
    deny: Option<Arc<NetworkSet>>,
    auths: Vec<Arc<Authenticator>>,
    limits: Vec<Arc<LinkedLimit>>,
    /// Fields that do not go on to the upstream: credentials, and what only we may say.
    stripped: Vec<String>,
    /// The same without `Authorization`.
    stripped_but_authorization: Vec<String>,
    /// Of `Authorization` only a bearer's secret is looked at.
    bearer_only: bool,
    /// Fields that an answer has from us alone.
    pub replaced: Vec<String>,
}

impl LinkedGate {
    /// Names of fields that do not go on to the upstream. `Authorization` does, where it holds something else than a
    /// bearer's secret.
    pub fn stripped(&self, input: &MatchInput<'_>) -> &[String] {
        let value = input.head.get(Name::Authorization).map(|span| span.of(input.bytes));
        let scheme = value.and_then(|value| value.split(|octet| *octet == b' ').next());
        match scheme {
            Some(scheme) if self.bearer_only && !scheme.eq_ignore_ascii_case(b"Bearer") => {
                &self.stripped_but_authorization
            }
            _ => &self.stripped,
        }
    }
}

/// The gates of a plan.
#[derive(Debug, Default)]
pub struct Gates {
    /// For each route of the plan: `None`: nothing is demanded.
    routes: Vec<Option<Arc<LinkedGate>>>,
    /// For requests that no route takes.
    top: Option<Arc<LinkedGate>>,
    /// Those who tell who asks.
    pub auths: Vec<Arc<Authenticator>>,
    /// The limits.
    pub limits: Vec<Arc<LinkedLimit>>,
}

impl Gates {
    /// Links the gates of `plan`. What is the same in those `before` is used again, with all that it knows.
    pub fn link(plan: &Plan, before: Option<&Gates>) -> Gates {
        let known = before.into_iter().flat_map(|gates| &gates.auths);
        let known: HashMap<&str, &Arc<Authenticator>> =
            known.map(|one| (&*one.spec.name, one)).collect();
        let auth = |spec: &Arc<AuthSpec>| match known.get(&*spec.name) {
            Some(same) if same.spec == *spec => Arc::clone(same),
            _ => Arc::new(Authenticator::new(spec)),
        };
        let auths: Vec<Arc<Authenticator>> = plan.auths.iter().map(auth).collect();
        let known = before.into_iter().flat_map(|gates| &gates.limits);
        let known: HashMap<&str, &Arc<LinkedLimit>> =
            known.map(|one| (&*one.spec.name, one)).collect();
        let limit = |spec: &Arc<LimitSpec>| match known.get(&*spec.name) {
            Some(same) if same.shares_counts_with(spec) => Arc::new(same.with_spec(spec)),
            _ => Arc::new(LinkedLimit::new(spec)),
        };
        let limits: Vec<Arc<LinkedLimit>> = plan.limits.iter().map(limit).collect();
        let mut linker =
            Linker { auths: &auths, limits: &limits, gates: HashMap::new(), sets: HashMap::new() };
        let routes = plan.routes.iter().map(|route| linker.gate(&route.gate)).collect();
        let top = linker.gate(&plan.gate);
        Gates { routes, top, auths, limits }
    }

    /// That of the route at this place in the plan.
    #[inline]
    pub fn of_route(&self, route: usize) -> Option<&Arc<LinkedGate>> {
        self.routes[route].as_ref()
    }

    /// That of requests which no route takes.
    pub fn of_unrouted(&self) -> Option<&Arc<LinkedGate>> {
        self.top.as_ref()
    }
}

/// What of the credentials in `plan` cannot be used, in words: only a build that knows their cryptography can tell.
pub fn unusable(plan: &Plan) -> Vec<String> {
    let fault = |auth: &Arc<AuthSpec>| {
        Some(format!("auth {}: {}", auth.name, Authenticator::unusable(auth)?))
    };
    plan.auths.iter().filter_map(fault).collect()
}

/// Links gate after gate. Thousands of routes share one, and lists of networks are large.
struct Linker<'l> {
    auths: &'l [Arc<Authenticator>],
    limits: &'l [Arc<LinkedLimit>],
    gates: HashMap<*const Gate, Arc<LinkedGate>>,
    sets: HashMap<*const NetworkList, Arc<NetworkSet>>,
}

impl Linker<'_> {
    fn gate(&mut self, spec: &Arc<Gate>) -> Option<Arc<LinkedGate>> {
        if spec.is_open() {
            return None;
        }
        if let Some(known) = self.gates.get(&Arc::as_ptr(spec)) {
            return Some(Arc::clone(known));
        }
        let auths = self.auths.iter().filter(|one| spec.auth.contains(&one.spec));
        let auths: Vec<Arc<Authenticator>> = auths.cloned().collect();
        let of_name = |name: &str| self.limits.iter().find(|one| *one.spec.name == *name).cloned();
        let limits = spec.limits.iter().filter_map(|limit| of_name(&limit.name)).collect();
        let stripped: Vec<String> = auths.iter().flat_map(|auth| stripped(auth)).collect();
        let is_other = |name: &&String| !name.eq_ignore_ascii_case("Authorization");
        let gate = Arc::new(LinkedGate {
            allow: self.set(spec.allow.as_ref()),
            deny: self.set(spec.deny.as_ref()),
            stripped_but_authorization: stripped.iter().filter(is_other).cloned().collect(),
            stripped,
            bearer_only: auths
                .iter()
                .all(|one| !matches!(one.spec.kind, AuthKind::Basic(_) | AuthKind::Forward(_))),
            auths,
            limits,
            replaced: match spec.cors {
                Some(_) => super::cors::OWNED.iter().map(|name| (*name).to_owned()).collect(),
                None => Vec::new(),
            },
            spec: Arc::clone(spec),
        });
        self.gates.insert(Arc::as_ptr(spec), Arc::clone(&gate));
        Some(gate)
    }

    fn set(&mut self, list: Option<&Arc<NetworkList>>) -> Option<Arc<NetworkSet>> {
        let list = list?;
        let set = self.sets.entry(Arc::as_ptr(list));
        let make = || Arc::new(list.networks.iter().copied().collect::<NetworkSet>());
        Some(Arc::clone(set.or_insert_with(make)))
    }
}

/// What of a request is for `auth` alone, and what only it may say to an upstream.
fn stripped(auth: &Authenticator) -> Vec<String> {
    let spec = &auth.spec;
    let (own, said): (Vec<String>, Vec<String>) = match &spec.kind {
        AuthKind::Token(_) => (spec.fields.clone(), Vec::new()),
        AuthKind::Basic(_) => (vec!["Authorization".to_owned()], Vec::new()),
        AuthKind::Jwt(jwt) => {
            (spec.fields.clone(), jwt.forward.iter().map(|(field, _)| field.clone()).collect())
        }
        AuthKind::Forward(forward) => (spec.fields.clone(), forward.fields.clone()),
    };
    let own = if spec.pass { Vec::new() } else { own };
    [own, said].concat()
}

/// Whether requests are counted by who asks.
fn counts_by_identity(key: &LimitKey) -> bool {
    matches!(key, LimitKey::Token | LimitKey::User)
}
