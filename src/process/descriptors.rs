//! How many descriptors the process may have (getrlimit(2)).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for as many as may be had, and says how many those are.
pub fn most() -> usize {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Where this fails the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let current = getrlimit(Resource::Nofile).current;
    current.and_then(|current| usize::try_from(current).ok()).unwrap_or(usize::MAX)
}
