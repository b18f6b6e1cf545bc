//! Room for what is wanted now, when descriptors run short or there are as many clients as there may be: first
//! what is kept for later goes, then clients that are idle, those that have been silent longest first.

use std::time::Duration;

use super::super::client::idle_waits;
use super::command::{Event, Lack};
use super::worker::Worker;
use crate::io::clock::Moment;
use crate::io::reactor::{Idle, IdleStream};

/// Of the idle clients one in so many is closed at a time, so that looking for them costs little for each.
const ONE_IN: usize = 32;
/// How long a client must have been silent before it may go, in the order of [`Idle`]. The first request of a new one
/// may be on the way; whoever keeps a connection knows that it may be closed (RFC 9112 section 9.5).
const GRACE: [Duration; 3] = [Duration::from_millis(250), Duration::ZERO, Duration::from_secs(1)];
/// Other cores are asked for room no more often than this.
const ASKING: Duration = Duration::from_millis(50);

/// Makes room, once in a turn: clients that had to go are gone in the next. `false`: this core has nothing to close,
/// and the others have been asked.
pub fn make_room(worker: &Worker, lack: Lack) -> bool {
    let turn = worker.core.reactor.turns();
    if worker.room_made.get() == turn {
        return true;
    }
    if close_idle(worker, lack) {
        worker.room_made.set(turn);
        return true;
    }
    let now = worker.now();
    if now >= worker.room_asked.get() + ASKING {
        worker.room_asked.set(now);
        worker.report(Event::Crowded(lack));
    }
    false
}

/// Closes something idle. For want of a descriptor first what is kept for later: pipes, and connections to
/// upstreams. `false`: there is nothing of the kind.
pub fn close_idle(worker: &Worker, lack: Lack) -> bool {
    match lack {
        Lack::Descriptor => {
            worker.core.pipes.close_free() > 0
                || worker.epoch().close_oldest() > 0
                || close_idle_clients(worker)
        }
        Lack::Connection => close_idle_clients(worker),
    }
}

fn close_idle_clients(worker: &Worker) -> bool {
    let reactor = &worker.core.reactor;
    let waits = idle_waits(&worker.epoch().plan.listener);
    let chosen = chosen(reactor.idle_streams(), worker.now(), waits);
    reactor.expire_idle(&chosen);
    worker.stats.idle_closed.add(chosen.len() as u64);
    !chosen.is_empty()
}

/// Of idle clients those that have to go: one in [`ONE_IN`] of all that may, at least one, those that have been
/// silent longest. A request that has begun goes only when no client is left that has nothing under way. `waits`: how
/// long a client may be idle, in the order of [`Idle`].
fn chosen(idle: Vec<IdleStream>, now: Moment, waits: [Duration; 3]) -> Vec<IdleStream> {
    // The end of its wait tells since when a client has been silent.
    const BEGIN: Moment = Moment(0);
    let since = |stream: &IdleStream| stream.until - (BEGIN + waits[stream.idle as usize]);
    let may_go = |stream: &IdleStream| since(stream) + GRACE[stream.idle as usize] <= now - BEGIN;
    let (begun, waiting): (Vec<_>, Vec<_>) =
        idle.into_iter().filter(may_go).partition(|stream| stream.idle == Idle::Begun);
    let mut chosen = if waiting.is_empty() { begun } else { waiting };
    let count = chosen.len().div_ceil(ONE_IN);
    if count > 0 {
        chosen.select_nth_unstable_by_key(count - 1, since);
    }
    chosen.truncate(count);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_silent_longest_go_first_and_the_begun_last() {
        use Idle::{Begun, Kept, New};
        let waits = [5, 60, 30].map(Duration::from_secs);
        let now = Moment(100_000_000);
        // How they are idle, and for how many milliseconds, silent; which of them go.
        type Case = (&'static [(Idle, u64)], &'static [usize]);
        let cases: [Case; 8] = [
            (&[], &[]),
            (&[(Kept, 1), (Kept, 3), (Kept, 2)], &[1]),
            (&[(New, 249), (Begun, 999)], &[]),
            (&[(New, 250), (Begun, 999)], &[0]),
            (&[(New, 249), (Begun, 1000)], &[1]),
            (&[(Begun, 20_000), (Kept, 0)], &[1]),
            (&[(New, 900), (Kept, 1000)], &[1]),
            (&[(New, 1100), (Kept, 1000)], &[0]),
        ];
        for (clients, goes) in cases {
            let stream = |(key, (idle, silent)): (usize, &(Idle, u64))| {
                let began = Moment(now.0 - silent * 1000);
                IdleStream { key, idle: *idle, until: began + waits[*idle as usize] }
            };
            let idle: Vec<_> = clients.iter().enumerate().map(stream).collect();
            let gone: Vec<_> = chosen(idle, now, waits).iter().map(|stream| stream.key).collect();
            assert_eq!(gone, goes, "{clients:?}");
        }
    }

    #[test]
    fn one_in_so_many_goes_at_least_one() {
        let waits = [Duration::from_secs(60); 3];
        for (idle, go) in [(1, 1), (ONE_IN, 1), (ONE_IN + 1, 2), (10 * ONE_IN, 10)] {
            let until = |key: usize| Moment(60_000_000 + key as u64);
            let stream = |key| IdleStream { key, idle: Idle::Kept, until: until(key) };
            let gone = chosen((0..idle).map(stream).collect(), Moment(1_000_000), waits);
            assert_eq!(gone.len(), go, "of {idle}");
            assert!(gone.iter().all(|stream| stream.key < go), "of {idle}: {gone:?}");
        }
    }
}
