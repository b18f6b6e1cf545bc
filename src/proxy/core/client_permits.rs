//! How many connections each client has, over all cores.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::policy::limit::{ClientKey, client_key};

/// Parts with a lock each: cores that accept at the same moment seldom meet.
const PARTS: usize = 64;

/// The connections of each client that has any: as many entries as there are connections at most.
#[derive(Debug)]
pub struct ClientPermits {
    parts: [Mutex<HashMap<ClientKey, u32>>; PARTS],
}

impl Default for ClientPermits {
    fn default() -> ClientPermits {
        ClientPermits { parts: std::array::from_fn(|_| Mutex::default()) }
    }
}

/// One of the connections that a client may have, until it is dropped.
pub struct ClientPermit {
    permits: Arc<ClientPermits>,
    key: ClientKey,
}

impl fmt::Debug for ClientPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientPermit")
    }
}

impl ClientPermits {
    /// One more connection of `client`, if it has fewer than `most`.
    pub fn take(self: &Arc<Self>, client: IpAddr, most: usize) -> Option<Box<ClientPermit>> {
        let key = client_key(client);
        let mut part = self.part(&key);
        let count = part.entry(key).or_default();
        if *count as usize >= most {
            return None;
        }
        *count += 1;
        Some(Box::new(ClientPermit { permits: Arc::clone(self), key }))
    }

    fn part(&self, key: &ClientKey) -> MutexGuard<'_, HashMap<ClientKey, u32>> {
        let sum = key.iter().fold(0_usize, |sum, octet| sum.wrapping_mul(31) + usize::from(*octet));
        self.parts[sum % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.permits.part(&self.key).entry(self.key) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_permits_and_gives_them_back() {
        let permits = Arc::<ClientPermits>::default();
        let v6 = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        let held = [permits.take(v6(1), 2), permits.take(v6(2), 2)];
        assert!(held.iter().all(Option::is_some));
        assert!(permits.take(v6(3), 2).is_none(), "one network of 64 bits is one client");
        assert!(permits.take([192, 0, 2, 1].into(), 2).is_some());
        drop(held);
        assert!(permits.take(v6(3), 2).is_some());
        assert!(permits.parts.iter().all(|part| part.lock().unwrap().is_empty()));
    }
}
