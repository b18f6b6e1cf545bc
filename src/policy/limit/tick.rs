//! Time as limits count it: in ticks, so that a time takes few octets.

use std::time::Duration;

/// The longest window there is: 146 years, in nanoseconds. A longer one is as good as this.
const WINDOW_MOST: u64 = u64::MAX / 4;
/// The latest time there is: 292 years, in nanoseconds.
const NOW_MOST: u128 = u64::MAX as u128 / 2;

/// A tick: a power of ten of nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    nanos: u64,
}

/// A time, and the ticks around it.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    nanos: u64,
    tick: Tick,
    /// The last tick that is not later.
    pub down: u64,
    /// The first tick that is not earlier.
    pub up: u64,
}

impl Tick {
    /// The shortest of which so many windows take at most `most`.
    pub fn of(window: Duration, windows: u32, most: u64) -> Tick {
        let longest = u128::from(nanos(window)) * u128::from(windows);
        let mut tick = Tick { nanos: 1 };
        while longest.div_ceil(tick.nanos.into()) > most.into() {
            tick.nanos *= 10;
        }
        tick
    }

    /// A window in ticks, rounded up, and one at least.
    pub fn window(self, window: Duration) -> u64 {
        nanos(window).div_ceil(self.nanos)
    }

    /// A time in ticks.
    pub fn now(self, now: Duration) -> Now {
        let nanos = now.as_nanos().min(NOW_MOST) as u64;
        let down = nanos / self.nanos;
        let up = down + u64::from(down * self.nanos < nanos);
        Now { nanos, tick: self, down, up }
    }

    /// A nanosecond: no time lies between two ticks.
    pub fn is_finest(self) -> bool {
        self.nanos == 1
    }
}

impl Now {
    /// How long it is until this tick; zero if that is past.
    pub fn until(&self, ticks: u64) -> Duration {
        Duration::from_nanos(ticks.saturating_mul(self.tick.nanos).saturating_sub(self.nanos))
    }
}

fn nanos(window: Duration) -> u64 {
    // Smaller than the bound, it fits.
    window.as_nanos().clamp(1, WINDOW_MOST.into()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_as_short_as_it_may_be() {
        const MOST: u64 = 4_000_000_000;
        let table = [(1, 1), (4, 1), (5, 10), (60, 100), (3600, 1_000), (86_400, 100_000)];
        for (seconds, nanos) in table {
            let window = Duration::from_secs(seconds);
            let tick = Tick::of(window, 1, MOST);
            assert_eq!(tick, Tick { nanos }, "{seconds} s");
            assert_eq!(u128::from(tick.window(window) * nanos), window.as_nanos());
        }
        assert!(Tick::of(Duration::MAX, 1, MOST).window(Duration::MAX) <= MOST);
        assert!(Tick::of(Duration::MAX, u32::MAX, 1 << 62).window(Duration::MAX) > 0);
        assert_eq!(Tick::of(Duration::ZERO, 1, MOST).window(Duration::ZERO), 1);
    }

    #[test]
    fn a_time_between_two_ticks_knows_both() {
        let tick = Tick { nanos: 10 };
        for (nanos, down, up) in [(0, 0, 0), (1, 0, 1), (9, 0, 1), (10, 1, 1), (11, 1, 2)] {
            let now = tick.now(Duration::from_nanos(nanos));
            assert_eq!((now.down, now.up), (down, up), "{nanos}");
            assert_eq!(now.until(5), Duration::from_nanos(50 - nanos));
            assert_eq!(now.until(0), Duration::ZERO);
        }
    }
}
