//! Pools and routes: from what is given at the top and in their sections to what they are.
//!
//! The top holds: what a pool does not say is as the top has it, and what a route does not say is as its pool has it.
//! Without a `[[route]]` there is one route, `default`, of what is given at the top.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::conditions;
use super::diagnostics::{Diagnostic, Diagnostics, nearest, wrong};
use super::file::{Section, read_bounded};
use super::header::{self, HeaderRules};
use super::places;
use super::plan::*;
use super::reach::unreachable;
use super::route::*;
use super::settings::{Item, Settings};
use super::table::{self, POOL, ROUTE};
use super::template::{Placeholder, Template};
use super::values;
use crate::base::digits;
use crate::http::grammar;

/// The pool and the route that flags make.
pub const DEFAULT: &str = "default";
/// Items of a list in a route.
const MOST: usize = 1024;
/// Rules about fields.
const MOST_RULES: usize = 64;
/// The longest text of an answer; and of an error page.
const LONGEST: usize = 64 * 1024;

impl<'a> Settings<'a> {
    /// The same for what `section` says.
    fn of<'s>(&'s mut self, section: &'s Section) -> Settings<'s> {
        let Settings { layers, diagnostics, .. } = self;
        Settings { layers, section: Some(section), diagnostics }
    }

    /// How exchanges go: as `above` says, but for what is said here.
    pub fn exchange(&mut self, above: &Arc<ExchangeSpec>) -> Arc<ExchangeSpec> {
        let mut spec = (**above).clone();
        self.change(&mut spec);
        if spec == **above { Arc::clone(above) } else { Arc::new(spec) }
    }

    /// Changes `spec` by what is said here.
    pub fn change(&mut self, spec: &mut ExchangeSpec) {
        fn set<T>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        set(&mut spec.max_body, self.number_or_off("max-body"));
        set(&mut spec.host, self.one("host-header", super::build::host_header));
        set(&mut spec.backend_header, self.one("backend-header", values::switch));
        set(&mut spec.half_close, self.one("half-close", values::switch));
        set(&mut spec.max_retries, self.number_here("max-retries").map(|n| n as u32));
        let upgrades = self.list("allow-upgrade", 256, values::protocol);
        if !upgrades.is_empty() {
            spec.upgrades = upgrades;
        }
        let timeouts = &mut spec.timeouts;
        for (name, place) in [
            ("connect-timeout", &mut timeouts.connect),
            ("read-timeout", &mut timeouts.read),
            ("write-timeout", &mut timeouts.write),
            ("response-timeout", &mut timeouts.response),
            ("tunnel-idle-timeout", &mut timeouts.tunnel_idle),
            ("expect-timeout", &mut timeouts.expect),
        ] {
            if self.section.is_some() || name != "read-timeout" {
                set(place, self.wait_here(name));
            }
        }
        self.header_rules("request-header", &mut spec.request_header);
        self.header_rules("response-header", &mut spec.response_header);
        let cwd = &self.layers.cwd;
        for page in self.list("error-page", MOST_RULES, |text| error_page(text, cwd)) {
            spec.error_pages.insert(0, page);
        }
    }

    /// Adds the rules for one direction to those from above.
    fn header_rules(&mut self, which: &str, rules: &mut HeaderRules) {
        for name in self.list(&format!("{which}.remove"), MOST_RULES, header::name) {
            rules.remove(&name);
        }
        let lines = self.all(which, MOST_RULES, header::line);
        // A name that is set twice here has two lines.
        lines.iter().for_each(|item| rules.remove(&item.value.name));
        let added = self.all(&format!("{which}.add"), MOST_RULES, header::line);
        for Item { value, given } in lines.into_iter().chain(added) {
            let shown = given.shown.as_deref().and_then(|shown| shown.split_once(": "));
            let line = match shown {
                Some((_, shown)) => {
                    header::HeaderLine { value: value.value.shown_as(shown), ..value }
                }
                None => value,
            };
            rules.add(line);
        }
    }

