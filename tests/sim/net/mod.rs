//! The kernel in memory: TCP sockets, epoll and pipes as the manual pages and Linux 6 have them.
//!
//! What it imitates (epoll(7), tcp(7), socket(7), pipe(7); each rule was looked at on a real one):
//! - A stream is octets in order, cut anywhere by the way; so many are under way or unread, then
//!   `send` takes fewer, and then none (EAGAIN). `recv` gives all there is, up to what was asked.
//! - An edge comes with each arrival, and when a third of the room is free again after EAGAIN. An event
//!   tells the whole state at the moment of epoll_wait, not what the edge was about, and comes once.
//! - FIN: IN and RDHUP; both FINs: HUP as well. RST: all of IN, OUT, RDHUP, HUP and ERR. What had
//!   arrived before a RST is read first, then the error once, then the end; after a FIN the end at once.
//! - A close with octets unread, or with SO_LINGER 0, is a RST, and what was under way may be lost.
//!   Octets that reach a closed socket bring a RST back.
//! - Urgent octets are among the others (SO_OOBINLINE): a read stops before one, and the next goes on; between
//!   them is no edge, but EPOLLPRI while it is unread. `splice` stops for good: EAGAIN, or 0 when the peer has
//!   ended, whatever lies behind. `peek` looks past it.
//! - A Unix socket delivers at once. A close is known at once, too: EPIPE for whoever writes; whoever
//!   reads gets what was there, then ECONNRESET if the peer had octets unread, then the end. There is room
//!   when three quarters are free.
//! - An acknowledgement comes with whatever comes from the peer, or by itself up to 40 ms late. A closed
//!   socket acknowledges nothing.

mod epoll;
mod pipes;
mod way;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rustix::io::Errno;

use crate::chance::Chance;
use crate::scenario::Weather;
use crate::sick::{self, How, Ill};
use crate::trace::Trace;
use pipes::Pipe;
use way::{Load, Segment};

/// Time since the world began, in microseconds.
pub type Micros = u64;

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handle {
    Socket(usize),
    Listener,
    /// The end of a pipe that is written to.
    Inlet(usize),
    /// The end that is read from.
    Outlet(usize),
    Eventfd,
}

impl Handle {
    pub fn socket(self) -> Result<usize, Errno> {
        if let Handle::Socket(id) = self { Ok(id) } else { Err(Errno::NOTSOCK) }
    }
}

/// Somebody outside of the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    Client(usize),
    Origin(usize),
}

/// What happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happening {
    /// The next segment of this socket reaches its peer.
    Deliver(usize),
    /// This socket may have room again.
    Space(usize),
    /// A connection to the upstream with this index is made, or refused.
    Connected(usize, usize, bool),
    /// It is somebody's turn.
    Run(Actor),
    /// The upstream with this index is gone, with all its connections.
    Die(usize),
    /// The plan with this index comes into force.
    Adopt(usize),
    /// The core is told what checks found of the upstream with this index: it is down, or not.
    Found(usize, bool),
    /// What the core has asked, the question with this index, is answered.
    Answer(usize),
    /// The core is told to drain, or to stop.
    Drain,
    Stop,
}

/// As `TCP_INFO` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub sent: u64,
    pub acknowledged: u64,
}

/// Where a descriptor stands with epoll.
#[derive(Default)]
struct Watch {
    data: Option<u64>,
    listed: bool,
}

/// One end of a connection.
#[derive(Default)]
struct Socket {
    peer: usize,
    /// It is a Unix socket.
    local: bool,
    /// Who holds it; `None`: the core, or nobody yet.
    actor: Option<Actor>,
    /// Its actor was told that something happened.
    told: bool,
    watch: Watch,
    unread: VecDeque<u8>,
    /// Where in that the urgent octet lies.
    mark: Option<usize>,
    /// On the way to the peer.
    wire: VecDeque<Segment>,
    flight: usize,
    last: Micros,
    room: usize,
    /// Found no room, and waits for some.
    starved: bool,
    connecting: bool,
    closed: bool,
    /// Has sent a FIN.
    finished: bool,
    /// Has received one.
    fin: bool,
    /// The peer is closed; only a Unix socket knows at once.
    alone: bool,
    /// Has received a RST, or could not connect.
    reset: bool,
    error: Option<Errno>,
    linger_0: bool,
    sent: u64,
    received: u64,
    acknowledged: u64,
}

