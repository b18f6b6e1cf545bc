//! The end of a connection that a client or an origin holds: its pace, and what goes wrong with it.

use std::collections::VecDeque;

use rustix::io::Errno;

use crate::net::{Actor, Happening, Micros, Net, front};
use crate::seal::Seal;

/// How fast it is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Octets read, or written, in a turn.
    pub read: usize,
    pub write: usize,
    /// Between turns.
    pub every: (Micros, Micros),
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset.
    Reset,
    /// It is closed, whatever lies unread.
    Close,
    /// Nothing more is sent.
    Finish,
    /// Nothing is read nor written for so long.
    Pause(Micros),
    /// Nothing is read nor written any more.
    Stall,
}

/// When it does.
#[derive(Clone, Copy, Debug)]
pub enum When {
    Read(u64),
    Written(u64),
}

/// One end.
#[derive(Debug)]
pub struct End {
    pub socket: usize,
    actor: Actor,
    pace: Pace,
    fault: Option<(When, Fault)>,
    /// The octet behind so many is urgent.
    urgent: Option<u64>,
    pub out: VecDeque<u8>,
    read: u64,
    pub written: u64,
    /// Octets that the kernel took: those written, or the records with them.
    taken: u64,
    /// What they go through.
    pub seal: Option<Seal>,
    /// Why it is no TLS that came.
    pub wrong: Option<String>,
    /// It ends in order once all is out.
    leaving: bool,
    /// It waits for the other side to close, and only says that nothing more comes.
    waits: bool,
    /// It said that nothing more comes, and all before that has left.
    pub announced: bool,
    /// All that was put out before something went wrong had left.
    pub drained: bool,
    rest_until: Micros,
    /// When its next turn is, if there is one.
    turn: Option<Micros>,
    /// There was no room; who makes some will wake us.
    blocked: bool,
    pub closed: bool,
    /// It was closed with a reset.
    pub was_reset: bool,
    /// No more is written.
    pub finished: bool,
    /// A write found a reset, and the error is told only once.
    broken: bool,
    /// The other side has ended; `true`: in order.
    pub ended: Option<bool>,
}

impl End {
    pub fn new(
        socket: usize,
        actor: Actor,
        pace: Pace,
        fault: Option<(When, Fault)>,
        urgent: Option<u64>,
    ) -> End {
        End {
            socket,
            actor,
            pace,
            fault,
            urgent,
            out: VecDeque::new(),
            read: 0,
            written: 0,
            taken: 0,
            seal: None,
            wrong: None,
            leaving: false,
            waits: false,
            announced: false,
            drained: false,
            rest_until: 0,
            turn: None,
            blocked: false,
            closed: false,
            was_reset: false,
            finished: false,
            broken: false,
            ended: None,
        }
    }

    /// What goes in and out goes through `seal`.
    pub fn behind(self, seal: Option<Seal>) -> End {
        End { seal, ..self }
    }

    /// Reads what its pace allows.
    pub fn read(&mut self, net: &mut Net) -> Vec<u8> {
        net.looked(self.socket);
        if self.rests(net) || self.ended.is_some() {
            return Vec::new();
        }
        let before_fault = self.before_fault(|when| match when {
            When::Read(n) => Some(n.saturating_sub(self.read)),
            When::Written(_) => None,
        });
        let most = self.pace.read.min(before_fault);
        let octets = match net.recv(self.socket, most) {
            Ok(octets) => {
                if octets.is_empty() && most > 0 {
                    self.ended = Some(!self.broken);
                }
                octets
            }
            Err(error) => {
                if error != Errno::AGAIN {
                    self.ended = Some(false);
                }
                Vec::new()
            }
        };
        self.read += octets.len() as u64;
        let octets = self.open(octets);
        self.strike(net);
        octets
    }

    /// What is in records, if that is what came. Their end is what they say of it.
    fn open(&mut self, octets: Vec<u8>) -> Vec<u8> {
        let Some(seal) = &mut self.seal else { return octets };
        let opened = seal.open(&octets).unwrap_or_else(|wrong| {
            self.wrong = Some(wrong);
            Vec::new()
        });
        if seal.has_ended() {
            self.ended = Some(true);
        } else {
            self.ended = self.ended.map(|_| false);
        }
        opened
    }

    /// Writes what its pace allows, one octet of it as urgent.
    pub fn write(&mut self, net: &mut Net) {
        if self.rests(net) || self.finished {
            return;
        }
        if self.seal.is_some() {
            return self.write_sealed(net);
        }
        if self.out.is_empty() {
            return;
        }
        let before_fault = self.before_fault(|when| match when {
            When::Written(n) => Some(n.saturating_sub(self.taken)),
            When::Read(_) => None,
        });
        self.blocked = false;
        // One more than there is room for: who is refused is told when there is room again.
        let room = net.space(self.socket) + 1;
        let before_urgent = self.urgent.map_or(u64::MAX, |urgent| urgent - self.written);
        let before_urgent = usize::try_from(before_urgent).unwrap_or(usize::MAX);
        let n = self.pace.write.min(self.out.len()).min(before_fault).min(room);
        let sent = match before_urgent {
            0 if n > 0 => net.send_urgent(self.socket, self.out[0]),
            0 => Ok(0),
            before => net.send(self.socket, &front(&self.out, n.min(before))),
        };
        match sent {
            Ok(n) => {
                self.urgent.take_if(|urgent| *urgent == self.written && n > 0);
                self.out.drain(..n);
                self.written += n as u64;
                self.taken += n as u64;
                self.drained = self.out.is_empty();
            }
            Err(error) => self.refused(error),
        }
        self.strike(net);
    }

