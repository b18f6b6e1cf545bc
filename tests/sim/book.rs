//! What all in the world write into: the requests with their fates, and complaints.

use crate::ledger::Ledger;
use crate::net::Micros;
use crate::porter::Porch;
use crate::scenario::Ask;

/// See above.
pub struct Book {
    pub asks: Vec<Ask>,
    pub complaints: Vec<String>,
    /// `None`: the upstreams are well, and nobody counts.
    pub ledger: Option<Ledger>,
    /// Who is there.
    pub porch: Porch,
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
    pub fn ends(&mut self, socket: usize, now: Micros) {
        self.porch.ends(socket);
        let wrong = self.ledger.as_mut().map(|ledger| ledger.ends(socket, now));
        self.complaints.extend(wrong.into_iter().flatten());
    }

    /// As [`Ledger::turns`].
    pub fn turns(&mut self, deeply: bool, heard: bool, now: Micros) {
        let wrong = self.ledger.as_mut().map(|ledger| ledger.turns(deeply, heard, now));
        self.complaints.extend(wrong.into_iter().flatten());
    }

    /// The core has read so many octets from a client, or an origin, with its clock at `ticked`.
    pub fn read(&mut self, socket: usize, n: usize, ticked: Micros) {
        for id in self.porch.read(socket, n) {
            self.asks[id].fate.read_at = Some(ticked);
        }
    }

    /// As [`Ledger::carries`].
    pub fn carries(&mut self, socket: usize, ask: usize, twice: bool) -> Result<(), String> {
        self.ledger.as_mut().map_or(Ok(()), |ledger| ledger.carries(socket, ask, twice))
    }

    /// As [`Ledger::answered`].
    pub fn answered(&self, ask: usize) -> Result<(), String> {
        self.ledger.as_ref().map_or(Ok(()), |ledger| ledger.answered(ask))
    }

    /// As [`Ledger::rested`].
    pub fn rested(&self, seconds: Option<&str>, now: Micros) -> Result<(), String> {
        self.ledger.as_ref().map_or(Ok(()), |ledger| ledger.rested(seconds, now))
    }

    /// As [`Ledger::seen_again`].
    pub fn seen_again(&mut self, now: Micros) {
        self.ledger.iter_mut().for_each(|ledger| ledger.seen_again(now));
    }
}