/// All of it.
pub struct Net {
    pub now: Micros,
    pub chance: Chance,
    pub weather: Weather,
    pub trace: Trace,
    /// Descriptors the core holds.
    pub open: usize,
    /// Connections it accepted.
    pub accepted: u64,
    /// Connections that upstreams refused, reset at once, or did not answer.
    pub turned_away: u64,
    /// Connections it accepted and could not watch, and so let go.
    pub unwatched: u64,
    pub notified: bool,
    /// The upstream that does nothing any more, and that is gone.
    pub dying: Option<usize>,
    pub dead: Option<usize>,
    /// Upstreams that are sick for a while.
    pub ills: Vec<Ill>,
    /// Octets the core read from clients and sent to them, read from origins and sent to them.
    pub clients: [u64; 2],
    pub origins: [u64; 2],
    sockets: Vec<Socket>,
    pipes: Vec<Pipe>,
    backlog: VecDeque<usize>,
    listener: Watch,
    listening: bool,
    eventfd: Watch,
    ready: VecDeque<Handle>,
    happenings: BinaryHeap<Reverse<(Micros, u64, Happening)>>,
    order: u64,
}

impl Net {
    pub fn new(chance: Chance, weather: Weather, trace: Trace) -> Net {
        Net {
            now: 0,
            chance,
            weather,
            trace,
            open: 0,
            accepted: 0,
            turned_away: 0,
            unwatched: 0,
            notified: false,
            dying: None,
            dead: None,
            ills: Vec::new(),
            clients: [0; 2],
            origins: [0; 2],
            sockets: Vec::new(),
            pipes: Vec::new(),
            backlog: VecDeque::new(),
            listener: Watch::default(),
            listening: true,
            eventfd: Watch::default(),
            ready: VecDeque::new(),
            happenings: BinaryHeap::new(),
            order: 0,
        }
    }

    // ---- what happens when ----

    pub fn at(&mut self, time: Micros, what: Happening) {
        self.order += 1;
        self.happenings.push(Reverse((time.max(self.now), self.order, what)));
    }

    /// When the next thing happens.
    pub fn next(&self) -> Option<Micros> {
        self.happenings.peek().map(|Reverse((time, ..))| *time)
    }

    /// What is due.
    pub fn due(&mut self) -> Option<Happening> {
        if self.next()? > self.now {
            return None;
        }
        self.happenings.pop().map(|Reverse((_, _, what))| what)
    }

    /// Writes down what came of a call.
    pub fn note(&mut self, what: &'static str, id: usize, result: &Result<usize, Errno>) {
        let number = match result {
            Ok(n) => *n as i64,
            Err(error) => -i64::from(error.raw_os_error()),
        };
        self.trace.note(self.now, what, id, number);
        let Ok(n) = *result else { return };
        let Some(peer) = self.sockets.get(self.sockets[id].peer) else { return };
        let counts = match peer.actor {
            Some(Actor::Client(_)) => &mut self.clients,
            _ => &mut self.origins,
        };
        match what {
            "recv" | "splice in" => counts[0] += n as u64,
            "send" | "splice out" => counts[1] += n as u64,
            _ => {}
        }
    }

    /// A system call may be interrupted.
    pub fn interrupt(&mut self) -> Result<(), Errno> {
        if self.chance.one_in(self.weather.interrupts) { Err(Errno::INTR) } else { Ok(()) }
    }

    fn latency(&mut self) -> Micros {
        let (low, high) = self.weather.latency;
        self.chance.between(low, high)
    }

    fn later(&mut self, what: Happening) {
        let at = self.now + self.latency();
        self.at(at, what);
    }

    // ---- connections ----

    /// So many more descriptors, if they are to be had.
    pub fn another(&mut self, n: usize) -> Result<(), Errno> {
        let scarce = self.open + n > self.weather.descriptors;
        let none = scarce || self.chance.one_in(self.weather.no_descriptors);
        if none { Err(Errno::MFILE) } else { Ok(()) }
    }

    fn pair(&mut self, room_least: u64) -> (usize, usize) {
        let (near, far) = (self.sockets.len(), self.sockets.len() + 1);
        for peer in [far, near] {
            let room = self.chance.magnitude(self.weather.room).max(room_least) as usize;
            self.sockets.push(Socket { peer, room, ..Socket::default() });
        }
        (near, far)
    }

    /// How this upstream is sick now.
    pub fn ill(&self, upstream: usize) -> Option<How> {
        sick::how(&self.ills, upstream, self.now)
    }

    fn refuses(&self, upstream: usize) -> bool {
        self.dead == Some(upstream) || self.ill(upstream) == Some(How::Refuses)
    }

    /// The other end.
    pub fn peer(&self, id: usize) -> usize {
        self.sockets[id].peer
    }

