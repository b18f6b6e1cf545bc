//! What checks and requests find, and what that makes of an upstream's condition: pure.
//!
//! ```text
//! unknown ── a check succeeds ──▶ up ── `fall` failures in a row ──▶ down ── `rise` successes in a row ──▶ up
//!    └────────────── `fall` failures in a row ───────────────────────▶
//! ```
//! Where there are no checks, a request that cannot connect makes it down, and one that can makes it up.

use crate::stats::{CheckOutcome, Condition, Health, LastError};

/// How many checks in a row it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Failures, before it is down; at least 1.
    pub fall: u32,
    /// Successes, before one that was down is up; at least 1.
    pub rise: u32,
}

/// What somebody found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// When, in seconds since the epoch.
    pub at: u64,
    /// What came of it.
    pub outcome: CheckOutcome,
    /// What was seen, in words; empty where all is well.
    pub text: String,
}

/// From now on checks decide, or requests do: what the others found does not count any more.
pub fn decide_by_checks(condition: &mut Condition, is_checked: bool) {
    if condition.is_checked != is_checked {
        *condition = Condition { is_checked, ..Condition::default() };
    }
}

/// A check found this.
pub fn checked(condition: &mut Condition, finding: Finding, thresholds: Thresholds) {
    condition.is_suspect = false;
    if finding.outcome != CheckOutcome::Ok {
        return failed(condition, finding, thresholds.fall);
    }
    condition.last_healthy = Some(finding.at);
    condition.failures = 0;
    condition.successes = condition.successes.saturating_add(1);
    let is_enough = condition.health == Health::Unknown || condition.successes >= thresholds.rise;
    if is_enough {
        enter(condition, Health::Up, finding.at);
    }
}

/// A request could not connect to an upstream that is checked. That counts as one check that failed, however many
/// requests see it before the next check.
pub fn suspected(condition: &mut Condition, finding: Finding, thresholds: Thresholds) {
    if !std::mem::replace(&mut condition.is_suspect, true) {
        failed(condition, finding, thresholds.fall);
    }
}

/// A request could connect to an upstream without checks, or could not.
pub fn seen(condition: &mut Condition, finding: Finding) {
    if finding.outcome != CheckOutcome::Ok {
        return failed(condition, finding, 1);
    }
    condition.last_healthy = Some(finding.at);
    condition.failures = 0;
    enter(condition, Health::Up, finding.at);
}

fn failed(condition: &mut Condition, finding: Finding, fall: u32) {
    let Finding { at, outcome: reason, text } = finding;
    condition.successes = 0;
    condition.failures = condition.failures.saturating_add(1);
    condition.last_error = Some(LastError { at, reason, text });
    if condition.failures >= fall {
        enter(condition, Health::Down, at);
    }
}