    /// Every pool: that of the top, if it has upstreams, and those of the sections; and how exchanges with each go.
    pub fn pools(
        &mut self,
        above: &Arc<ExchangeSpec>,
        top: PoolSpec,
    ) -> (Vec<PoolSpec>, HashMap<Arc<str>, Arc<ExchangeSpec>>) {
        let mut exchanges = HashMap::new();
        let mut pools = Vec::new();
        let defaults = (top.idle_timeout, top.max_idle);
        let sections: Vec<&'a Section> = of(self.layers.sections.as_slice(), POOL);
        let names_default = sections.iter().any(|section| section.name == DEFAULT);
        if !top.upstreams.is_empty() || sections.is_empty() {
            exchanges.insert(Arc::clone(&top.name), Arc::clone(above));
            pools.push(top);
            if let (true, Some(section)) =
                (names_default, sections.iter().find(|section| section.name == DEFAULT))
            {
                let what = "the top has upstreams, which are those of the pool default";
                self.mistake(section, wrong(what, "give one of the two another name"));
            }
        }
        for section in sections {
            let name: Arc<str> = section.name.as_str().into();
            if exchanges.contains_key(&name) {
                if *name != *DEFAULT {
                    let what = format!("there is a pool {name} already");
                    self.mistake(section, wrong(what, "give one of the two another name"));
                }
                continue;
            }
            let listen = self.listen_again();
            let mut settings = self.of(section);
            let upstreams = settings.own_upstreams(&listen);
            if upstreams.is_empty() && settings.given("upstream").is_empty() {
                let what = format!("the pool {name} has no upstream");
                settings
                    .mistake(section, wrong(what, "write upstream = \"http://127.0.0.1:9001\""));
            }
            let pool = PoolSpec {
                name: Arc::clone(&name),
                upstreams,
                idle_timeout: settings.wait_here("upstream-idle-timeout").unwrap_or(defaults.0),
                max_idle: settings
                    .number_here("max-upstream-idle")
                    .map_or(defaults.1, |most| most as usize),
            };
            exchanges.insert(name, settings.exchange(above));
            pools.push(pool);
        }
        (pools, exchanges)
    }

    /// Every route, in order.
    pub fn routes(
        &mut self,
        above: &Arc<ExchangeSpec>,
        exchanges: &HashMap<Arc<str>, Arc<ExchangeSpec>>,
    ) -> Vec<RouteSpec> {
        let sections: Vec<&'a Section> = of(self.layers.sections.as_slice(), ROUTE);
        let mut routes = Vec::new();
        let mut names: HashMap<Arc<str>, ()> = HashMap::new();
        for section in &sections {
            let route = self.of(section).route(section, above, exchanges);
            if names.insert(Arc::clone(&route.name), ()).is_some() {
                let what = format!("there is a route {} already", route.name);
                self.mistake(section, wrong(what, "give one of the two another name"));
            }
            routes.push(route);
        }
        for (route, earlier) in unreachable(routes.iter().map(|route| &route.conditions)) {
            let what = format!(
                "the route {} is never taken: {} takes all that it means",
                routes[route].name, routes[earlier].name
            );
            let right = "put it before that one, or leave it out";
            self.diagnostics.warning(&sections[route].origin, wrong(what, right));
        }
        let conditions = Conditions {
            path: self.list("path", MOST, conditions::path),
            method: self.list("method", MOST, conditions::method),
            ..Conditions::default()
        };
        if sections.is_empty() || !conditions.is_empty() {
            let pool: Arc<str> = DEFAULT.into();
            let exchange = exchanges.get(&pool).unwrap_or(above);
            let share =
                Share { pool: Arc::clone(&pool), weight: 1, exchange: Arc::clone(exchange) };
            if let Some(section) = sections.iter().find(|_| !exchanges.contains_key(&pool)) {
                let what = "there is no pool default for the paths and methods at the top";
                self.mistake(
                    section,
                    wrong(what, "put them into a route, or write upstream at the top"),
                );
            } else if let (true, Some(section)) =
                (sections.is_empty(), self.layers.sections.first())
                && !exchanges.contains_key(&pool)
            {
                let what = format!("no route says which requests go to the pool {}", section.name);
                let right = "call it default, or write [[route]] with pool = \"...\" in it";
                self.mistake(section, wrong(what, right));
            }
            routes.push(RouteSpec {
                name: pool,
                conditions,
                action: RouteAction::Forward(Forward {
                    shares: vec![share],
                    strip_prefix: None,
                    add_prefix: String::new(),
                }),
                exchange: Arc::clone(exchange),
            });
        }
        routes
    }

