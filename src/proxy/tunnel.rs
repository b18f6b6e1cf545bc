//! After a 101: octets only, both ways at once, until both sides have closed.
//!
//! An idle tunnel owns two connections and this future: no buffer, no share of the pool. Each way has
//! a buffer while it moves something, and a pipe while it moves something large.
//!
//! When tidegate has to end, a WebSocket is told so: each way waits for the end of the frame that
//! is on the way, puts a Close (1001) behind it, drops what still comes, and waits for the other
//! side to say Close as well. How far a frame is, a [`Follower`] knows; it sees the header of each frame, and lets the
//! payload pass unseen.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_lite::future::yield_now;

use super::client::Client;
use super::ongoing::UnderWay;
use super::worker::Worker;
use crate::http::Reason;
use crate::http::websocket::{Follower, GOING_AWAY, close_frame};
use crate::io::buffer::{Buf, Share};
use crate::io::clock::Moment;
use crate::io::reactor::Way;
use crate::io::relay::{Ended, Relay};
use crate::io::splice;
use crate::io::stream::Stream;
use crate::stats::Record;

/// Reads of one way before others have their turn.
const BATCH: u32 = 16;

/// A tunnel that was agreed on; made by `finish` out of the request that asked for it.
pub(super) struct Tunnel {
    /// The connection to the upstream.
    pub upstream: Stream,
    /// What the client sent before it could know of the 101.
    pub early: Vec<u8>,
    /// Where the frames towards the client stand; `None`: not a WebSocket.
    pub frames: Option<Follower>,
    /// When the request began.
    pub started: Moment,
    /// The request, counted until the tunnel ends.
    pub under_way: UnderWay,
    /// What will be written down in the end.
    pub record: Option<Box<Record>>,
}

/// One way through a tunnel.
struct Flow<'a> {
    worker: &'a Worker,
    from: &'a Stream,
    to: &'a Stream,
    /// What came before the tunnel was one.
    early: Cell<Vec<u8>>,
    /// `None`: not a WebSocket, nothing is known of what goes through.
    frames: Option<Cell<Follower>>,
    /// It leads from the client to the upstream: frames are masked this way.
    up: bool,
    /// Octets that went through.
    moved: Cell<u64>,
    pulse: &'a Pulse,
}

/// What both ways know of each other.
struct Pulse {
    /// When something moved last, either way.
    last: Cell<Moment>,
    /// Ways that are moving something. They may need long for it, and have deadlines of their own.
    moving: Cell<u32>,
}

/// One way is moving something, as long as this lives.
struct Moving<'a>(&'a Cell<u32>);

