//! Routes: from what is given at the top and in their sections to what they are.
//!
//! Without a `[[route]]` there is one route, `default`, of what is given at the top.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::conditions;
use super::diagnostics::{Diagnostic, Diagnostics, instead, nearest, wrong};
use super::file::Section;
use super::gate::Gate;
use super::gating::Named;
use super::listeners::{self, Listener};
use super::places::{self, Scheme};
use super::plan::*;
use super::pool::*;
use super::reach::unreachable;
use super::route::*;
use super::sections::{DEFAULT, of};
use super::settings::{Item, Settings};
use super::table::{POOL, ROUTE};
use super::template::{Placeholder, Template};
use super::values;
use crate::base::digits;
use crate::http::grammar;

/// What the admin shows clients, where a route says so.
pub const CLIENT_PAGES: [&str; 4] = ["/health", "/ready", "/metrics", "/status"];
/// Pairs of a host and a path that routes may have together: each takes some hundred octets, and time at a reload.
const MOST_PAIRS: usize = 250_000;
/// Items of a list in a route.
const MOST: usize = 1024;
/// Octets of the text that a route answers with.
pub const TEXT_MOST: usize = 64 * 1024;

/// What holds for routes that do not say otherwise.
pub(super) struct Above<'s> {
    exchange: &'s Arc<ExchangeSpec>,
    gate: &'s Arc<Gate>,
    named: &'s Named,
    /// By the names of pools.
    exchanges: HashMap<Arc<str>, Arc<ExchangeSpec>>,
}

impl<'s> Above<'s> {
    pub fn new(
        exchange: &'s Arc<ExchangeSpec>,
        gate: &'s Arc<Gate>,
        named: &'s Named,
        pools: &[PoolSpec],
    ) -> Above<'s> {
        let of = |pool: &PoolSpec| (Arc::clone(&pool.name), Arc::clone(&pool.exchange));
        Above { exchange, gate, named, exchanges: pools.iter().map(of).collect() }
    }
}

impl<'a> Settings<'a> {
    /// Every route, in order.
    pub fn routes(&mut self, above: &Above<'_>) -> Vec<RouteSpec> {
        let sections: Vec<&'a Section> = of(self.layers.sections.as_slice(), ROUTE);
        let mut routes: Vec<RouteSpec> = Vec::new();
        let mut pairs = 0;
        let [first, last] = self.routes_of_the_top(&sections, above);
        let mut names: HashMap<Arc<str>, RouteSource> = HashMap::new();
        names.extend(first.iter().chain(&last).map(|one| (Arc::clone(&one.name), one.source)));
        for section in &sections {
            let route = self.of(section).route(section, above);
            if let Some(source) = names.insert(Arc::clone(&route.name), route.source) {
                let made_by = match source {
                    RouteSource::Section => "",
                    RouteSource::ServeAdmin => ": that of serve-admin",
                    RouteSource::Top => ": that of the paths and methods at the top",
                };
                let what = format!("there is a route {} already{made_by}", route.name);
                self.mistake(section, wrong(what, "give one of the two another name"));
            }
            let Conditions { host, path, .. } = &route.conditions;
            pairs += host.len().max(1) * path.len().max(1);
            if pairs > MOST_PAIRS {
                let what = format!(
                    "all routes together have more than {MOST_PAIRS} pairs of a host and a path"
                );
                self.mistake(section, wrong(what, "leave some out, or use *.example.org and /x/*"));
                break;
            }
            routes.push(route);
        }
        for (route, earlier) in unreachable(routes.iter().map(|route| &route.conditions)) {
            let what = format!(
                "the route {} is never taken: {} takes all that it matches",
                routes[route].name, routes[earlier].name
            );
            let right = "put it before that one, or leave it out";
            self.diagnostics.warning(&sections[route].origin, wrong(what, right));
        }
        first.into_iter().chain(routes).chain(last).collect()
    }

