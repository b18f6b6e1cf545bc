//! Names of upstreams as the addresses they have: one more layer over a plan.
//!
//! Files and changes made at run time speak of names. Where a pool asks for its names to be looked up again and again,
//! each address of a name is an upstream of the plan in force; what was said of the name is said of all of them.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::build::MOST_UPSTREAMS;
use super::places::{HEAVIEST, Scheme, host_and_port};
use super::plan::Plan;
use super::pool::{Place, PoolSpec, Resolve, UpstreamSpec};

/// Addresses of one name that become upstreams.
pub const TARGETS_MOST: usize = 64;
/// The most time between two lookups of a service, whose records usually say when to look again.
const SERVICE_INTERVAL: Duration = Duration::from_secs(30);

/// What is asked of the resolver.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lookup {
    /// The addresses of a host, A and AAAA.
    Host(Arc<str>),
    /// The SRV records of a service, and the addresses of the hosts they name.
    Service(Arc<str>),
}

impl Lookup {
    /// The name that is looked up.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Lookup::Host(name) | Lookup::Service(name) => name,
        }
    }
}

/// One address that a name has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// It gets requests only while no other one is available: an SRV record of another than the lowest priority.
    pub backup: bool,
    /// The address.
    pub ip: IpAddr,
    /// The port; `None`: the one behind the name.
    pub port: Option<u16>,
    /// Its share of the requests to the name, at least 1.
    pub weight: u32,
}

impl Target {
    /// An address of a host.
    pub fn of_host(ip: IpAddr) -> Target {
        Target { backup: false, ip: ip.to_canonical(), port: None, weight: 1 }
    }
}

/// An SRV record, with the addresses of its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecord {
    /// Those of lower ones go first.
    pub priority: u16,
    /// Its share among those of its priority; 0 counts as 1.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// Addresses of its host, each of which gets the whole share.
    pub ips: Vec<IpAddr>,
}

/// What the records of a service come to. The lowest priority of one that has an address makes ordinary upstreams.
pub fn targets_of(records: &[ServiceRecord]) -> Vec<Target> {
    let usable = || records.iter().filter(|one| !one.ips.is_empty() && one.port != 0);
    let first = usable().map(|one| one.priority).min();
    let targets = usable().flat_map(|one| {
        one.ips.iter().map(move |ip| Target {
            backup: Some(one.priority) != first,
            port: Some(one.port),
            weight: u32::from(one.weight).max(1),
            ..Target::of_host(*ip)
        })
    });
    targets.collect()
}

/// The addresses that names have, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<Lookup, Vec<Target>>);

impl Names {
    /// Takes up an answer, in an order that does not depend on the resolver's; a port of an address counts once, and
    /// of more than [`TARGETS_MOST`] the first, ordinary ones before backups. `None`: it was so before; else what came
    /// and what went.
    pub fn learn(&mut self, lookup: &Lookup, mut targets: Vec<Target>) -> Option<String> {
        targets.sort_unstable();
        let mut seen = HashSet::new();
        targets.retain(|one| seen.insert((one.ip, one.port)));
        targets.truncate(TARGETS_MOST);
        let before = self.0.insert(lookup.clone(), targets).unwrap_or_default();
        let now = &self.0[lookup];
        if before == *now {
            return None;
        }
        let without = |these: &[Target], others: &[Target], sign: char| -> Vec<String> {
            let only = these.iter().filter(|one| !others.contains(one));
            only.map(|one| format!("{sign}{}", shown(one))).collect()
        };
        let mut told = without(now, &before, '+');
        told.extend(without(&before, now, '-'));
        Some(told.join(" "))
    }

    /// Forgets what nobody asks for any more.
    pub fn retain(&mut self, is_wanted: impl Fn(&Lookup) -> bool) {
        self.0.retain(|lookup, _| is_wanted(lookup));
    }

    /// An answer is known.
    pub fn knows(&self, lookup: &Lookup) -> bool {
        self.0.contains_key(lookup)
    }

