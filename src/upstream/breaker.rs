//! Whether requests may go to an upstream: after failures in a row they do not for a while, then a few of
//! them are trials.
//!
//! A pool without a breaker of its own has one that looks at connections alone, opens at the first that cannot be made,
//! and for longer each time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::{BreakerSpec, Failures};
use crate::http::{Fault, Reason};
use crate::io::clock::Moment;
use crate::stats::{BreakerState, UpstreamState};

/// By what a breaker goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerRules {
    /// Failures in a row that open it.
    failures: u32,
    /// How long it stays open.
    open: Duration,
    /// How often that time doubles at most, once for each trial that fails.
    doublings: u32,
    /// Trials at a time, once it is half open.
    probes: u32,
    /// What counts as a failure.
    on: Failures,
    /// Requests go to open ones where there is no other.
    pub fail_open: bool,
    /// The settings have one: it is shown, and leaves no more than half alone of those that stand in for each other,
    /// while one of them works.
    pub is_asked: bool,
}

/// A time that does not come.
const NEVER: Moment = Moment(u64::MAX);
/// The breaker of pools that ask for none.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_DOUBLINGS: u32 = 5;

impl BreakerRules {
    /// As `spec` says; `None`: those of a pool that asks for none.
    pub fn of(spec: Option<&BreakerSpec>) -> BreakerRules {
        match spec {
            Some(spec) => BreakerRules {
                failures: spec.failures,
                open: spec.open,
                doublings: 0,
                probes: spec.probes,
                on: spec.on.clone(),
                fail_open: spec.fail_open,
                is_asked: true,
            },
            None => BreakerRules {
                failures: 1,
                open: BACKOFF,
                doublings: BACKOFF_DOUBLINGS,
                probes: 1,
                on: Failures { connect: true, ..Failures::default() },
                fail_open: true,
                is_asked: false,
            },
        }
    }

    /// A connection that was made is all that is wanted.
    pub fn judges_connections_alone(&self) -> bool {
        let Failures { connect: _, timeout, closed, status } = &self.on;
        !timeout && !closed && status.is_empty()
    }

    /// How long a request lets others go first before it becomes a trial. `whole`: all of it is here, so that it ends
    /// when the upstream does its part; a client that is slow could keep others out.
    pub fn head_start(&self, whole: bool) -> Duration {
        if whole || self.judges_connections_alone() { Duration::ZERO } else { self.open }
    }

    /// What an outcome says of the upstream.
    pub fn judge(&self, outcome: Outcome) -> Judgement {
        match outcome {
            Outcome::Answered(status) if self.on.has_status(status) => Judgement::Failed,
            Outcome::Answered(_) => Judgement::Worked,
            Outcome::Connected if self.judges_connections_alone() => Judgement::Worked,
            Outcome::Failed(reason) if has_reason(&self.on, reason) => Judgement::Failed,
            Outcome::Connected | Outcome::Failed(_) | Outcome::Stale => Judgement::Unknown,
        }
    }
}

/// `reason` is one of these failures. An answer that is none counts as a connection that ended without one.
pub fn has_reason(failures: &Failures, reason: Reason) -> bool {
    use Reason::*;
    match reason {
        _ if reason.fault() != Fault::Upstream => false,
        ResolveFailed | ConnectRefused | ConnectTimeout | ConnectFailed => failures.connect,
        TlsCertificate | TlsAlert | TlsFailed => failures.connect,
        UpstreamWriteTimeout | ResponseTimeout | UpstreamBodyTimeout => failures.timeout,
        NoUpstream | CircuitOpen | QueueFull | QueueTimeout | RetriedStatus => false,
        _ => failures.closed,
    }
}

/// How a request to an upstream ended, or how far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A connection was made for it.
    Connected,
    /// The upstream answered, with this status.
    Answered(u16),
    /// It did not, or not to the end.
    Failed(Reason),
    /// The connection had died while it was idle, which says nothing of the upstream.
    Stale,
}

/// What that says of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    Worked,
    Failed,
    /// Nothing.
    Unknown,
}

/// The right of one request to go to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Nothing stands against it.
    Free,
    /// It is a trial, of this round.
    Trial(u32),
    /// There was no other to go to.
    Forced,
}

