//! Session tickets (RFC 8446 section 4.6.1, RFC 5077): the state of a session, sealed, kept by the client.
//!
//! The keys are few, shared by all cores and configurations, and may go to the process that takes over. What is sealed
//! under one setting does not open under another: each ticket has a key of its own, which is derived from the shared
//! one, the setting and a random salt.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use rustls::server::ProducesTickets;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

use crate::base;

const HOUR: u64 = 60 * 60;
/// How long a key seals, and how long a ticket opens at least.
const SEALS: u64 = 12 * HOUR;
/// How long a key opens.
const OPENS: u64 = 24 * HOUR;
/// Keys at a time: one that seals, and those before it that still open.
const KEYS_MOST: usize = 2;
/// Octets of a ticket; a session with more state, by a client's long chain, has none.
const TICKET_MOST: usize = 16 * 1024;
/// Octets of a salt and of a key.
const SECRET: usize = 32;
/// Octets of a key in the exported form: when it was made, and itself.
const EXPORTED: usize = 8 + SECRET;
/// What an exported form begins with.
const FORM: u8 = 1;

/// The keys of session tickets; clones are the same keys.
#[derive(Clone)]
pub struct TicketKeys {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn TimeProvider>,
    /// The newest first.
    keys: RwLock<Vec<Key>>,
}

#[derive(Clone)]
struct Key {
    /// In seconds after the epoch.
    made: u64,
    secret: [u8; SECRET],
}

impl Key {
    /// In seconds. A key from the future, made before a clock was put right, is as old as it is early.
    fn age(&self, now: u64) -> u64 {
        now.abs_diff(self.made)
    }

    fn of_ticket(&self, setting: &[u8], salt: &[u8; SECRET]) -> Option<LessSafeKey> {
        let parts = [b"tidegate ticket".as_slice(), setting, salt];
        let secret = Prk::new_less_safe(HKDF_SHA256, &self.secret);
        Some(LessSafeKey::new(UnboundKey::from(secret.expand(&parts, &AES_256_GCM).ok()?)))
    }
}

impl TicketKeys {
    /// Keys that nobody has.
    pub fn new() -> TicketKeys {
        TicketKeys::with_clock(Arc::new(DefaultTimeProvider))
    }

    /// As [`TicketKeys::new`], by another clock.
    pub fn with_clock(clock: Arc<dyn TimeProvider>) -> TicketKeys {
        TicketKeys { shared: Arc::new(Shared { clock, keys: RwLock::default() }) }
    }

    /// The keys as octets, for the process that takes over; a secret.
    pub fn export(&self) -> Vec<u8> {
        let mut octets = vec![FORM];
        for key in self.keys(self.now()) {
            octets.extend_from_slice(&key.made.to_be_bytes());
            octets.extend_from_slice(&key.secret);
        }
        octets
    }

    /// Takes over the keys of another process, in place of those that are here. `false`, and nothing taken: the octets
    /// are not what [`TicketKeys::export`] writes.
    #[must_use]
    pub fn import(&self, octets: &[u8]) -> bool {
        let Some((FORM, octets)) = octets.split_first().map(|(form, rest)| (*form, rest)) else {
            return false;
        };
        let (keys, []) = octets.as_chunks::<EXPORTED>() else { return false };
        if keys.len() > KEYS_MOST {
            return false;
        }
        let keys = keys.iter().map(|octets| {
            let (made, secret) = octets.split_first_chunk().expect("a key begins with 8 octets");
            let secret = secret.try_into().expect("what is left of a key is its secret");
            Key { made: u64::from_be_bytes(*made), secret }
        });
        *self.shared.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.collect();
        true
    }

    /// What a configuration seals its tickets with: they open under the same setting, up to `end`, in seconds after the
    /// epoch.
    pub(super) fn under(&self, setting: u128, end: u64) -> Arc<dyn ProducesTickets> {
        Arc::new(Ticketer { keys: self.clone(), setting: setting.to_be_bytes(), end })
    }

