//! The end of a connection that a client or an origin holds: its pace, and what goes wrong with it.

use std::collections::VecDeque;

use rustix::io::Errno;

use crate::net::{Actor, Happening, Micros, Net, front};

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
    pub out: VecDeque<u8>,
    read: u64,
    pub written: u64,
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
    pub fn new(socket: usize, actor: Actor, pace: Pace, fault: Option<(When, Fault)>) -> End {
        End {
            socket,
            actor,
            pace,
            fault,
            out: VecDeque::new(),
            read: 0,
            written: 0,
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
        self.strike(net);
        octets
    }

    /// Writes what its pace allows.
    pub fn write(&mut self, net: &mut Net) {
        if self.rests(net) || self.finished || self.out.is_empty() {
            return;
        }
        let before_fault = self.before_fault(|when| match when {
            When::Written(n) => Some(n.saturating_sub(self.written)),
            When::Read(_) => None,
        });
        self.blocked = false;
        // One more than there is room for: who is refused is told when there is room again.
        let room = net.space(self.socket) + 1;
        let n = self.pace.write.min(self.out.len()).min(before_fault).min(room);
        match net.send(self.socket, &front(&self.out, n)) {
            Ok(n) => {
                self.out.drain(..n);
                self.written += n as u64;
                self.drained = self.out.is_empty();
            }
            Err(Errno::AGAIN) => self.blocked = true,
            Err(error) => {
                // EPIPE: its end came first, and in order.
                self.broken = error == Errno::CONNRESET;
                self.finished = true;
                self.out.clear();
            }
        }
        self.strike(net);
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
        let writes = !self.out.is_empty() && !self.finished && !self.blocked;
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
            When::Written(n) => self.written >= n,
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
            Fault::Close => self.close(net),
            Fault::Finish => self.finish(net),
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
