//! The gate: from what is given at the top, in its tables and in routes to what they are.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::advice;
use super::conditions;
use super::diagnostics::{Diagnostic, instead, nearest, unclear, wrong};
use super::file::Section;
use super::form::Form;
use super::gate::*;
use super::given::{Given, Origin};
use super::places;
use super::plan::Plan;
use super::route::{RouteAction, RouteSource, RouteSpec};
use super::sections::{DEFAULT, of};
use super::settings::{Item, Settings};
use super::table::{AUTH, LIMIT, POOL, ROUTE};
use super::values;
use crate::base::digits;
use crate::http::{cors, media};

/// Items of a list.
const MOST: usize = 256;
/// Networks of a list.
const MOST_NETWORKS: usize = 1 << 20;

/// What routes may name.
pub(super) struct Named {
    lists: Lists,
    auths: Vec<Arc<AuthSpec>>,
    limits: Vec<Arc<LimitSpec>>,
}

/// Networks by name.
type Lists = BTreeMap<String, Arc<NetworkList>>;

impl Named {
    /// What a route that says nothing is under, if it forwards: whatever is called `default`.
    fn default_of<T>(all: &[Arc<T>], name: impl Fn(&T) -> &str) -> Vec<Arc<T>> {
        all.iter().filter(|one| name(one) == DEFAULT).cloned().collect()
    }

    /// Lists, kinds of credentials, and limits.
    pub fn into_parts(self) -> (Lists, Vec<Arc<AuthSpec>>, Vec<Arc<LimitSpec>>) {
        (self.lists, self.auths, self.limits)
    }
}

impl<'a> Settings<'a> {
    /// Lists, credentials and limits, by their names.
    pub(super) fn named(&mut self) -> Named {
        let lists = self.lists();
        let auths = self.of_scope(AUTH, "credentials", |settings, section| settings.auth(section));
        let limits = self.of_scope(LIMIT, "limit", |settings, section| settings.rate(section));
        Named { lists, auths, limits }
    }

