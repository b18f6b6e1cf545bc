//! How the limit on descriptors is divided up.

use super::Listen;

/// Client connections at most, if nobody says how many and there are enough descriptors.
pub const CONNECTIONS: usize = 20_000;

/// Descriptors kept for the control plane while clients and upstreams want more: for the admin, the log, names.
const CONTROL: usize = 24;
/// Those that it has from the start: standard streams, signals, its own reactor.
const START: usize = 24;
/// Those that a core has beside its sockets.
const CORE: usize = 4;

/// Which descriptors are for what. The kernel gives out the lowest number that is free (open(2)), so whoever gets
/// one beyond a mark knows that all below are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Clients have numbers below this; what lies above is for upstreams and the control plane.
    pub clients: usize,
    /// Upstreams and pipes have numbers below this; what lies above is for the control plane.
    pub upstreams: usize,
}

impl Marks {
    /// Of `most` descriptors an eighth is kept for upstreams.
    pub fn of(most: usize) -> Marks {
        let upstreams = most.saturating_sub(CONTROL);
        Marks { clients: upstreams - (most / 8).min(upstreams), upstreams }
    }
}

/// Descriptors in use before the first client comes: each core has a socket for each address, and a copy waits for
/// the next process.
pub fn in_use(workers: usize, listen: &[Listen]) -> usize {
    let families = |listen: &Listen| if matches!(listen, Listen::Any(_)) { 2 } else { 1 };
    let sockets: usize = listen.iter().map(families).sum();
    START + workers * (CORE + 2 * sockets)
}

/// How many clients `descriptors` are enough for, when each has a request and that its upstream connection; at
/// least one for each worker.
pub fn connections_for(descriptors: usize, workers: usize, listen: &[Listen]) -> usize {
    (descriptors.saturating_sub(in_use(workers, listen) + CONTROL) / 2).max(workers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept_for_upstreams_and_some_for_the_control_plane() {
        for (most, clients, upstreams) in
            [(1024, 872, 1000), (20_000, 17_476, 19_976), (64, 32, 40), (8, 0, 0)]
        {
            assert_eq!(Marks::of(most), Marks { clients, upstreams }, "{most}");
        }
        assert!(Marks::of(usize::MAX).clients > usize::MAX / 2);
    }

    #[test]
    fn each_client_has_a_descriptor_for_its_upstream() {
        let [one, many] = [vec![Listen::Any(80)], vec![Listen::Any(80); 3]];
        for (descriptors, workers, listen, connections) in [
            (1024, 2, &one, 480),
            (20_000, 1, &one, 9_972),
            (128, 1, &one, 36),
            (128, 6, &many, 6),
            (0, 4, &one, 4),
        ] {
            assert_eq!(connections_for(descriptors, workers, listen), connections, "{descriptors}");
        }
    }
}
