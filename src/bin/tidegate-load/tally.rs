//! What happened, counted: one [`Tally`] for each thread, added up at the end.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::load_fault::LoadFault;

/// The longest latency told apart, in microseconds: an hour. A longer one counts as that.
const LONGEST_US: u64 = 3_600_000_000;
/// Significant decimal digits of a latency.
const DIGITS: u8 = 3;
/// Status codes there are: 100 to 599.
const STATUSES: usize = 500;

/// What one thread counted, or all of them.
pub struct Tally {
    /// Requests answered as expected.
    pub ok: u64,
    /// Requests that failed, by [`LoadFault::index`].
    pub faults: [u64; LoadFault::COUNT],
    /// Answers by status code, from 100.
    statuses: Box<[u64; STATUSES]>,
    /// Octets received, heads included.
    pub bytes_in: u64,
    /// Octets sent, heads included.
    pub bytes_out: u64,
    /// Connections opened anew because the server had closed one, or it was of no more use.
    pub reconnects: u64,
    /// Handshakes of TLS that were full, and that resumed a session.
    pub handshakes: [u64; 2],
    /// What was agreed on in one of them.
    pub agreed: Option<String>,
    /// Requests that were due and for which there was no connection before the end.
    pub unsent: u64,
    /// Processor time, user and system.
    pub spent: [Duration; 2],
    /// How long was measured.
    pub elapsed: Duration,
    /// SHA-256 of the last body, where bodies are hashed.
    pub digest: Option<[u8; 32]>,
    /// Latencies of the requests counted in `ok`, in microseconds.
    pub latencies: Histogram<u64>,
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally").field("ok", &self.ok).field("failed", &self.failed()).finish()
    }
}

impl Default for Tally {
    fn default() -> Self {
        // The bounds are constants that the histogram takes: 1, more than twice that, 3 digits.
        let latencies = Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("good bounds");
        Tally {
            ok: 0,
            faults: [0; LoadFault::COUNT],
            statuses: Box::new([0; STATUSES]),
            bytes_in: 0,
            bytes_out: 0,
            reconnects: 0,
            handshakes: [0; 2],
            agreed: None,
            unsent: 0,
            spent: [Duration::ZERO; 2],
            elapsed: Duration::ZERO,
            digest: None,
            latencies,
        }
    }
}

impl Tally {
    /// A request was answered as expected, after `latency`.
    pub fn answered(&mut self, latency: Duration) {
        self.ok += 1;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros);
    }

    /// A request failed.
    pub fn failed_by(&mut self, fault: LoadFault) {
        self.faults[fault.index()] += 1;
    }

    /// An answer had this status.
    pub fn saw_status(&mut self, status: u16) {
        if let Some(count) = self.statuses.get_mut(usize::from(status).wrapping_sub(100)) {
            *count += 1;
        }
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.faults.iter().sum()
    }

    /// Requests that came to an end.
    pub fn requests(&self) -> u64 {
        self.ok + self.failed()
    }

    /// Kinds of errors that happened, and how often.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = LoadFault::labels().iter().copied().zip(self.faults);
        all.filter(|(_, count)| *count > 0)
    }

    /// Status codes that came, and how often.
    pub fn statuses(&self) -> impl Iterator<Item = (usize, u64)> {
        let all = self.statuses.iter().enumerate().map(|(at, count)| (at + 100, *count));
        all.filter(|(_, count)| *count > 0)
    }

    /// Adds what another thread counted.
    pub fn add(&mut self, other: &Tally) {
        self.ok += other.ok;
        self.faults.iter_mut().zip(other.faults).for_each(|(sum, more)| *sum += more);
        let statuses = self.statuses.iter_mut().zip(other.statuses.iter());
        statuses.for_each(|(sum, more)| *sum += more);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.reconnects += other.reconnects;
        self.handshakes.iter_mut().zip(other.handshakes).for_each(|(sum, more)| *sum += more);
        self.agreed = other.agreed.clone().or(self.agreed.take());
        self.unsent += other.unsent;
        self.spent.iter_mut().zip(other.spent).for_each(|(sum, more)| *sum += more);
        self.elapsed = self.elapsed.max(other.elapsed);
        self.digest = other.digest.or(self.digest);
        self.latencies.add(&other.latencies).expect("equal bounds"); // both come from `default`
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let mut one = Tally::default();
        one.answered(Duration::from_micros(120));
        one.saw_status(200);
        one.elapsed = Duration::from_secs(2);
        let mut two = Tally::default();
        two.answered(Duration::from_millis(3));
        two.saw_status(200);
        two.saw_status(599);
        two.saw_status(99);
        two.failed_by(LoadFault::Status(5));
        two.elapsed = Duration::from_secs(1);
        (two.handshakes, two.agreed) = ([1, 2], Some("TLSv1_3".to_owned()));
        one.add(&two);
        assert_eq!((one.requests(), one.ok, one.failed()), (3, 2, 1));
        assert_eq!(one.statuses().collect::<Vec<_>>(), [(200, 2), (599, 1)]);
        assert_eq!(one.errors().collect::<Vec<_>>(), [("status_5xx", 1)]);
        assert_eq!((one.handshakes, one.agreed.as_deref()), ([1, 2], Some("TLSv1_3")));
        assert_eq!((one.latencies.len(), one.elapsed), (2, Duration::from_secs(2)));
    }

    #[test]
    fn a_latency_beyond_the_longest_counts_as_that() {
        let mut tally = Tally::default();
        tally.answered(Duration::from_secs(100_000));
        assert!(tally.latencies.max() >= LONGEST_US);
    }
}
