//! Changes of upstreams made at run time, laid over what the files say.
//!
//! The files stay as they are. Where both speak of an upstream, the change holds, until the files say the same, or have
//! made it meaningless: then it is dropped, and that is told.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::advice;
use super::build::{MOST_UPSTREAMS, leads_back};
use super::order::{UpstreamOrder, Verb};
use super::places;
use super::plan::Plan;
use super::pool::{PoolSpec, UpstreamSpec};
use super::sections::DEFAULT;
use super::table::Form;

/// Every change that is in force, by pool and canonical URL of its upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay(BTreeMap<Key, UpstreamChange>);

/// The name of a pool, and the canonical URL of an upstream in it.
type Key = (String, String);

/// What was changed of one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamChange {
    /// Its pool.
    pub pool: String,
    /// The upstream; its weight counts where it was added.
    pub upstream: UpstreamSpec,
    /// Whether it is one.
    pub presence: Presence,
    /// It gets no new requests.
    pub draining: bool,
    /// Its weight, in place of what the files say.
    pub weight: Option<u32>,
}

/// Whether an upstream is one, apart from what the files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// As they say.
    AsAsked,
    /// It is one, though they do not name it.
    Added,
    /// It is none, though they name it.
    Removed,
}

impl UpstreamChange {
    /// It changes nothing.
    fn is_nothing(&self) -> bool {
        self.presence == Presence::AsAsked && !self.draining && self.weight.is_none()
    }
}

impl Overlay {
    /// All changes, in the order of pools and URLs.
    pub fn changes(&self) -> impl Iterator<Item = &UpstreamChange> {
        self.0.values()
    }

    /// Takes up a change as it was written down. A later one of the same upstream replaces it.
    ///
    /// # Errors
    /// When `url` is none.
    pub fn restore(
        &mut self,
        (pool, url): (&str, &str),
        presence: Presence,
        draining: bool,
        weight: Option<u32>,
    ) -> Result<(), String> {
        let upstream = places::upstream(url).map_err(|wrong| wrong.wrong)?;
        let key = (pool.to_owned(), upstream.name.clone());
        let pool = pool.to_owned();
        self.0.insert(key, UpstreamChange { pool, upstream, presence, draining, weight });
        Ok(())
    }

    /// Changes an upstream as `order` says, where files ask for `asked`. `false`: it was so before.
    ///
    /// # Errors
    /// Says why it cannot be; nothing has changed then.
    pub fn change(&mut self, asked: &Plan, order: &UpstreamOrder) -> Result<bool, Objection> {
        let mut upstream = advice::read(Form::Urls, &order.url, places::upstream)
            .map_err(|wrong| Objection("url", format!("{}; {}", wrong.wrong, wrong.right())))?;
        // It may stand behind the URL as well.
        let behind = (upstream.weight > 1).then_some(upstream.weight);
        let order = &UpstreamOrder { weight: order.weight.or(behind), ..order.clone() };
        let UpstreamOrder { verb, weight, .. } = order;
        upstream.weight = weight.unwrap_or(upstream.weight);
        let now = self.over(asked);
        let pool = pool_of(&now, order.pool.as_deref())?;
        let name = &upstream.name;
        let found = pool.upstreams.iter().find(|one| one.name == *name);
        if is_so(order, upstream.weight, found) {
            return Ok(false);
        }
        if let Some(objection) = objection((asked, &now), pool, &upstream, order, found) {
            return Err(objection);
        }
        let asked_pool = asked.pool(&pool.name);
        let as_asked =
            asked_pool.and_then(|pool| pool.upstreams.iter().find(|one| one.name == *name));
        let key = (pool.name.to_string(), name.clone());
        let asked_weight = as_asked.map(|one| one.weight);
        let wanted = (asked_weight != Some(upstream.weight)).then_some(upstream.weight);
        let change = self.0.entry(key.clone()).or_insert_with(|| UpstreamChange {
            pool: key.0.clone(),
            upstream,
            presence: Presence::AsAsked,
            draining: false,
            weight: None,
        });
        match verb {
            Verb::Add => {
                let is_asked = as_asked.is_some();
                change.presence = if is_asked { Presence::AsAsked } else { Presence::Added };
                change.weight = if weight.is_some() || !is_asked { wanted } else { change.weight };
            }
            Verb::Remove => {
                (change.draining, change.weight) = (false, None);
                let is_asked = as_asked.is_some();
                change.presence = if is_asked { Presence::Removed } else { Presence::AsAsked };
            }
            Verb::Drain => change.draining = true,
            Verb::Undrain => change.draining = false,
            Verb::Weight => change.weight = wanted,
        }
        if change.is_nothing() {
            self.0.remove(&key);
        }
        Ok(true)
    }