impl Pulse {
    fn moving(&self) -> Moving<'_> {
        self.moving.set(self.moving.get() + 1);
        Moving(&self.moving)
    }

    /// Nothing has moved for `idle`, and nothing is moving.
    fn is_silent(&self, now: Moment, idle: Duration) -> bool {
        if self.moving.get() > 0 {
            self.last.set(now);
        }
        now >= self.last.get() + idle
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Why one way of a tunnel broke.
enum Broken {
    From,
    To,
    Idle,
}

/// Moves octets until both sides have closed, and writes down how it ended.
pub(super) async fn tunnel(worker: &Worker, client: &Client, mut tunnel: Box<Tunnel>) {
    let stats = &worker.stats;
    let pulse = Pulse { last: Cell::new(worker.now()), moving: Cell::new(0) };
    let flow = |from, to, frames: Option<Follower>, early, up| {
        let (frames, early) = (frames.map(Cell::new), Cell::new(early));
        Flow { worker, from, to, early, frames, up, moved: Cell::new(0), pulse: &pulse }
    };
    let from_client = tunnel.frames.map(|_| Follower::default());
    let early = std::mem::take(&mut tunnel.early);
    let up = flow(&client.stream, &tunnel.upstream, from_client, early, true);
    let down = flow(&tunnel.upstream, &client.stream, tunnel.frames, Vec::new(), false);
    let reason = both(&up, &down).await;
    let total = worker.now() - tunnel.started;
    stats.duration.observe(total);
    tunnel.under_way.end(reason);
    if worker.closing.get() && stats.tunnels.get() == 0 {
        worker.core.reactor.abort(); // it was waited for only as long as there was a tunnel
    }
    if let Some(mut record) = tunnel.record {
        record.total = total;
        record.bytes_in += up.moved.get();
        record.bytes_out += down.moved.get();
        record.reason = reason.label();
        if let Some(attempt) = record.attempts.last_mut() {
            attempt.outcome = reason.label();
        }
        worker.keep(record);
    }
}

/// Both ways at once: to the end of both, or until one breaks.
async fn both(up: &Flow<'_>, down: &Flow<'_>) -> Reason {
    let (mut upwards, mut downwards) = (pin!(up.run()), pin!(down.run()));
    let mut ended = [false; 2];
    let result = poll_fn(|cx| {
        if !ended[0]
            && let Poll::Ready(result) = upwards.as_mut().poll(cx)
        {
            ended[0] = true;
            if let Err(broken) = result {
                return Poll::Ready(Err((true, broken)));
            }
        }
        if !ended[1]
            && let Poll::Ready(result) = downwards.as_mut().poll(cx)
        {
            ended[1] = true;
            if let Err(broken) = result {
                return Poll::Ready(Err((false, broken)));
            }
        }
        if ended == [true; 2] { Poll::Ready(Ok(())) } else { Poll::Pending }
    });
    match result.await {
        _ if up.worker.closing.get() => Reason::TunnelCut,
        Ok(()) => Reason::TunnelClosed,
        Err((_, Broken::Idle)) => Reason::TunnelIdle,
        Err((true, Broken::From) | (false, Broken::To)) => Reason::TunnelClientReset,
        Err(_) => Reason::TunnelUpstreamReset,
    }
}

impl Flow<'_> {
    /// What is done seldom, or not for long, is boxed: an idle tunnel owns only what it waits with.
    async fn run(&self) -> Result<(), Broken> {
        Box::pin(self.early()).await?;
        loop {
            self.readable().await?;
            if self.must_close() {
                return Box::pin(self.say_close()).await;
            }
            if Box::pin(self.batch()).await? {
                return Ok(());
            }
            if self.from.is_readable() {
                yield_now().await;
            }
        }
    }

    /// Passes on what came before.
    async fn early(&self) -> Result<(), Broken> {
        let octets = self.early.take();
        if octets.is_empty() {
            return Ok(());
        }
        let share = self.worker.core.pool.share().await;
        let mut buf = share.take();
        let _fits = buf.append(&octets); // it came out of such a buffer
        drop(octets);
        self.pass(buf).await
    }

    /// Moves what is there, up to a fair part of it. `true`: the sender has ended.
    async fn batch(&self) -> Result<bool, Broken> {
        let share = self.worker.core.pool.share().await;
        for _ in 0..BATCH {
            if !self.from.is_readable() || self.must_close() {
                break;
            }
            if self.take_some(&share).await? {
                return Ok(true);
            }
        }
        drop(share);
        self.worker.stats.buffers_used.set(self.worker.core.pool.lent() as u64);
        Ok(false)
    }

    /// Passes on what can be read at once. `true`: the sender has ended, and the receiver knows.
    async fn take_some(&self, share: &Share) -> Result<bool, Broken> {
        let mut buf = share.take();
        match self.from.try_recv(&mut buf, self.most()) {
            Ok(None) => return Ok(false),
            Ok(Some(0)) => {
                // A receiver that is gone shows in the other way.
                let _ = self.to.finish();
                return Ok(true);
            }
            Ok(Some(_)) => self.pass(buf).await?,
            Err(_) => return Err(Broken::From),
        }
        self.splice_payload().await
    }

    async fn pass(&self, buf: Buf) -> Result<(), Broken> {
        let _moving = self.pulse.moving();
        if let Some(frames) = &self.frames {
            let mut follower = frames.get();
            follower.follow(buf.filled());
            frames.set(follower);
        }
        let octets = Cell::new(0);
        let (sent, _) = self.to.send(buf, self.worker.plan.waits.write, &octets).await;
        self.count(octets.get());
        sent.map_err(|_| Broken::To)
    }

    /// What is left of a large frame goes through the kernel, as far as it is there. Else as
    /// [`Flow::take_some`].
    async fn splice_payload(&self) -> Result<bool, Broken> {
        let left = self.frames.as_ref().map_or(0, |frames| frames.get().left());
        let Ok(pipe) = splice::choose(&self.worker.core.pipes, left) else { return Ok(false) };
        let _moving = self.pulse.moving();
        let waits = &self.worker.plan.waits;
        let relay = Relay {
            from: self.from,
            to: self.to,
            limit: left,
            patient: false,
            read_wait: waits.read,
            write_wait: waits.write,
        };
        let moved = Cell::new(0);
        let result = relay.splice(pipe, &moved).await;
        if let Some(frames) = &self.frames {
            let mut follower = frames.get();
            follower.skip(moved.get());
            frames.set(follower);
        }
        self.count(moved.get());
        self.worker.stats.spliced.add(1);
        self.worker.stats.spliced_bytes.add(moved.get());
        match result {
            Ok(()) => Ok(false),
            Err(Ended::Early) => {
                let _ = self.to.finish();
                Ok(true)
            }
            Err(Ended::From(_)) => Err(Broken::From),
            Err(Ended::To(_)) => Err(Broken::To),
        }
    }

    fn count(&self, octets: u64) {
        let stats = &self.worker.stats;
        self.moved.set(self.moved.get() + octets);
        self.pulse.last.set(self.worker.now());
        let (read, sent) = if self.up {
            (&stats.client_bytes[0], &stats.upstream_bytes[1])
        } else {
            (&stats.upstream_bytes[0], &stats.client_bytes[1])
        };
        read.add(octets);
        sent.add(octets);
    }

    /// Waits until something can be read, or the time has come to close. A silence is only one when
    /// both ways are silent.
    async fn readable(&self) -> Result<(), Broken> {
        let idle = self.worker.plan.waits.tunnel_idle;
        poll_fn(|cx| {
            loop {
                if self.must_close() {
                    return Poll::Ready(Ok(()));
                }
                match self.from.poll_ready(Way::Read, cx) {
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                        if self.pulse.is_silent(self.worker.now(), idle) {
                            return Poll::Ready(Err(Broken::Idle));
                        }
                        self.from.deadline_at(Way::Read, self.pulse.last.get() + idle);
                    }
                    Poll::Pending if !self.from.has_deadline(Way::Read) => {
                        self.from.deadline_at(Way::Read, self.pulse.last.get() + idle);
                    }
                    other => return other.map_err(|_| Broken::From),
                }
            }
        })
        .await
    }

    /// Octets that may be read at once: as many as come or, when tidegate has to end, none behind the
    /// frame that is on the way. One by one where its header does not tell yet how far that is.
    fn most(&self) -> usize {
        match self.frames.as_ref().map(Cell::get) {
            Some(frames)
                if self.worker.closing.get() && !frames.saw_close() && !frames.is_broken() =>
            {
                usize::try_from(frames.left()).unwrap_or(usize::MAX).max(1)
            }
            _ => usize::MAX,
        }
    }

    /// tidegate has to end, and a Close may be put in here.
    fn must_close(&self) -> bool {
        let takes = |frames: &Cell<Follower>| frames.get().takes_close();
        self.worker.closing.get() && self.frames.as_ref().is_some_and(takes)
    }

    /// Says Close to the receiver, and waits until the sender has said it too, or ended.
    async fn say_close(&self) -> Result<(), Broken> {
        let mask = self.up.then(|| self.worker.ids.mask());
        let (frame, length) = close_frame(GOING_AWAY, mask);
        let share = self.worker.core.pool.share().await;
        let mut buf = share.take();
        let _fits = buf.append(&frame[..length]);
        let (wait, uncounted) = (self.worker.plan.waits.write, Cell::new(0));
        self.to.send(buf, wait, &uncounted).await.0.map_err(|_| Broken::To)?;
        drop(share);
        while !self.drop_some()? {
            self.from.ready(Way::Read).await.map_err(|_| Broken::From)?;
        }
        Ok(())
    }

    /// Reads and drops what is there. `true`: a Close was among it, or the end.
    fn drop_some(&self) -> Result<bool, Broken> {
        let Some(frames) = &self.frames else { return Ok(true) };
        let mut bin = [0; 4096];
        while let Some(n) = self.from.read(&mut bin).map_err(|_| Broken::From)? {
            let mut follower = frames.get();
            follower.follow(&bin[..n]);
            frames.set(follower);
            if n == 0 || follower.saw_close() || follower.is_broken() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