impl Grant {
    /// What comes of it decides where the breaker goes.
    pub fn is_trial(self) -> bool {
        matches!(self, Grant::Trial(_))
    }
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerStage {
    /// Requests go.
    #[default]
    Closed,
    /// None goes until then.
    Open(Moment),
    /// There are trials.
    HalfOpen,
}

/// One breaker, without its clock and without the others of its pool.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    stage: BreakerStage,
    /// Failures in a row.
    failures: u32,
    /// How often in a row it was opened.
    opened: u32,
    /// How often trials began: those of an earlier round decide nothing.
    round: u32,
    /// When one began last.
    since: Moment,
    /// One of this round waits, or waited, for its client.
    waits_for_client: bool,
    /// Trials under way.
    trials: u32,
}

impl Breaker {
    /// Asks for the right to send a request, which lets others go first for so long.
    ///
    /// # Errors
    /// Not now: when it may be asked again.
    pub fn admit(
        &mut self,
        rules: &BreakerRules,
        now: Moment,
        head_start: Duration,
    ) -> Result<Grant, Moment> {
        let Some(from) = self.admits_from(rules) else { return Ok(Grant::Free) };
        if now < from + head_start {
            return Err(if from == NEVER { now } else { from + head_start });
        }
        if self.stage != BreakerStage::HalfOpen || self.trials >= rules.probes {
            // Those that have decided nothing by now are forgotten.
            (self.stage, self.trials, self.waits_for_client) = (BreakerStage::HalfOpen, 0, false);
            self.round = self.round.wrapping_add(1);
        }
        (self.trials, self.since) = (self.trials + 1, now);
        self.waits_for_client |= !head_start.is_zero();
        Ok(Grant::Trial(self.round))
    }

    /// A request has ended. `others_work`: there are enough of its pool that this one can be left alone.
    pub fn end(
        &mut self,
        (grant, judgement): (Grant, Judgement),
        rules: &BreakerRules,
        now: Moment,
        others_work: impl FnOnce() -> bool,
    ) {
        let of_trial = grant == Grant::Trial(self.round) && self.stage == BreakerStage::HalfOpen;
        if of_trial {
            self.trials = self.trials.saturating_sub(1);
        }
        match (judgement, self.stage) {
            (Judgement::Unknown, _) => {}
            (Judgement::Worked, BreakerStage::Closed) => self.failures = 0,
            // A request that was under way before says little; one that was sent in spite of it, all.
            (Judgement::Worked, _) if of_trial || grant == Grant::Forced => {
                *self = Breaker { round: self.round, ..Breaker::default() };
            }
            (Judgement::Worked, _) => {}
            (Judgement::Failed, BreakerStage::Closed) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= rules.failures && others_work() {
                    self.open(rules, now);
                }
            }
            (Judgement::Failed, BreakerStage::HalfOpen) if of_trial => self.open(rules, now),
            (Judgement::Failed, _) => {}
        }
    }

    fn open(&mut self, rules: &BreakerRules, now: Moment) {
        let times = self.opened.min(rules.doublings);
        self.stage = BreakerStage::Open(now + rules.open * 2_u32.pow(times));
        (self.opened, self.trials) = (self.opened.saturating_add(1), 0);
    }

    /// Where it stands.
    pub fn stage(&self) -> BreakerStage {
        self.stage
    }

    /// From when on a request may be a trial; `None`: none need be. A trial that waits for its client has as long as
    /// the upstream was left alone, one that waits for the upstream as long as it takes.
    fn admits_from(&self, rules: &BreakerRules) -> Option<Moment> {
        match self.stage {
            BreakerStage::Closed => None,
            BreakerStage::Open(until) => Some(until),
            BreakerStage::HalfOpen if self.trials < rules.probes => Some(self.since),
            BreakerStage::HalfOpen if self.waits_for_client => Some(self.since + rules.open),
            BreakerStage::HalfOpen => Some(NEVER),
        }
    }
}

/// The breaker of an upstream, for all cores: while it is closed and nothing has failed, nobody locks it.
#[derive(Debug)]
pub struct SharedBreaker {
    breaker: Mutex<Breaker>,
    /// Where it is shown; written under the lock, so that a core that is late does not overwrite what is so by now.
    shown: Arc<UpstreamState>,
    /// From when on a request may be a trial, in microseconds; 0: none need be.
    admits_from: AtomicU64,
    /// Something has failed since the last success.
    has_failed: AtomicBool,
    /// So much has failed in a row that it would be open, were others not open already.
    has_failed_enough: AtomicBool,
}

