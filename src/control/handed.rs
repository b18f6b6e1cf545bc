//! What is known of upstreams, for the process that takes over: it is not to send requests where we know better, nor to
//! tell again what we have told. And what cookies are signed and tickets of TLS sealed with, so that clients stay where
//! they are, and go on with their sessions.
//!
//! Only what both know by the same names, and find out in the same way, is taken over. What makes no sense is left out,
//! for it will be found out anew.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::config::{Lookup, MOST_UPSTREAMS, Names, Target};
use crate::proxy::Runtime;
use crate::stats::{CheckOutcome, Condition, Health, LastError, UpstreamState};
use crate::upstream::Secret;
use crate::upstream::resolve::ADDRESSES_MOST;

/// Characters of an error's text that are taken over.
const TEXT_MOST: usize = 256;

/// What the process before us has left.
#[derive(Debug, Default)]
pub struct Handed {
    upstreams: Vec<Value>,
    /// The addresses of names that are followed: used until a lookup says otherwise.
    pub names: Names,
    /// What cookies are signed with where the settings have nothing.
    pub secret: Option<Secret>,
    /// The keys of session tickets, as they were exported.
    pub tickets: Option<Vec<u8>>,
}

/// What nobody but the process that takes over may know.
pub struct Secrets<'s> {
    /// What cookies are signed with where the settings have nothing.
    pub cookies: &'s Secret,
    /// The keys of session tickets, if there are any.
    pub tickets: Option<Vec<u8>>,
}

/// What the entries of `runtime` say, and what is known of `names`.
pub fn write(runtime: &Runtime, names: &Names, secrets: &Secrets<'_>) -> Vec<u8> {
    let known = runtime
        .upstreams()
        .filter(|entry| entry.health() != Health::Unknown || !entry.addresses().is_empty());
    let entries = known.map(|entry| {
        let Condition { is_checked, since, last_healthy, failures, last_error, .. } =
            entry.condition();
        let error = |LastError { at, reason, text }| {
            json!({ "at": at, "reason": reason.label(), "text": text })
        };
        json!({
            "pool": *entry.pool,
            "url": *entry.name,
            "checked": is_checked,
            "state": entry.health().label(),
            "since": since,
            "last_healthy": last_healthy,
            "consecutive_failures": failures,
            "last_error": last_error.map(error),
            "addresses": *entry.addresses(),
        })
    });
    // No more can be in force.
    let names = names.all().take(MOST_UPSTREAMS).map(|(lookup, target)| {
        let Target { backup, ip, port, weight } = target;
        json!([matches!(lookup, Lookup::Service(_)), **lookup.name(), ip, port, weight, backup])
    });
    json!({
        "upstreams": entries.collect::<Value>(),
        "names": names.collect::<Value>(),
        "secret": HEXLOWER.encode(secrets.cookies),
        "tickets": secrets.tickets.as_ref().map(|keys| HEXLOWER.encode(keys)),
    })
    .to_string()
    .into_bytes()
}

/// Reads what the process before us has written.
pub fn read(octets: &[u8]) -> Handed {
    if octets.is_empty() {
        return Handed::default();
    }
    let Ok(mut known) = serde_json::from_slice::<Value>(octets) else {
        tracing::warn!("what the process before us knew of upstreams makes no sense");
        return Handed::default();
    };
    let octets = |hex: &Value| HEXLOWER.decode(hex.as_str()?.as_bytes()).ok();
    let (secret, tickets) = (octets(&known["secret"]), octets(&known["tickets"]));
    let upstreams = known.get_mut("upstreams").and_then(Value::as_array_mut).map(std::mem::take);
    Handed {
        upstreams: upstreams.unwrap_or_default(),
        names: names(&known["names"]),
        secret: secret.and_then(|secret| secret.try_into().ok()),
        tickets,
    }
}

impl Handed {
    /// Takes it into the entries of `runtime`, before anybody uses them.
    pub fn take_over(&self, runtime: &Runtime) {
        let known: HashMap<_, _> = self
            .upstreams
            .iter()
            .filter_map(|one| Some(((one["pool"].as_str()?, one["url"].as_str()?), one)))
            .collect();
        for (pool, linked) in runtime.plan.pools.iter().zip(&runtime.pools) {
            for entry in linked.upstreams.iter().map(|entry| &entry.state) {
                if let Some(one) = known.get(&(&*entry.pool, &*entry.name)) {
                    take_addresses_over(entry, &one["addresses"]);
                    if one["checked"] == pool.health.is_some() {
                        take_over(entry, one);
                    }
                }
            }
        }
    }
}

