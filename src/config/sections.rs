//! Pools, and how exchanges go: from what is given at the top and in sections to what they are.
//!
//! The top holds: what a pool does not say is as the top has it, and what a route does not say is as its pool has it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use super::care::Care;
use super::conditions;
use super::diagnostics::{Diagnostic, wrong};
use super::file::Section;
use super::files::{Files, remedy};
use super::header::{self, HeaderLine, HeaderRules};
use super::layers::Layers;
use super::listeners::{self, Listener};
use super::plan::*;
use super::pool::*;
use super::settings::{Item, Settings};
use super::table::{self, POOL, ROUTE};
use super::values;
use crate::base::digits;

/// The pool and the route that flags make.
pub const DEFAULT: &str = "default";
/// The settings of exchanges: those that pools and routes may have alike.
static OF_EXCHANGES: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let both = table::settings_of(POOL).filter(|setting| setting.scope & ROUTE != 0);
    both.map(|setting| setting.name).collect()
});
/// Rules about fields.
const MOST_RULES: usize = 64;
/// The longest error page.
const LONGEST: usize = 64 * 1024;

impl<'a> Settings<'a> {
    /// The same for what `section` says.
    pub fn of<'s>(&'s mut self, section: &'s Section) -> Settings<'s> {
        let Settings { layers, diagnostics, .. } = self;
        Settings { layers, section: Some(section), diagnostics }
    }

    /// How exchanges go: as `above` says, but for what is said here.
    pub fn exchange(&mut self, above: &Arc<ExchangeSpec>) -> Arc<ExchangeSpec> {
        // Most of thousands of routes say nothing of it.
        let says = |section: &Section| section.given.keys().any(|name| OF_EXCHANGES.contains(name));
        if !self.section.is_some_and(says) {
            return Arc::clone(above);
        }
        let mut spec = (**above).clone();
        self.change(&mut spec);
        if spec == **above { Arc::clone(above) } else { Arc::new(spec) }
    }

    /// Changes `spec` by what is said here.
    pub fn change(&mut self, spec: &mut ExchangeSpec) {
        set(&mut spec.max_body, self.number_or_off("max-body"));
        set(&mut spec.min_rate, self.number_or_off("min-rate"));
        set(&mut spec.host, self.one("host-header", super::build::host_header));
        set(&mut spec.backend_header, self.one("backend-header", values::switch));
        set(&mut spec.half_close, self.one("half-close", values::switch));
        self.retries(&mut spec.retry);
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
        let Layers { cwd, files, .. } = self.layers;
        for page in self.list("error-page", MOST_RULES, |text| error_page(text, cwd, files)) {
            spec.error_pages.insert(0, page);
        }
    }

    fn retries(&mut self, retry: &mut RetrySpec) {
        set(&mut retry.most, self.number_here("max-retries").map(|n| n as u32));
        set(&mut retry.on, self.failures("retry-on"));
        set(&mut retry.try_timeout, self.wait_here("try-timeout"));
        set(&mut retry.hedge, self.wait_here("hedge"));
        set(&mut retry.buffer, self.number_here("retry-buffer").map(|n| n as usize));
    }

    /// Adds the rules for one direction to those from above.
    fn header_rules(&mut self, which: &str, rules: &mut HeaderRules) {
        for name in self.list(&format!("{which}.remove"), MOST_RULES, header::name) {
            rules.remove(&name);
        }
        let lines = self.all(which, MOST_RULES, header::line);
        self.refuse_other_spellings(&lines);
        // A name that is set twice here has two lines.
        lines.iter().for_each(|item| rules.remove(&item.value.name));
        let added = self.all(&format!("{which}.add"), MOST_RULES, header::line);
        let last = lines.iter().chain(&added).next_back().map(|item| item.given.clone());
        for Item { value, given } in lines.into_iter().chain(added) {
            let line = match given.shown.as_deref() {
                None => value,
                Some(shown) => {
                    let one = shown.split_once(':').filter(|_| !shown.contains('\n'));
                    let shown = one.map_or("***", |(_, shown)| shown.trim());
                    HeaderLine { value: value.value.shown_as(shown), ..value }
                }
            };
            rules.add(line);
        }
        if let (true, Some(last)) = (rules.longest(|_| 0) > header::LINES_MOST, last) {
            let what = "the lines of one head are too long together";
            let right = format!("write at most {} octets", header::LINES_MOST);
            self.refuse(&last, 0..last.text.len(), wrong(what, right));
        }
    }