    /// What flags and the top ask for: the pages of the admin before all other routes, and `default` behind them.
    fn routes_of_the_top(
        &mut self,
        sections: &[&Section],
        above: &Above<'_>,
    ) -> [Option<RouteSpec>; 2] {
        let exchanges = &above.exchanges;
        let conditions = Conditions {
            path: self.paths("path"),
            method: self.list("method", MOST, conditions::method),
            ..Conditions::default()
        };
        let admin = self.list("serve-admin", MOST, |text| match CLIENT_PAGES.contains(&text) {
            true => conditions::path(text),
            false => Err(instead("the admin shows clients nothing else", CLIENT_PAGES)),
        });
        let first = (!admin.is_empty()).then(|| RouteSpec {
            name: "admin".into(),
            conditions: Conditions { path: admin, ..Conditions::default() },
            gate: Arc::clone(above.gate),
            action: RouteAction::Admin,
            exchange: Arc::clone(above.exchange),
            source: RouteSource::ServeAdmin,
        });
        let is_asked = sections.is_empty() || !conditions.is_empty();
        let last = is_asked.then(|| {
            let pool: Arc<str> = DEFAULT.into();
            let exchange = exchanges.get(&pool).unwrap_or(above.exchange);
            let share =
                Share { pool: Arc::clone(&pool), weight: 1, exchange: Arc::clone(exchange) };
            if let Some(section) = sections.iter().find(|_| !exchanges.contains_key(&pool)) {
                let what = "there is no pool default for the paths and methods at the top";
                self.mistake(
                    section,
                    wrong(what, "put them into a route, or write upstream at the top"),
                );
            } else if let (true, Some(section)) =
                (sections.is_empty(), of(&self.layers.sections, POOL).first())
                && !exchanges.contains_key(&pool)
            {
                let what = format!("no route says which requests go to the pool {}", section.name);
                let right = "call it default, or write [[route]] with pool = \"...\" in it";
                self.mistake(section, wrong(what, right));
            }
            RouteSpec {
                name: pool,
                conditions,
                gate: self.gate(above.gate, above.named, true),
                action: RouteAction::Forward(Forward {
                    shares: vec![share],
                    strip_prefix: None,
                    add_prefix: String::new(),
                }),
                exchange: Arc::clone(exchange),
                source: RouteSource::Top,
            }
        });
        [first, last]
    }

