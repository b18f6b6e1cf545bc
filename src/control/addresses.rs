//! Names of which each address is an upstream: looked up side by side, again and again, and what is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use async_io::Timer;
use flume::{Receiver, Sender};
use futures_lite::FutureExt;
use smol::{LocalExecutor, Task};

use crate::config::{Lookup, MOST_UPSTREAMS, Names, Plan, expanded, lookups};
use crate::upstream::resolve::{Answer, Resolver};

/// A start or a reload waits so long for names that were never looked up.
const WAIT: Duration = Duration::from_secs(2);
/// A lookup that takes longer counts as failed, until it is answered.
const PATIENCE: Duration = Duration::from_secs(5);
/// A name is not looked up more often than this, unless its interval is shorter.
const PAUSE: Duration = Duration::from_secs(1);
/// Answers that wait to be taken up; a name whose answer has no room waits.
const ANSWERS: usize = 64;

/// What came of a lookup.
type Report = (Lookup, io::Result<Answer>);

/// The names that are followed. Lookups go on while somebody waits in [`FollowedNames::changed`] or
/// [`FollowedNames::settled`].
#[derive(Debug)]
pub struct FollowedNames {
    /// As the plan has them.
    servers: Vec<SocketAddr>,
    resolver: Resolver,
    executor: LocalExecutor<'static>,
    /// With the most time between two lookups, and who makes them.
    tasks: BTreeMap<Lookup, (Duration, Task<()>)>,
    known: Names,
    /// Those of which the last lookup failed; their last addresses are kept.
    failing: BTreeSet<Lookup>,
    /// There are as many upstreams as there can be, which has been told.
    is_full: bool,
    report: Sender<Report>,
    reports: Receiver<Report>,
}

impl FollowedNames {
    /// None yet, but what the process before us knew of some.
    pub fn new(known: Names) -> FollowedNames {
        let (report, reports) = flume::bounded(ANSWERS);
        FollowedNames {
            servers: Vec::new(),
            resolver: Resolver::new(&[]),
            executor: LocalExecutor::new(),
            tasks: BTreeMap::new(),
            known,
            failing: BTreeSet::new(),
            is_full: false,
            report,
            reports,
        }
    }

    /// The addresses of all, as far as they are known.
    pub fn known(&self) -> &Names {
        &self.known
    }

    /// `named` with the addresses that are known in place of its names.
    pub fn expand(&mut self, named: &Plan) -> Plan {
        let plan = expanded(named, &self.known);
        let is_full = plan.upstreams().count() >= MOST_UPSTREAMS && !lookups(named).is_empty();
        if is_full && !self.is_full {
            tracing::warn!(
                "{MOST_UPSTREAMS} upstreams, and no more are possible: further addresses of names are left out"
            );
        }
        self.is_full = is_full;
        plan
    }

    /// Follows the names that `plan` has, and no others.
    pub fn follow(&mut self, plan: &Plan) {
        let wanted = lookups(plan);
        if plan.process.resolver != self.servers {
            self.servers.clone_from(&plan.process.resolver);
            self.resolver = Resolver::new(&self.servers);
            self.tasks.clear(); // what is known is kept until others have answered
        }
        self.tasks.retain(|lookup, (interval, _)| wanted.get(lookup) == Some(interval));
        self.known.retain(|lookup| wanted.contains_key(lookup));
        self.failing.retain(|lookup| wanted.contains_key(lookup));
        for (lookup, interval) in wanted {
            let (executor, resolver) = (&self.executor, &self.resolver);
            self.tasks.entry(lookup).or_insert_with_key(|lookup| {
                let asking =
                    keep_asking(resolver.clone(), lookup.clone(), interval, self.report.clone());
                (interval, executor.spawn(asking))
            });
        }
    }

    /// Waits until something is known of every name, or a start can wait no longer.
    pub async fn settled(&mut self) {
        let late = async {
            Timer::after(WAIT).await;
        };
        let all = async {
            while self.tasks.keys().any(|one| !self.known.knows(one) && !self.failing.contains(one))
            {
                self.changed_or_failed().await;
            }
        };
        all.or(late).await;
    }

    /// Waits until a name has other addresses than were known.
    pub async fn changed(&mut self) {
        while !self.changed_or_failed().await {}
    }

    /// Takes up what was found out, at least one report. `true`: a name has other addresses.
    async fn changed_or_failed(&mut self) -> bool {
        let Ok(first) = self.executor.run(self.reports.recv_async()).await else { return false };
        let mut changed = self.take_up(first);
        while let Ok(report) = self.reports.try_recv() {
            changed |= self.take_up(report);
        }
        changed
    }

    fn take_up(&mut self, (lookup, answer): Report) -> bool {
        if !self.tasks.contains_key(&lookup) {
            return false; // nobody asks for it any more
        }
        let name = lookup.name();
        match answer {
            Ok(Answer { targets, .. }) => {
                if self.failing.remove(&lookup) {
                    tracing::info!("{name} can be resolved again");
                }
                let difference = self.known.learn(&lookup, targets);
                difference.iter().for_each(|told| {
                    tracing::info!("upstream addresses of {name}: {told}");
                });
                difference.is_some()
            }
            Err(error) => {
                let kept = match self.known.knows(&lookup) {
                    true => "its last addresses are kept",
                    false => "it has no upstream until it can be",
                };
                if self.failing.insert(lookup.clone()) {
                    tracing::warn!(%error, "cannot resolve {name}; {kept}");
                }
                false
            }
        }
    }
}