    /// The clock that keys are aged by.
    pub(super) fn clock(&self) -> &Arc<dyn TimeProvider> {
        &self.shared.clock
    }

    /// Seconds after the epoch.
    pub(super) fn now(&self) -> u64 {
        self.shared.clock.current_time().map_or(0, |time| time.as_secs())
    }

    /// Keys that open, the one that seals first.
    fn keys(&self, now: u64) -> Vec<Key> {
        let keys = self.shared.keys.read().unwrap_or_else(PoisonError::into_inner);
        if keys.first().is_some_and(|newest| newest.age(now) < SEALS) {
            return keys.iter().filter(|key| key.age(now) < OPENS).cloned().collect();
        }
        drop(keys);
        let mut keys = self.shared.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|key| key.age(now) < OPENS);
        if keys.first().is_none_or(|newest| newest.age(now) >= SEALS) {
            keys.insert(0, Key { made: now, secret: base::random_secret() });
            keys.truncate(KEYS_MOST);
        }
        keys.clone()
    }
}

impl Default for TicketKeys {
    fn default() -> TicketKeys {
        TicketKeys::new()
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys")
    }
}

/// The keys under one setting.
#[derive(Debug)]
struct Ticketer {
    keys: TicketKeys,
    setting: [u8; 16],
    end: u64,
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        (OPENS - SEALS) as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() > TICKET_MOST - SECRET - AES_256_GCM.tag_len() {
            return None;
        }
        let salt = base::random_secret();
        let keys = self.keys.keys(self.keys.now());
        let key = keys.first()?.of_ticket(&self.setting, &salt)?;
        let mut sealed = plain.to_vec();
        // The key is of this ticket alone, so any nonce has not been used with it.
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed).ok()?;
        Some([salt.as_slice(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (salt, sealed) = ticket.split_first_chunk::<SECRET>()?;
        if ticket.len() > TICKET_MOST {
            return None;
        }
        let now = self.keys.now();
        if now >= self.end {
            return None;
        }
        self.keys.keys(now).iter().find_map(|key| {
            let mut octets = sealed.to_vec();
            let key = key.of_ticket(&self.setting, salt)?;
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            let plain = key.open_in_place(nonce, Aad::empty(), &mut octets).ok()?;
            Some(plain.to_vec())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Clock;

    #[test]
    fn a_key_seals_for_half_a_day_and_opens_for_a_day() {
        // Keys are made when something is first sealed, here at 0; a ticket is sealed and opened hours later.
        for (sealed, opened, expected) in [
            (0, 0, true),
            (0, 11, true),
            (0, 12, true),
            (0, 23, true),
            (0, 24, false),
            (11, 23, true),
            (11, 24, false),
            (12, 24, true),
            (12, 35, true),
            (12, 36, false),
            (100, 123, true),
        ] {
            let clock = Clock::new(1_000_000_000);
            let keys = TicketKeys::with_clock(clock.clone());
            let ticketer = keys.under(1, u64::MAX);
            assert!(ticketer.encrypt(b"first").is_some());
            clock.go_to(1_000_000_000 + sealed * HOUR);
            let ticket = ticketer.encrypt(b"state").unwrap();
            // Others come in between.
            for hour in sealed..=opened {
                clock.go_to(1_000_000_000 + hour * HOUR);
                let _ = ticketer.encrypt(b"other");
            }
            let found = ticketer.decrypt(&ticket);
            assert_eq!(found.is_some(), expected, "{sealed} to {opened}");
            assert!(found.is_none_or(|state| state == b"state"));
            assert!(keys.shared.keys.read().unwrap().len() <= KEYS_MOST);
        }
    }

    #[test]
    fn a_ticket_opens_under_its_setting_alone_and_whole() {
        let keys = TicketKeys::new();
        let ticketer = keys.under(1, u64::MAX);
        let ticket = ticketer.encrypt(b"state").unwrap();
        assert_ne!(ticketer.encrypt(b"state").unwrap(), ticket);
        assert_eq!(
            keys.clone().under(1, u64::MAX).decrypt(&ticket).as_deref(),
            Some(&b"state"[..])
        );
        assert_eq!(keys.under(2, u64::MAX).decrypt(&ticket), None);
        assert_eq!(TicketKeys::new().under(1, u64::MAX).decrypt(&ticket), None);
        for at in 0..ticket.len() {
            assert_eq!(ticketer.decrypt(&ticket[..at]), None);
            let mut other = ticket.clone();
            other[at] ^= 1;
            assert_eq!(ticketer.decrypt(&other), None);
        }
    }

    #[test]
    fn no_ticket_opens_after_the_end() {
        let clock = Clock::new(1_000_000_000);
        let ticketer = TicketKeys::with_clock(clock.clone()).under(1, 1_000_000_009);
        let ticket = ticketer.encrypt(b"state").unwrap();
        for (second, expected) in [(8, true), (9, false)] {
            clock.go_to(1_000_000_000 + second);
            assert_eq!(ticketer.decrypt(&ticket).is_some(), expected, "{second}");
        }
    }

    #[test]
    fn tickets_have_a_bound() {
        let ticketer = TicketKeys::new().under(1, u64::MAX);
        let most = TICKET_MOST - SECRET - 16;
        let ticket = ticketer.encrypt(&vec![7; most]).unwrap();
        assert_eq!(ticket.len(), TICKET_MOST);
        assert!(ticketer.decrypt(&ticket).is_some());
        assert_eq!(ticketer.encrypt(&vec![7; most + 1]), None);
        assert_eq!(ticketer.decrypt(&vec![7; 1 << 20]), None);
    }

    #[test]
    fn another_process_takes_the_keys_over() {
        let clock = Clock::new(1_000_000_000);
        let before = TicketKeys::with_clock(clock.clone());
        let old = before.under(1, u64::MAX).encrypt(b"old").unwrap();
        clock.go_to(1_000_000_000 + 13 * HOUR);
        let new = before.under(1, u64::MAX).encrypt(b"new").unwrap();
        let after = TicketKeys::with_clock(clock.clone());
        assert!(after.import(&before.export()));
        assert!(
            after.under(1, u64::MAX).decrypt(&old).is_some()
                && after.under(1, u64::MAX).decrypt(&new).is_some()
        );
        assert_eq!(after.export(), before.export());
        // What the new process seals, the old one opens, while it still serves.
        let later = after.under(1, u64::MAX).encrypt(b"later").unwrap();
        assert!(before.under(1, u64::MAX).decrypt(&later).is_some());
        // Keys age on.
        clock.go_to(1_000_000_000 + 25 * HOUR);
        assert_eq!(after.under(1, u64::MAX).decrypt(&old), None);
    }

    #[test]
    fn what_is_no_export_is_not_taken() {
        let keys = TicketKeys::new();
        let ticket = keys.under(1, u64::MAX).encrypt(b"state").unwrap();
        let right = TicketKeys::new().export();
        let many = [&right[..], &right[1..], &right[1..]].concat();
        let unknown = [&[2][..], &right[1..]].concat();
        for wrong in [&b""[..], &right[..right.len() - 1], &many, &unknown, &[0; 4096]] {
            assert!(!keys.import(wrong));
        }
        assert!(keys.under(1, u64::MAX).decrypt(&ticket).is_some());
        assert!(keys.import(&right));
        assert!(keys.under(1, u64::MAX).decrypt(&ticket).is_none());
    }

    #[test]
    fn keys_from_another_time_do_not_stay() {
        let clock = Clock::new(2_000_000_000);
        let keys = TicketKeys::with_clock(clock.clone());
        let ticket = keys.under(1, u64::MAX).encrypt(b"state").unwrap();
        clock.go_to(1_000_000_000);
        assert_eq!(keys.under(1, u64::MAX).decrypt(&ticket), None);
    }

    #[test]
    fn keys_are_not_shown() {
        assert_eq!(format!("{:?}", TicketKeys::new()), "TicketKeys");
    }
}
