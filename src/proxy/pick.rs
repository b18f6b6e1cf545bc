//! The upstream that a request is sent to: the one its client stays with, the one its key belongs to, or the one whose
//! turn it is; after a wait in the queue, if there is no room.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use futures_lite::FutureExt;

use super::attempt;
use super::check::{Admitted, Terms};
use super::session::Exchange;
use crate::config::HashKey;
use crate::http::{Framing, Name, Reason};
use crate::io::clock::Moment;
use crate::stats::UpstreamState;
use crate::upstream::{self, Lease, Pick, Pool, Unavailable, Upstream};

/// What a request says of the upstream it wants: found once, for its first attempt.
#[derive(Clone, Copy, Default)]
pub(super) struct Wish<'s> {
    /// What it is hashed by.
    key: u64,
    /// The upstream that its client stays with.
    stays_with: Option<&'s Arc<UpstreamState>>,
    /// All of it is here.
    whole: bool,
}

impl<'s> Wish<'s> {
    /// That of a request of the pool it goes to; costs nothing where the pool does not ask.
    pub fn of(admitted: &mut Admitted<'_>, Terms { pool, .. }: Terms<'s>) -> Wish<'s> {
        let exchange = admitted.exchange();
        let framing = exchange.request.framing;
        let whole = framing == Framing::None || {
            let behind = admitted.parts().rest.len();
            attempt::is_whole(framing, behind)
        };
        if pool.hash_key().is_none() && pool.tokens().is_none() {
            return Wish { whole, ..Wish::default() };
        }
        let head: &[u8] = admitted.parts().head;
        let key = pool.hash_key().map_or(0, |key| hash(exchange, head, key));
        let stays_with = pool.tokens().and_then(|tokens| {
            let mut cookies = cookies(exchange, head, tokens.cookie());
            cookies.find_map(|token| tokens.upstream(token))
        });
        Wish { key, stays_with, whole }
    }
}

/// The part of the request that says which upstream gets it, hashed. One that has no such part is hashed as if it were
/// empty.
fn hash(exchange: &Exchange, head: &[u8], key: &HashKey) -> u64 {
    let input = exchange.match_input(head);
    let request = &exchange.request;
    match key {
        HashKey::Client => {
            let client = input.client().map(|client| client.to_string());
            upstream::hash(client.unwrap_or_default().as_bytes())
        }
        HashKey::Path => upstream::hash(input.path_and_query().0),
        HashKey::Uri => upstream::hash(request.path.of(head)),
        HashKey::Header(name) => upstream::hash(input.field(name).unwrap_or_default()),
        HashKey::Cookie(name) => {
            upstream::hash(cookies(exchange, head, name).next().unwrap_or_default())
        }
    }
}

/// The values of the cookies of this name that the request has.
fn cookies<'h>(
    exchange: &'h Exchange,
    head: &'h [u8],
    name: &'h str,
) -> impl Iterator<Item = &'h [u8]> {
    let fields = exchange.request.fields.iter().filter(|field| field.id == Name::Cookie);
    fields.flat_map(move |field| upstream::cookies(field.value.of(head), name))
}

/// Picks one that is ready now.
pub(super) fn pick(
    exchange: &Exchange,
    pool: &Rc<Pool>,
    wish: Wish<'_>,
    tried: &[Rc<Upstream>],
    again: bool,
) -> Result<Lease, Unavailable> {
    // Who comes later waits behind those who wait.
    if pool.queue_spec().is_some() && pool.queue().len() > 0 {
        return Err(Unavailable::Full);
    }
    let Wish { key, stays_with, whole } = wish;
    let pick = Pick { tried, again, key, stays_with, whole, now: exchange.worker.now() };
    let lease = pool.pick(&pick)?;
    stay(exchange, pool, wish, lease.upstream());
    Ok(lease)
}