/// A name of which not one address makes sense is not known.
fn names(known: &Value) -> Names {
    let mut all: BTreeMap<Lookup, Vec<Target>> = BTreeMap::new();
    for one in known.as_array().into_iter().flatten().take(MOST_UPSTREAMS) {
        if let Some((lookup, target)) = target(one) {
            all.entry(lookup).or_default().push(target);
        }
    }
    let mut names = Names::default();
    all.into_iter().for_each(|(lookup, targets)| drop(names.learn(&lookup, targets)));
    names
}

fn target(known: &Value) -> Option<(Lookup, Target)> {
    let name = known[1].as_str()?.into();
    let is_service = known[0].as_bool()?;
    let port = || known[3].as_u64().and_then(|port| u16::try_from(port).ok());
    let target = Target {
        backup: known[5].as_bool()?,
        ip: IpAddr::from_str(known[2].as_str()?).ok()?,
        // A service says its ports, and a host has none.
        port: if is_service { Some(port().filter(|port| *port != 0)?) } else { None },
        weight: known[4].as_u64().and_then(|n| u32::try_from(n).ok())?.max(1),
    };
    Some((if is_service { Lookup::Service(name) } else { Lookup::Host(name) }, target))
}

fn take_addresses_over(entry: &UpstreamState, known: &Value) {
    let addresses = known.as_array().into_iter().flatten().filter_map(Value::as_str);
    let addresses = addresses.filter_map(|one| SocketAddr::from_str(one).ok());
    entry.set_addresses(addresses.take(ADDRESSES_MOST).collect());
}

fn take_over(entry: &UpstreamState, known: &Value) {
    let Some(health) = known["state"].as_str().and_then(Health::of) else { return };
    if health == Health::Unknown {
        return;
    }
    let condition = Condition {
        is_checked: known["checked"] == true,
        health,
        since: known["since"].as_u64(),
        last_healthy: known["last_healthy"].as_u64(),
        failures: known["consecutive_failures"]
            .as_u64()
            .map_or(0, |n| n.min(u32::MAX.into()) as u32),
        last_error: last_error(&known["last_error"]),
        ..Condition::default()
    };
    entry.set_alive(health == Health::Up);
    entry.change(|own| *own = condition);
}

