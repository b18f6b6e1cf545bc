//! What all in the world write into: the requests with their fates, and complaints.

use crate::ledger::Ledger;
use crate::net::Micros;
use crate::scenario::Ask;

/// See above.
pub struct Book {
    pub asks: Vec<Ask>,
    pub complaints: Vec<String>,
    /// `None`: the upstreams are well, and nobody counts.
    pub ledger: Option<Ledger>,
}

impl Book {
    pub fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    /// As [`Ledger::goes`].
    pub fn goes(&mut self, socket: usize, upstream: Option<usize>, now: Micros) {
        let wrong = self.ledger.as_mut().map(|ledger| ledger.goes(socket, upstream, now));
        self.complaints.extend(wrong.into_iter().flatten());
    }

    /// As [`Ledger::rests`].
    pub fn rests(&mut self, socket: usize) {
        self.ledger.iter_mut().for_each(|ledger| ledger.rests(socket));
    }

    /// As [`Ledger::ends`].
    pub fn ends(&mut self, socket: usize) {
        let wrong = self.ledger.as_mut().map(|ledger| ledger.ends(socket));
        self.complaints.extend(wrong.into_iter().flatten());
    }

    /// As [`Ledger::turns`].
    pub fn turns(&mut self, deeply: bool, heard: bool) {
        let wrong = self.ledger.as_mut().map(|ledger| ledger.turns(deeply, heard));
        self.complaints.extend(wrong.into_iter().flatten());
    }

    /// As [`Ledger::seen_again`].
    pub fn seen_again(&mut self, now: Micros) {
        self.ledger.iter_mut().for_each(|ledger| ledger.seen_again(now));
    }
}
