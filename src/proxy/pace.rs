//! How fast a request's body has to come, where that is asked.

use std::cell::Cell;
use std::time::Duration;

use super::session::Exchange;
use crate::http::Reason;

/// How often the pace is looked at.
const OFTEN: Duration = Duration::from_secs(1);
/// Seconds that a body may take to get going, and a client that falls behind to catch up.
const GRACE: u64 = 5;

/// Ends, with the reason, when the client has fallen behind `least` octets in each second that it was waited for;
/// `read` and `sent` count what has come and what has left of that, the framing of chunks included. A second in which
/// something of the client's waits for the upstream to take more is not held against it.
pub(super) async fn lost(exchange: &Exchange, least: u64, [read, sent]: [&Cell<u64>; 2]) -> Reason {
    let mut pace = Pace { least, waited: 0, before: 0 };
    loop {
        if exchange.worker.core.sleep(OFTEN).await.is_err() {
            return Reason::Stopped;
        }
        let come = read.get().max(sent.get());
        // Nobody has invited it yet (RFC 9110 section 10.1.1), which is the upstream's to do, or ours after a while.
        let waits = exchange.request.expects_continue && exchange.facts.heads_out.get() == 0;
        if !waits && !pace.holds(come, exchange.client.stream.is_readable()) {
            return Reason::BodyTooSlow;
        }
    }
}

/// What has come, second by second.
struct Pace {
    least: u64,
    /// Seconds that the client was waited for.
    waited: u64,
    /// Octets when the last of them began.
    before: u64,
}

impl Pace {
    /// Another second has passed, and so many octets have come by now. `has_more`: more is there than was taken.
    fn holds(&mut self, come: u64, has_more: bool) -> bool {
        let is_waited_for = !has_more && come.saturating_sub(self.before) < self.least;
        self.before = come;
        // Who was fast enough for a second has earned one back.
        self.waited = if is_waited_for { self.waited + 1 } else { self.waited.saturating_sub(1) };
        self.waited <= GRACE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_falls_behind_for_too_long_is_told() {
        for (seconds, ends) in [
            (&[(100, false); 20][..], None),
            (&[(10, false); 20][..], Some(5)),
            (&[(10, true); 20][..], None),
            (&[(100, false), (0, false), (100, false), (0, false), (100, false)][..], None),
        ] {
            let mut pace = Pace { least: 50, waited: 0, before: 0 };
            let mut come = 0;
            let found = seconds.iter().position(|(octets, has_more)| {
                come += octets;
                !pace.holds(come, *has_more)
            });
            assert_eq!(found, ends, "{seconds:?}");
        }
    }
}