    /// What the route does, if it sends requests nowhere.
    fn actions(&mut self, section: &Section) -> Vec<&'static str> {
        let actions = ["redirect", "respond", "serve"];
        let is_asked = |settings: &Settings<'_>, action: &str| {
            let of_it = ["redirect.status", "respond.status", "respond.type"];
            let of_it = of_it.iter().filter(|key| key.split('.').next() == Some(action));
            of_it.copied().chain([action]).any(|key| !settings.given(key).is_empty())
        };
        let asked: Vec<&str> = actions.into_iter().filter(|one| is_asked(self, one)).collect();
        if let (true, Some(given)) =
            (self.given("redirect").is_empty(), self.given("redirect.status").first())
        {
            let what = "a redirect needs a place to lead to";
            let right = "write to = \"https://{host}{uri}\" beside it";
            self.refuse(given, 0..given.text.len(), wrong(what, right));
        }
        if asked.len() > 1 {
            let right = "leave all but one out of redirect, respond and serve";
            self.mistake(section, wrong("a route does one thing", right));
        }
        asked
    }

    /// The route that `section` asks for.
    fn route(&mut self, section: &Section, above: &Above<'_>) -> RouteSpec {
        let name = self.one("name", conditions::name).unwrap_or_else(|| section.name.clone());
        let conditions = self.conditions();
        let exchange = self.exchange(above.exchange);
        let asked = self.actions(section);
        let is_forward = asked.is_empty();
        if let ([first, ..], Some(given)) = (&asked[..], self.given("pool").first()) {
            let what = format!("a route that has {first} needs no pool");
            self.refuse(given, 0..given.text.len(), wrong(what, "leave one of the two out"));
        }
        let action = match asked.first() {
            Some(&"redirect") => RouteAction::Redirect(self.redirect()),
            Some(&"serve") => {
                let _ = self.one("serve", |text| values::choice(&[("admin", ())], text));
                self.admin_paths(section, &conditions);
                RouteAction::Admin
            }
            Some(_) => RouteAction::Respond(self.respond()),
            None => self.forward(section, &conditions, &above.exchanges),
        };
        for (key, is_of) in [
            ("strip-prefix", is_forward),
            ("add-prefix", is_forward),
            ("redirect.status", asked.contains(&"redirect")),
            ("respond.status", asked.contains(&"respond")),
            ("respond.type", asked.contains(&"respond")),
        ] {
            if let (false, Some(given)) = (is_of, self.given(key).first()) {
                let what = "this route does something else, so this has no meaning in it";
                self.refuse(given, 0..given.text.len(), wrong(what, "leave it out"));
            }
        }
        let gate = self.gate(above.gate, above.named, is_forward);
        let source = RouteSource::Section;
        RouteSpec { name: name.into(), conditions, gate, action, exchange, source }
    }

    /// Says which paths the admin shows nothing under.
    fn admin_paths(&mut self, section: &Section, conditions: &Conditions) {
        let is_page = |pattern: &PathPattern| CLIENT_PAGES.contains(&pattern.text.as_str());
        if conditions.path.is_empty() || !conditions.path.iter().all(is_page) {
            let what = "a route that serves the admin names what clients may see";
            self.mistake(
                section,
                wrong(what, format!("write path = one or more of {}", CLIENT_PAGES.join(", "))),
            );
        }
    }

    fn conditions(&mut self) -> Conditions {
        let listen = self.list("listen", MOST, listeners::client_address);
        let known = self.listen_again();
        let is_known = |(one, scheme): &&(Listen, Option<Scheme>)| {
            let mut at_it = known.iter().filter(|known| known.at == *one || one.covers(&known.at));
            at_it.any(|known| scheme.is_none_or(|scheme| scheme.is_secure() == known.secure))
        };
        if let Some(given) = self.given("listen").first()
            && let Some((unknown, scheme)) = listen.iter().find(|one| !is_known(one))
        {
            let scheme = scheme.map_or("", Scheme::start);
            let what = format!("nothing listens on {scheme}{unknown}");
            let known: Vec<String> = known.iter().map(Listener::to_string).collect();
            let right = format!("write one of those at the top: {}", known.join(", "));
            let given = given.clone();
            self.refuse(&given, 0..given.text.len(), wrong(what, right));
        }
        Conditions {
            listen: listen.into_iter().map(|(listen, _)| listen).collect(),
            host: self.list("host", MOST, conditions::host),
            path: self.paths("path"),
            method: self.list("method", MOST, conditions::method),
            header: grouped(self.all("header", MOST, conditions::field)),
            query: grouped(self.all("query", MOST, conditions::parameter)),
            client: self.list("client", MOST, places::network),
        }
    }

    /// Paths; of one that was read from elsewhere what is shown is what stands in the file.
    fn paths(&mut self, name: &str) -> Vec<PathPattern> {
        let paths = self.all(name, MOST, conditions::path).into_iter();
        let shown = |Item { value, given }| match given.shown {
            Some(shown) => PathPattern { text: shown.to_string(), ..value },
            None => value,
        };
        paths.map(shown).collect()
    }

    fn forward(
        &mut self,
        section: &Section,
        conditions: &Conditions,
        exchanges: &HashMap<Arc<str>, Arc<ExchangeSpec>>,
    ) -> RouteAction {
        let read = |text: &str| {
            let (pool, weight) = conditions::pair(text, "=");
            let known = exchanges.get_key_value(pool).map(|(name, _)| Arc::clone(name));
            let pool = known.ok_or_else(|| no_pool(pool, exchanges.keys()))?;
            let weight = weight.map(places::weight).transpose()?;
            Ok((pool, weight.unwrap_or(1)))
        };
        let mut shares = self.list("pool", MOST, read);
        if shares.is_empty() && self.given("pool").is_empty() {
            match exchanges.get_key_value(DEFAULT) {
                Some((name, _)) => shares.push((Arc::clone(name), 1)),
                None => {
                    let what = "this route says nothing of where requests go";
                    let right =
                        "write pool = \"...\", redirect or respond, or give upstreams at the top";
                    self.mistake(section, wrong(what, right));
                }
            }
        }
        let mut seen = HashSet::new();
        if let Some((twice, _)) = shares.iter().find(|(pool, _)| !seen.insert(Arc::clone(pool))) {
            let what = format!("the pool {twice} is given twice");
            self.mistake(section, wrong(what, "leave one out"));
        }
        // Mistakes in it have been told.
        let mut told = Diagnostics::default();
        let mut again =
            Settings { layers: self.layers, section: self.section, diagnostics: &mut told };
        let shares = shares.into_iter().map(|(pool, weight)| {
            let exchange = again.exchange(&exchanges[&pool]);
            Share { pool, weight, exchange }
        });
        let shares = shares.collect();
        let is_below = |prefix: &[u8]| {
            let begins = |path: &PathPattern| {
                let rest = path.normal.strip_prefix(prefix);
                rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            };
            !conditions.path.is_empty() && conditions.path.iter().all(begins)
        };
        let strip = |text: &str| match conditions::prefix(text)? {
            (prefix, normal) if is_below(&normal) => {
                Ok((prefix.to_owned(), prefix.matches('/').count()))
            }
            (prefix, _) => Err(wrong(
                "not every path of this route begins with that",
                format!("write path = \"{prefix}/*\""),
            )),
        };
        RouteAction::Forward(Forward {
            shares,
            strip_prefix: self.one("strip-prefix", strip),
            add_prefix: self
                .one("add-prefix", |text| {
                    conditions::prefix(text).map(|(prefix, _)| prefix.to_owned())
                })
                .unwrap_or_default(),
        })
    }

    fn redirect(&mut self) -> Redirect {
        let to = |text: &str| {
            let template = Template::read(text)?;
            let is_target = |octet: u8| grammar::is_target(&[octet]) || octet == b'#';
            match template.literal_len() <= 4096 && template.fits(is_target) {
                _ if template.has(Placeholder::Upstream) => {
                    Err(wrong("a redirect has no upstream", "leave {upstream} out"))
                }
                true if leads_somewhere(text) => Ok(template),
                _ => Err(wrong(
                    "this is no URL whose host is certain",
                    "write a URL such as https://{host}{uri}",
                )),
            }
        };
        let status = |text: &str| match digits(text) {
            Some(status @ (301 | 302 | 303 | 307 | 308)) => Ok(status as u16),
            _ => Err(wrong(
                "this is not the status of a redirect",
                "write one of 301, 302, 303, 307 and 308",
            )),
        };
        let shown = self.given("redirect").into_iter().find_map(|given| given.shown);
        let to = self.one("redirect", to).unwrap_or_default();
        Redirect {
            to: shown.iter().fold(to, |to, shown| to.shown_as(shown)),
            status: self.one("redirect.status", status).unwrap_or(308),
        }
    }

    fn respond(&mut self) -> Respond {
        let body = |text: &str| match text.len() <= TEXT_MOST {
            true => Template::read(text),
            false => Err(wrong("this is too long for an answer", "write at most 64 KiB")),
        };
        let status = |text: &str| match digits(text) {
            Some(204 | 205 | 304) => Err(wrong(
                "an answer of this status has no body",
                "write another status, such as 200",
            )),
            Some(status @ 200..=599) => Ok(status as u16),
            _ => Err(wrong("this is not the status of an answer", "write one from 200 to 599")),
        };
        let kind = |text: &str| match conditions::field_value(text)? {
            kind if kind.contains('/') => Ok(kind),
            _ => Err(wrong(
                "this is not a media type",
                "write a type such as text/html; charset=utf-8",
            )),
        };
        let shown = self.given("respond").into_iter().find_map(|given| given.shown);
        let body = self.one("respond", body).unwrap_or_default();
        Respond {
            body: shown.iter().fold(body, |body, shown| body.shown_as(shown)),
            status: self.one("respond.status", status).unwrap_or(200),
            kind: self
                .one("respond.type", kind)
                .unwrap_or_else(|| "text/plain; charset=utf-8".to_owned()),
        }
    }
}