    /// The route that `section` asks for.
    fn route(
        &mut self,
        section: &Section,
        above: &Arc<ExchangeSpec>,
        exchanges: &HashMap<Arc<str>, Arc<ExchangeSpec>>,
    ) -> RouteSpec {
        let name = self.one("name", conditions::name).unwrap_or_else(|| section.name.clone());
        let conditions = self.conditions();
        let exchange = self.exchange(above);
        let actions = ["redirect", "respond"];
        let asked: Vec<&str> =
            actions.into_iter().filter(|one| !self.given(one).is_empty()).collect();
        let is_forward = asked.is_empty();
        if let ([first, ..], Some(given)) = (&asked[..], self.given("pool").first())
            && asked.len() + 1 > 1
        {
            let what = format!("a route that has {first} needs no pool");
            self.refuse(given, 0..given.text.len(), wrong(what, "leave one of the two out"));
        }
        if asked.len() > 1 {
            self.mistake(section, wrong("a route does one thing", "leave redirect or respond out"));
        }
        let action = match asked.first() {
            Some(&"redirect") => RouteAction::Redirect(self.redirect()),
            Some(_) => RouteAction::Respond(self.respond()),
            None => self.forward(section, &conditions, exchanges),
        };
        for (key, is_of) in [
            ("strip-prefix", is_forward),
            ("add-prefix", is_forward),
            ("redirect.status", asked.contains(&"redirect")),
            ("respond.status", asked.contains(&"respond")),
            ("respond.type", asked.contains(&"respond")),
        ] {
            if let (false, Some(given)) = (is_of, self.given(key).first()) {
                let wrong = match key.split_once('.') {
                    Some(("redirect", _)) if asked.is_empty() => wrong(
                        "a redirect needs a place to lead to",
                        "write to = \"https://{host}{uri}\" beside it",
                    ),
                    Some(_) if asked.is_empty() => {
                        wrong("the text of the answer is missing", "write body = \"...\" beside it")
                    }
                    _ => wrong(
                        "this route does something else, so this has no meaning in it",
                        "leave it out",
                    ),
                };
                self.refuse(given, 0..given.text.len(), wrong);
            }
        }
        RouteSpec { name: name.into(), conditions, action, exchange }
    }

    fn conditions(&mut self) -> Conditions {
        let listen = self.list("listen", MOST, |text| {
            places::listen(text.strip_prefix("http://").unwrap_or(text))
        });
        let known = self.listen_again();
        if let Some(given) = self.given("listen").first()
            && let Some(unknown) = listen
                .iter()
                .find(|one| !known.iter().any(|known| known == *one || one.covers(known)))
        {
            let what = format!("nothing listens on {unknown}");
            let known: Vec<String> = known.iter().map(Listen::to_string).collect();
            let right = format!("write one of those at the top: {}", known.join(", "));
            let given = given.clone();
            self.refuse(&given, 0..given.text.len(), wrong(what, right));
        }
        Conditions {
            listen,
            host: self.list("host", MOST, conditions::host),
            path: self.list("path", MOST, conditions::path),
            method: self.list("method", MOST, conditions::method),
            header: grouped(self.list("header", MOST, conditions::field)),
            query: grouped(self.list("query", MOST, conditions::parameter)),
            client: self.list("client", MOST, places::network),
        }
    }

