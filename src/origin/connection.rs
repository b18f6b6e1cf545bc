//! One connection: head, body, answer, and again.
//!
//! [`Connection::drive`] goes as far as it can without waiting: it takes steps with what was
//! received, sends what they made, and reads only when everything has gone, so a client that does
//! not read stops what it sends from being read.

use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::EventFlags;

use super::Shared;
use super::answer::{self, Asked, Ending};
use super::request::{Bad, Body, Head};
use super::source::{Filled, Source, frame};
use super::task::Task;

/// Octets read at once.
const READ: usize = 128 * 1024;

/// Octets made and not yet sent, beyond which no step is taken.
const UNSENT_MAX: usize = 256 * 1024;

/// Octets of a body that `/echo` keeps.
const ECHO_MAX: usize = 1024 * 1024;

/// How long a client may go on sending after an answer that closes.
const LINGER: Duration = Duration::from_secs(1);

/// What a drive needs from its thread.
pub(super) struct Context<'a> {
    pub shared: &'a Shared,
    /// This thread's count of answers.
    pub served: &'a AtomicU64,
    pub now: Instant,
    /// Buffers that pass from one connection to the next, so that idle ones own none.
    pub spare: &'a mut Buffers,
}

/// Octets on their way in and out.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
}

/// What a connection wants next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// To be driven when its socket is ready, or when this moment has come.
    Wait(Option<Instant>),
    /// To be forgotten.
    Gone,
}

/// Where in a request we are.
#[derive(Debug)]
enum Turn {
    /// Before or in a head.
    Head,
    /// In a body.
    Body(Box<Reading>),
}

/// A request whose body is coming in.
#[derive(Debug)]
struct Reading {
    asked: Asked,
    body: Body,
    /// The answer's head has been written already, and so it will end.
    answered: Option<Ending>,
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffers: Buffers,
    /// Octets of the input that are done with.
    taken: usize,
    /// Octets of the output that are sent.
    sent: usize,
    source: Source,
    turn: Turn,
    ending: Ending,
    /// The kernel may have something to read, or room to write.
    readable: bool,
    writable: bool,
    /// The client has closed its sending side: a short read does not mean that there is no more.
    ended: bool,
    answers: u64,
    quiet_since: Instant,
    /// Our sending side is closed and we read what comes until then.
    lingers_until: Option<Instant>,
}

impl Connection {
    pub fn new(stream: TcpStream, now: Instant) -> Connection {
        Connection {
            stream,
            buffers: Buffers::default(),
            taken: 0,
            sent: 0,
            source: Source::Empty,
            turn: Turn::Head,
            ending: Ending::Keep,
            readable: true,
            writable: true,
            ended: false,
            answers: 0,
            quiet_since: now,
            lingers_until: None,
        }
    }

    /// Notes what epoll said; `false`: the connection is broken.
    pub fn notice(&mut self, flags: EventFlags) -> bool {
        self.readable |= flags.intersects(EventFlags::IN | EventFlags::RDHUP);
        self.writable |= flags.contains(EventFlags::OUT);
        self.ended |= flags.contains(EventFlags::RDHUP);
        !flags.intersects(EventFlags::ERR | EventFlags::HUP)
    }

    /// Goes as far as it can without waiting.
    pub fn drive(&mut self, context: &mut Context<'_>) -> Next {
        if self.buffers.input.is_empty() && self.buffers.output.is_empty() {
            std::mem::swap(&mut self.buffers, context.spare);
        }
        let next = self.advance(context).unwrap_or(Next::Gone);
        if self.buffers.input.is_empty() && self.buffers.output.is_empty() {
            std::mem::swap(&mut self.buffers, context.spare);
            self.buffers = Buffers::default();
        }
        next
    }

    fn advance(&mut self, context: &mut Context<'_>) -> io::Result<Next> {
        loop {
            while self.may_step() && self.step(context) {}
            if !self.flush()? {
                return Ok(Next::Wait(None));
            }
            match self.source.fill(&mut self.buffers.output, context.now) {
                Filled::More => continue,
                Filled::Wait(due) => return Ok(Next::Wait(Some(due))),
                Filled::Empty => {}
            }
            if self.ending != Ending::Keep {
                return self.end(context);
            }
            if !self.readable {
                return Ok(self.wait(context));
            }
            if !self.read()? {
                return Ok(Next::Gone);
            }
        }
    }

    /// Nothing of an earlier answer stands in the way.
    fn may_step(&self) -> bool {
        matches!(self.source, Source::Empty)
            && self.ending == Ending::Keep
            && self.buffers.output.len() - self.sent < UNSENT_MAX
    }

    /// Takes one step with what was received; `false`: there must be more of it.
    fn step(&mut self, context: &mut Context<'_>) -> bool {
        if self.taken == self.buffers.input.len() {
            return false;
        }
        let step = match std::mem::replace(&mut self.turn, Turn::Head) {
            Turn::Head => self.step_head(context),
            Turn::Body(reading) => self.step_body(reading, context),
        };
        step.unwrap_or_else(|Bad(status)| {
            answer::refuse(&mut self.buffers.output, &context.shared.settings, status);
            self.ending = Ending::Close;
            true
        })
    }