    /// The kernel took nothing.
    fn refused(&mut self, error: Errno) {
        if error == Errno::AGAIN {
            self.blocked = true;
            return;
        }
        // EPIPE: its end came first, and in order.
        self.broken = error == Errno::CONNRESET;
        self.finished = true;
        self.out.clear();
    }

    /// As [`End::write`], in records. Octets count as written when their record has left.
    fn write_sealed(&mut self, net: &mut Net) {
        let before_fault = self.before_fault(|when| match when {
            When::Written(n) => Some(n.saturating_sub(self.taken)),
            When::Read(_) => None,
        });
        let Some(seal) = &mut self.seal else { return };
        if self.out.is_empty()
            && !self.leaving
            && let Some(until) = seal.keep_back(net.now, &mut net.chance)
        {
            net.at(until, Happening::Run(self.actor));
            return;
        }
        seal.seal(&self.out, self.leaving, &mut net.chance);
        let wire = seal.wire();
        if wire.is_empty() {
            return;
        }
        self.blocked = false;
        let room = net.space(self.socket) + 1;
        let n = self.pace.write.min(wire.len()).min(before_fault).min(room);
        match net.send(self.socket, &front(wire, n)) {
            Ok(n) => {
                self.taken += n as u64;
                let (octets, announced) = seal.sent(n);
                self.out.drain(..octets);
                self.written += octets as u64;
                self.drained = self.out.is_empty();
                self.announced |= announced;
            }
            Err(error) => self.refused(error),
        }
        self.strike(net);
    }

    /// Closes in order, as soon as that can be.
    pub fn leave(&mut self, net: &mut Net) {
        match self.seal {
            Some(_) => (self.leaving, self.waits) = (true, net.chance.one_in(2)),
            None => self.close(net),
        }
    }

    /// It only waits until all is out. It does not matter what comes meanwhile.
    pub fn is_leaving(&mut self, net: &mut Net) -> bool {
        if self.leaving && !self.closed {
            self.read(net);
            self.write(net);
            let is_told = self.announced && (!self.waits || self.ended.is_some());
            if is_told || self.finished || self.ended == Some(false) {
                self.close(net);
            }
            self.again(net);
        }
        self.leaving
    }

    /// Says that nothing more comes, if that can be said at once.
    fn announce(&mut self, net: &mut Net) {
        if let Some(seal) = &mut self.seal
            && let Some(words) = seal.last_words()
        {
            self.announced |= net.send_whole(self.socket, &words);
        }
    }

    /// Comes again when there is more to be done.
    pub fn again(&mut self, net: &mut Net) {
        if self.turn.is_some_and(|turn| turn <= net.now) {
            self.turn = None;
        }
        if self.closed || self.turn.is_some() {
            return;
        }
        let reads = net.is_readable(self.socket) && self.ended.is_none();
        let has_something = match &self.seal {
            Some(seal) => {
                self.leaving && !self.announced || seal.has_something(self.out.len(), net.now)
            }
            None => !self.out.is_empty(),
        };
        let writes = has_something && !self.finished && !self.blocked;
        if self.rest_until == Micros::MAX || !reads && !writes {
            return;
        }
        let (low, high) = self.pace.every;
        let at = self.rest_until.max(net.now + net.chance.between(low, high));
        // Until then whatever arrives has to wait.
        self.rest_until = at;
        self.turn = Some(at);
        net.at(at, Happening::Run(self.actor));
    }

    /// Octets before the next fault, if `left` says that it counts such octets.
    fn before_fault(&self, left: impl Fn(When) -> Option<u64>) -> usize {
        let left = self.fault.and_then(|(when, _)| left(when));
        left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX))
    }

    fn rests(&self, net: &Net) -> bool {
        self.closed || net.now < self.rest_until
    }

    /// Does what goes wrong, when it is time.
    fn strike(&mut self, net: &mut Net) {
        let Some((when, fault)) = self.fault else { return };
        let due = match when {
            When::Read(n) => self.read >= n,
            When::Written(n) => self.taken >= n,
        };
        if !due || self.closed {
            return;
        }
        self.fault = None;
        self.suffer(fault, net);
    }

    /// Has it go wrong now.
    pub fn suffer(&mut self, fault: Fault, net: &mut Net) {
        if self.closed {
            return;
        }
        net.trace.say(net.now, || format!("{:?} on {} : {fault:?}", self.actor, self.socket));
        match fault {
            Fault::Reset => self.reset(net),
            Fault::Close | Fault::Finish => {
                let announces = self.seal.is_some() && net.chance.one_in(2);
                if announces {
                    self.announce(net);
                }
                if fault == Fault::Close {
                    self.close(net);
                } else if self.announced && net.chance.one_in(2) {
                    // It says so, and does not do it.
                    self.finished = true;
                    self.out.clear();
                } else {
                    self.finish(net);
                }
            }
            Fault::Pause(micros) => {
                self.rest_until = net.now + micros;
                net.at(self.rest_until, Happening::Run(self.actor));
            }
            Fault::Stall => self.rest_until = Micros::MAX,
        }
    }

    pub fn reset(&mut self, net: &mut Net) {
        let _ = net.set_linger_0(self.socket);
        self.close(net);
    }

    pub fn close(&mut self, net: &mut Net) {
        if !self.closed {
            self.closed = true;
            self.out.clear();
            self.was_reset = net.close_socket(self.socket);
        }
    }

    pub fn finish(&mut self, net: &mut Net) {
        self.finished = true;
        self.out.clear();
        let _ = net.shutdown(self.socket);
    }
}