fn enter(condition: &mut Condition, health: Health, at: u64) {
    if condition.health != health {
        condition.health = health;
        condition.since = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CheckOutcome::{ConnectRefused, Ok as Well, WrongStatus};
    use Health::{Down, Unknown, Up};

    fn found(at: u64, outcome: CheckOutcome) -> Finding {
        Finding { at, outcome, text: format!("at {at}") }
    }

    /// `+` a check succeeds, `-` one fails, `r` a request cannot connect.
    fn step(condition: &mut Condition, at: u64, event: char, thresholds: Thresholds) {
        match event {
            '+' => checked(condition, found(at, Well), thresholds),
            '-' => checked(condition, found(at, WrongStatus), thresholds),
            _ => suspected(condition, found(at, ConnectRefused), thresholds),
        }
    }

    fn after(events: &str, fall: u32, rise: u32) -> Condition {
        let mut condition = Condition { is_checked: true, ..Condition::default() };
        for (event, at) in events.chars().zip(1..) {
            step(&mut condition, at, event, Thresholds { fall, rise });
        }
        condition
    }

    #[test]
    fn thresholds_decide() {
        // Events, fall, rise: health, since, last healthy, failures.
        for (events, fall, rise, health, since, last_healthy, failures) in [
            ("", 1, 1, Unknown, None, None, 0),
            ("+", 3, 3, Up, Some(1), Some(1), 0),
            ("--", 3, 1, Unknown, None, None, 2),
            ("---", 3, 1, Down, Some(3), None, 3),
            ("--+--", 3, 1, Up, Some(3), Some(3), 2),
            ("+-----", 3, 1, Down, Some(4), Some(1), 5),
            ("---+", 3, 2, Down, Some(3), Some(4), 0),
            ("---+-+", 3, 2, Down, Some(3), Some(6), 0),
            ("---++", 3, 2, Up, Some(5), Some(5), 0),
            ("+rrrrrr", 3, 1, Up, Some(1), Some(1), 1),
            ("+r-r", 3, 1, Down, Some(4), Some(1), 3),
            ("+r+r", 2, 1, Up, Some(1), Some(3), 1),
            ("r", 1, 1, Down, Some(1), None, 1),
            ("-+r+", 1, 2, Down, Some(1), Some(4), 0),
        ] {
            let condition = after(events, fall, rise);
            let was = (condition.health, condition.since, condition.last_healthy);
            assert_eq!(was, (health, since, last_healthy), "{events}");
            assert_eq!(condition.failures, failures, "{events}");
        }
        let error = after("+-r+", 3, 1).last_error.unwrap();
        assert_eq!((error.at, error.reason, error.text.as_str()), (3, ConnectRefused, "at 3"));
    }

    /// The health after `results`, told from all of them: whichever run was long enough last.
    fn naive(results: &[bool], fall: usize, rise: usize) -> Health {
        let ends = |value: bool, least: usize| {
            let windows = results.windows(least).enumerate();
            windows
                .filter(move |(_, run)| run.iter().all(|one| *one == value))
                .map(move |(at, _)| at + least)
        };
        let first = results.iter().position(|well| *well).map(|at| at + 1);
        let first = first.filter(|first| ends(false, fall).all(|down| down > *first));
        let up = ends(true, rise).next_back().max(first);
        match (up, ends(false, fall).next_back()) {
            (None, None) => Unknown,
            (up, down) if up > down => Up,
            _ => Down,
        }
    }

    #[test]
    fn it_is_as_a_naive_reference_says() {
        let mut random = fastrand::Rng::with_seed(20_261_128);
        for _ in 0..2000 {
            let (fall, rise) = (random.u32(1..5), random.u32(1..5));
            let mut condition = Condition { is_checked: true, ..Condition::default() };
            let (mut results, mut suspect, mut since) = (Vec::new(), false, None);
            // Runs, not single events: else no threshold is ever reached.
            let mut event = '+';
            for at in 1..60 {
                if random.u8(0..3) == 0 {
                    event = ['+', '-', 'r'][random.usize(0..3)];
                }
                let before = naive(&results, fall as usize, rise as usize);
                if event != 'r' || !suspect {
                    results.push(event == '+');
                }
                suspect = event == 'r';
                step(&mut condition, at, event, Thresholds { fall, rise });
                let now = naive(&results, fall as usize, rise as usize);
                since = if now == before { since } else { Some(at) };
                let failures = results.iter().rev().take_while(|well| !**well).count();
                assert_eq!((condition.health, condition.since), (now, since), "{results:?}");
                assert_eq!(condition.failures as usize, failures);
            }
        }
    }

    #[test]
    fn without_checks_the_last_connection_decides() {
        let mut condition = Condition::default();
        for (at, outcome, health, since, failures) in [
            (1, Well, Up, 1, 0),
            (2, ConnectRefused, Down, 2, 1),
            (3, ConnectRefused, Down, 2, 2),
            (4, Well, Up, 4, 0),
            (5, Well, Up, 4, 0),
        ] {
            seen(&mut condition, found(at, outcome));
            let is = (condition.health, condition.since, condition.failures);
            assert_eq!(is, (health, Some(since), failures), "at {at}");
            assert!(!condition.is_excluded());
        }
    }

    #[test]
    fn whoever_begins_to_decide_begins_anew() {
        let mut condition = Condition::default();
        seen(&mut condition, found(1, ConnectRefused));
        decide_by_checks(&mut condition, true);
        assert_eq!(condition, Condition { is_checked: true, ..Condition::default() });
        checked(&mut condition, found(2, WrongStatus), Thresholds { fall: 1, rise: 1 });
        let before = condition.clone();
        decide_by_checks(&mut condition, true);
        assert_eq!(condition, before, "it is the same who decides");
        decide_by_checks(&mut condition, false);
        assert_eq!(condition, Condition::default());
    }
}
