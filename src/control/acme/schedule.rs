//! When a certificate is ordered. Times are seconds after the epoch.

use std::time::Duration;

use crate::acme::OrderError;
use crate::admin::IssuanceStatus;
use crate::base::{CertificateFacts, digest};

/// How soon an order that failed is tried again; each failure doubles it, up to the most. Servers count failures: some
/// take five in an hour.
const BACKOFF: (Duration, Duration) =
    (Duration::from_secs(5 * 60), Duration::from_secs(6 * 60 * 60));
/// How long a server can have us wait at most.
const RETRY_AFTER_MOST: Duration = Duration::from_secs(24 * 60 * 60);
/// How soon it is tried again whatever happens, reloads among it.
const RETRY_LEAST: Duration = Duration::from_secs(15);

/// When the next certificate of a name is ordered. The default is that of no name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// What is told of it.
    pub status: IssuanceStatus,
    /// Orders that failed since one did not.
    consecutive_failures: u32,
    /// The earliest time of the next order.
    not_before: u64,
    /// The same after a reload.
    not_before_on_reload: u64,
}

impl Schedule {
    /// Nothing has been ordered.
    #[cfg(test)]
    pub fn new(name: &str) -> Schedule {
        Schedule::default().for_name(name)
    }

    /// Nothing has been ordered for this name, but it waits like all.
    pub fn for_name(&self, name: &str) -> Schedule {
        Schedule { status: IssuanceStatus::new(name), consecutive_failures: 0, ..self.clone() }
    }

    /// There is something to be remembered.
    pub fn is_waiting(&self, now: u64) -> bool {
        self.not_before > now
    }

    /// When the next order is due, while this certificate is `stored`. A wait that is longer than any began before our
    /// clock was put right.
    pub fn due_at(&self, stored: Option<&CertificateFacts>, now: u64) -> u64 {
        let is_ours = self.not_before <= now.saturating_add(RETRY_AFTER_MOST.as_secs());
        stored.map_or(0, renewal_due_at).max(if is_ours { self.not_before } else { 0 })
    }

    /// This certificate was issued. Even one that is due at once is not replaced in a loop.
    pub fn note_issued(&mut self, issued: &CertificateFacts, now: u64) {
        let (_, most) = BACKOFF;
        self.consecutive_failures = 0;
        self.not_before = now + part_of_left(issued, now).clamp(RETRY_LEAST, most).as_secs();
        self.not_before_on_reload = now + RETRY_LEAST.as_secs();
        self.status.issued += 1;
        self.status.last_error = None;
    }

    /// None was issued, while this certificate is `stored`. How long it is until the next order.
    pub fn note_failure(
        &mut self,
        error: &OrderError,
        stored: Option<&CertificateFacts>,
        now: u64,
    ) -> Duration {
        let (first, most) = BACKOFF;
        let own = first.saturating_mul(1 << self.consecutive_failures.min(16)).min(most);
        // Those of a few hours need more tries before they end.
        let left = stored.filter(|stored| stored.holds(now)).map(|one| part_of_left(one, now));
        let own = left.map_or(own, |left| own.min(left.max(first)));
        let servers = servers_wait(error);
        let wait = own.max(servers);
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        self.not_before = now + wait.as_secs();
        self.not_before_on_reload = now + servers.as_secs();
        self.status.failed += 1;
        self.status.last_error = Some((now, error.why.clone()));
        wait
    }

    /// An order of another name failed for a reason that all have in common.
    pub fn note_failure_of_all(&mut self, error: &OrderError, now: u64) {
        let (first, _) = BACKOFF;
        let servers = servers_wait(error);
        self.not_before = self.not_before.max(now + first.max(servers).as_secs());
        self.not_before_on_reload = self.not_before_on_reload.max(now + servers.as_secs());
    }

    /// Another process is at it.
    pub fn note_locked(&mut self, now: u64) {
        self.not_before = now + RETRY_LEAST.as_secs();
    }

