//! What is known of upstreams, for the process that takes over: it is not to send requests where we know better, nor to
//! tell again what we have told. And what cookies are signed with, so that clients stay where they are.
//!
//! Only what both know by the same names, and find out in the same way, is taken over. What makes no sense is left out,
//! for it will be found out anew.

use std::collections::HashMap;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::proxy::Runtime;
use crate::stats::{CheckOutcome, Condition, Health, LastError, UpstreamState};
use crate::upstream::Secret;

/// Characters of an error's text that are taken over.
const TEXT_MOST: usize = 256;

/// What the process before us has left.
#[derive(Debug, Default)]
pub struct Handed {
    upstreams: Vec<Value>,
    /// What cookies are signed with where the settings have nothing.
    pub secret: Option<Secret>,
}

/// What the entries of `runtime` say.
pub fn write(runtime: &Runtime, secret: &Secret) -> Vec<u8> {
    let known = runtime.upstreams().filter(|entry| entry.health() != Health::Unknown);
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
        })
    });
    let secret = HEXLOWER.encode(secret);
    json!({ "upstreams": entries.collect::<Value>(), "secret": secret }).to_string().into_bytes()
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
    let secret =
        known["secret"].as_str().and_then(|secret| HEXLOWER.decode(secret.as_bytes()).ok());
    let upstreams = known.get_mut("upstreams").and_then(Value::as_array_mut).map(std::mem::take);
    Handed {
        upstreams: upstreams.unwrap_or_default(),
        secret: secret.and_then(|secret| secret.try_into().ok()),
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
                if let Some(one) = known.get(&(&*entry.pool, &*entry.name))
                    && one["checked"] == pool.health.is_some()
                {
                    take_over(entry, one);
                }
            }
        }
    }
}

fn take_over(entry: &UpstreamState, known: &Value) {
    let Some(health) = known["state"].as_str().and_then(Health::of) else { return };
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
    if health != Health::Unknown {
        entry.set_alive(health == Health::Up);
    }
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
            read(&write(&old, &SECRET)).take_over(&new);
            assert_eq!(read(&write(&old, &SECRET)).secret, Some(SECRET));
            let [b, a] = [0, 1].map(|at| &new.pools[0].upstreams[at].state);
            assert_eq!((a.condition(), a.health()), (condition, Health::Down));
            assert_eq!(a.is_excluded(), is_checked);
            assert_eq!(b.condition(), Condition::default(), "nothing was known of it");
            let other = process("a:1", !is_checked);
            read(&write(&old, &SECRET)).take_over(&other);
            let entry = &other.pools[0].upstreams[0].state;
            assert_eq!(entry.health(), Health::Unknown, "it is found out in another way");
        }
    }

    #[test]
    fn damage_is_left_out() {
        let old = process("a:1", false);
        down(&old, false);
        let whole = String::from_utf8(write(&old, &SECRET)).unwrap();
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
}
