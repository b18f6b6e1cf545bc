//! How an upstream is: what checks and requests found, as the control plane wrote it down last.
//!
//! Times are seconds since the epoch, and come in as values.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Whether an upstream is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// Nobody has found out yet; it is used meanwhile.
    #[default]
    Unknown,
    /// It is.
    Up,
    /// It is not.
    Down,
}

impl Health {
    /// All there are.
    pub const ALL: [Health; 3] = [Health::Unknown, Health::Up, Health::Down];

    /// The one with this label.
    pub fn of(label: &str) -> Option<Health> {
        Health::ALL.into_iter().find(|health| health.label() == label)
    }

    /// Its word, the same in `/status` and in what is handed to the next process.
    pub fn label(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        }
    }
}

macro_rules! outcomes {
    ($($(#[doc = $explain:literal])+ $name:ident $label:literal;)*) => {
        /// What came of a check, or of the connection that a request made.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum CheckOutcome {
            $($(#[doc = $explain])+ $name,)*
        }

        impl CheckOutcome {
            /// Every outcome, in the order of the table.
            pub const ALL: &[CheckOutcome] = &[$(CheckOutcome::$name,)*];

            /// Its word in `/status`, metrics and the log.
            pub fn label(self) -> &'static str {
                match self { $(CheckOutcome::$name => $label,)* }
            }

            /// What it means: a sentence.
            pub fn explain(self) -> &'static str {
                match self { $(CheckOutcome::$name => concat!($($explain),+).trim_ascii(),)* }
            }
        }
    };
}

outcomes! {
    /// The upstream is well.
    Ok "ok";
    /// Nothing listens there.
    ConnectRefused "connect_refused";
    /// No connection was made in time.
    ConnectTimeout "connect_timeout";
    /// No connection could be made.
    ConnectFailed "connect_failed";
    /// The upstream's certificate is not good.
    TlsCertificate "tls_certificate";
    /// The upstream ended TLS with an alert.
    TlsAlert "tls_alert";
    /// TLS with the upstream failed.
    TlsFailed "tls_failed";
    /// The name has no known address.
    ResolveFailed "resolve_failed";
    /// The answer was not there in time.
    NoAnswer "no_answer";
    /// The connection ended before the answer did.
    Closed "closed";
    /// The answer is not HTTP/1.
    NotHttp "not_http";
    /// The status is not one of an upstream that is well.
    WrongStatus "wrong_status";
    /// The body does not contain the expected text.
    WrongBody "wrong_body";
}

impl CheckOutcome {
    /// There was no connection.
    pub fn is_of_connecting(self) -> bool {
        use CheckOutcome::*;
        matches!(self, ConnectRefused | ConnectTimeout | ConnectFailed | ResolveFailed)
            || matches!(self, TlsCertificate | TlsAlert | TlsFailed)
    }

    /// The one with this label.
    pub fn of(label: &str) -> Option<CheckOutcome> {
        CheckOutcome::ALL.iter().copied().find(|outcome| outcome.label() == label)
    }
}

/// How an upstream is, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Checks say so; else what requests found, which is shown and no more.
    pub is_checked: bool,
    /// Whether it is well.
    pub health: Health,
    /// When that came to be so; `None`: nothing was ever known.
    pub since: Option<u64>,
    /// When it was found well last.
    pub last_healthy: Option<u64>,
    /// Failures since then.
    pub failures: u32,
    /// Successes in a row since the last failure, as far as they count.
    pub successes: u32,
    /// Requests could not connect to it since the last check.
    pub is_suspect: bool,
    /// The last failure.
    pub last_error: Option<LastError>,
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// When it was.
    pub at: u64,
    /// What it was.
    pub reason: CheckOutcome,
    /// What was seen, in words.
    pub text: String,
}

impl Condition {
    /// No request is to go there: checks found it down. What requests found is no reason.
    pub fn is_excluded(&self) -> bool {
        self.is_checked && self.health == Health::Down
    }
}

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum BreakerState {
    /// Everything.
    #[default]
    Closed,
    /// Nothing.
    Open,
    /// A few requests, to find out.
    HalfOpen,
}

impl BreakerState {
    /// Its word in `/status`.
    pub fn label(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

/// The state of a breaker as all cores see it.
#[derive(Debug, Default)]
pub struct BreakerCell(AtomicU8);

impl BreakerCell {
    /// The state now.
    pub fn load(&self) -> BreakerState {
        match self.0.load(Relaxed) {
            state if state == BreakerState::Open as u8 => BreakerState::Open,
            state if state == BreakerState::HalfOpen as u8 => BreakerState::HalfOpen,
            _ => BreakerState::Closed,
        }
    }

    /// Sets the state.
    pub fn store(&self, state: BreakerState) {
        self.0.store(state as u8, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_label_stands_for_one_outcome() {
        let labels: HashSet<_> = CheckOutcome::ALL.iter().map(|outcome| outcome.label()).collect();
        assert_eq!(labels.len(), CheckOutcome::ALL.len());
        for (at, outcome) in CheckOutcome::ALL.iter().enumerate() {
            assert_eq!(CheckOutcome::of(outcome.label()), Some(*outcome));
            assert_eq!(*outcome as usize, at, "it is an index, too");
            assert!(outcome.explain().ends_with('.'));
        }
        assert_eq!(CheckOutcome::of("stopped"), None);
    }

    #[test]
    fn a_breaker_is_read_as_it_was_set() {
        let cell = BreakerCell::default();
        assert_eq!(cell.load(), BreakerState::Closed);
        for state in [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed] {
            cell.store(state);
            assert_eq!(cell.load(), state);
        }
    }

    #[test]
    fn only_checks_exclude() {
        for (is_checked, health, is_excluded) in [
            (true, Health::Down, true),
            (false, Health::Down, false),
            (true, Health::Unknown, false),
            (true, Health::Up, false),
        ] {
            let condition = Condition { is_checked, health, ..Condition::default() };
            assert_eq!(condition.is_excluded(), is_excluded, "{condition:?}");
        }
    }
}