    /// Every address that is known, with what was asked for it.
    pub fn all(&self) -> impl Iterator<Item = (&Lookup, &Target)> {
        self.0.iter().flat_map(|(lookup, targets)| targets.iter().map(move |one| (lookup, one)))
    }

    fn targets(&self, lookup: &Lookup) -> &[Target] {
        self.0.get(lookup).map_or(&[], Vec::as_slice)
    }
}

/// `10.0.0.1`, or with what an SRV record says of it.
fn shown(Target { backup, ip, port, weight }: &Target) -> String {
    let Some(port) = port else { return ip.to_string() };
    let backup = if *backup { " backup" } else { "" };
    format!("{}({weight}{backup})", host_and_port(Scheme::Http, &ip.to_string(), *port))
}

/// The lookup that an upstream of `pool` needs; `None`: it is where it says, or its name is one upstream.
pub fn lookup(pool: &PoolSpec, upstream: &UpstreamSpec) -> Option<Lookup> {
    let Place::Tcp { host, .. } = &upstream.place else { return None };
    if IpAddr::from_str(host).is_ok() {
        return None;
    }
    match pool.resolve {
        Resolve::AtStart => None,
        Resolve::Every(_) => Some(Lookup::Host(host.as_str().into())),
        Resolve::Srv => Some(Lookup::Service(host.as_str().into())),
    }
}

/// All lookups that `plan` needs, with the most time between two of each.
pub fn lookups(plan: &Plan) -> BTreeMap<Lookup, Duration> {
    let mut all = BTreeMap::new();
    for (pool, upstream) in plan.upstreams() {
        let Some(lookup) = lookup(pool, upstream) else { continue };
        let interval = match pool.resolve {
            Resolve::Every(interval) => interval,
            Resolve::AtStart | Resolve::Srv => SERVICE_INTERVAL,
        };
        let least = all.entry(lookup).or_insert(interval);
        *least = interval.min(*least);
    }
    all
}

/// `plan` with an upstream for each address in place of each name that is looked up again and again. An upstream that
/// two names lead to is one; of more than a plan may have, the first. Pools without such names are shared.
pub fn expanded(plan: &Plan, names: &Names) -> Plan {
    let mut plan = plan.clone();
    let mut left = MOST_UPSTREAMS;
    for pool in &mut plan.pools {
        if pool.upstreams.iter().any(|one| lookup(pool, one).is_some()) {
            let upstreams = of_pool(pool, names, left);
            Arc::make_mut(pool).upstreams = upstreams;
        }
        left = left.saturating_sub(pool.upstreams.len());
    }
    plan
}

fn of_pool(pool: &PoolSpec, names: &Names, most: usize) -> Vec<UpstreamSpec> {
    let mut seen = HashSet::new();
    let all = pool.upstreams.iter().flat_map(|one| match lookup(pool, one) {
        None => vec![one.clone()],
        Some(lookup) => addresses(one, names.targets(&lookup)),
    });
    all.filter(|one| seen.insert(one.name.clone())).take(most).collect()
}