    /// The plan in force where files ask for `asked`.
    pub fn over(&self, asked: &Plan) -> Plan {
        let mut plan = asked.clone();
        if self.0.is_empty() {
            return plan;
        }
        for pool in &mut plan.pools {
            let name = pool.name.to_string();
            let first = (name.clone(), String::new());
            let changes: BTreeMap<&str, &UpstreamChange> = self
                .0
                .range(first..)
                .take_while(|((pool, _), _)| *pool == name)
                .map(|((_, url), change)| (url.as_str(), change))
                .collect();
            if changes.is_empty() {
                continue;
            }
            let pool = Arc::make_mut(pool);
            pool.upstreams.retain(|one| {
                let change = changes.get(one.name.as_str());
                change.is_none_or(|change| change.presence != Presence::Removed)
            });
            for one in &mut pool.upstreams {
                if let Some(change) = changes.get(one.name.as_str()) {
                    one.draining = change.draining;
                    one.weight = change.weight.unwrap_or(one.weight);
                }
            }
            let added = changes.values().filter(|change| change.presence == Presence::Added);
            pool.upstreams.extend(added.map(|change| UpstreamSpec {
                draining: change.draining,
                weight: change.weight.unwrap_or(1),
                ..change.upstream.clone()
            }));
        }
        plan
    }

    /// Where the files ask for another weight now than `before`, and one that was set at run time holds: a line each.
    pub fn held_weights(&self, before: &Plan, asked: &Plan) -> Vec<String> {
        let weight = |plan: &Plan, change: &UpstreamChange| {
            let mut upstreams = plan.pool(&change.pool)?.upstreams.iter();
            Some(upstreams.find(|one| one.name == change.upstream.name)?.weight)
        };
        let held = |change: &UpstreamChange| {
            let (own, before) = (change.weight?, weight(before, change)?);
            let now = weight(asked, change).filter(|now| *now != before && *now != own)?;
            let name = &change.upstream.name;
            Some(format!(
                "{name} has weight {now} in the files, and {own} from run time, which holds"
            ))
        };
        self.0.values().filter_map(held).collect()
    }

    /// Drops the changes that `asked` has made meaningless; says which, a line each.
    pub fn prune(&mut self, asked: &Plan) -> Vec<String> {
        let mut dropped = Vec::new();
        let pools: HashSet<&str> = asked.pools.iter().map(|pool| &*pool.name).collect();
        let weights: HashMap<(&str, &str), u32> =
            asked.upstreams().map(|(pool, one)| ((&*pool.name, &*one.name), one.weight)).collect();
        for ((pool, name), change) in &mut self.0 {
            let weight = weights.get(&(pool.as_str(), name.as_str())).copied();
            let is_asked = weight.is_some();
            let mut drop = |why: &str| dropped.push(format!("{name} {why}"));
            match (change.presence, is_asked) {
                _ if !pools.contains(pool.as_str()) => {
                    drop(&format!("was changed at run time, but there is no pool {pool} any more"));
                    (change.presence, change.draining, change.weight) =
                        (Presence::AsAsked, false, None);
                }
                (Presence::Added, true) => {
                    change.presence = Presence::AsAsked;
                    change.weight = None;
                    drop("was added at run time, and the files name it now");
                }
                (Presence::Removed, false) => {
                    change.presence = Presence::AsAsked;
                    drop("was removed at run time, and the files name it no longer");
                }
                (Presence::AsAsked, false) => {
                    (change.draining, change.weight) = (false, None);
                    drop("was changed at run time, and the files name it no longer");
                }
                _ if change.weight == weight => change.weight = None, // they say the same now
                _ => {}
            }
        }
        let empty = self.over(asked);
        let is_empty = |pool: &&Arc<PoolSpec>| pool.upstreams.is_empty();
        let empty: Vec<Arc<str>> =
            empty.pools.iter().filter(is_empty).map(|pool| Arc::clone(&pool.name)).collect();
        for ((pool, name), change) in &mut self.0 {
            let was_asked = change.presence == Presence::Removed;
            if was_asked && empty.iter().any(|empty| **empty == **pool) {
                change.presence = Presence::AsAsked;
                let why = "was removed at run time, but no other upstream is left: it is one again";
                dropped.push(format!("{name} {why}"));
            }
        }
        self.0.retain(|_, change| !change.is_nothing());
        dropped
    }
}