    /// Settings were read anew: somebody may have put right what was wrong.
    pub fn note_reload(&mut self) {
        self.not_before = self.not_before_on_reload;
    }
}

/// How long the server wants to be left alone, within our bounds.
fn servers_wait(error: &OrderError) -> Duration {
    error.retry_after.unwrap_or_default().clamp(RETRY_LEAST, RETRY_AFTER_MOST)
}

/// A quarter of the time that a certificate still holds.
fn part_of_left(facts: &CertificateFacts, now: u64) -> Duration {
    Duration::from_secs(facts.not_after.saturating_sub(now) / 4)
}

/// When a certificate is to be replaced: when a third of its time is left, and up to a tenth of that earlier, so that
/// not all come at once that were issued at once.
pub fn renewal_due_at(kept: &CertificateFacts) -> u64 {
    let third = kept.not_after.saturating_sub(kept.not_before) / 3;
    let [first, second, ..] = digest(kept.fingerprint_sha256.as_bytes());
    let part = u128::from(u16::from_be_bytes([first, second]));
    let earlier = u128::from(third / 10) * part / u128::from(u16::MAX);
    kept.not_after.saturating_sub(third).saturating_sub(earlier as u64)
}

/// The one that is due first, or has been for longest, by its place.
pub fn first_due(due: impl Iterator<Item = u64>) -> Option<(usize, u64)> {
    due.enumerate().min_by_key(|(_, due)| *due)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;

    fn facts(not_before: u64, not_after: u64) -> CertificateFacts {
        CertificateFacts {
            names: Vec::new(),
            issuer: String::new(),
            not_before,
            not_after,
            fingerprint_sha256: "ab".to_owned(),
        }
    }

    fn failed(minutes: Option<u64>) -> OrderError {
        let retry_after = minutes.map(|n| Duration::from_secs(n * MINUTE));
        OrderError { retry_after, ..OrderError::new("no") }
    }

    #[test]
    fn a_third_of_the_time_is_left_at_a_renewal_or_a_little_more() {
        for (not_before, not_after, range) in [
            (0, 90, 57..=60),
            (100, 130, 119..=120),
            (1000, 1000 + 90 * 86_400, 1000 + 57 * 86_400..=1000 + 60 * 86_400),
            (7, 7, 7..=7),
            (9, 7, 7..=7),
            (0, u64::MAX, u64::MAX / 30 * 18..=u64::MAX / 30 * 21),
        ] {
            let due = renewal_due_at(&facts(not_before, not_after));
            assert!(range.contains(&due), "{due} {range:?}");
        }
        let others = ["a", "b", "c"].map(|fingerprint| CertificateFacts {
            fingerprint_sha256: fingerprint.to_owned(),
            ..facts(0, 90 * 86_400)
        });
        let [a, b, c] = others.map(|one| renewal_due_at(&one));
        assert!(a != b && b != c && a != c);
    }

    #[test]
    fn each_failure_waits_longer_and_the_server_longest() {
        const DAY: u64 = 24 * 60;
        for (before, retry_after, left, minutes) in [
            (0, None, None, 5),
            (1, None, None, 10),
            (4, None, None, 80),
            (7, None, None, 360),
            (u32::MAX, None, None, 360),
            (0, Some(1), None, 5),
            (0, Some(90), None, 90),
            (0, Some(u64::MAX / MINUTE), None, DAY),
            // What is served still holds for so many minutes.
            (7, None, Some(30 * DAY), 360),
            (7, None, Some(8 * 60), 120),
            (7, None, Some(20), 5),
            (7, None, Some(1), 5),
            (7, Some(90), Some(20), 90),
        ] {
            let consecutive_failures = before;
            let mut schedule = Schedule { consecutive_failures, ..Schedule::new("a") };
            let stored = left.map(|left| facts(0, 1000 + left * MINUTE));
            let wait = schedule.note_failure(&failed(retry_after), stored.as_ref(), 1000);
            let told = format!("{before} {retry_after:?} {left:?}");
            assert_eq!(wait, Duration::from_secs(minutes * MINUTE), "{told}");
            assert_eq!(schedule.due_at(None, 1000), 1000 + minutes * MINUTE, "{told}");
        }
    }

    #[test]
    fn a_reload_tries_soon_unless_the_server_said_when() {
        for (retry_after, due_at) in [(None, 1015), (Some(0), 1015), (Some(2), 1120)] {
            let mut schedule = Schedule::new("a");
            schedule.note_failure(&failed(None), None, 0);
            schedule.note_failure(&failed(retry_after), None, 1000);
            assert!(schedule.due_at(None, 1000) >= 1000 + 10 * MINUTE);
            schedule.note_reload();
            assert_eq!(schedule.due_at(None, 1000), due_at, "{retry_after:?}");
        }
    }

    #[test]
    fn what_all_have_in_common_all_wait_for() {
        let status = Schedule::new("b").status;
        for (retry_after, due_at, on_reload) in [(None, 300, 15), (Some(60), 3600, 3600)] {
            let mut one = Schedule::new("a");
            for _ in 0..8 {
                one.note_failure(&failed(retry_after), None, 0);
            }
            let mut other = Schedule::new("b");
            other.note_failure_of_all(&failed(retry_after), 0);
            // It has not failed so often.
            assert_eq!((other.due_at(None, 0), &other.status), (due_at, &status));
            let mut reloaded = other.clone();
            reloaded.note_reload();
            assert_eq!(reloaded.due_at(None, 0), on_reload);
            one.note_failure_of_all(&failed(retry_after), 0);
            assert!(one.due_at(None, 0) >= 3600, "it waits no less than before");
        }
    }

    #[test]
    fn what_is_stored_says_when_the_next_one_is_due() {
        let mut schedule = Schedule::new("a");
        assert_eq!(schedule.due_at(None, 0), 0);
        let stored = facts(0, 9000);
        let renewal = renewal_due_at(&stored);
        assert_eq!(schedule.due_at(Some(&stored), 0), renewal);
        schedule.note_failure(&failed(None), None, renewal);
        assert_eq!(schedule.due_at(Some(&stored), renewal), renewal + 5 * MINUTE);
        assert_eq!(schedule.status.last_error, Some((renewal, "no".to_owned())));
        schedule.note_issued(&facts(0, renewal + 40), renewal);
        assert_eq!(schedule.due_at(None, renewal), renewal + 15);
        assert_eq!((schedule.status.issued, schedule.status.failed), (1, 1));
        assert_eq!(schedule.status.last_error, None);
        schedule.note_locked(renewal);
        assert_eq!(schedule.due_at(Some(&stored), renewal), renewal + 15);
    }

    #[test]
    fn one_that_is_due_when_it_is_issued_is_not_replaced_in_a_loop() {
        for (left, wait) in [(3, 15), (400, 100), (5 * 86_400, 6 * 60 * MINUTE)] {
            let mut schedule = Schedule::new("a");
            let issued = facts(0, 90 * 86_400);
            let now = issued.not_after - left;
            schedule.note_issued(&issued, now);
            assert_eq!(schedule.due_at(Some(&issued), now), now + wait, "{left}");
        }
    }

    #[test]
    fn a_clock_that_was_put_right_is_waited_for_by_nobody() {
        const QUARTER: u64 = 90 * 86_400;
        let mut schedule = Schedule::new("a");
        schedule.note_failure(&failed(None), None, QUARTER);
        assert_eq!(schedule.due_at(None, QUARTER), QUARTER + 300);
        assert_eq!(schedule.due_at(None, 0), 0);
        schedule.note_reload();
        assert_eq!(schedule.due_at(None, 0), 0);
    }

    #[test]
    fn nobody_is_passed_over() {
        for (due, expected) in [
            (&[][..], None),
            (&[7, 3, 5], Some((1, 3))),
            (&[3, 3], Some((0, 3))),
            (&[900, 800, 0], Some((2, 0))), // never tried
        ] {
            assert_eq!(first_due(due.iter().copied()), expected);
        }
    }
}
