//! Room for what is wanted now, when descriptors run short or there are as many clients as there may be: first
//! what is kept for later goes, then clients that are idle, those that have been silent longest first.

use std::time::Duration;

use super::super::client::idle_waits;
use super::command::{Event, Lack};
use super::worker::Worker;

/// Of the idle clients one in so many is closed at a time, so that looking for them costs little for each.
const ONE_IN: usize = 32;
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
                || worker.epoch().pool.close_oldest() > 0
                || close_idle_clients(worker)
        }
        Lack::Connection => close_idle_clients(worker),
    }
}

fn close_idle_clients(worker: &Worker) -> bool {
    let closed = worker.core.reactor.expire_idle(ONE_IN, idle_waits(&worker.epoch().plan.listener));
    worker.stats.idle_closed.add(closed as u64);
    closed > 0
}