    fn step_head(&mut self, context: &mut Context<'_>) -> Result<bool, Bad> {
        let input = &self.buffers.input[self.taken..];
        let Some(head) = Head::read(input)? else {
            return Ok(false);
        };
        let mut asked = Asked::new(&head);
        if head.task == Task::Echo {
            asked.echo = input[..head.octets].to_vec();
        }
        self.taken += head.octets;
        if head.body == Body::Done {
            let ending = self.answer(&asked, context);
            self.finish(ending, context);
            return Ok(true);
        }
        if head.expects && head.task != Task::Early {
            self.buffers.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let answered = match head.task {
            Task::Early | Task::EchoBody => Some(self.answer(&asked, context)),
            Task::Drop | Task::Reset | Task::Garbage => {
                self.ending = self.answer(&asked, context);
                return Ok(true);
            }
            _ => None,
        };
        self.turn = Turn::Body(Box::new(Reading { asked, body: head.body, answered }));
        Ok(true)
    }

    fn step_body(
        &mut self,
        mut reading: Box<Reading>,
        context: &mut Context<'_>,
    ) -> Result<bool, Bad> {
        let Reading { asked, body, answered } = &mut *reading;
        let Buffers { input, output } = &mut self.buffers;
        let (task, chunked) = (asked.task, asked.echoes_chunks());
        let taken = body.advance(&input[self.taken..], |run| {
            asked.received += run.len() as u64;
            match task {
                Task::Echo => asked.echo.extend_from_slice(run),
                Task::EchoBody if asked.bodiless => {}
                Task::EchoBody if chunked => frame(output, run),
                Task::EchoBody => output.extend_from_slice(run),
                _ => {}
            }
        })?;
        self.taken += taken;
        if asked.echo.len() > ECHO_MAX {
            return Err(Bad(413));
        }
        if *body != Body::Done {
            self.turn = Turn::Body(reading);
            return Ok(taken > 0);
        }
        let ending = match *answered {
            Some(ending) => {
                if task == Task::EchoBody && chunked && !asked.bodiless {
                    output.extend_from_slice(b"0\r\n\r\n");
                }
                ending
            }
            None => self.answer(asked, context),
        };
        self.finish(ending, context);
        Ok(true)
    }

    fn answer(&mut self, asked: &Asked, context: &mut Context<'_>) -> Ending {
        let output = &mut self.buffers.output;
        let (source, ending) = answer::write(asked, context.shared, context.now, output);
        self.source = source;
        ending
    }

    /// A request is over: counts it and decides what becomes of the connection.
    fn finish(&mut self, ending: Ending, context: &mut Context<'_>) {
        self.answers += 1;
        // This thread is the only one that writes its count.
        context.served.store(context.served.load(Relaxed) + 1, Relaxed);
        let enough = context.shared.settings.close_after.is_some_and(|n| self.answers >= n);
        self.ending = if enough && ending == Ending::Keep { Ending::Cut } else { ending };
        self.quiet_since = context.now;
    }

    /// Sends what is made; `true`: all of it has gone.
    fn flush(&mut self) -> io::Result<bool> {
        loop {
            let made = &self.buffers.output[self.sent..];
            let ready = self.source.ready();
            if made.is_empty() && ready.is_empty() {
                self.buffers.output.clear();
                self.sent = 0;
                return Ok(true);
            }
            if !self.writable {
                return Ok(false);
            }
            let wrote = match ready.is_empty() {
                true => self.stream.write(made),
                false => self.stream.write_vectored(&[IoSlice::new(made), IoSlice::new(ready)]),
            };
            match wrote {
                Ok(octets) => {
                    let of_made = octets.min(made.len());
                    self.sent += of_made;
                    self.source.sent(octets - of_made);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads once; `false`: the client has said all.
    fn read(&mut self) -> io::Result<bool> {
        let input = &mut self.buffers.input;
        if self.taken == input.len() {
            input.clear();
        } else {
            input.drain(..self.taken);
        }
        self.taken = 0;
        input.reserve(READ);
        let room = input.capacity() - input.len();
        match rustix::io::read(&self.stream, spare_capacity(input)) {
            Ok(0) => return Ok(false),
            // Less than there was room for: the kernel has no more, and epoll will tell of news.
            Ok(octets) => self.readable = octets == room || self.ended,
            Err(rustix::io::Errno::AGAIN) => self.readable = false,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    /// Nothing to do before the client speaks.
    fn wait(&mut self, context: &Context<'_>) -> Next {
        if self.taken == self.buffers.input.len() {
            self.buffers.input.clear();
            self.taken = 0;
        }
        let idle = matches!(self.turn, Turn::Head) && self.buffers.input.is_empty();
        match context.shared.settings.close_idle {
            Some(limit) if idle && context.now >= self.quiet_since + limit => Next::Gone,
            Some(limit) if idle => Next::Wait(Some(self.quiet_since + limit)),
            _ => Next::Wait(None),
        }
    }

    /// Everything has gone: closes as the last answer wants it.
    fn end(&mut self, context: &Context<'_>) -> io::Result<Next> {
        match self.ending {
            Ending::Reset => {
                socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
                return Ok(Next::Gone);
            }
            Ending::Cut => return Ok(Next::Gone),
            Ending::Keep | Ending::Close => {}
        }
        // Unread octets would turn the close into a reset, and that could destroy the answer.
        let until = match self.lingers_until {
            Some(until) => until,
            None => {
                self.stream.shutdown(Shutdown::Write)?;
                *self.lingers_until.insert(context.now + LINGER)
            }
        };
        while self.readable && context.now < until {
            self.taken = self.buffers.input.len();
            if !self.read()? {
                return Ok(Next::Gone);
            }
        }
        self.taken = 0;
        self.buffers.input.clear();
        Ok(if context.now < until { Next::Wait(Some(until)) } else { Next::Gone })
    }
}
