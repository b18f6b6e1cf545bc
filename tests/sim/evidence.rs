//! What was written down of the attempts at an upstream, and whether its breaker did what follows from that.

use std::collections::HashMap;

use crate::config::{BreakerSpec, Failures};
use crate::http::{Fault, Reason};
use crate::message::decimal;
use crate::sick::{How, Ill, Sick};
use crate::stats::{Attempt, Record};

/// How often a breaker was seen to open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Openings {
    /// It was closed.
    pub closed: u64,
    /// It was not.
    pub others: u64,
}

/// Attempts at an upstream that were failures in the eyes of its breaker.
#[derive(Clone, Copy, Default)]
struct Failed {
    /// Perhaps.
    most: u64,
    /// Certainly.
    least: u64,
}

/// Which breakers opened for nothing, or did not although nothing else ever came of an upstream. All attempts are in
/// the records.
pub fn weigh(sick: &Sick, records: &[Box<Record>], openings: &[(&str, Openings)]) -> Vec<String> {
    let Some(breaker) = &sick.breaker else { return Vec::new() };
    let mut failed: HashMap<&str, Failed> = HashMap::new();
    for record in records {
        let last = record.attempts.len().wrapping_sub(1);
        for (index, attempt) in record.attempts.iter().enumerate() {
            let sum = failed.entry(&attempt.upstream).or_default();
            let (may, must) = judge(&breaker.on, attempt, (index == last).then_some(record.status));
            sum.most += u64::from(may);
            sum.least += u64::from(must);
        }
    }
    let told = |(name, openings): &(&str, Openings)| {
        let failed = failed.get(name).copied().unwrap_or_default();
        complaint(sick, breaker, failed, *openings).map(|what| format!("{name}: {what}"))
    };
    openings.iter().filter_map(told).collect()
}

fn complaint(
    sick: &Sick,
    breaker: &BreakerSpec,
    failed: Failed,
    openings: Openings,
) -> Option<String> {
    let most = u64::from(breaker.failures) * openings.closed + openings.others;
    if most > failed.most {
        return Some(format!("its breaker opened for {most} failures of {}", failed.most));
    }
    // To an answer that is no failure a breaker begins to count anew.
    let is_failure = |how: How| match how {
        How::Slow(_) | How::Tires(_) => false,
        How::Fails(status) => {
            breaker.on.status.iter().any(|(low, high)| (*low..=*high).contains(&status))
        }
        How::Refuses | How::Resets | How::Hangs => true,
    };
    let is_dead = |ill: &Ill| ill.from == 0 && ill.to == u64::MAX && is_failure(ill.how);
    let never_well = matches!(&sick.ills[..], [ill] if is_dead(ill));
    let is_due = never_well && failed.least >= u64::from(breaker.failures);
    (is_due && openings.closed == 0)
        .then(|| format!("its breaker did not open for {} failures", failed.least))
}

/// Was this a failure: perhaps, certainly? `status`: of the answer, if it was the last attempt.
fn judge(on: &Failures, attempt: &Attempt, status: Option<u16>) -> (bool, bool) {
    let is_listed =
        |status: u16| on.status.iter().any(|(low, high)| (*low..=*high).contains(&status));
    let retried = attempt.cause.as_ref().filter(|_| attempt.outcome == "retried_status");
    let retried = retried.and_then(|cause| decimal(cause).ok()).map(|status| status as u16);
    let answered = retried.or(status).is_some_and(is_listed);
    let reason = Reason::ALL.iter().find(|reason| reason.label() == attempt.outcome);
    let by_upstream = reason.is_some_and(|reason| reason.fault() == Fault::Upstream);
    let broke = match attempt.outcome {
        "resolve_failed" | "connect_refused" | "connect_timeout" | "connect_failed" => on.connect,
        "upstream_write_timeout" | "response_timeout" | "upstream_body_timeout" => on.timeout,
        "no_upstream" | "circuit_open" | "queue_full" | "queue_timeout" | "retried_status" => false,
        _ => by_upstream && on.closed,
    };
    // A connection that had died says nothing of its upstream.
    let may = (answered || broke) && attempt.again != "replayed";
    let must = answered && matches!(attempt.outcome, "done" | "retried_status")
        || broke && !attempt.reused;
    (may, must)
}