fn last_error(known: &Value) -> Option<LastError> {
    Some(LastError {
        at: known["at"].as_u64()?,
        reason: CheckOutcome::of(known["reason"].as_str()?)?,
        text: known["text"].as_str()?.chars().take(TEXT_MOST).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::config::{self, Action, HealthSpec, ProbeMethod};
    use crate::upstream::Registry;

    const SECRET: Secret = [7; 32];

    fn secrets() -> Secrets<'static> {
        Secrets { cookies: &SECRET, tickets: Some(vec![1, 2]) }
    }

    /// A process that has these upstreams, with checks or without.
    fn process(upstreams: &str, is_checked: bool) -> Arc<Runtime> {
        let around = config::Surroundings {
            cwd: Path::new("/"),
            cores: 1,
            descriptors: 1024,
            stdout_is_terminal: false,
        };
        let Ok(Action::Run(mut plan, _)) =
            config::load(["--upstream".into(), upstreams.into()], [], &around)
        else {
            panic!("{upstreams}")
        };
        Arc::make_mut(&mut plan.pools[0]).health = is_checked.then(|| HealthSpec {
            method: ProbeMethod::Connect,
            path: "/".to_owned(),
            host: None,
            status: Vec::new(),
            body: String::new(),
            interval: std::time::Duration::from_secs(1),
            timeout: std::time::Duration::from_secs(1),
            fall: 1,
            rise: 1,
        });
        Runtime::link(plan.into(), &mut Registry::new(1), None)
    }

    fn down(runtime: &Runtime, is_checked: bool) -> Condition {
        let condition = Condition {
            is_checked,
            health: Health::Down,
            since: Some(7),
            last_healthy: Some(3),
            failures: 4,
            last_error: Some(LastError {
                at: 9,
                reason: CheckOutcome::WrongStatus,
                text: "status 503".to_owned(),
            }),
            ..Condition::default()
        };
        let entry = &runtime.pools[0].upstreams[0].state;
        entry.set_alive(false);
        entry.change(|own| *own = condition.clone());
        condition
    }

    #[test]
    fn what_is_known_goes_from_process_to_process() {
        for is_checked in [true, false] {
            let old = process("a:1,b:2", is_checked);
            let condition = down(&old, is_checked);
            let new = process("b:2,a:1", is_checked);
            read(&write(&old, &Names::default(), &secrets())).take_over(&new);
            assert_eq!(read(&write(&old, &Names::default(), &secrets())).secret, Some(SECRET));
            let tickets = read(&write(&old, &Names::default(), &secrets())).tickets;
            assert_eq!(tickets.as_deref(), Some(&[1, 2][..]));
            let [b, a] = [0, 1].map(|at| &new.pools[0].upstreams[at].state);
            assert_eq!((a.condition(), a.health()), (condition, Health::Down));
            assert_eq!(a.is_excluded(), is_checked);
            assert_eq!(b.condition(), Condition::default(), "nothing was known of it");
            let other = process("a:1", !is_checked);
            read(&write(&old, &Names::default(), &secrets())).take_over(&other);
            let entry = &other.pools[0].upstreams[0].state;
            assert_eq!(entry.health(), Health::Unknown, "it is found out in another way");
        }
    }

    #[test]
    fn damage_is_left_out() {
        let old = process("a:1", false);
        down(&old, false);
        let whole = String::from_utf8(write(&old, &Names::default(), &secrets())).unwrap();
        for damaged in [
            "",
            "{}",
            "[1,null,[]]",
            "{\"upstreams\":[1,null,[]],\"secret\":\"00\"}",
            &whole[..whole.len() - 1],
            &whole.replace("down", "dawn"),
            &whole.replace("http", "ftp"),
        ] {
            let new = process("a:1", false);
            read(damaged.as_bytes()).take_over(&new);
            assert_eq!(
                new.pools[0].upstreams[0].state.condition(),
                Condition::default(),
                "{damaged}"
            );
        }
        for (right, damaged) in
            [("wrong_status", "?"), ("\"at\":9", "\"at\":-9"), ("\"status 503\"", "[]")]
        {
            let new = process("a:1", false);
            read(whole.replace(right, damaged).as_bytes()).take_over(&new);
            let condition = new.pools[0].upstreams[0].state.condition();
            assert_eq!((condition.health, condition.last_error), (Health::Down, None), "{damaged}");
        }
    }

    #[test]
    fn addresses_of_names_go_from_process_to_process() {
        let mut names = Names::default();
        let ip = [10, 0, 0, 1].into();
        names.learn(&Lookup::Host("a".into()), vec![Target::of_host(ip)]);
        let of_service = Target { backup: true, port: Some(7), weight: 5, ..Target::of_host(ip) };
        names.learn(&Lookup::Service("a".into()), vec![of_service]);
        let old = process("a:1", false);
        let address = SocketAddr::from((ip, 1));
        old.pools[0].upstreams[0].state.set_addresses([address].into());
        let whole = String::from_utf8(write(&old, &names, &secrets())).unwrap();
        assert_eq!(read(whole.as_bytes()).names, names);
        let new = process("b:2,a:1", true);
        read(whole.as_bytes()).take_over(&new);
        let [b, a] = [0, 1].map(|at| &new.pools[0].upstreams[at].state);
        assert_eq!((&*a.addresses(), a.health()), (&[address][..], Health::Unknown));
        assert!(b.addresses().is_empty());
        for damaged in [
            whole.replace("\"10.0.0.1\"", "\"10.0.0\""),
            whole.replace("false,\"a\"", "0,\"a\"").replace(",7,", ",70000,"),
            whole.replace("\"names\"", "\"other\""),
        ] {
            assert_eq!(read(damaged.as_bytes()).names, Names::default(), "{damaged}");
        }
    }
}