    fn of_scope<T>(
        &mut self,
        scope: super::table::Scope,
        what: &str,
        read: impl Fn(&mut Settings<'_>, &Section) -> T,
    ) -> Vec<Arc<T>> {
        let sections: Vec<&'a Section> = of(self.layers.sections.as_slice(), scope);
        let mut names = HashSet::new();
        let mut all = Vec::new();
        for section in sections {
            if !names.insert(section.name.as_str()) {
                let what = format!("there is a table for {what} {} already", section.name);
                self.mistake(section, wrong(what, "give one of the two another name"));
                continue;
            }
            all.push((section.name.as_str(), Arc::new(read(&mut self.of(section), section))));
        }
        // Their order says nothing, and files of some formats keep none.
        all.sort_by_key(|(name, _)| *name);
        all.into_iter().map(|(_, one)| one).collect()
    }

    /// `[list]`: networks by name.
    fn lists(&mut self) -> Lists {
        let read = |text: &str| {
            let (name, network) = conditions::pair(text, "=");
            let name = conditions::name(name)?;
            match network {
                Some("") => Ok((name, None)),
                Some(network) => Ok((name, Some(places::network(network)?))),
                None => Err(unclear("this is not a network")),
            }
        };
        let mut lists: BTreeMap<String, NetworkList> = BTreeMap::new();
        for Item { value: (name, network), given } in self.all("list", MOST_NETWORKS, read) {
            let list = lists.entry(name).or_default();
            let shown = conditions::pair(given.shown(), "=").1.unwrap_or_default();
            list.write(shown);
            list.networks.extend(network);
            if network.is_none() && given.shown.is_none() {
                self.refuse(&given, 0..given.text.len(), advice::empty(Form::Networks));
            }
        }
        lists.into_iter().map(|(name, list)| (name, Arc::new(list))).collect()
    }

    /// What is demanded at the top, for all routes that do not say otherwise.
    pub(super) fn gate_at_top(&mut self, named: &Named) -> Arc<Gate> {
        let mut gate = Gate::default();
        self.demands(&mut gate, named);
        Arc::new(gate)
    }

    /// What a route demands: as `above` says, but for what it says itself. What is called `default` is meant for those
    /// that forward.
    pub(super) fn gate(&mut self, above: &Arc<Gate>, named: &Named, is_forward: bool) -> Arc<Gate> {
        let mut gate = (**above).clone();
        if is_forward {
            gate.auth = Named::default_of(&named.auths, |auth| &auth.name);
            gate.limits = Named::default_of(&named.limits, |limit| &limit.name);
        }
        if self.section.is_some() {
            self.demands(&mut gate, named);
            if let Some(auth) = self.names("auth", &named.auths, |auth| &auth.name) {
                gate.auth = auth;
            }
            if let Some(limits) = self.names("limit", &named.limits, |limit| &limit.name) {
                gate.limits = limits;
            }
            gate.roles = self.list("role", MOST, role).into_iter().map(Into::into).collect();
            self.refuse_demands_of_nobody(&gate);
        }
        if gate == **above { Arc::clone(above) } else { Arc::new(gate) }
    }

    /// Roles, where nobody says who asks. Those of signed tokens may look like those of certificates: groups of a
    /// directory do.
    fn refuse_demands_of_nobody(&mut self, gate: &Gate) {
        if gate.client_cert || !gate.auth.is_empty() {
            return;
        }
        let given = self.given("role");
        let of_certificate = given.iter().find(|given| role_of_certificate(&given.text));
        let (given, what, right) = match (of_certificate, given.first()) {
            (Some(given), _) => (
                given,
                "no certificate is demanded here, so no client has this role",
                "write client-cert = true beside it",
            ),
            (None, Some(given)) => (
                given,
                "no credentials are asked for here, so no user has this role",
                "write auth = \"...\" beside it",
            ),
            (None, None) => return,
        };
        self.refuse(given, 0..given.text.len(), wrong(what, right));
    }

    fn demands(&mut self, gate: &mut Gate, named: &Named) {
        for (key, place) in [("allow", &mut gate.allow), ("deny", &mut gate.deny)] {
            if let Some(list) = self.networks(key, &named.lists) {
                *place = list;
            }
        }
        let types = self.list("content-type", MOST, media_type);
        if !types.is_empty() {
            gate.content_type = types;
        }
        for (key, place) in [
            ("security-headers", &mut gate.security_headers),
            ("client-cert", &mut gate.client_cert),
        ] {
            if self.section.is_none() || self.is_given(key) {
                *place = self.one(key, values::switch).unwrap_or(*place);
            }
        }
        if !cfg!(feature = "tls") {
            self.not_in_this_build(&["client-cert"], "TLS", "tls");
        }
        self.cors(gate);
    }

    fn cors(&mut self, gate: &mut Gate) {
        const KEYS: [&str; 5] =
            ["cors-method", "cors-header", "cors-expose", "cors-credentials", "cors-max-age"];
        if !self.is_given("cors-origin") {
            let says = KEYS.iter().find(|key| self.is_given(key));
            if let (Some(key), None) = (says, &gate.cors) {
                let given = self.given(key).remove(0);
                let what = "no origin may ask, so this has no effect";
                let right = "write the origins beside it: https://app.example.org";
                self.refuse(&given, 0..given.text.len(), wrong(what, right));
            }
            if says.is_none() {
                return;
            }
        }
        let none = CorsSpec {
            origin: Vec::new(),
            method: Vec::new(),
            header: Vec::new(),
            expose: Vec::new(),
            credentials: false,
            max_age: Duration::from_secs(600),
        };
        let mut spec = gate.cors.as_deref().cloned().unwrap_or(none);
        let off = |text: &str| match text {
            "off" => Ok("off".to_owned()),
            text => origin(text),
        };
        let origins = self.list("cors-origin", MOST, off);
        if origins == ["off"] {
            gate.cors = None;
            return;
        }
        for (list, place) in [
            (origins, &mut spec.origin),
            (self.list("cors-method", MOST, or_star(conditions::method)), &mut spec.method),
            (self.list("cors-header", MOST, or_star(values::any_field)), &mut spec.header),
            (self.list("cors-expose", MOST, or_star(values::any_field)), &mut spec.expose),
        ] {
            if !list.is_empty() {
                *place = list;
            }
        }
        super::sections::set(&mut spec.credentials, self.one("cors-credentials", values::switch));
        super::sections::set(&mut spec.max_age, self.wait_here("cors-max-age"));
        if gate.cors.as_deref() != Some(&spec) && !spec.origin.is_empty() {
            self.refuse_what_cannot_be_meant(&spec);
        }
        gate.cors = Some(Arc::new(spec));
    }

    fn refuse_what_cannot_be_meant(&mut self, spec: &CorsSpec) {
        let CorsSpec { origin, method, header, expose, credentials, .. } = spec;
        let Err(mistake) = cors::check(origin, method, header, expose, *credentials) else {
            return;
        };
        // What is at fault stands here, or came from above and does not go with what stands here.
        let keys = [&*format!("cors-{}", mistake.list), "cors-credentials"];
        let given: Vec<Given> = keys.iter().flat_map(|key| self.given(key)).collect();
        let star = given.iter().find(|given| &*given.text == "*");
        if let Some(given) = star.or(given.first()) {
            self.refuse(given, 0..given.text.len(), wrong(mistake.what, mistake.remedy));
        }
    }

    /// Fields that `cors` puts into answers, and that a rule for answers puts in, too: browsers go by neither of two.
    pub(super) fn refuse_what_cors_says(&mut self, plan: &Plan) {
        let sections = &self.layers.sections;
        let (mut of_routes, pools) = (of(sections, ROUTE).into_iter(), of(sections, POOL));
        let mut told: Vec<Origin> = Vec::new();
        for route in plan.routes.iter() {
            let own = of_routes.by_ref().take(usize::from(route.source == RouteSource::Section));
            let own: Vec<&Section> = own.collect();
            // The rule stands in the route, in a pool or at the top.
            let below: Vec<&Section> = own.into_iter().chain(pools.iter().copied()).collect();
            for name in rules_beside_cors(route) {
                let below = below.iter().find_map(|section| self.of(section).rule_about(name));
                let given = below.or_else(|| self.rule_about(name));
                if let Some(given) = given.filter(|given| !told.contains(&given.origin)) {
                    let what = format!("cors says this field, too, for requests of {}", route.name);
                    let wrong = wrong(what, "leave one of the two out");
                    self.refuse(&given, 0..given.text.len(), wrong);
                    told.push(given.origin);
                }
            }
        }
    }

    /// Where a rule for answers is given that puts in a field of this name.
    fn rule_about(&self, name: &str) -> Option<Given> {
        let given = ["response-header", "response-header.add"].map(|key| self.given(key));
        given.into_iter().flatten().find(|given| {
            let own = given.text.split(':').next().unwrap_or_default();
            own.trim_end().eq_ignore_ascii_case(name)
        })
    }

    /// Things of our own making by name, `off` for none; `None`: nothing is said.
    fn names<T>(
        &mut self,
        key: &str,
        known: &[Arc<T>],
        name_of: impl Fn(&T) -> &str,
    ) -> Option<Vec<Arc<T>>> {
        if self.given(key).is_empty() {
            return None;
        }
        let find = |text: &str| known.iter().find(|one| name_of(one) == text).cloned();
        let read = |text: &str| match find(text) {
            Some(one) => Ok(Some(one)),
            None if text == "off" => Ok(None),
            None => {
                let what = format!("there is no {key} {text}");
                match nearest(text, known.iter().map(|one| name_of(one))) {
                    Some(near) => Err(wrong(what, format!("did you mean {near}?"))),
                    None => Err(wrong(what, format!("write [{key}.{text}] with its keys"))),
                }
            }
        };
        let found = self.list(key, MOST, read);
        if found.len() > 1 && found.iter().any(Option::is_none) {
            let given = self.given(key).remove(0);
            self.refuse_off_beside_others(&given);
        }
        Some(found.into_iter().flatten().collect())
    }

    fn refuse_off_beside_others(&mut self, given: &Given) {
        let what = "off stands for none, so others beside it say nothing";
        self.refuse(given, 0..given.text.len(), wrong(what, "leave it out"));
    }

    /// Networks, by themselves and in lists; `Some(None)`: `off`.
    fn networks(&mut self, key: &str, lists: &Lists) -> Option<Option<Arc<NetworkList>>> {
        let read = |text: &str| match (lists.get(text), text) {
            (Some(list), _) => Ok(Some(list.networks.clone())),
            (None, "off") => Ok(None),
            (None, "") => Ok(Some(Vec::new())),
            (None, text) => places::network(text).map(|one| Some(vec![one])).map_err(|refusal| {
                let is_list = conditions::is_name(text) && text.starts_with(char::is_alphabetic);
                match nearest(text, lists.keys().map(String::as_str)) {
                    Some(near) if is_list => {
                        let what = format!("no list is called {text}");
                        wrong(what, format!("did you mean {near}?"))
                    }
                    None if is_list && text != "localhost" => {
                        let right = format!("write {text} = [\"192.0.2.0/24\"] under [list]");
                        wrong(format!("no list is called {text}"), right)
                    }
                    _ => refusal,
                }
            }),
        };
        let items = self.all(key, MOST_NETWORKS, read);
        let first = items.first()?;
        if items.iter().any(|item| item.value.is_none()) {
            if items.len() > 1 {
                self.refuse_off_beside_others(&first.given);
            }
            return Some(None);
        }
        let mut list = NetworkList::default();
        for Item { value, given } in &items {
            // A file may be empty, and nothing else.
            if given.text.is_empty() && given.shown.is_none() {
                self.refuse(given, 0..0, advice::empty(Form::NetworkNames));
                return None;
            }
            for one in given.shown().split(',').map(str::trim) {
                list.write(one);
            }
            list.networks.extend(value.iter().flatten());
        }
        if list.networks.is_empty() && key == "allow" {
            let what = "there is no network in it, so nobody would be served";
            self.refuse_secret(&first.given, wrong(what, "put one into it"));
        } else if list.networks.is_empty() {
            let what = "there is no network in it, so nobody is refused";
            self.warn(&first.given, wrong(what, "put one into it, or leave deny out"));
        }
        Some(Some(Arc::new(list)))
    }
}

/// The names of fields that `cors` and rules for answers of this route put in.
fn rules_beside_cors(route: &RouteSpec) -> Vec<&str> {
    let of_shares = match &route.action {
        RouteAction::Forward(forward) => &forward.shares[..],
        _ => &[],
    };
    let exchanges = of_shares.iter().map(|share| &share.exchange).chain([&route.exchange]);
    let names = exchanges.flat_map(|one| &one.response_header.lines).map(|line| &*line.name);
    let is_owned = |name: &&str| cors::OWNED.iter().any(|owned| owned.eq_ignore_ascii_case(name));
    names.filter(|name| route.gate.cors.is_some() && is_owned(name)).collect()
}

/// An item of a list in which a star may stand, too.
fn or_star(
    item: impl Fn(&str) -> Result<String, Diagnostic>,
) -> impl Fn(&str) -> Result<String, Diagnostic> {
    move |text| if text == "*" { Ok(text.to_owned()) } else { item(text) }
}

/// A role: a name, or what a certificate says of its client.
fn role(text: &str) -> Result<String, Diagnostic> {
    match role_of_certificate(text) {
        true => Ok(text.to_owned()),
        false if !text.bytes().all(|octet| matches!(octet, b' '..=b'~')) => {
            let right = "others are as the log shows them, such as \\C3\\A9";
            Err(wrong("a role has printable ASCII characters", right))
        }
        false if text.contains(',') => {
            Err(wrong("a text is one role", r#"put several into a list: ["writer", "admin"]"#))
        }
        false => conditions::name(text),
    }
}

/// `CN=a`, `DNS:a.test` and so on.
fn role_of_certificate(text: &str) -> bool {
    const KINDS: [&str; 4] = ["DNS:", "URI:", "IP:", "email:"];
    let is_printable = text.len() <= 1024 && text.bytes().all(|octet| matches!(octet, b' '..=b'~'));
    is_printable && (text.contains('=') || KINDS.iter().any(|kind| text.starts_with(kind)))
}

/// `application/json`, `text/*`.
fn media_type(text: &str) -> Result<String, Diagnostic> {
    match media::is_range(text) {
        _ if text.contains(';') => {
            let bare = text.split(';').next().unwrap_or_default().trim();
            Err(instead("parameters are not compared", [bare]))
        }
        true => Ok(text.to_ascii_lowercase()),
        false => Err(unclear("this is not a media type")),
    }
}

/// `https://app.example.org`, `https://*.example.org:8443`, `*`.
fn origin(text: &str) -> Result<String, Diagnostic> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let lower = text.to_ascii_lowercase();
    let Some((scheme, rest)) = lower.split_once("://") else {
        return Err(instead("an origin begins with its scheme", [format!("https://{lower}")]));
    };
    let bare = rest.trim_end_matches('/');
    if bare.len() != rest.len() || bare.contains('/') {
        let host = bare.split('/').next().unwrap_or_default();
        return Err(instead("an origin has no path", [format!("{scheme}://{host}")]));
    }
    let (host, port) = match bare.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (bare, None),
    };
    let default = if scheme == "https" { "443" } else { "80" };
    if port == Some(default) {
        let right = format!("{scheme}://{host}");
        return Err(instead("browsers leave the usual port out", [right]));
    }
    let is_port = port.is_none_or(|port| digits(port).is_some_and(|n| (1..65536).contains(&n)));
    match is_port && cors::is_origin_pattern(&lower) {
        true => Ok(lower),
        false => Err(unclear("this is not an origin")),
    }
}