    fn forward(
        &mut self,
        section: &Section,
        conditions: &Conditions,
        exchanges: &HashMap<Arc<str>, Arc<ExchangeSpec>>,
    ) -> RouteAction {
        let names: Vec<&str> = exchanges.keys().map(|name| &**name).collect();
        let read = |text: &str| {
            let (pool, weight) = conditions::pair(text, "=");
            let known = exchanges.get_key_value(pool).map(|(name, _)| Arc::clone(name));
            let pool = known.ok_or_else(|| no_pool(pool, &names))?;
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
        let is_below = |prefix: &str| {
            let begins = |path: &PathPattern| {
                let rest = path.normal.strip_prefix(prefix.as_bytes());
                rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            };
            !conditions.path.is_empty() && conditions.path.iter().all(begins)
        };
        let strip = |text: &str| match conditions::prefix(text)? {
            prefix if is_below(prefix) => Ok((prefix.to_owned(), prefix.matches('/').count())),
            prefix => Err(wrong(
                "not every path of this route begins with that",
                format!("write path = \"{prefix}/*\""),
            )),
        };
        RouteAction::Forward(Forward {
            shares,
            strip_prefix: self.one("strip-prefix", strip),
            add_prefix: self
                .one("add-prefix", |text| conditions::prefix(text).map(str::to_owned))
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
                true if !text.is_empty() => Ok(template),
                _ => Err(wrong("this is not a URL", "write https://{host}{uri}")),
            }
        };
        let status = |text: &str| match digits(text) {
            Some(status @ (301 | 302 | 303 | 307 | 308)) => Ok(status as u16),
            _ => Err(wrong(
                "this is not the status of a redirect",
                "write 301, 302, 303, 307 or 308",
            )),
        };
        Redirect {
            to: self.one("redirect", to).unwrap_or_default(),
            status: self.one("redirect.status", status).unwrap_or(308),
        }
    }

    fn respond(&mut self) -> Respond {
        let body = |text: &str| match text.len() <= LONGEST {
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
                "write text/html; charset=utf-8, for example",
            )),
        };
        Respond {
            body: self.one("respond", body).unwrap_or_default(),
            status: self.one("respond.status", status).unwrap_or(200),
            kind: self
                .one("respond.type", kind)
                .unwrap_or_else(|| "text/plain; charset=utf-8".to_owned()),
        }
    }

    fn wait_here(&mut self, name: &str) -> Option<std::time::Duration> {
        self.number_here(name).map(std::time::Duration::from_millis)
    }

    /// The addresses of the listener; mistakes in them are told elsewhere.
    fn listen_again(&self) -> Vec<Listen> {
        let all = table::find("listen").map(|setting| self.layers.of(setting)).unwrap_or_default();
        let items = all.iter().flat_map(|given| given.text.split(','));
        items.filter_map(|text| places::listen(text.trim()).ok()).collect()
    }

    /// A mistake that no value of `section` is to blame for.
    fn mistake(&mut self, section: &Section, wrong: Diagnostic) {
        self.diagnostics.mistake(section.origin.clone(), wrong);
    }
}

fn of(sections: &[Section], scope: table::Scope) -> Vec<&Section> {
    sections.iter().filter(|section| section.scope == scope).collect()
}

fn no_pool(name: &str, names: &[&str]) -> Diagnostic {
    let what = format!("there is no pool {name}");
    match nearest(name, names.iter().copied()) {
        Some(near) => wrong(what, format!("did you mean {near}?")),
        None => wrong(what, format!("write [pool.{name}] with its upstreams")),
    }
}

/// Conditions on one name, as one: of several values, one has to be there.
fn grouped(pairs: Vec<(String, Option<String>)>) -> Vec<FieldCondition> {
    let mut grouped: Vec<FieldCondition> = Vec::new();
    for (name, value) in pairs {
        match grouped.iter_mut().find(|known| known.name == name) {
            Some(known) => known.values.extend(value),
            None => {
                grouped.push(FieldCondition { name, values: value.into_iter().collect() });
            }
        }
    }
    grouped
}

/// `502-504=pages/sorry.html`, a file below `cwd`.
fn error_page(text: &str, cwd: &Path) -> Result<ErrorPage, Diagnostic> {
    let (statuses, Some(file)) = conditions::pair(text, "=") else {
        return Err(wrong("the file is missing", "write { \"502-504\" = \"sorry.html\" }"));
    };
    let (first, last) = statuses.split_once('-').unwrap_or((statuses, statuses));
    let status = |text: &str| digits(text).filter(|n| (400..=599).contains(n)).map(|n| n as u16);
    let (Some(first), Some(last)) = (status(first), status(last)) else {
        return Err(wrong(
            "this is not a status of a refusal",
            "write one from 400 to 599, or 502-504",
        ));
    };
    if first > last {
        let right = format!("write {last}-{first}");
        return Err(wrong("these statuses stand the wrong way round", right));
    }
    let body = read_bounded(&cwd.join(file), LONGEST).map_err(|error| {
        wrong(format!("cannot read {file}: {error}"), "name a file that can be read")
    })?;
    let kind = match Path::new(file).extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        _ => "text/plain; charset=utf-8",
    };
    Ok(ErrorPage { statuses: (first, last), file: file.into(), kind, body: body.into() })
}
