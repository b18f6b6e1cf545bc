//! The way between two sockets: segments in order, and what a close does to them.

use rustix::io::Errno;

use super::{Handle, Happening, Micros, Net, Watch};

/// What goes from one end to the other.
pub(super) enum Load {
    Data(Vec<u8>),
    Fin,
    Rst,
    Ack,
}

/// It on its way.
pub(super) struct Segment {
    pub at: Micros,
    pub load: Load,
    /// How much the sender of this had received when it was sent.
    pub ack: u64,
}

impl Net {
    pub(super) fn transmit(&mut self, id: usize, load: Load) {
        if self.sockets[id].local {
            return self.hand_over(id, load);
        }
        let at = self.now + self.latency();
        let socket = &mut self.sockets[id];
        socket.last = socket.last.max(at);
        if let Load::Data(octets) = &load {
            socket.flight += octets.len();
            socket.sent += octets.len() as u64;
            let text = || format!("{id} to {}: {}", socket.peer, octets.escape_ascii());
            self.trace.say(self.now, text);
        }
        let segment = Segment { at: socket.last, load, ack: socket.received };
        let at = segment.at;
        socket.wire.push_back(segment);
        self.at(at, Happening::Deliver(id));
    }

    /// Between Unix sockets there is no way. Their peer is open, or the octets would not have been taken.
    fn hand_over(&mut self, id: usize, load: Load) {
        let to = self.sockets[id].peer;
        match load {
            Load::Data(octets) => {
                let text = || format!("{id} to {to}: {}", octets.escape_ascii());
                self.trace.say(self.now, text);
                self.sockets[to].unread.extend(octets);
            }
            Load::Fin => self.sockets[to].fin = true,
            Load::Rst | Load::Ack => return,
        }
        self.edge(to);
    }

    /// All that is on its way between the two ends arrives now, and what comes back at once.
    pub fn hurry(&mut self, id: usize) {
        let ends = [id, self.sockets[id].peer];
        for end in ends.into_iter().cycle().take(4) {
            for segment in &mut self.sockets[end].wire {
                segment.at = self.now;
            }
            for _ in 0..self.sockets[end].wire.len() {
                self.deliver(end);
            }
        }
    }

    pub fn deliver(&mut self, id: usize) {
        let from = &mut self.sockets[id];
        let to = from.peer;
        // What was lost on the way leaves its time behind.
        if from.wire.front().is_none_or(|segment| segment.at > self.now) {
            return;
        }
        let Some(Segment { load, ack, .. }) = from.wire.pop_front() else { return };
        let gone = self.sockets[to].closed;
        if !gone {
            self.sockets[to].acknowledged = self.sockets[to].acknowledged.max(ack);
        }
        match load {
            Load::Data(octets) => {
                self.sockets[id].flight -= octets.len();
                if gone {
                    return self.transmit(to, Load::Rst);
                }
                let socket = &mut self.sockets[to];
                socket.received += octets.len() as u64;
                socket.unread.extend(octets);
                self.edge(to);
                self.acknowledge(to);
            }
            Load::Fin if !gone => {
                self.sockets[to].fin = true;
                self.edge(to);
            }
            Load::Rst if !gone && !self.sockets[to].reset => {
                let socket = &mut self.sockets[to];
                socket.reset = true;
                socket.error = Some(if socket.fin { Errno::PIPE } else { Errno::CONNRESET });
                socket.wire.clear();
                socket.flight = 0;
                self.edge(to);
            }
            Load::Fin | Load::Rst | Load::Ack => {}
        }
    }

    /// Sooner or later an acknowledgement goes by itself.
    fn acknowledge(&mut self, id: usize) {
        if self.chance.one_in(2) {
            self.transmit(id, Load::Ack);
        }
    }

    /// Tells whoever found no room that there is some again.
    pub fn make_room(&mut self, id: usize) {
        let roomy = self.is_roomy(id);
        let socket = &mut self.sockets[id];
        if socket.starved && roomy {
            socket.starved = false;
            self.edge(id);
        }
    }

    pub fn close(&mut self, handle: Handle) {
        match handle {
            Handle::Socket(id) => {
                self.close_socket(id);
            }
            Handle::Listener => {
                self.listening = false;
                self.listener = Watch::default();
                while let Some(id) = self.backlog.pop_front() {
                    self.sockets[id].linger_0 = true;
                    self.close_socket(id);
                }
            }
            Handle::Inlet(_) | Handle::Outlet(_) | Handle::Eventfd => {}
        }
    }

    /// Closes a Unix socket; `true`: with octets `unread`, which the peer is told.
    fn leave_alone(&mut self, id: usize, unread: bool) -> bool {
        self.trace.note(self.now, "close local", id, i64::from(unread));
        let peer = self.sockets[id].peer;
        let other = &mut self.sockets[peer];
        if !other.closed {
            (other.fin, other.alone) = (true, true);
            other.error = unread.then_some(Errno::CONNRESET);
            self.edge(peer);
        }
        unread
    }

    /// `true`: with a reset.
    pub fn close_socket(&mut self, id: usize) -> bool {
        let cut = self.chance.below(self.sockets[id].wire.len() + 1);
        let socket = &mut self.sockets[id];
        let unread = !std::mem::take(&mut socket.unread).is_empty();
        socket.closed = true;
        socket.watch = Watch::default();
        if socket.local {
            return self.leave_alone(id, unread);
        }
        let reset = !socket.reset && !socket.connecting && (socket.linger_0 || unread);
        if reset {
            // Octets that have not left yet are lost.
            socket.wire.truncate(cut);
            socket.flight = 0;
            for segment in &socket.wire {
                if let Load::Data(octets) = &segment.load {
                    socket.flight += octets.len();
                }
            }
        }
        self.trace.note(self.now, if reset { "reset" } else { "close" }, id, 0);
        let socket = &self.sockets[id];
        if reset {
            self.transmit(id, Load::Rst);
        } else if !socket.reset && !socket.connecting && !socket.finished {
            self.transmit(id, Load::Fin);
        }
        reset
    }
}
