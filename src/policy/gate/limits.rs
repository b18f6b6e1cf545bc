//! A limit, with what is counted under it.

use std::fmt::{self, Display};
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::super::MatchInput;
use super::super::limit::{LimitHasher, LimitTable, Standing, client_key};
use super::counts_by_identity;
use super::identity::Identity;
use crate::config::{LimitKey, LimitSpec};
use crate::http::write::decimal;

/// A limit over all cores.
#[derive(Debug)]
pub struct LinkedLimit {
    /// As it was asked for.
    pub spec: Arc<LimitSpec>,
    /// The same for clients.
    policy: String,
    /// The field lines that say so, up to where a request stands.
    lines: String,
    counted: Arc<Counted>,
}

/// What outlives a plan.
#[derive(Debug)]
struct Counted {
    table: LimitTable,
    hasher: LimitHasher,
    outcomes: [AtomicU64; LimitOutcome::ALL.len()],
}

/// What becomes of a request under a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LimitOutcome {
    Admitted,
    Refused,
    /// It would have been refused in earnest.
    DryRun,
    /// It passed for want of a place to count it.
    Untracked,
}

impl LimitOutcome {
    const ALL: [(LimitOutcome, &'static str); 4] = [
        (LimitOutcome::Admitted, "admitted"),
        (LimitOutcome::Refused, "refused"),
        (LimitOutcome::DryRun, "dry_run"),
        (LimitOutcome::Untracked, "untracked"),
    ];
}

/// Where a request stands under a limit.
#[derive(Clone, Debug)]
pub struct LimitStanding {
    /// Which limit.
    pub limit: Arc<LinkedLimit>,
    /// Where.
    pub standing: Standing,
}

impl LinkedLimit {
    /// A limit under which nothing has been counted yet.
    pub fn new(spec: &Arc<LimitSpec>) -> LinkedLimit {
        let counted = Counted {
            table: LimitTable::new(spec),
            hasher: LimitHasher::new(RandomState::new()),
            outcomes: Default::default(),
        };
        LinkedLimit::of(spec, Arc::new(counted))
    }

    fn of(spec: &Arc<LimitSpec>, counted: Arc<Counted>) -> LinkedLimit {
        let LimitSpec { name, requests, window, burst, .. } = &**spec;
        let burst = burst.map_or_else(String::new, |burst| format!(";burst={burst}"));
        let policy = format!("\"{name}\";q={requests};w={}{burst}", window.as_secs());
        let lines = format!("RateLimit-Policy: {policy}\r\nRateLimit: \"{name}\";r=");
        LinkedLimit { spec: Arc::clone(spec), policy, lines, counted }
    }

    /// `"client";q=20;w=1`.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// What was counted so far counts under `spec` as well.
    pub fn shares_counts_with(&self, spec: &LimitSpec) -> bool {
        LimitSpec { dry_run: spec.dry_run, ..(*self.spec).clone() } == *spec
    }

    /// The same, under `spec`.
    pub fn with_spec(&self, spec: &Arc<LimitSpec>) -> LinkedLimit {
        LinkedLimit::of(spec, Arc::clone(&self.counted))
    }

    /// What requests were counted as, by the word for it.
    pub fn outcomes(&self) -> [(&'static str, u64); 4] {
        let counts = &self.counted.outcomes;
        LimitOutcome::ALL.map(|(outcome, word)| (word, counts[outcome as usize].load(Relaxed)))
    }

    /// Octets that the table takes now.
    pub fn octets(&self) -> usize {
        self.counted.table.octets()
    }

    /// The key that a request is counted by.
    pub(super) fn key(&self, input: &MatchInput<'_>, route: &str, who: Option<&Identity>) -> u64 {
        let hash = |kind: &[u8], parts: &[&[u8]]| {
            let mut all = [&b""[..]; 4];
            all[0] = kind;
            all[1..=parts.len()].copy_from_slice(parts);
            self.counted.hasher.hash(&all[..=parts.len()])
        };
        match (&self.spec.by, who) {
            (by, Some(who)) if counts_by_identity(by) => {
                hash(b"user", &[who.auth.as_bytes(), who.name.as_bytes()])
            }
            // Whoever says nothing of who asks counts by address.
            (LimitKey::Client | LimitKey::Token | LimitKey::User, _) => match input.client() {
                Some(address) => hash(b"client", &[&client_key(address)]),
                None => hash(b"unix", &[]),
            },
            (LimitKey::Host, _) => {
                let mut buffer = [0; crate::http::host::LONGEST];
                hash(b"host", &[crate::http::host::normal(input.host(), &mut buffer)])
            }
            (LimitKey::Route, _) => hash(b"route", &[route.as_bytes()]),
            (LimitKey::Header(name), _) => hash(b"header", &[only_value(input, name)]),
            (LimitKey::All, _) => hash(b"all", &[]),
        }
    }

    /// Where a request with this key stands; nothing is counted.
    pub(super) fn peek(&self, key: u64, now: Duration) -> Standing {
        self.counted.table.peek(key, now)
    }

    /// Counts a request with this key, if it may pass.
    pub(super) fn take(&self, key: u64, now: Duration) -> Standing {
        let standing = self.counted.table.take(key, now);
        let outcome = match (standing.untracked, standing.admitted, self.spec.dry_run) {
            (true, ..) => LimitOutcome::Untracked,
            (_, true, _) => LimitOutcome::Admitted,
            (_, false, true) => LimitOutcome::DryRun,
            (_, false, false) => LimitOutcome::Refused,
        };
        self.count(outcome);
        standing
    }

    /// A look was enough to refuse a request.
    pub(super) fn refused(&self) {
        self.count(LimitOutcome::Refused);
    }

    fn count(&self, outcome: LimitOutcome) {
        self.counted.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }
}

/// `"client";r=19;t=1`.
impl Display for LimitStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing { remaining, reset, .. } = self.standing;
        write!(f, "\"{}\";r={remaining};t={}", self.limit.spec.name, whole_seconds(reset))
    }
}

impl LimitStanding {
    /// The two fields that tell a client where it stands (draft-ietf-httpapi-ratelimit-headers-10), as field lines.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Standing { remaining, reset, .. } = self.standing;
        let mut digits = [[0; 20]; 2];
        let [left, wait] = &mut digits;
        let (left, wait) = (decimal(remaining.into(), left), decimal(whole_seconds(reset), wait));
        let parts = [self.limit.lines.as_bytes(), left, b";t=", wait, b"\r\n"];
        out.reserve(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            out.extend_from_slice(part);
        }
    }

    /// Whether the limit lets the request through.
    pub fn admitted(&self) -> bool {
        self.standing.admitted
    }

    /// Whether fewer requests are left than under `other`.
    pub fn is_nearer(&self, other: &LimitStanding) -> bool {
        self.standing.remaining < other.standing.remaining
    }

    /// Seconds until another request may pass: at least one.
    pub fn retry_after(&self) -> u64 {
        whole_seconds(self.standing.retry_after).max(1)
    }
}

/// The value of the field of this name, as the upstream will see it too; else nothing: where there are several, where
/// some would take another field for it, or where it goes no further.
fn only_value<'i>(input: &MatchInput<'i>, name: &str) -> &'i [u8] {
    let MatchInput { head, bytes, .. } = *input;
    let field = head.sole(name, bytes).filter(|field| input.may_say(field));
    field.map_or(b"", |field| field.value.of(bytes))
}

/// Rounded up: who comes back then is not too early, but for less than a millisecond.
fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_millis() as u64).div_ceil(1000)
}
