//! Room for what is wanted now, when descriptors run short or there are as many clients as there may be: first
//! what is kept for later goes, then clients that are idle, those that have been silent longest first.

use super::client::idle_waits;
use super::letters::{Event, Lack};
use super::worker::Worker;

/// Idle clients closed at a time: a part of all, so that looking for them costs little for each.
const PART: usize = 32;

/// Which descriptors are for what. The kernel gives out the lowest number that is free (open(2)), so whoever gets
/// one beyond a mark knows that nearly all below are in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    /// Clients have numbers below this; what lies above is for upstreams and the admin.
    pub clients: usize,
    /// Upstreams have numbers below this; what lies above is for the admin.
    pub upstreams: usize,
}

impl Marks {
    /// Descriptors kept for the admin, the log and whatever else the control plane opens.
    pub const CONTROL: usize = 24;

    /// Of `most` descriptors an eighth is kept for upstreams.
    pub fn of(most: usize) -> Marks {
        let upstreams = most.saturating_sub(Marks::CONTROL);
        Marks { clients: upstreams - (most / 8).min(upstreams), upstreams }
    }
}

/// Makes room; clients that had to go are gone in the next turn. `false`: this core has nothing to close, and the
/// others have been asked.
pub(super) fn make_room(worker: &Worker, lack: Lack) -> bool {
    let made = close_idle(worker, lack);
    if !made {
        worker.report(Event::Crowded(lack));
    }
    made
}

/// Closes something idle. For want of a descriptor first what is kept for later: pipes, and connections to
/// upstreams. `false`: there is nothing of the kind.
pub(super) fn close_idle(worker: &Worker, lack: Lack) -> bool {
    match lack {
        Lack::Descriptor => {
            worker.core.pipes.close_free() > 0
                || worker.upstreams.close_oldest() > 0
                || close_idle_clients(worker)
        }
        Lack::Place => close_idle_clients(worker),
    }
}

fn close_idle_clients(worker: &Worker) -> bool {
    let closed = worker.core.reactor.expire_idle(PART, idle_waits(&worker.plan.waits));
    worker.stats.idle_closed.add(closed as u64);
    closed > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept_for_upstreams_and_some_for_the_control_plane() {
        for (most, clients, upstreams) in
            [(1024, 872, 1000), (20_000, 17_476, 19_976), (64, 32, 40), (8, 0, 0)]
        {
            let marks = Marks::of(most);
            assert_eq!((marks.clients, marks.upstreams), (clients, upstreams), "{most}");
        }
        assert!(Marks::of(usize::MAX).clients > usize::MAX / 2);
    }
}