/// None was ready, and this is why: waits in the queue of the pool where there is one, and no room.
pub(super) async fn wait(
    exchange: &Exchange,
    terms @ Terms { pool, .. }: Terms<'_>,
    (wish, tried, again): (Wish<'_>, &[Rc<Upstream>], bool),
    why: Unavailable,
) -> Result<Lease, Reason> {
    if why != Unavailable::Full || pool.queue_spec().is_none() {
        return Err(reason(exchange, why));
    }
    let Wish { key, stays_with, whole } = wish;
    let pick = Pick { tried, again, key, stays_with, whole, now: exchange.worker.now() };
    let lease = wait_in_line(exchange, terms, pick).await?;
    stay(exchange, pool, wish, lease.upstream());
    Ok(lease)
}

/// Why a request is refused for which there is no upstream, and when its client may try again.
fn reason(exchange: &Exchange, unavailable: Unavailable) -> Reason {
    match unavailable {
        Unavailable::Full | Unavailable::None => Reason::NoUpstream,
        Unavailable::Resting(until) => {
            let left = (until - exchange.worker.now()).as_millis().div_ceil(1000);
            exchange.facts.retry_after.set(u32::try_from(left).unwrap_or(u32::MAX).max(1));
            Reason::CircuitOpen
        }
    }
}

/// Picks another for a request that is under way already, if one is ready.
pub(super) fn second(
    exchange: &Exchange,
    pool: &Rc<Pool>,
    Wish { key, .. }: Wish<'_>,
    tried: &[Rc<Upstream>],
) -> Option<Lease> {
    let now = exchange.worker.now();
    pool.pick(&Pick { tried, again: true, key, stays_with: None, whole: true, now }).ok()
}

/// Notes that the client is to be told which upstream it stays with, unless it knows.
pub(super) fn stay(exchange: &Exchange, pool: &Pool, wish: Wish<'_>, upstream: &Upstream) {
    if pool.tokens().is_some() {
        let knows = wish.stays_with.is_some_and(|known| Arc::ptr_eq(known, upstream.state()));
        exchange.facts.tells_upstream.set(!knows);
    }
}

/// Picks one of those that the pool has by now: who waits behind would otherwise wait for upstreams that are gone, and
/// not go to one that came.
fn pick_now(exchange: &Exchange, pool: &Rc<Pool>, pick: &Pick<'_>) -> Result<Lease, Unavailable> {
    let epoch = exchange.worker.epoch();
    let now = exchange.worker.now();
    epoch.successor(pool).unwrap_or(pool).pick(&Pick { now, ..*pick })
}

/// Waits until it is the first in the queue and there is room.
async fn wait_in_line(
    exchange: &Exchange,
    Terms { pool, spec, .. }: Terms<'_>,
    pick: Pick<'_>,
) -> Result<Lease, Reason> {
    let Exchange { worker, client, .. } = exchange;
    let Some(ticket) = pool.join() else {
        worker.stats.queue_refused.add(1);
        return Err(Reason::QueueFull);
    };
    let notifier = worker.core.reactor.notifier();
    let _waits = Waits::begin(exchange);
    let room = poll_fn(|cx| {
        let is_first = ticket.wait(cx.waker(), &notifier);
        let picked = is_first.then(|| pick_now(exchange, pool, &pick));
        match picked {
            Some(Ok(lease)) => return Poll::Ready(Ok(lease)),
            // Those that it has tried may have room.
            Some(Err(Unavailable::Full)) if !pick.tried.is_empty() => ticket.let_by(),
            Some(Err(Unavailable::Full)) | None => {}
            // Nobody is left who could have room.
            Some(Err(other)) => return Poll::Ready(Err(reason(exchange, other))),
        }
        // A body that has not come yet may make the client look alive; one that has left does not wait.
        let or_finished = exchange.facts.request_read.get() && !spec.half_close;
        client
            .stream
            .poll_closed(or_finished, cx)
            .map(|gone| Err(if gone.is_ok() { Reason::ClientGone } else { Reason::Stopped }))
    });
    let late = async {
        let most = pool.queue_spec().map(|queue| queue.wait).unwrap_or_default();
        match worker.core.sleep(most).await {
            Ok(()) => Err(Reason::QueueTimeout),
            Err(_) => Err(Reason::Stopped),
        }
    };
    room.or(late).await
}

/// Counts a request as long as it waits, and how long that is.
struct Waits<'e> {
    exchange: &'e Exchange,
    since: Moment,
}

impl Waits<'_> {
    fn begin(exchange: &Exchange) -> Waits<'_> {
        exchange.worker.stats.queued.up();
        Waits { exchange, since: exchange.worker.now() }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let Exchange { worker, facts, .. } = self.exchange;
        worker.stats.queued.down();
        let before = facts.queued.get().unwrap_or_default();
        facts.queued.set(Some(before + (worker.now() - self.since)));
    }
}
