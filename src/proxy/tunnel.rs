//! After a 101: octets only, both ways at once, until both sides have closed.
//!
//! An idle tunnel owns two connections and this future: no buffer, no share of the pool. Each way has
//! a buffer while it moves something, and a pipe while it moves something large.
//!
//! When tidegate has to end, a WebSocket is told so: each way waits for the end of the frame that is on the way, puts a
//! Close (1001) behind it, drops what still comes, and waits for the other side to say Close as well. How far a frame
//! is, a [`Follower`] knows; it sees the header of each frame, and lets the payload pass unseen.

use std::cell::Cell;
use std::future::{poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::client::Client;
use super::core::{Chosen, Epoch, Worker};
use super::session::UnderWay;
use crate::config::Timeouts;
use crate::http::Reason;
use crate::http::websocket::{Follower, GOING_AWAY, close_frame};
use crate::io::Error;
use crate::io::buffer::{Buf, Permit, Quota};
use crate::io::clock::Moment;
use crate::io::reactor::Direction;
use crate::io::relay::{Relay, RelayError};
use crate::io::splice;
use crate::io::stream::Stream;
use crate::io::turn::Slice;
use crate::stats::Record;

/// Reads of one way before others have their turn.
const BATCH: u32 = 16;

/// A tunnel that was agreed on; made by `finish` out of the request that asked for it.
pub(super) struct Tunnel {
    /// The plan that the request began under, and its route.
    pub epoch: Rc<Epoch>,
    pub chosen: Option<Chosen>,
    /// The connection to the upstream.
    pub upstream: Stream,
    /// Octets that the client sent before it could know of the 101.
    pub early: Cell<Box<[u8]>>,
    /// Where the frames stand, upwards and downwards; `None`: not a WebSocket, nothing is known of
    /// what goes through.
    pub frames: Option<[Cell<Follower>; 2]>,
    /// When the request began.
    pub started: Moment,
    /// The request, counted until the tunnel ends.
    pub under_way: UnderWay,
    /// The record to write in the end.
    pub record: Option<Box<Record>>,
    /// The part of the pool that both ways use.
    pub quota: Quota,
    /// The octets that went through.
    pub moved: Moved,
}

/// State that both ways share.
pub(super) struct Moved {
    /// Octets that went through, upwards and downwards.
    octets: [Cell<u64>; 2],
    /// When something moved last, either way.
    last: Cell<Moment>,
    /// Ways that are moving something. They may need long for it, and have deadlines of their own.
    moving: Cell<u32>,
}

/// One way is moving something, as long as this lives.
struct Moving<'a>(&'a Cell<u32>);

impl Moved {
    /// Nothing yet; a silence begins `now`.
    pub fn nothing(now: Moment) -> Moved {
        Moved { octets: Default::default(), last: Cell::new(now), moving: Cell::new(0) }
    }

    fn moving(&self) -> Moving<'_> {
        self.moving.set(self.moving.get() + 1);
        Moving(&self.moving)
    }

    /// Nothing has moved for `idle`, and nothing is moving.
    fn is_quiet(&self, now: Moment, idle: Duration) -> bool {
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
enum TunnelError {
    From,
    To,
    Idle,
}

/// Moves octets until both sides have closed, and writes down how it ended.
pub(super) async fn tunnel(worker: &Worker, client: &Client, mut tunnel: Box<Tunnel>) {
    let reason = both(&TunnelEnds { worker, client: &client.stream, tunnel: &tunnel }).await;
    let stats = &worker.stats;
    let total = worker.now() - tunnel.started;
    stats.tunnel_duration.observe(total);
    tunnel.under_way.end(reason);
    if worker.closing.get() && stats.tunnels.get() == 0 {
        worker.core.reactor.abort(); // it was waited for only as long as there was a tunnel
    }
    let [up, down] = &tunnel.moved.octets;
    if let Some(mut record) = tunnel.record {
        record.total = total;
        record.bytes_in += up.get();
        record.bytes_out += down.get();
        record.reason = reason.label();
        if let Some(attempt) = record.attempts.last_mut() {
            attempt.outcome = reason.label();
        }
        worker.keep(record);
    }
}

/// Both ways at once: to the end of both, or until one breaks.
async fn both(ends: &TunnelEnds<'_>) -> Reason {
    let (up, down) = (Flow { ends, up: true }, Flow { ends, up: false });
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
        _ if ends.worker.closing.get() => Reason::TunnelCut,
        Ok(()) => Reason::TunnelClosed,
        Err((_, TunnelError::Idle)) => Reason::TunnelIdle,
        Err((true, TunnelError::From) | (false, TunnelError::To)) => Reason::TunnelClientReset,
        Err(_) => Reason::TunnelUpstreamReset,
    }
}