    /// A field that is set under two spellings of its name: which of them counts, nobody would know.
    fn refuse_other_spellings(&mut self, lines: &[Item<HeaderLine>]) {
        let mut names: HashMap<String, &str> = HashMap::new();
        for Item { value, given } in lines {
            let name = value.name.to_ascii_lowercase();
            let known = *names.entry(name).or_insert(&value.name);
            if known != value.name {
                let what = format!("{known} and {} are one field", value.name);
                let right = "put both values under one spelling, or leave one out";
                self.refuse(given, 0..given.text.len(), wrong(what, right));
            }
        }
    }

    /// Every pool: that of the top, if it has upstreams or a demo may bring some, and those of the sections.
    pub fn pools(
        &mut self,
        above: &Arc<ExchangeSpec>,
        top: PoolSpec,
        care: &Care,
    ) -> Vec<PoolSpec> {
        let mut names = HashSet::new();
        let mut pools = Vec::new();
        let sections: Vec<&'a Section> = of(self.layers.sections.as_slice(), POOL);
        let names_default = sections.iter().any(|section| section.name == DEFAULT);
        let has_none = |section: &Section| section.scope != POOL && section.scope != ROUTE;
        if !top.upstreams.is_empty() || self.layers.sections.iter().all(has_none) {
            names.insert(Arc::clone(&top.name));
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
            if !names.insert(Arc::clone(&name)) {
                if *name != *DEFAULT {
                    let what = format!("there is a pool {name} already");
                    self.mistake(section, wrong(what, "give one of the two another name"));
                }
                continue;
            }
            let listen = self.listen_again().into_iter();
            let mut listen: Vec<Listen> = listen.map(|one| one.at).collect();
            let admin = table::find("admin").map(|one| self.layers.of(one)).unwrap_or_default();
            listen
                .extend(admin.iter().filter_map(|one| listeners::admin(&one.text).ok().flatten()));
            let mut settings = self.of(section);
            let upstreams = settings.own_upstreams(&listen);
            if upstreams.is_empty() && settings.given("upstream").is_empty() {
                let what = format!("the pool {name} has no upstream");
                settings
                    .mistake(section, wrong(what, "write upstream = \"http://127.0.0.1:9001\""));
            }
            let own = settings.care(care);
            pools.push(own.pool(&name, upstreams, settings.exchange(above)));
        }
        pools
    }

    /// The addresses of the listener; mistakes in them are told elsewhere.
    pub fn listen_again(&self) -> Vec<Listener> {
        let all = table::find("listen").map(|setting| self.layers.of(setting)).unwrap_or_default();
        let items = all.iter().flat_map(|given| given.text.split(','));
        items.filter_map(|text| listeners::listener(text.trim()).ok()).collect()
    }

    /// A mistake that no value of `section` is to blame for.
    pub fn mistake(&mut self, section: &Section, wrong: Diagnostic) {
        self.diagnostics.mistake(section.origin.clone(), wrong);
    }
}

/// Puts in what was given, if it was.
pub(super) fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

pub(super) fn of(sections: &[Section], scope: table::Scope) -> Vec<&Section> {
    sections.iter().filter(|section| section.scope == scope).collect()
}

/// `502-504=pages/sorry.html`, a file below `cwd`.
fn error_page(text: &str, cwd: &Path, files: &Files) -> Result<ErrorPage, Diagnostic> {
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
        let right = format!("write the lower one first: {last}-{first}");
        return Err(wrong("these statuses stand the wrong way round", right));
    }
    let body = files
        .regular(&cwd.join(file), LONGEST)
        .map_err(|error| wrong(format!("cannot read {file}: {error}"), remedy(&error)))?;
    let kind = match Path::new(file).extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        _ => "text/plain; charset=utf-8",
    };
    Ok(ErrorPage { statuses: (first, last), file: file.into(), kind, body: body.into() })
}
