//! Settings that are given and have no effect, or undo each other: each gets a warning.
//!
//! What the top says may be meant for one pool of many, so it is odd only where nothing below uses it either.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use super::care::is_same_layer;
use super::diagnostics::wrong;
use super::file::Section;
use super::given::{Given, Origin};
use super::plan::{ExchangeSpec, Plan};
use super::pool::{Place, PoolSpec, RetrySpec};
use super::route::{RouteAction, RouteSource, RouteSpec, Share};
use super::sections::of;
use super::securing::OF_UPSTREAMS;
use super::settings::{Settings, setting};
use super::table::{POOL, ROUTE};

/// What is looked at.
const LOOKED_AT: [&str; 5] = ["retry-on", "try-timeout", "hedge", "retry-buffer", "resolve"];

fn is_looked_at(name: &str) -> bool {
    LOOKED_AT.contains(&name) || OF_UPSTREAMS.contains(&name)
}

/// Says what is given and has no effect in `plan`.
pub fn warn(settings: &mut Settings<'_>, plan: &Plan) {
    let pools: Vec<&PoolSpec> = plan.pools.iter().map(|pool| &**pool).collect();
    let shares: Vec<&Share> = plan.routes.iter().flat_map(shares_of).collect();
    let of_pools = pools.iter().map(|pool| &*pool.exchange);
    let below = of_pools.chain(shares.iter().map(|share| &*share.exchange)).collect();
    settings.unused_retries(&plan.exchange, below);
    settings.unused_names(&pools);
    let mut services = plan.auths.iter().filter_map(|auth| auth.url());
    settings.unused_tls(&pools, services.any(|url| url.secure));
    // Most of thousands say nothing of it.
    let says = |section: &&Section| section.given.keys().any(|name| is_looked_at(name));
    for section in of(&settings.layers.sections, POOL).into_iter().filter(says) {
        let Some(pool) = pools.iter().find(|pool| *pool.name == *section.name) else { continue };
        let below = shares.iter().filter(|share| share.pool == pool.name);
        let below = below.map(|share| &*share.exchange).collect();
        let mut settings = settings.of(section);
        settings.unused_retries(&pool.exchange, below);
        settings.unused_names(&[*pool]);
        settings.unused_tls(&[*pool], false);
    }
    settings.overwritten_cookies(plan);
    let routes = plan.routes.iter().filter(|route| route.source == RouteSource::Section);
    let sections = of(&settings.layers.sections, ROUTE).into_iter().zip(routes);
    for (section, route) in sections.filter(|(section, _)| says(section)) {
        let exchanges: Vec<&ExchangeSpec> =
            shares_of(route).map(|share| &*share.exchange).collect();
        if let Some((own, others)) = exchanges.split_first() {
            settings.of(section).unused_retries(own, others.to_vec());
        }
    }
}

/// Where a route sends requests.
fn shares_of(route: &RouteSpec) -> impl Iterator<Item = &Share> {
    let shares = match &route.action {
        RouteAction::Forward(forward) => &forward.shares[..],
        _ => &[],
    };
    shares.iter()
}

