//! What so many descriptors are enough for.

/// Client connections at most, if nobody says how many and there are enough descriptors.
pub const CONNECTIONS: usize = 20_000;

/// Descriptors that are neither a client's nor an upstream's: those of the control plane, and of each core.
const CONTROL: usize = 64;
const CORE: usize = 8;

/// Descriptors that tidegate needs before the first client comes.
pub fn descriptors_fixed(workers: usize) -> usize {
    CONTROL + CORE * workers
}

/// How many clients `descriptors` are enough for, when each has a request and that its upstream connection; at
/// least one for each worker.
pub fn connections_for(descriptors: usize, workers: usize) -> usize {
    (descriptors.saturating_sub(descriptors_fixed(workers)) / 2).max(workers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_a_descriptor_for_its_upstream() {
        for (descriptors, workers, connections) in
            [(1024, 2, 472), (20_000, 1, 9_964), (128, 1, 28), (80, 2, 2), (0, 4, 4)]
        {
            assert_eq!(connections_for(descriptors, workers), connections, "{descriptors}");
        }
    }
}