/// The two connections of a tunnel.
struct TunnelEnds<'a> {
    worker: &'a Worker,
    client: &'a Stream,
    tunnel: &'a Tunnel,
}

/// One way through a tunnel.
#[derive(Clone, Copy)]
struct Flow<'a> {
    ends: &'a TunnelEnds<'a>,
    /// It leads from the client to the upstream: frames are masked this way.
    up: bool,
}

/// Work that is rare, or short: boxed, so that an idle tunnel owns only its wait.
/// `true`: the way has ended.
type Work<'a> = Pin<Box<dyn Future<Output = Result<bool, TunnelError>> + 'a>>;

/// One round of a way.
enum Round<'a> {
    /// So many octets went through at once.
    Moved(usize),
    /// There is more to do.
    Unfinished(Work<'a>),
}

impl<'a> Flow<'a> {
    /// Nearly everything that goes through a WebSocket comes in one read, and the receiver takes it at
    /// once: that needs no future of its own.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async function would hold `self` twice, in every tunnel"
    )]
    fn run(self) -> impl Future<Output = Result<(), TunnelError>> + 'a {
        async move {
            if self.up {
                Box::pin(self.early()).await?;
            }
            let mut slice = Slice::default();
            loop {
                poll_fn(|cx| self.poll_readable(cx)).await?;
                let round = self.round()?;
                let used_up = match round {
                    Round::Moved(octets) => slice.spend(octets as u64),
                    Round::Unfinished(work) => {
                        if work.await? {
                            return Ok(());
                        }
                        // It moved a fair part of what there was.
                        true
                    }
                };
                if used_up && self.from().is_readable() {
                    self.from().reactor().next_turn().await;
                }
            }
        }
    }

    fn worker(self) -> &'a Worker {
        self.ends.worker
    }

    fn timeouts(self) -> &'a Timeouts {
        &self.ends.tunnel.epoch.spec(self.ends.tunnel.chosen).timeouts
    }

    fn from(self) -> &'a Stream {
        if self.up { self.ends.client } else { &self.ends.tunnel.upstream }
    }

    fn to(self) -> &'a Stream {
        if self.up { &self.ends.tunnel.upstream } else { self.ends.client }
    }

    async fn permit(self) -> Permit<'a> {
        self.ends.tunnel.quota.permit().await
    }

    fn moved(self) -> &'a Moved {
        &self.ends.tunnel.moved
    }

    /// Where the frames of this way stand.
    fn frames(self) -> Option<&'a Cell<Follower>> {
        self.ends.tunnel.frames.as_ref().map(|frames| &frames[usize::from(!self.up)])
    }

    /// Passes on what came before.
    async fn early(self) -> Result<(), TunnelError> {
        let octets = self.ends.tunnel.early.take();
        if octets.is_empty() {
            return Ok(());
        }
        let permit = self.permit().await;
        let mut buf = permit.take();
        buf.grow(octets.len()); // it came out of a buffer that may have grown
        let _fits = buf.append(&octets);
        drop(octets);
        self.follow(buf.filled());
        // It was counted as read when it came, with the head.
        let (octets, sent) = self.deliver(buf).await;
        self.count_sent(octets);
        sent
    }

    /// One read, and its octets sent.
    fn round(self) -> Result<Round<'a>, TunnelError> {
        if self.must_close() {
            return Ok(Round::Unfinished(Box::pin(self.say_close())));
        }
        let Some(permit) = self.ends.tunnel.quota.try_permit() else {
            return Ok(Round::Unfinished(Box::pin(self.slowly(None))));
        };
        let Some(mut buf) = self.take_some(&permit)? else { return Ok(Round::Moved(0)) };
        if buf.is_empty() {
            return Ok(Round::Unfinished(Box::pin(ready(Ok(true)))));
        }
        let length = buf.len();
        let sent = self.to().try_send(&mut buf);
        self.count((length - buf.len()) as u64);
        sent.map_err(|_| TunnelError::To)?;
        if buf.is_empty() && !self.is_large() {
            return Ok(Round::Moved(length));
        }
        Ok(Round::Unfinished(Box::pin(self.slowly(Some((permit, buf))))))
    }

    /// Moves what is there, up to a fair part of it, after the `rest`. `true`: the sender has ended.
    async fn slowly(self, rest: Option<(Permit<'a>, Buf)>) -> Result<bool, TunnelError> {
        let permit = match rest {
            Some((permit, buf)) => {
                self.pass(buf).await?;
                if self.splice_payload().await? {
                    return Ok(true);
                }
                permit
            }
            None => self.permit().await,
        };
        for _ in 0..BATCH {
            if !self.from().is_readable() || self.must_close() {
                break;
            }
            let Some(buf) = self.take_some(&permit)? else { break };
            if buf.is_empty() {
                return Ok(true);
            }
            self.pass(buf).await?;
            if self.splice_payload().await? {
                return Ok(true);
            }
        }
        drop(permit);
        self.worker().tell_buffers();
        Ok(false)
    }

    /// What can be read at once; nothing in the buffer: the sender has ended, and the receiver knows.
    fn take_some(self, permit: &Permit<'_>) -> Result<Option<Buf>, TunnelError> {
        let mut buf = permit.take();
        match self.from().try_recv(&mut buf, self.most()) {
            Ok(None) => return Ok(None),
            Ok(Some(0)) => self.finish(),
            Ok(Some(_)) => self.follow(buf.filled()),
            Err(_) => return Err(TunnelError::From),
        }
        Ok(Some(buf))
    }

    /// Tells the receiver that the sender has ended; one that is gone shows in the other way.
    fn finish(self) {
        let _ = self.to().finish();
    }

    fn follow(self, octets: &[u8]) {
        if let Some(frames) = self.frames() {
            let mut follower = frames.get();
            follower.follow(octets);
            frames.set(follower);
        }
    }

    async fn pass(self, buf: Buf) -> Result<(), TunnelError> {
        let (octets, sent) = self.deliver(buf).await;
        self.count(octets);
        sent
    }

    /// Sends `buf`; how many octets of it left.
    async fn deliver(self, buf: Buf) -> (u64, Result<(), TunnelError>) {
        let _moving = self.moved().moving();
        let octets = Cell::new(0);
        let (sent, _) = self.to().send(buf, self.timeouts().write, &octets).await;
        (octets.get(), sent.map_err(|_| TunnelError::To))
    }

    /// What is left of the frame on the way is worth a pipe.
    fn is_large(self) -> bool {
        self.frames().is_some_and(|frames| frames.get().left() >= splice::WORTHWHILE)
    }

    /// What is left of a large frame goes through the kernel, as far as it is there. Else as
    /// [`Flow::take_some`].
    async fn splice_payload(self) -> Result<bool, TunnelError> {
        let is_sealed = self.from().is_secure() || self.to().is_secure();
        let left = match self.frames() {
            Some(frames) if !is_sealed && !self.from().is_urgent() => frames.get().left(),
            _ => 0,
        };
        if left < splice::WORTHWHILE {
            return Ok(false);
        }
        let Some(pipe) = self.worker().core.pipes.take() else { return Ok(false) };
        let _moving = self.moved().moving();
        let timeouts = self.timeouts();
        let relay = Relay {
            from: self.from(),
            to: self.to(),
            limit: left,
            patient: false,
            read_wait: timeouts.read,
            write_wait: timeouts.write,
        };
        let moved = Cell::new(0);
        let result = splice::run(&relay, pipe, &moved).await;
        if let Some(frames) = self.frames() {
            let mut follower = frames.get();
            follower.skip(moved.get());
            frames.set(follower);
        }
        self.count(moved.get());
        self.worker().stats.spliced.add(1);
        self.worker().stats.spliced_bytes.add(moved.get());
        match result {
            Ok(()) => Ok(false),
            Err(RelayError::From(Error::Closed)) => {
                self.finish();
                Ok(true)
            }
            Err(RelayError::From(_)) => Err(TunnelError::From),
            Err(RelayError::To(_)) => Err(TunnelError::To),
        }
    }

    fn count(self, octets: u64) {
        let stats = &self.worker().stats;
        let read = if self.up { &stats.client_received } else { &stats.upstream_received };
        read.add(octets);
        self.count_sent(octets);
    }

    fn count_sent(self, octets: u64) {
        let stats = &self.worker().stats;
        let moved = &self.moved().octets[usize::from(!self.up)];
        moved.set(moved.get() + octets);
        self.moved().last.set(self.worker().now());
        let sent = if self.up { &stats.upstream_sent } else { &stats.client_sent };
        sent.add(octets);
    }

    /// Waits until something can be read, or the time has come to close. A silence is only one when
    /// both ways are silent.
    fn poll_readable(self, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        let idle = self.timeouts().tunnel_idle;
        loop {
            if self.must_close() {
                return Poll::Ready(Ok(()));
            }
            match self.from().poll_ready(Direction::Read, cx) {
                Poll::Ready(Err(Error::Deadline)) => {
                    if self.moved().is_quiet(self.worker().now(), idle) {
                        return Poll::Ready(Err(TunnelError::Idle));
                    }
                    self.from().deadline_at(Direction::Read, self.moved().last.get() + idle);
                }
                Poll::Pending if !self.from().has_deadline(Direction::Read) => {
                    self.from().deadline_at(Direction::Read, self.moved().last.get() + idle);
                }
                other => return other.map_err(|_| TunnelError::From),
            }
        }
    }

    /// Octets that may be read at once: as many as come or, when tidegate has to end, none behind the
    /// frame that is on the way. One by one where its header does not tell yet how far that is.
    fn most(self) -> usize {
        match self.frames().map(Cell::get) {
            Some(frames)
                if self.worker().closing.get() && !frames.saw_close() && !frames.is_broken() =>
            {
                usize::try_from(frames.left()).unwrap_or(usize::MAX).max(1)
            }
            _ => usize::MAX,
        }
    }

    /// tidegate has to end, and a Close may be put in here.
    fn must_close(self) -> bool {
        let takes = |frames: &Cell<Follower>| frames.get().takes_close();
        self.worker().closing.get() && self.frames().is_some_and(takes)
    }

    /// Says Close to the receiver, and waits until the sender has said it too, or ended.
    async fn say_close(self) -> Result<bool, TunnelError> {
        let mask = self.up.then(|| self.worker().ids.mask());
        let (frame, length) = close_frame(GOING_AWAY, mask);
        let permit = self.permit().await;
        let mut buf = permit.take();
        let _fits = buf.append(&frame[..length]);
        let (wait, uncounted) = (self.timeouts().write, Cell::new(0));
        self.to().send(buf, wait, &uncounted).await.0.map_err(|_| TunnelError::To)?;
        drop(permit);
        while !self.drop_some()? {
            if self.from().is_readable() {
                self.from().reactor().next_turn().await;
            }
            self.from().ready(Direction::Read).await.map_err(|_| TunnelError::From)?;
        }
        Ok(true)
    }

    /// Reads and drops what is there, or a fair part of it. `true`: a Close was among it, or the end.
    fn drop_some(self) -> Result<bool, TunnelError> {
        let Some(frames) = self.frames() else { return Ok(true) };
        let mut bin = [0; 4096];
        for _ in 0..BATCH {
            let Some(n) = self.from().read(&mut bin).map_err(|_| TunnelError::From)? else { break };
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