impl SharedBreaker {
    /// A closed one, shown there.
    pub fn new(shown: Arc<UpstreamState>) -> SharedBreaker {
        SharedBreaker {
            breaker: Mutex::default(),
            shown,
            admits_from: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            has_failed_enough: AtomicBool::new(false),
        }
    }

    /// A request may go now, as far as can be told without asking; when it may otherwise.
    pub fn look(&self, now: Moment, head_start: Duration) -> Result<(), Moment> {
        match self.admits_from.load(Relaxed) {
            0 => Ok(()),
            from if Moment(from) + head_start <= now => Ok(()),
            u64::MAX => Err(now),
            from => Err(Moment(from) + head_start),
        }
    }

    /// As [`Breaker::admit`].
    pub fn admit(
        &self,
        rules: &BreakerRules,
        now: Moment,
        head_start: Duration,
    ) -> Result<Grant, Moment> {
        if self.admits_from.load(Relaxed) == 0 {
            return Ok(Grant::Free);
        }
        let mut breaker = self.lock();
        let grant = breaker.admit(rules, now, head_start);
        self.publish(&breaker, rules);
        grant
    }

    /// As [`Breaker::end`]; where it stands then, if that is somewhere else.
    pub fn end(
        &self,
        (grant, judgement): (Grant, Judgement),
        rules: &BreakerRules,
        now: Moment,
        others_work: impl FnOnce() -> bool,
    ) -> Option<BreakerStage> {
        let is_nothing = match judgement {
            Judgement::Worked => !self.has_failed.load(Relaxed),
            Judgement::Unknown => true,
            Judgement::Failed => false,
        };
        if grant == Grant::Free && is_nothing {
            return None;
        }
        let mut breaker = self.lock();
        let before = breaker.stage();
        breaker.end((grant, judgement), rules, now, others_work);
        self.publish(&breaker, rules);
        let after = breaker.stage();
        (before != after).then_some(after)
    }

    /// It is somewhere else now, or was asked anew to be one of its pool: nothing is known of it.
    pub fn forget(&self) {
        let mut breaker = self.lock();
        *breaker = Breaker { round: breaker.round, ..Breaker::default() };
        self.admits_from.store(0, Relaxed);
        self.has_failed.store(false, Relaxed);
        self.has_failed_enough.store(false, Relaxed);
        self.shown.breaker.store(BreakerState::Closed);
    }

    /// Requests are kept from it.
    pub fn is_open(&self) -> bool {
        self.admits_from.load(Relaxed) != 0
    }

    /// It has failed so often that they are, or would be.
    pub fn has_failed_enough(&self) -> bool {
        self.has_failed_enough.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        // A panic in between cannot leave it half changed: nothing in there fails.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, breaker: &Breaker, rules: &BreakerRules) {
        let enough = breaker.stage != BreakerStage::Closed || breaker.failures >= rules.failures;
        self.admits_from.store(breaker.admits_from(rules).map_or(0, |from| from.0.max(1)), Relaxed);
        self.has_failed.store(breaker.failures > 0 || enough, Relaxed);
        self.has_failed_enough.store(enough, Relaxed);
        self.shown.breaker.store(match breaker.stage {
            _ if !rules.is_asked => BreakerState::Closed,
            BreakerStage::Closed => BreakerState::Closed,
            BreakerStage::Open(_) => BreakerState::Open,
            BreakerStage::HalfOpen => BreakerState::HalfOpen,
        });
    }
}