/// Looks a name up until the task is dropped. One lookup is under way at a time, however long it takes.
async fn keep_asking(
    resolver: Resolver,
    lookup: Lookup,
    interval: Duration,
    report: Sender<Report>,
) {
    let mut failures = 0;
    loop {
        let mut asking = pin!(resolver.look_up(&lookup));
        let patience = async {
            Timer::after(PATIENCE).await;
            None
        };
        let answer = match async { Some(asking.as_mut().await) }.or(patience).await {
            Some(answer) => answer,
            None => {
                let late = io::Error::new(io::ErrorKind::TimedOut, "nobody answers");
                let _ = report.send_async((lookup.clone(), Err(late))).await;
                asking.await
            }
        };
        failures = if answer.is_ok() { 0 } else { failures + 1 };
        let ttl = answer.as_ref().ok().and_then(|answer| answer.ttl);
        let _ = report.send_async((lookup.clone(), answer)).await;
        Timer::after(pause(failures, ttl, interval)).await;
    }
}

/// How long to wait from an answer that holds for `ttl`, or from so many failures in a row, to the next lookup.
fn pause(failures: u32, ttl: Option<Duration>, interval: Duration) -> Duration {
    let wait = match failures {
        0 => ttl.unwrap_or(interval).max(PAUSE),
        failures => PAUSE.saturating_mul(2u32.saturating_pow(failures - 1)),
    };
    wait.min(interval)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::str::FromStr;
    use std::sync::Arc;

    use super::*;
    use crate::config::{Resolve, TARGETS_MOST, Target, testing};

    #[test]
    fn a_name_is_looked_up_when_its_records_end_and_sooner_after_a_failure() {
        for (failures, ttl, interval, expected) in [
            (0, None, 10, 10),
            (0, Some(0), 10, 1),
            (0, Some(3), 10, 3),
            (0, Some(3600), 10, 10),
            (1, None, 10, 1),
            (2, None, 10, 2),
            (4, None, 10, 8),
            (5, None, 10, 10),
            (u32::MAX, None, 10, 10),
            (1, None, 1, 1),
        ] {
            let seconds = Duration::from_secs;
            let pause = pause(failures, ttl.map(seconds), seconds(interval));
            assert_eq!(pause.as_secs(), expected, "{failures} {ttl:?}");
        }
    }

    /// A plan whose names are followed.
    fn plan(upstreams: &str) -> Plan {
        let mut plan = testing::plan(&format!("upstream = [{upstreams}]\n"));
        Arc::make_mut(&mut plan.pools[0]).resolve = Resolve::Every(Duration::from_secs(10));
        plan
    }

    #[test]
    fn names_are_looked_up_by_the_systems_resolver() {
        let plan = plan("'http://localhost:9001'");
        let mut names = FollowedNames::new(Names::default());
        smol::block_on(async {
            names.follow(&plan);
            names.settled().await;
        });
        let expanded = names.expand(&plan);
        let upstreams = &expanded.pools[0].upstreams;
        let is_local = |one: &str| ["http://127.0.0.1:9001", "http://[::1]:9001"].contains(&one);
        assert!(!upstreams.is_empty() && upstreams.iter().all(|one| is_local(&one.name)));
    }

    #[test]
    fn a_name_that_cannot_be_resolved_any_more_keeps_its_addresses() {
        let mut names = FollowedNames::new(Names::default());
        names.follow(&plan("'http://a:1'"));
        let lookup = Lookup::Host("a".into());
        let report = |answer: Option<&str>| {
            let targets = |ip| vec![Target::of_host(IpAddr::from_str(ip).unwrap())];
            let answer = answer.map(|ip| Answer { targets: targets(ip), ttl: None });
            (lookup.clone(), answer.ok_or_else(|| io::Error::other("no")))
        };
        for (answer, changed, failing) in [
            (None, false, true),
            (Some("10.0.0.1"), true, false),
            (None, false, true),
            (None, false, true),
            (Some("10.0.0.1"), false, false),
            (Some("10.0.0.2"), true, false),
        ] {
            assert_eq!(names.take_up(report(answer)), changed);
            assert_eq!(names.failing.contains(&lookup), failing);
        }
        assert!(names.known().knows(&lookup));
        names.follow(&plan("'http://b:1'"));
        assert!(!names.take_up(report(Some("10.0.0.3"))), "nobody follows it any more");
        assert_eq!(*names.known(), Names::default());
    }

    #[test]
    fn it_is_known_whether_there_is_room_for_more() {
        let url = |nth: usize| format!("'http://n{nth}:1'");
        let all: Vec<String> = (0..=MOST_UPSTREAMS / TARGETS_MOST).map(url).collect();
        let plan = plan(&all.join(","));
        let mut names = FollowedNames::new(Names::default());
        names.expand(&plan);
        assert!(!names.is_full);
        for nth in 0..all.len() {
            let [high, low] = (nth as u16).to_be_bytes();
            let target = |last| Target::of_host([10, high, low, last].into());
            let targets = (0..TARGETS_MOST as u8).map(target).collect();
            names.known.learn(&Lookup::Host(format!("n{nth}").into()), targets);
        }
        assert_eq!(names.expand(&plan).pools[0].upstreams.len(), MOST_UPSTREAMS);
        assert!(names.is_full);
        names.known.retain(|_| false);
        assert_eq!(names.expand(&plan).pools[0].upstreams.len(), 0);
        assert!(!names.is_full);
    }
}