    /// Who holds the other end.
    pub fn other(&self, id: usize) -> Option<Actor> {
        self.sockets[self.sockets[id].peer].actor
    }

    /// A client connects. `None`: refused.
    pub fn connect_in(&mut self, actor: Actor) -> Option<usize> {
        if !self.listening {
            return None;
        }
        let (client, ours) = self.pair(self.weather.client_room_least);
        self.sockets[client].actor = Some(actor);
        self.backlog.push_back(ours);
        self.trace.note(self.now, "connection", ours, 0);
        self.list(Handle::Listener);
        Some(client)
    }

    pub fn accept(&mut self) -> Result<usize, Errno> {
        if self.backlog.is_empty() {
            return Err(Errno::AGAIN);
        }
        self.another(1)?;
        let id = self.backlog.pop_front().ok_or(Errno::AGAIN)?;
        if self.chance.one_in(self.weather.aborted) {
            self.sockets[id].linger_0 = true;
            self.close_socket(id);
            return Err(Errno::CONNABORTED);
        }
        self.accepted += 1;
        self.trace.note(self.now, "accept", id, 0);
        Ok(id)
    }

    /// The core connects; `true`: that is under way.
    pub fn connect(&mut self, port: u16) -> Result<(usize, bool), Errno> {
        self.another(1)?;
        let weather = &self.weather;
        let refused = self.chance.one_in(weather.refused);
        let silent = self.chance.one_in(weather.unanswered);
        let refused = refused || self.refuses(port.into());
        self.turned_away += u64::from(refused || silent);
        let (ours, _) = self.pair(self.weather.room_least);
        self.trace.note(self.now, "connect", ours, i64::from(port));
        self.sockets[ours].connecting = true;
        if !silent {
            self.later(Happening::Connected(ours, usize::from(port), !refused));
        }
        Ok((ours, true))
    }

    /// The core connects to a Unix socket: at once, or not at all. Both ends.
    pub fn connect_local(&mut self, upstream: usize) -> Result<(usize, usize), Errno> {
        self.another(1)?;
        if self.refuses(upstream) {
            self.turned_away += 1;
            return Err(Errno::CONNREFUSED);
        }
        if self.chance.one_in(self.weather.refused) {
            self.turned_away += 1;
            return Err(self.chance.pick(&[Errno::CONNREFUSED, Errno::NOENT]));
        }
        if self.chance.one_in(self.weather.unanswered) {
            self.turned_away += 1;
            return Err(Errno::AGAIN);
        }
        let (ours, far) = self.pair(self.weather.room_least);
        self.sockets[ours].local = true;
        self.sockets[far].local = true;
        self.trace.note(self.now, "connect local", ours, 0);
        Ok((ours, far))
    }

    /// The end of a connect. The far end, if there is somebody to hold it.
    pub fn connected(&mut self, id: usize, accepted: bool) -> Option<usize> {
        let socket = &mut self.sockets[id];
        if socket.closed {
            return None;
        }
        socket.connecting = false;
        if !accepted {
            socket.reset = true;
            socket.error = Some(Errno::CONNREFUSED);
        }
        let far = socket.peer;
        self.edge(id);
        accepted.then_some(far)
    }

    /// Who holds a socket from now on.
    pub fn hold(&mut self, id: usize, actor: Actor) {
        self.sockets[id].actor = Some(actor);
        self.edge(id);
    }

    /// Its actor looks at it now.
    pub fn looked(&mut self, id: usize) {
        self.sockets[id].told = false;
    }

    /// A read would bring something: octets, the end, or an error.
    pub fn is_readable(&self, id: usize) -> bool {
        let socket = &self.sockets[id];
        !socket.unread.is_empty() || socket.fin || socket.reset
    }

    // ---- octets ----

    /// So much can be sent.
    pub fn space(&self, id: usize) -> usize {
        let socket = &self.sockets[id];
        let taken = socket.flight + self.sockets[socket.peer].unread.len();
        socket.room.saturating_sub(taken)
    }

    pub fn send(&mut self, id: usize, octets: &[u8]) -> Result<usize, Errno> {
        let n = self.sendable(id, octets.len())?;
        let mut rest = &octets[..n];
        while !rest.is_empty() {
            let mut piece = rest.len();
            if self.chance.one_in(self.weather.cuts) {
                piece = self.chance.magnitude(piece as u64) as usize;
            }
            self.transmit(id, Load::Data(rest[..piece].to_vec()));
            rest = &rest[piece..];
        }
        Ok(n)
    }