impl Settings<'_> {
    /// What is said of retries here, where exchanges go as `own` says, or, below, as these do.
    fn unused_retries(&mut self, own: &ExchangeSpec, below: Vec<&ExchangeSpec>) {
        let any = |is: fn(&RetrySpec) -> bool| {
            is(&own.retry) || below.iter().any(|exchange| is(&exchange.retry))
        };
        let sends_again = any(|retry| retry.most > 0);
        let has_late = any(|retry| retry.most > 0 && retry.on.timeout);
        let RetrySpec { most: _, on: _, try_timeout, hedge, buffer } = &own.retry;
        for (name, says_something) in [
            ("retry-on", true),
            ("try-timeout", !try_timeout.is_zero()),
            ("hedge", !hedge.is_zero()),
            ("retry-buffer", *buffer > 0),
        ] {
            let Some(given) = self.given_here(name).filter(|_| says_something) else { continue };
            if !sends_again && self.is_beside(&given, "max-retries") {
                let what = "this is not used, since max-retries is 0";
                self.warn(&given, wrong(what, "leave one of the two out"));
            } else if sends_again && name == "try-timeout" && !has_late {
                let what = "this is not used, since retry-on has no timeout";
                self.warn(&given, wrong(what, "add timeout to retry-on, or leave it out"));
            }
        }
    }

    /// How names are looked up, where these pools have none.
    fn unused_names(&mut self, pools: &[&PoolSpec]) {
        // A demo brings its own upstreams.
        if pools.iter().any(|pool| pool.upstreams.is_empty() || has_name(pool)) {
            return;
        }
        let of_top = self.section.is_none().then_some("resolver");
        for name in ["resolve"].into_iter().chain(of_top) {
            if let Some(given) = self.given_here(name).filter(|given| &*given.text != "once") {
                let what = "this is not used, since no upstream has a name to look up";
                self.warn(&given, wrong(what, "leave it out"));
            }
        }
    }

    /// What is said of TLS, where no upstream of these pools speaks it, and no service that goes by the same.
    fn unused_tls(&mut self, pools: &[&PoolSpec], of_services: bool) {
        let mut upstreams = pools.iter().flat_map(|pool| &pool.upstreams);
        // A build without TLS refuses it all the same.
        let is_used =
            of_services || upstreams.any(|upstream| upstream.secure) || !cfg!(feature = "tls");
        if let (false, Some(given)) = (is_used, self.first_said(&OF_UPSTREAMS)) {
            let what = "this is not used, since no upstream speaks TLS";
            self.warn(&given, wrong(what, "begin its URL with https://, or leave it out"));
        }
    }

    /// Routes that mix pools whose clients stay by one cookie: each pool overwrites what the other has set.
    fn overwritten_cookies(&mut self, plan: &Plan) {
        let sticky =
            |pool: &'_ Arc<PoolSpec>| Some((Arc::clone(pool), pool.sticky.clone()?.cookie));
        let pools: Vec<_> = plan.pools.iter().filter_map(sticky).collect();
        let cookies: HashMap<&str, &str> =
            pools.iter().map(|(pool, cookie)| (&*pool.name, &**cookie)).collect();
        if cookies.len() < 2 {
            return;
        }
        let routes = plan.routes.iter().filter(|route| route.source == RouteSource::Section);
        for (section, route) in of(&self.layers.sections, ROUTE).into_iter().zip(routes) {
            let mut seen = HashSet::new();
            let mut of_shares = shares_of(route).filter_map(|share| cookies.get(&*share.pool));
            if of_shares.all(|cookie| seen.insert(cookie)) {
                continue;
            }
            let mut settings = self.of(section);
            if let Some(given) = settings.given_here("pool") {
                let what = "these pools have one sticky cookie, so each overwrites the other's";
                settings.warn(&given, wrong(what, "give each pool a cookie of its own"));
            }
        }
    }

    fn given_here(&self, name: &str) -> Option<Given> {
        self.given(name).into_iter().find(|given| given.origin != Origin::Default)
    }

    /// Whoever gave this gave `name` as well. A flag that is stronger than a file makes nothing odd that stands there.
    fn is_beside(&self, given: &Given, name: &str) -> bool {
        let at_top = || self.layers.of(setting(name)).into_iter().next();
        let other = self.given_here(name).or_else(at_top);
        other.is_none_or(|other| {
            other.origin == Origin::Default || is_same_layer(&given.origin, &other.origin)
        })
    }
}

fn has_name(pool: &PoolSpec) -> bool {
    let is_name = |place: &Place| match place {
        Place::Tcp { host, .. } => IpAddr::from_str(host).is_err(),
        Place::Unix(_) => false,
    };
    pool.upstreams.iter().any(|upstream| is_name(&upstream.place))
}

#[cfg(test)]
mod tests {
    use super::super::testing;

