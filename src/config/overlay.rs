//! Changes of upstreams made at run time, laid over what the files say.
//!
//! The files stay as they are. Where both speak of an upstream, the change holds, until the files say the same, or have
//! made it meaningless: then it is dropped, and that is told.

use std::collections::{BTreeMap, HashSet};

use super::build::{MOST_UPSTREAMS, leads_back};
use super::order::Verb;
use super::places;
use super::plan::{Plan, UpstreamSpec};

/// Every change that is in force, by the canonical URL of its upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay(BTreeMap<String, UpstreamChange>);

/// What was changed of one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamChange {
    /// The upstream.
    pub upstream: UpstreamSpec,
    /// Whether it is one.
    pub presence: Presence,
    /// It gets no new requests.
    pub draining: bool,
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

impl Overlay {
    /// All changes, in the order of URLs.
    pub fn changes(&self) -> impl Iterator<Item = &UpstreamChange> {
        self.0.values()
    }

    /// Takes up a change as it was written down. A later one of the same upstream replaces it.
    ///
    /// # Errors
    /// When `url` is none.
    pub fn restore(&mut self, url: &str, presence: Presence, draining: bool) -> Result<(), String> {
        let upstream = places::upstream(url).map_err(|wrong| wrong.wrong)?;
        self.0.insert(upstream.name.clone(), UpstreamChange { upstream, presence, draining });
        Ok(())
    }

    /// Changes the upstream at `url`, whose files ask for `asked`. `false`: it was so before.
    ///
    /// # Errors
    /// Says why it cannot be; nothing has changed then.
    pub fn change(&mut self, asked: &Plan, verb: Verb, url: &str) -> Result<bool, String> {
        let upstream =
            places::upstream(url).map_err(|wrong| format!("{}; {}", wrong.wrong, wrong.right()))?;
        let name = &upstream.name;
        let now = self.over(asked);
        let found = now.pool.upstreams.iter().find(|one| one.name == *name);
        match (verb, found) {
            (Verb::Undrain, Some(one)) if !one.draining => return Ok(false),
            (Verb::Add, Some(_)) | (Verb::Remove, None) => return Ok(false),
            (Verb::Drain, Some(one)) if one.draining => return Ok(false),
            (Verb::Drain | Verb::Undrain, None) => {
                return Err(format!("there is no upstream {name}; /status lists those there are"));
            }
            (Verb::Remove, Some(_)) if now.pool.upstreams.len() == 1 => {
                return Err(format!("{name} is the last upstream; drain it, or add another first"));
            }
            (Verb::Add, None) if now.pool.upstreams.len() >= MOST_UPSTREAMS => {
                return Err(format!(
                    "there are {MOST_UPSTREAMS} upstreams, and no more are possible"
                ));
            }
            (Verb::Add, None)
                if asked.listener.addresses.iter().any(|own| leads_back(&upstream.place, own)) =>
            {
                return Err("tidegate listens there itself, so requests would go in circles".into());
            }
            _ => {}
        }
        let is_asked = asked.pool.upstreams.iter().any(|one| one.name == *name);
        let name = name.clone();
        let as_asked = UpstreamChange { upstream, presence: Presence::AsAsked, draining: false };
        let change = self.0.entry(name.clone()).or_insert(as_asked);
        match verb {
            Verb::Add => {
                change.presence = if is_asked { Presence::AsAsked } else { Presence::Added };
            }
            Verb::Remove => {
                change.draining = false;
                change.presence = if is_asked { Presence::Removed } else { Presence::AsAsked };
            }
            Verb::Drain => change.draining = true,
            Verb::Undrain => change.draining = false,
        }
        if change.presence == Presence::AsAsked && !change.draining {
            self.0.remove(&name);
        }
        Ok(true)
    }

    /// The plan in force where files ask for `asked`.
    pub fn over(&self, asked: &Plan) -> Plan {
        let mut plan = asked.clone();
        let upstreams = &mut plan.pool.upstreams;
        upstreams.retain(|one| {
            self.0.get(&one.name).is_none_or(|change| change.presence != Presence::Removed)
        });
        for one in upstreams.iter_mut() {
            one.draining = self.0.get(&one.name).is_some_and(|change| change.draining);
        }
        let added = self.changes().filter(|change| change.presence == Presence::Added);
        upstreams.extend(
            added.map(|change| UpstreamSpec {
                draining: change.draining,
                ..change.upstream.clone()
            }),
        );
        plan
    }

    /// Drops the changes that `asked` has made meaningless; says which, a line each.
    pub fn prune(&mut self, asked: &Plan) -> Vec<String> {
        let mut dropped = Vec::new();
        let names: HashSet<&str> = asked.pool.upstreams.iter().map(|one| &*one.name).collect();
        let is_asked = |name: &str| names.contains(name);
        for (name, change) in &mut self.0 {
            match (change.presence, is_asked(name)) {
                (Presence::Added, true) => {
                    change.presence = Presence::AsAsked;
                    dropped
                        .push(format!("{name} was added at run time, and the files name it now"));
                }
                (Presence::Removed, false) => {
                    change.presence = Presence::AsAsked;
                    dropped.push(format!(
                        "{name} was removed at run time, and the files name it no longer"
                    ));
                }
                (Presence::AsAsked, false) if change.draining => {
                    change.draining = false;
                    dropped.push(format!("{name} was draining, and the files name it no longer"));
                }
                _ => {}
            }
        }
        if !asked.pool.upstreams.is_empty() && self.over(asked).pool.upstreams.is_empty() {
            for (name, change) in &mut self.0 {
                change.presence = Presence::AsAsked;
                let why = "was removed at run time, but no other upstream is left: it is one again";
                dropped.push(format!("{name} {why}"));
            }
        }
        self.0.retain(|_, change| change.presence != Presence::AsAsked || change.draining);
        dropped
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

    /// `a b- c`: what is in force, a dash behind those that are drained.
    fn shown(overlay: &Overlay, asked: &Plan) -> String {
        let shown = overlay.over(asked).pool.upstreams.into_iter().map(|one| {
            let name = one.name.trim_start_matches("http://").trim_end_matches(":1").to_owned();
            name + if one.draining { "-" } else { "" }
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    /// Makes each change, and says what is in force at the end.
    fn changed(asked: &Plan, changes: &[(Verb, &str)]) -> (Overlay, String) {
        let mut overlay = Overlay::default();
        for (verb, host) in changes {
            overlay.change(asked, *verb, &format!("http://{host}:1")).unwrap();
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
            assert_eq!(overlay.change(&asked, verb, url), Ok(expected), "{verb:?} {url}");
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
            let refused = overlay.change(&asked, verb, url).unwrap_err();
            assert!(refused.contains(why), "{refused}");
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
}