/// What the order asks for is so already.
fn is_so(order: &UpstreamOrder, weight: u32, found: Option<&UpstreamSpec>) -> bool {
    match (order.verb, found) {
        (Verb::Undrain, Some(one)) => !one.draining,
        (Verb::Drain, Some(one)) => one.draining,
        (Verb::Add, Some(one)) => order.weight.is_none_or(|weight| weight == one.weight),
        (Verb::Weight, Some(one)) => order.weight.is_some() && one.weight == weight,
        (Verb::Remove, None) => true,
        _ => false,
    }
}

/// Why an order cannot be carried out: the part of it that is at fault, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection(pub &'static str, pub String);

/// What stands against an order, of which `found` is the upstream as it is.
fn objection(
    (asked, now): (&Plan, &Plan),
    pool: &PoolSpec,
    upstream: &UpstreamSpec,
    order: &UpstreamOrder,
    found: Option<&UpstreamSpec>,
) -> Option<Objection> {
    let name = &upstream.name;
    let of = match now.pools.len() {
        0 | 1 => String::new(),
        _ => format!(" of the pool {}", pool.name),
    };
    let mut own = asked.listener.addresses.iter().chain(&asked.process.admin);
    let mut is_ours = || own.any(|own| leads_back(&upstream.place, own));
    match (order.verb, found) {
        (Verb::Weight, _) if order.weight.is_none() => {
            Some(Objection("weight", "the weight is missing".to_owned()))
        }
        (Verb::Drain | Verb::Undrain | Verb::Weight, None) => {
            let what = format!("there is no upstream {name}{of}; /status lists those there are");
            Some(Objection("url", what))
        }
        (Verb::Remove, Some(_)) if pool.upstreams.len() == 1 => {
            let what = format!("{name} is the last upstream{of}; drain it, or add another first");
            Some(Objection("url", what))
        }
        (Verb::Add, None) if now.upstreams().count() >= MOST_UPSTREAMS => {
            let what = format!("there are {MOST_UPSTREAMS} upstreams, and no more are possible");
            Some(Objection("url", what))
        }
        (Verb::Add, None) if is_ours() => {
            let what = "tidegate listens there itself, so requests would go in circles";
            Some(Objection("url", what.to_owned()))
        }
        _ => None,
    }
}