    #[test]
    fn what_has_no_effect_is_told_and_nothing_else() {
        const NO_TIMEOUT: &str = "this is not used, since retry-on has no timeout";
        const NO_RETRY: &str = "this is not used, since max-retries is 0";
        const NO_NAME: &str = "this is not used, since no upstream has a name to look up";
        for (flags, top, pool, route, told) in [
            ("", "try-timeout = '1s'", "", "", &[("try-timeout", NO_TIMEOUT)][..]),
            ("", "try-timeout = '0s'", "", "", &[]),
            ("", "try-timeout = '1s'\nretry-on = 'timeout'", "", "", &[]),
            ("", "try-timeout = '1s'", "retry-on = 'timeout'", "", &[]),
            ("", "try-timeout = '1s'", "", "retry-on = 'timeout'", &[]),
            ("", "", "try-timeout = '1s'", "retry-on = 'timeout'", &[]),
            ("", "", "try-timeout = '1s'", "", &[("try-timeout", NO_TIMEOUT)]),
            (
                "",
                "retry-on = 'timeout'",
                "",
                "try-timeout = '1s'\nretry-on = '5xx'",
                &[("try-timeout", NO_TIMEOUT)],
            ),
            (
                "",
                "max-retries = 0\nhedge = '1s'\nretry-buffer = '1KiB'\nretry-on = '5xx'",
                "",
                "",
                &[("retry-on", NO_RETRY), ("hedge", NO_RETRY), ("retry-buffer", NO_RETRY)],
            ),
            ("", "max-retries = 0\nhedge = '1s'", "", "max-retries = 1", &[]),
            ("", "max-retries = 0\nhedge = '0s'\nretry-buffer = '0B'", "", "", &[]),
            ("", "max-retries = 0", "try-timeout = '1s'", "", &[("try-timeout", NO_RETRY)]),
            ("", "hedge = '1s'", "max-retries = 0", "", &[]),
            ("", "hedge = '1s'", "max-retries = 0", "hedge = '2s'", &[("hedge", NO_RETRY)]),
            ("--max-retries 0", "hedge = '1s'", "", "", &[]),
            ("--max-retries 0 --hedge 1s", "", "", "", &[("--hedge", NO_RETRY)]),
            ("", "resolve = '5s'", "upstream = 'http://a'", "", &[]),
            ("", "resolve = '5s'", "upstream = 'http://10.0.0.1'", "", &[("resolve", NO_NAME)]),
            ("", "resolve = 'once'", "upstream = 'http://10.0.0.1'", "", &[]),
            ("", "", "upstream = 'http://unix:/a'\nresolve = '5s'", "", &[("resolve", NO_NAME)]),
            ("", "", "upstream = ['http://unix:/a', 'http://a']\nresolve = '5s'", "", &[]),
        ] {
            let upstream = if pool.contains("upstream") { "" } else { "upstream = 'http://a:1'" };
            let text =
                format!("{top}\n[pool.p]\n{upstream}\n{pool}\n[[route]]\npool = 'p'\n{route}\n");
            let flags: Vec<&str> = flags.split_whitespace().collect();
            let (_, report) = testing::loaded(&text, &flags).unwrap();
            assert_eq!(report.warnings.len(), told.len(), "{text}{:#?}", report.warnings);
            for (warning, (name, what)) in report.warnings.iter().zip(told) {
                assert!(warning.contains(name) && warning.contains(what), "{text}{warning}");
            }
        }
    }

    #[test]
    fn pools_that_a_route_mixes_have_cookies_of_their_own() {
        for (top, of_b, mixes, warnings) in [
            ("sticky = 'tg'", "", "{ a = 1, b = 1 }", 1),
            ("sticky = 'tg'", "sticky = 'tb'", "{ a = 1, b = 1 }", 0),
            ("sticky = 'tg'", "sticky = 'off'", "{ a = 1, b = 1 }", 0),
            ("sticky = 'tg'", "", "'a'", 0),
            ("", "", "{ a = 1, b = 1 }", 0),
        ] {
            let text = format!(
                "{top}\n[pool.a]\nupstream = 'http://a:1'\n[pool.b]\nupstream = 'http://b:1'\n{of_b}\n\
                 [[route]]\npool = {mixes}\n"
            );
            let (_, report) = testing::loaded(&text, &[]).unwrap();
            assert_eq!(report.warnings.len(), warnings, "{text}{:#?}", report.warnings);
        }
    }

    #[cfg(feature = "dns")]
    #[test]
    fn a_server_for_names_is_not_used_where_there_are_none() {
        for (upstream, warnings) in [("http://a", 0), ("http://10.0.0.1", 1)] {
            let text = format!("upstream = '{upstream}'\nresolver = '127.0.0.1:53'\n");
            let (_, report) = testing::loaded(&text, &[]).unwrap();
            assert_eq!(report.warnings.len(), warnings, "{:#?}", report.warnings);
        }
    }
}