    /// Sends all, in one piece, or nothing.
    pub fn send_whole(&mut self, id: usize, octets: &[u8]) -> bool {
        let fits = self.space(id) >= octets.len() && self.sendable(id, 1).is_ok();
        if fits {
            self.transmit(id, Load::Data(octets.to_vec()));
        }
        fits
    }

    /// How many of `n` octets can be sent now.
    fn sendable(&mut self, id: usize, n: usize) -> Result<usize, Errno> {
        let space = self.space(id);
        let socket = &mut self.sockets[id];
        // A Unix socket keeps its error for the reader.
        if let Some(error) = socket.error.take_if(|_| !socket.local) {
            return Err(error);
        }
        if socket.reset || socket.finished || socket.alone {
            return Err(Errno::PIPE);
        }
        if space == 0 || socket.connecting {
            socket.starved = true;
            return Err(Errno::AGAIN);
        }
        Ok(n.min(space))
    }

    /// Sends an octet as urgent (MSG_OOB). At most one in a connection, for a second would make the first an
    /// ordinary one.
    pub fn send_urgent(&mut self, id: usize, octet: u8) -> Result<usize, Errno> {
        let n = self.sendable(id, 1)?;
        let load =
            if self.sockets[id].local { Load::Data(vec![octet]) } else { Load::Urgent([octet]) };
        self.transmit(id, load);
        Ok(n)
    }

    /// How many of `n` octets can be read now. Not further than to the urgent octet.
    fn readable(&mut self, id: usize, n: usize) -> Result<usize, Errno> {
        let socket = &mut self.sockets[id];
        let ahead = socket.mark.filter(|mark| *mark > 0).unwrap_or(socket.unread.len());
        if ahead > 0 {
            return Ok(n.min(ahead));
        }
        if socket.fin && !socket.local {
            return Ok(0);
        }
        match socket.error.take() {
            Some(error) => Err(error),
            None if socket.reset || socket.fin => Ok(0),
            None => Err(Errno::AGAIN),
        }
    }

    pub fn recv(&mut self, id: usize, most: usize) -> Result<Vec<u8>, Errno> {
        let n = self.readable(id, most)?;
        self.sockets[id].mark.take_if(|mark| *mark == 0);
        Ok(self.take(id, n))
    }

    fn take(&mut self, id: usize, n: usize) -> Vec<u8> {
        let unread = &mut self.sockets[id].unread;
        let octets = front(unread, n);
        unread.drain(..n);
        let mark = &mut self.sockets[id].mark;
        *mark = mark.map(|mark| mark - n);
        let peer = self.sockets[id].peer;
        if n > 0 && self.sockets[peer].starved {
            self.later(Happening::Space(peer));
        }
        octets
    }

    pub fn peek(&mut self, id: usize) -> Result<usize, Errno> {
        let peeked = self.readable(id, 1);
        self.note("peek", id, &peeked);
        peeked
    }

    pub fn shutdown(&mut self, id: usize) -> Result<(), Errno> {
        if self.sockets[id].reset || self.sockets[id].connecting {
            return Err(Errno::NOTCONN);
        }
        self.trace.note(self.now, "shutdown", id, 0);
        if !self.sockets[id].finished {
            self.sockets[id].finished = true;
            self.transmit(id, Load::Fin);
        }
        Ok(())
    }

    pub fn set_linger_0(&mut self, id: usize) -> Result<(), Errno> {
        self.sockets[id].linger_0 = true;
        Ok(())
    }

    pub fn socket_error(&mut self, id: usize) -> Result<(), Errno> {
        let error = self.sockets[id].error.take();
        // Taken, and reset before anybody looked.
        self.turned_away += u64::from(error.is_some_and(|error| error != Errno::CONNREFUSED));
        error.map_or(Ok(()), Err)
    }

    /// `None`: there is no such thing for a Unix socket.
    pub fn counts(&self, id: usize) -> Option<Counts> {
        let socket = &self.sockets[id];
        let counts = Counts { sent: socket.sent, acknowledged: socket.acknowledged };
        (!socket.local).then_some(counts)
    }

    /// There is so much room that a writer is told.
    fn is_roomy(&self, id: usize) -> bool {
        let (space, socket) = (self.space(id), &self.sockets[id]);
        let enough =
            if socket.local { 4 * space >= 3 * socket.room } else { 3 * space >= socket.room };
        enough || space == socket.room
    }
}

/// The first `n` octets of a queue; much faster than one by one.
pub fn front(queue: &VecDeque<u8>, n: usize) -> Vec<u8> {
    let (first, second) = queue.as_slices();
    let split = n.min(first.len());
    [&first[..split], &second[..n - split]].concat()
}