/// May one more of those that stand in for each other be left alone? `open` of the `all` are, and `failing` have failed
/// as often, this one among them. All of them may, and else no more than half.
pub fn spares(all: usize, open: usize, failing: usize) -> bool {
    2 * (open + 1) <= all || failing >= all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(failures: u32, probes: u32) -> BreakerRules {
        let on = Failures { connect: true, timeout: true, closed: true, status: vec![(500, 599)] };
        let open = Duration::from_secs(10);
        let spec = BreakerSpec { failures, open, probes, on, fail_open: false };
        BreakerRules::of(Some(&spec))
    }

    const ZERO: Duration = Duration::ZERO;
    const NOW: Moment = Moment(1_000_000);

    fn fails(breaker: &mut Breaker, rules: &BreakerRules, now: Moment) {
        let grant = breaker.admit(rules, now, Duration::ZERO).unwrap();
        breaker.end((grant, Judgement::Failed), rules, now, || true);
    }

    #[test]
    fn so_many_failures_in_a_row_open_it_and_a_trial_closes_it() {
        let rules = rules(5, 1);
        let mut breaker = Breaker::default();
        (0..4).for_each(|_| fails(&mut breaker, &rules, NOW));
        breaker.end((Grant::Free, Judgement::Worked), &rules, NOW, || true);
        (0..4).for_each(|_| fails(&mut breaker, &rules, NOW));
        assert_eq!(breaker.stage(), BreakerStage::Closed, "they were not in a row");
        fails(&mut breaker, &rules, NOW);
        let until = NOW + Duration::from_secs(10);
        assert_eq!(breaker.admit(&rules, NOW, ZERO), Err(until));
        assert_eq!(breaker.admit(&rules, until, ZERO), Ok(Grant::Trial(1)));
        assert_eq!(breaker.admit(&rules, until, ZERO), Err(until), "one at a time");
        breaker.end((Grant::Free, Judgement::Worked), &rules, until, || true);
        assert_eq!(breaker.stage(), BreakerStage::HalfOpen, "an old request says nothing");
        breaker.end((Grant::Trial(1), Judgement::Unknown), &rules, until, || true);
        assert_eq!(breaker.admit(&rules, until, ZERO), Ok(Grant::Trial(1)), "the next is one");
        breaker.end((Grant::Trial(1), Judgement::Failed), &rules, until, || true);
        assert_eq!(breaker.admit(&rules, until, ZERO), Err(until + Duration::from_secs(10)));
        let later = until + Duration::from_secs(10);
        assert_eq!(breaker.admit(&rules, later, ZERO), Ok(Grant::Trial(2)));
        breaker.end((Grant::Trial(2), Judgement::Worked), &rules, later, || true);
        assert_eq!(breaker.admit(&rules, later, ZERO), Ok(Grant::Free));
    }

    #[test]
    fn a_client_that_is_slow_keeps_nobody_out() {
        let rules = rules(1, 1);
        let mut breaker = Breaker::default();
        fails(&mut breaker, &rules, NOW);
        let open = Duration::from_secs(10);
        let head_start = rules.head_start(false);
        assert_eq!(
            breaker.admit(&rules, NOW + open, head_start),
            Err(NOW + 2 * open),
            "others first"
        );
        let late = NOW + 2 * open;
        assert_eq!(breaker.admit(&rules, late, head_start), Ok(Grant::Trial(1)));
        assert_eq!(breaker.admit(&rules, late + open, ZERO), Ok(Grant::Trial(2)), "in its place");
        breaker.end((Grant::Trial(1), Judgement::Failed), &rules, late + open, || true);
        assert_eq!(breaker.stage(), BreakerStage::HalfOpen, "it is forgotten");
    }

    #[test]
    fn a_pool_without_one_looks_at_connections_and_waits_twice_as_long_each_time() {
        let rules = BreakerRules::of(None);
        let mut breaker = Breaker::default();
        let mut now = NOW;
        for seconds in [1, 2, 4, 8, 16, 32, 32] {
            fails(&mut breaker, &rules, now);
            let until = now + Duration::from_secs(seconds);
            assert_eq!(breaker.stage(), BreakerStage::Open(until), "{seconds}");
            now = until;
        }
        breaker.end((Grant::Forced, Judgement::Worked), &rules, now, || true);
        assert_eq!(breaker.stage(), BreakerStage::Closed, "who went in spite of it decides");
        assert!(rules.judges_connections_alone());
    }

    #[test]
    fn outcomes_are_judged_by_what_counts() {
        use Judgement::{Failed, Unknown, Worked};
        let (all, backoff) = (rules(5, 1), BreakerRules::of(None));
        for (outcome, by_all, by_backoff) in [
            (Outcome::Answered(200), Worked, Worked),
            (Outcome::Answered(404), Worked, Worked),
            (Outcome::Answered(503), Failed, Worked),
            (Outcome::Failed(Reason::ConnectRefused), Failed, Failed),
            (Outcome::Failed(Reason::ConnectTimeout), Failed, Failed),
            (Outcome::Failed(Reason::ResponseTimeout), Failed, Unknown),
            (Outcome::Failed(Reason::UpstreamClosed), Failed, Unknown),
            (Outcome::Failed(Reason::MalformedResponse), Failed, Unknown),
            (Outcome::Failed(Reason::ClientGone), Unknown, Unknown),
            (Outcome::Stale, Unknown, Unknown),
            (Outcome::Connected, Unknown, Worked),
            (Outcome::Failed(Reason::NoDescriptors), Unknown, Unknown),
        ] {
            assert_eq!(all.judge(outcome), by_all, "{outcome:?}");
            assert_eq!(backoff.judge(outcome), by_backoff, "{outcome:?}");
        }
    }

    #[test]
    fn no_more_than_half_is_left_alone_unless_all_have_failed() {
        for (all, open, failing, may) in [
            (1, 0, 1, true),
            (2, 0, 1, true),
            (2, 1, 2, true),
            (3, 0, 1, true),
            (3, 1, 2, false),
            (3, 1, 3, true),
            (4, 1, 2, true),
            (4, 2, 3, false),
            (4, 2, 4, true),
        ] {
            assert_eq!(spares(all, open, failing), may, "{open} of {all} open, {failing} failing");
        }
    }

    /// The same in the plainest words: what happened since is kept, and judged anew at each question.
    #[derive(Default)]
    struct Naive {
        failures: Vec<Moment>,
        open_until: Option<Moment>,
        half: bool,
        trials: Vec<u64>,
    }

    #[test]
    fn it_does_as_a_naive_one_does_whatever_happens() {
        let open = Duration::from_secs(10);
        for seed in 0..2_000_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut chance = move |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let rules = rules(1 + (seed % 4) as u32, 1 + (seed % 3) as u32);
            let (mut breaker, mut naive) = (Breaker::default(), Naive::default());
            let mut now = NOW;
            let mut under_way: Vec<(u64, Grant)> = Vec::new();
            for step in 0..200 {
                now = now + Duration::from_millis(chance(4_000));
                if chance(2) == 0 {
                    if naive.open_until.is_some_and(|until| until <= now) {
                        (naive.open_until, naive.half) = (None, true);
                    }
                    let expected = match (naive.open_until, naive.half) {
                        (Some(_), _) => None,
                        (None, false) => Some(false),
                        (None, true) if naive.trials.len() >= rules.probes as usize => None,
                        (None, true) => Some(true),
                    };
                    let grant = breaker.admit(&rules, now, ZERO).ok();
                    let is_trial = grant.map(|grant| grant != Grant::Free);
                    assert_eq!(is_trial, expected, "seed {seed}, step {step}");
                    if let Some(grant) = grant {
                        under_way.push((step, grant));
                        if grant != Grant::Free {
                            naive.trials.push(step);
                        }
                    }
                    assert!(naive.trials.len() <= rules.probes as usize);
                } else if !under_way.is_empty() {
                    let (id, grant) = under_way.remove(chance(under_way.len() as u64) as usize);
                    let is_trial = naive.half && naive.trials.contains(&id);
                    naive.trials.retain(|trial| *trial != id);
                    let judgement = match chance(3) {
                        0 => Judgement::Worked,
                        1 => Judgement::Failed,
                        _ => Judgement::Unknown,
                    };
                    let closed = !naive.half && naive.open_until.is_none();
                    match judgement {
                        Judgement::Worked if closed => naive.failures.clear(),
                        Judgement::Worked if is_trial => naive = Naive::default(),
                        Judgement::Failed if closed => naive.failures.push(now),
                        Judgement::Failed if is_trial => {
                            naive = Naive { open_until: Some(now + open), ..Naive::default() };
                        }
                        _ => {}
                    }
                    if naive.failures.len() >= rules.failures as usize {
                        naive = Naive { open_until: Some(now + open), ..Naive::default() };
                    }
                    breaker.end((grant, judgement), &rules, now, || true);
                }
            }
        }
    }
}