/// An upstream for each target of a name.
fn addresses(name: &UpstreamSpec, targets: &[Target]) -> Vec<UpstreamSpec> {
    let Place::Tcp { port, .. } = name.place else { return Vec::new() };
    let product = |target: &Target| u64::from(name.weight) * u64::from(target.weight);
    let heaviest = targets.iter().map(product).max().unwrap_or(1);
    let upstream = |target: &Target| {
        let host = target.ip.to_string();
        let port = target.port.unwrap_or(port);
        let weight = match heaviest > HEAVIEST {
            true => (product(target) * HEAVIEST / heaviest).max(1),
            false => product(target),
        };
        let scheme = Scheme::of(name.secure);
        let authority = host_and_port(scheme, &host, port);
        UpstreamSpec {
            name: format!("{}{authority}{}", scheme.start(), name.base),
            place: Place::Tcp { host, port },
            weight: weight as u32, // at most HEAVIEST
            backup: name.backup || target.backup,
            resolved_from: Some(name.name.as_str().into()),
            ..name.clone()
        }
    };
    targets.iter().map(upstream).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::plan;
    use super::*;

    const EVERY: Resolve = Resolve::Every(Duration::from_secs(10));

    /// A plan of one pool, whose names are looked up so.
    fn asked(upstreams: &str, resolve: Resolve) -> Plan {
        let mut plan = plan(&format!("upstream = [{upstreams}]\n"));
        Arc::make_mut(&mut plan.pools[0]).resolve = resolve;
        plan
    }

    fn ips(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|ip| IpAddr::from_str(ip).unwrap()).collect()
    }

    fn hosts(text: &str) -> Vec<Target> {
        ips(text).into_iter().map(Target::of_host).collect()
    }

    fn names(known: &[(&str, &str)]) -> Names {
        let mut names = Names::default();
        known.iter().for_each(|(name, addresses)| {
            names.learn(&Lookup::Host((*name).into()), hosts(addresses));
        });
        names
    }

    /// The upstreams in force, with their weights where those are not 1.
    fn shown(plan: &Plan) -> String {
        let one = |one: &UpstreamSpec| {
            let weight = if one.weight == 1 { String::new() } else { format!("*{}", one.weight) };
            let backup = if one.backup { "b" } else { "" };
            let draining = if one.draining { "-" } else { "" };
            let url = one.name.trim_start_matches("http://");
            format!("{url}{weight}{backup}{draining}")
        };
        plan.pools[0].upstreams.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_address_of_a_name_is_an_upstream() {
        let known = names(&[("a", "10.0.0.2 10.0.0.1"), ("b", "::1 10.0.0.1"), ("none", "")]);
        for (upstreams, resolve, expected) in [
            ("'a:1'", EVERY, "10.0.0.1:1 10.0.0.2:1"),
            ("'http://a'", EVERY, "10.0.0.1 10.0.0.2"),
            ("'http://b:2/base'", EVERY, "10.0.0.1:2/base [::1]:2/base"),
            ("'a:1', 'b:1'", EVERY, "10.0.0.1:1 10.0.0.2:1 [::1]:1"),
            ("'a:1', 'b:2'", EVERY, "10.0.0.1:1 10.0.0.2:1 10.0.0.1:2 [::1]:2"),
            ("'10.0.0.2:1', 'a:1'", EVERY, "10.0.0.2:1 10.0.0.1:1"),
            ("'a:1 weight=3'", EVERY, "10.0.0.1:1*3 10.0.0.2:1*3"),
            ("'none:1', 'never-asked:1', '10.0.0.9:1'", EVERY, "10.0.0.9:1"),
            ("'none:1'", EVERY, ""),
            ("'http://unix:/a', 'a:1'", EVERY, "unix:/a 10.0.0.1:1 10.0.0.2:1"),
            ("'a:1'", Resolve::AtStart, "a:1"),
            ("'a:1'", Resolve::Srv, ""), // its addresses say nothing of it as a service
        ] {
            assert_eq!(
                shown(&expanded(&asked(upstreams, resolve), &known)),
                expected,
                "{upstreams}"
            );
        }
    }

    #[test]
    fn an_address_keeps_what_was_said_of_its_name() {
        let mut plan = asked("'http://a:1/base'", EVERY);
        let name = &mut Arc::make_mut(&mut plan.pools[0]).upstreams[0];
        (name.draining, name.backup, name.secure) = (true, true, true);
        let name = name.clone();
        let expanded = expanded(&plan, &names(&[("a", "::1")]));
        let [address] = &*expanded.pools[0].upstreams else { panic!() };
        let expected = UpstreamSpec {
            name: "https://[::1]:1/base".to_owned(),
            place: Place::Tcp { host: "::1".to_owned(), port: 1 },
            resolved_from: Some("http://a:1/base".into()),
            ..name
        };
        assert_eq!(*address, expected);
    }

    #[test]
    fn pools_that_are_not_expanded_are_shared() {
        let plan = asked("'a:1'", Resolve::AtStart);
        assert!(Arc::ptr_eq(&plan.pools[0], &expanded(&plan, &Names::default()).pools[0]));
    }

    #[test]
    fn another_order_of_addresses_is_no_change() {
        let lookup = Lookup::Host("a".into());
        let mut names = Names::default();
        assert!(!names.knows(&lookup));
        for (answer, told) in [
            ("10.0.0.2 10.0.0.1", Some("+10.0.0.1 +10.0.0.2")),
            ("10.0.0.1 10.0.0.2", None),
            ("10.0.0.1 10.0.0.2 10.0.0.1", None),
            ("::ffff:10.0.0.1 10.0.0.2", None),
            ("10.0.0.3 10.0.0.2 ::1", Some("+10.0.0.3 +::1 -10.0.0.1")),
            ("", Some("-10.0.0.2 -10.0.0.3 -::1")),
        ] {
            assert_eq!(names.learn(&lookup, hosts(answer)).as_deref(), told, "{answer}");
        }
        assert!(names.knows(&lookup));
        let many: String = (0..100).rev().map(|last| format!("10.0.0.{last} ")).collect();
        names.learn(&lookup, hosts(&many));
        assert_eq!(names.targets(&lookup).len(), TARGETS_MOST);
        assert_eq!(names.targets(&lookup)[0].ip, ips("10.0.0.0")[0], "the same ones each time");
        names.retain(|_| false);
        assert_eq!(names, Names::default());
    }

    #[test]
    fn records_of_a_service_give_ports_weights_and_backups() {
        let record = |priority, weight, port, addresses| {
            let ips = ips(addresses);
            ServiceRecord { priority, weight, port, ips }
        };
        for (records, weight, expected) in [
            (vec![], 1, ""),
            (vec![record(10, 5, 1, "10.0.0.1")], 1, "10.0.0.1:1*5"),
            (vec![record(10, 0, 1, "10.0.0.1")], 1, "10.0.0.1:1"),
            (vec![record(10, 5, 0, "10.0.0.1")], 1, ""),
            (
                vec![record(20, 1, 1, "10.0.0.1"), record(10, 2, 2, "10.0.0.2 ::1")],
                1,
                "10.0.0.2:2*2 [::1]:2*2 10.0.0.1:1b",
            ),
            (vec![record(20, 1, 1, "10.0.0.1"), record(10, 2, 2, "")], 1, "10.0.0.1:1"),
            (
                vec![record(0, 65535, 1, "10.0.0.1"), record(0, 32768, 1, "10.0.0.2")],
                1,
                "10.0.0.1:1*256 10.0.0.2:1*128",
            ),
            (
                vec![record(0, 1, 1, "10.0.0.1"), record(0, 512, 1, "10.0.0.2")],
                1,
                "10.0.0.1:1 10.0.0.2:1*256",
            ),
            (vec![record(0, 3, 1, "10.0.0.1")], 2, "10.0.0.1:1*6"),
            (
                vec![record(0, 1, 1, "10.0.0.1"), record(0, 2, 1, "10.0.0.2")],
                256,
                "10.0.0.1:1*128 10.0.0.2:1*256",
            ),
        ] {
            let plan = asked(&format!("'http://_http._tcp.a weight={weight}'"), Resolve::Srv);
            let mut names = Names::default();
            names.learn(&Lookup::Service("_http._tcp.a".into()), targets_of(&records));
            assert_eq!(shown(&expanded(&plan, &names)), expected, "{records:?}");
        }
    }

    #[test]
    fn a_name_is_looked_up_as_often_as_the_most_hurried_pool_asks() {
        let mut plan = asked("'a:1', 'b:1', '10.0.0.1:1'", EVERY);
        let mut other = plan.pools[0].as_ref().clone();
        (other.name, other.resolve) = ("other".into(), Resolve::Every(Duration::from_secs(1)));
        other.upstreams.truncate(1);
        plan.pools.push(Arc::new(other));
        let seconds: Vec<_> = lookups(&plan).into_values().map(|one| one.as_secs()).collect();
        assert_eq!(seconds, [1, 10]);
        assert_eq!(lookups(&asked("'a:1'", Resolve::AtStart)), BTreeMap::new());
    }
}