/// Whether nobody but us decides to which host a redirect leads: the host is there in full, or the client's own, and
/// what follows cannot run into it.
fn leads_somewhere(to: &str) -> bool {
    let is_path = |rest: &str| rest.starts_with("{uri}") || rest.starts_with("{path}");
    let Some((scheme, rest)) = to.split_once("://") else {
        let second = to.get(1..).unwrap_or_default();
        return is_path(to) || (to.starts_with('/') && !second.starts_with(['/', '\\', '{']));
    };
    if !matches!(scheme, "http" | "https" | "{scheme}") {
        return false;
    }
    let mut rest = rest;
    while !rest.is_empty() && !rest.starts_with(['/', '?', '#']) && !is_path(rest) {
        rest = match rest.strip_prefix("{host}") {
            Some(behind) => behind,
            None if rest.starts_with(['{', '}', '@', '\\']) => return false,
            None => &rest[rest.chars().next().map_or(1, char::len_utf8)..],
        };
    }
    let authority = &to[scheme.len() + 3..to.len() - rest.len()];
    !authority.is_empty()
}

/// Conditions on one name, as one: of several values, one has to be there.
fn grouped(pairs: Vec<Item<(String, Option<String>)>>) -> Vec<FieldCondition> {
    let mut grouped: Vec<FieldCondition> = Vec::new();
    for Item { value: (name, value), given } in pairs {
        let at = grouped.iter().position(|known| known.name == name).unwrap_or_else(|| {
            grouped.push(FieldCondition { name, values: Vec::new(), shown: None });
            grouped.len() - 1
        });
        let FieldCondition { values, shown, .. } = &mut grouped[at];
        if let Some(text) = &given.shown {
            let shown = shown.get_or_insert_with(|| values.clone());
            let text = conditions::pair(text, "=").1.unwrap_or("***").to_owned();
            // A list of values stands there once.
            if !shown.contains(&text) {
                shown.push(text);
            }
        } else if let Some(shown) = shown {
            shown.extend(value.clone());
        }
        values.extend(value);
    }
    grouped
}

fn no_pool<'n>(name: &str, names: impl Iterator<Item = &'n Arc<str>>) -> Diagnostic {
    let what = format!("there is no pool {name}");
    match nearest(name, names.map(|name| &**name)) {
        Some(near) => wrong(what, format!("did you mean {near}?")),
        None => wrong(what, format!("write [pool.{name}] with its upstreams")),
    }
}
