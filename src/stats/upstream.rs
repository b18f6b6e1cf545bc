//! What is counted and shown of one upstream, over all cores, whatever plan is in force.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{BreakerCell, CheckOutcome, Condition, Counter, Health, Labels, Upstream};

/// One upstream, shared as an `Arc` by the cores that use it and the admin that shows it.
#[derive(Debug)]
pub struct UpstreamState {
    /// The upstream's name, its canonical URL.
    pub name: Arc<str>,
    /// The pool it is in.
    pub pool: Arc<str>,
    /// A word of letters and digits that stands for the two, the same in every process.
    pub id: String,
    /// What its breaker lets through, if it has one.
    pub breaker: BreakerCell,
    /// What the last connection of a request showed, a [`Health`]: cores write it.
    found: AtomicU8,
    /// How it is: the control plane writes it.
    condition: Mutex<Condition>,
    /// Where its name led when it was resolved last.
    addresses: Mutex<Arc<[SocketAddr]>>,
    /// Checks by their outcome: the control plane counts.
    checks: [Counter; CheckOutcome::ALL.len()],
    /// What each core counts about it.
    cores: Box<[Upstream]>,
}

/// Digits of an identity: two of 16,384 upstreams have the same once in a million.
const ID: usize = 12;

impl UpstreamState {
    /// An upstream that nothing is known of, with counters for so many `cores`.
    pub fn new(pool: impl Into<Arc<str>>, name: impl Into<Arc<str>>, cores: usize) -> Self {
        let (pool, name) = (pool.into(), name.into());
        let cores =
            std::iter::repeat_with(|| Upstream::new(&Labels::default())).take(cores).collect();
        let digest = sha1_smol::Sha1::from(format!("{pool} {name}")).digest().to_string();
        let id = digest[..ID].to_owned();
        UpstreamState {
            name,
            pool,
            id,
            breaker: BreakerCell::default(),
            found: AtomicU8::new(Health::Unknown as u8),
            condition: Mutex::default(),
            addresses: Mutex::new([].into()),
            checks: Default::default(),
            cores,
        }
    }

    /// What the core with this number counts about it; only that core may change it.
    pub fn of_core(&self, core: usize) -> &Upstream {
        &self.cores[core]
    }

    /// Its counters, for each core.
    pub fn cores(&self) -> &[Upstream] {
        &self.cores
    }

    /// Notes whether a request could connect to it. `true`: that has changed.
    pub fn set_alive(&self, alive: bool) -> bool {
        let found = if alive { Health::Up } else { Health::Down } as u8;
        self.found.load(Relaxed) != found && self.found.swap(found, Relaxed) != found
    }

    /// What the last connection showed was told to nobody: the next one changes it, whatever it shows.
    pub fn forget_found(&self) {
        self.found.store(Health::Unknown as u8, Relaxed);
    }

    /// It is believed to answer.
    pub fn is_alive(&self) -> bool {
        self.health() != Health::Down
    }

    /// Whether it is well: checks know, and where there are none, requests do.
    pub fn health(&self) -> Health {
        let condition = self.locked();
        match self.found.load(Relaxed) {
            _ if condition.is_checked => condition.health,
            found if found == Health::Up as u8 => Health::Up,
            found if found == Health::Down as u8 => Health::Down,
            _ => Health::Unknown,
        }
    }

    /// How it is now.
    pub fn condition(&self) -> Condition {
        self.locked().clone()
    }

    /// Changes how it is; for the control plane alone.
    pub fn change<T>(&self, change: impl FnOnce(&mut Condition) -> T) -> T {
        change(&mut self.locked())
    }

    /// No request is to go there.
    pub fn is_excluded(&self) -> bool {
        self.locked().is_excluded()
    }

    /// Checks that came out so; for the control plane alone to add to.
    pub fn checks(&self, outcome: CheckOutcome) -> &Counter {
        &self.checks[outcome as usize]
    }

    /// The addresses of its name as they were found last; none: it has not been resolved, or needs no resolving.
    pub fn addresses(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.addresses.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Its name was resolved.
    pub fn set_addresses(&self, addresses: Arc<[SocketAddr]>) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    fn locked(&self) -> MutexGuard<'_, Condition> {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_know_better_than_requests() {
        let entry = UpstreamState::new("default", "http://a", 1);
        assert_eq!(entry.health(), Health::Unknown);
        for (alive, changed) in [(true, true), (true, false), (false, true), (false, false)] {
            assert_eq!(entry.set_alive(alive), changed);
            assert_eq!(entry.is_alive(), alive);
        }
        entry.forget_found();
        assert!(entry.is_alive() && entry.set_alive(false), "it is told again");
        assert!(!entry.is_excluded());
        for health in Health::ALL {
            entry.change(|condition| (condition.is_checked, condition.health) = (true, health));
            assert_eq!(entry.health(), health);
            assert_eq!(entry.is_excluded(), health == Health::Down);
        }
    }
}