/// The pool that an order is about: the one it names, or the only one, or `default`.
fn pool_of<'p>(plan: &'p Plan, name: Option<&str>) -> Result<&'p PoolSpec, Objection> {
    let names = || {
        let names: Vec<&str> = plan.pools.iter().map(|pool| &*pool.name).take(20).collect();
        names.join(", ")
    };
    let objection = |what: String| Objection("pool", what);
    match (name, plan.pools.as_slice()) {
        (Some(name), _) => plan.pool(name).ok_or_else(|| {
            let known = names();
            objection(format!("there is no pool {}; there are: {known}", name.escape_default()))
        }),
        (None, [only]) => Ok(only),
        (None, []) => Err(objection("there is no pool; a file gives one upstreams".to_owned())),
        (None, _) => plan
            .pool(DEFAULT)
            .ok_or_else(|| objection(format!("there are several pools, so name one: {}", names()))),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;
    use crate::config::{Action, Surroundings, load};
    use Verb::{Add, Drain, Remove, Undrain};

    fn plan(upstreams: &str) -> Plan {
        let around = Surroundings {
            cwd: Path::new("/"),
            cores: 4,
            descriptors: 100_000,
            stdout_is_terminal: false,
        };
        match load(["--upstream", upstreams].map(OsString::from), [], &around) {
            Ok(Action::Run(plan, _)) => *plan,
            other => panic!("{upstreams}: {other:?}"),
        }
    }

    fn order(verb: Verb, url: &str) -> UpstreamOrder {
        UpstreamOrder { verb, url: url.to_owned(), pool: None, weight: None }
    }

    /// `a b- c`: what is in force, a dash behind those that are drained.
    fn shown(overlay: &Overlay, asked: &Plan) -> String {
        let plan = overlay.over(asked);
        let shown = plan.pools[0].upstreams.iter().map(|one| {
            let name = one.name.trim_start_matches("http://").trim_end_matches(":1").to_owned();
            name + if one.draining { "-" } else { "" }
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    /// Makes each change, and says what is in force at the end.
    fn changed(asked: &Plan, changes: &[(Verb, &str)]) -> (Overlay, String) {
        let mut overlay = Overlay::default();
        for (verb, host) in changes {
            overlay.change(asked, &order(*verb, &format!("http://{host}:1"))).unwrap();
        }
        let shown = shown(&overlay, asked);
        (overlay, shown)
    }

    #[test]
    fn changes_are_laid_over_the_files() {
        let asked = plan("a:1,b:1");
        for (changes, expected, kept) in [
            (&[][..], "a b", 0),
            (&[(Add, "c")], "a b c", 1),
            (&[(Add, "a")], "a b", 0),
            (&[(Remove, "a")], "b", 1),
            (&[(Remove, "a"), (Add, "a")], "a b", 0),
            (&[(Add, "c"), (Remove, "c")], "a b", 0),
            (&[(Remove, "x")], "a b", 0),
            (&[(Drain, "a")], "a- b", 1),
            (&[(Drain, "a"), (Undrain, "a")], "a b", 0),
            (&[(Drain, "a"), (Remove, "a")], "b", 1),
            (&[(Drain, "a"), (Remove, "a"), (Add, "a")], "a b", 0),
            (&[(Add, "c"), (Drain, "c")], "a b c-", 1),
            (&[(Add, "c"), (Drain, "c"), (Remove, "c")], "a b", 0),
            (&[(Drain, "a"), (Drain, "b")], "a- b-", 2),
            (&[(Add, "c"), (Remove, "a"), (Remove, "b")], "c", 3),
        ] {
            let (overlay, shown) = changed(&asked, changes);
            assert_eq!((shown.as_str(), overlay.0.len()), (expected, kept), "{changes:?}");
        }
    }

    #[test]
    fn a_change_says_whether_it_was_one() {
        let asked = plan("a:1");
        let mut overlay = Overlay::default();
        for (verb, url, expected) in [
            (Add, "http://a:1", false),
            (Undrain, "a:1", false),
            (Drain, "A:1", true),
            (Drain, "http://a:1", false),
            (Add, "a:1", false),
            (Undrain, "http://a:1", true),
            (Remove, "http://x:1", false),
            (Add, "b:2", true),
            (Remove, "http://a:1", true),
        ] {
            assert_eq!(overlay.change(&asked, &order(verb, url)), Ok(expected), "{verb:?} {url}");
        }
        assert_eq!(shown(&overlay, &asked), "b:2");
        for (verb, url, why) in [
            (Remove, "b:2", "the last upstream"),
            (Drain, "x:1", "there is no upstream"),
            (Undrain, "x:1", "there is no upstream"),
            (Add, "ftp://a", "write"),
            (Add, "http://127.0.0.1:8080", "in circles"),
        ] {
            let before = overlay.clone();
            let refused = overlay.change(&asked, &order(verb, url)).unwrap_err();
            assert!(refused.1.contains(why), "{refused:?}");
            assert_eq!(overlay, before);
        }
    }

    #[test]
    fn what_the_files_have_made_meaningless_is_dropped_and_told() {
        let before = plan("a:1,b:1");
        for (changes, after, expected, told) in [
            (&[(Add, "c")][..], "a:1,c:1", "a c", 1),
            (&[(Add, "c"), (Drain, "c")], "a:1,c:1", "a c-", 1),
            (&[(Add, "c")], "a:1", "a c", 0),
            (&[(Remove, "a")], "b:1", "b", 1),
            (&[(Remove, "a")], "a:1,c:1", "c", 0),
            (&[(Drain, "a")], "b:1", "b", 1),
            (&[(Drain, "a")], "a:1,x:1", "a- x", 0),
            (&[(Remove, "a")], "a:1", "a", 1),
        ] {
            let (mut overlay, _) = changed(&before, changes);
            let after = plan(after);
            let dropped = overlay.prune(&after);
            assert_eq!(dropped.len(), told, "{changes:?}: {dropped:?}");
            assert_eq!(shown(&overlay, &after), expected, "{changes:?}");
            assert_eq!(overlay.prune(&after), Vec::<String>::new(), "told once");
        }
    }

    #[test]
    fn a_weight_from_run_time_holds_until_the_files_say_the_same() {
        let before = plan("a:1,b:1");
        let mut overlay = Overlay::default();
        let weighted = UpstreamOrder { weight: Some(7), ..order(Verb::Weight, "http://a:1") };
        assert_eq!(overlay.change(&before, &weighted), Ok(true));
        for (after, told, in_force) in
            [("a:1 weight=4,b:1", 1, 7), ("a:1,b:1", 0, 7), ("b:1,a:1", 0, 7)]
        {
            let after = plan(after);
            assert_eq!(overlay.held_weights(&before, &after).len(), told);
            assert_eq!(overlay.prune(&after), Vec::<String>::new());
            let upstreams = overlay.over(&after).pools.remove(0).upstreams.clone();
            let a = upstreams.iter().find(|one| one.name == "http://a:1").unwrap();
            assert_eq!(a.weight, in_force);
        }
        assert_eq!(overlay.prune(&plan("a:1 weight=7,b:1")), Vec::<String>::new());
        assert_eq!(overlay, Overlay::default(), "the files say the same");
    }
}
