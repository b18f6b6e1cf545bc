//! The date, as certificates and what is told of upstreams have it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since the epoch; none, where a clock stands before that.
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
