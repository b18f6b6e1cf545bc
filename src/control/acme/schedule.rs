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

/// When the next certificate of a name is ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// What is told of it.
    pub status: IssuanceStatus,
    /// Orders that failed since one did not.
    consecutive_failures: u32,
    /// Not before this time, and not before that if somebody may have put right what was wrong.
    not_before: u64,
    not_before_on_reload: u64,
}

impl Schedule {
    /// Nothing has been ordered.
    pub fn new(name: &str) -> Schedule {
        Schedule {
            status: IssuanceStatus::new(name),
            consecutive_failures: 0,
            not_before: 0,
            not_before_on_reload: 0,
        }
    }

    /// When the next order is due, while this certificate is `kept`.
    pub fn due_at(&self, kept: Option<&CertificateFacts>) -> u64 {
        kept.map_or(0, renewal_due_at).max(self.not_before)
    }

    /// A certificate was issued. Even one for seconds is not replaced in a loop.
    pub fn note_issued(&mut self, now: u64) {
        self.consecutive_failures = 0;
        self.not_before = now + RETRY_LEAST.as_secs();
        self.not_before_on_reload = self.not_before;
        self.status.issued += 1;
        self.status.last_error = None;
    }

    /// None was issued. How long it is until the next order.
    pub fn note_failure(&mut self, error: &OrderError, now: u64) -> Duration {
        let (first, most) = BACKOFF;
        let own = first.saturating_mul(1 << self.consecutive_failures.min(16)).min(most);
        let servers = error.retry_after.unwrap_or_default().clamp(RETRY_LEAST, RETRY_AFTER_MOST);
        let wait = own.max(servers);
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        self.not_before = now + wait.as_secs();
        self.not_before_on_reload = now + servers.as_secs();
        self.status.failed += 1;
        self.status.last_error = Some((now, error.why.clone()));
        wait
    }

    /// An order of another name failed for a reason that all have in common.
    pub fn note_failure_of(&mut self, other: &Schedule) {
        self.not_before = self.not_before.max(other.not_before);
        self.not_before_on_reload = self.not_before_on_reload.max(other.not_before_on_reload);
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
        for (before, retry_after, minutes) in [
            (0, None, 5),
            (1, None, 10),
            (4, None, 80),
            (7, None, 360),
            (u32::MAX, None, 360),
            (0, Some(1), 5),
            (0, Some(90), 90),
            (0, Some(u64::MAX / MINUTE), 24 * 60),
        ] {
            let consecutive_failures = before;
            let mut schedule = Schedule { consecutive_failures, ..Schedule::new("a") };
            let wait = schedule.note_failure(&failed(retry_after), 1000);
            assert_eq!(wait, Duration::from_secs(minutes * MINUTE), "{before} {retry_after:?}");
            assert_eq!(schedule.due_at(None), 1000 + minutes * MINUTE);
        }
    }

    #[test]
    fn a_reload_tries_soon_unless_the_server_said_when() {
        for (retry_after, due_at) in [(None, 1015), (Some(0), 1015), (Some(2), 1120)] {
            let mut schedule = Schedule::new("a");
            schedule.note_failure(&failed(None), 0);
            schedule.note_failure(&failed(retry_after), 1000);
            assert!(schedule.due_at(None) >= 1000 + 10 * MINUTE);
            schedule.note_reload();
            assert_eq!(schedule.due_at(None), due_at, "{retry_after:?}");
        }
    }

    #[test]
    fn what_all_have_in_common_all_wait_for() {
        let mut one = Schedule::new("a");
        one.note_failure(&failed(Some(60)), 0);
        let mut other = Schedule::new("b");
        other.note_failure_of(&one);
        assert_eq!((other.due_at(None), &other.status), (60 * MINUTE, &Schedule::new("b").status));
        other.note_reload();
        assert_eq!(other.due_at(None), 60 * MINUTE);
        one.note_failure(&failed(Some(1)), 0);
        other.note_failure_of(&one);
        assert_eq!(other.due_at(None), 60 * MINUTE);
    }

    #[test]
    fn what_is_kept_says_when_the_next_one_is_due() {
        let mut schedule = Schedule::new("a");
        assert_eq!(schedule.due_at(None), 0);
        let kept = facts(0, 9000);
        let renewal = renewal_due_at(&kept);
        assert_eq!(schedule.due_at(Some(&kept)), renewal);
        schedule.note_failure(&failed(None), renewal);
        assert_eq!(schedule.due_at(Some(&kept)), renewal + 5 * MINUTE);
        assert_eq!(schedule.status.last_error, Some((renewal, "no".to_owned())));
        schedule.note_issued(renewal);
        assert_eq!(schedule.due_at(None), renewal + 15);
        assert_eq!((schedule.status.issued, schedule.status.failed), (1, 1));
        assert_eq!(schedule.status.last_error, None);
        schedule.note_locked(renewal);
        assert_eq!(schedule.due_at(Some(&kept)), renewal + 15);
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
