//! The time, read once or a few times for each turn of a core's loop.
//!
//! Every duration tidegate reports is a difference of two such readings, so it is exact to the
//! length of one turn (some tens of microseconds under load) and costs no system call.

use std::cell::Cell;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::kernel;

/// A point in time: microseconds since a little before the clock was made, or since the origin it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// When a clock begins: late enough for a deadline that has just passed to be told from none.
const BEGINNING: Moment = Moment(100_000);

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, duration: Duration) -> Moment {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(micros))
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// Zero if `earlier` is in fact later.
    fn sub(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// What the clocks of several cores are to count from, so that they tell each other times.
pub fn origin() -> Instant {
    kernel::monotonic()
}

/// A core's clock.
#[derive(Debug)]
pub struct Clock {
    origin: Cell<Instant>,
    now: Cell<Moment>,
    /// Unix time at `wall_read`; asked for again when a second has gone by.
    wall_s: Cell<u64>,
    wall_read: Cell<Moment>,
}

impl Default for Clock {
    fn default() -> Self {
        Clock {
            origin: Cell::new(kernel::monotonic()),
            now: Cell::new(BEGINNING),
            wall_s: Cell::new(unix_s()),
            wall_read: Cell::new(BEGINNING),
        }
    }
}

impl Clock {
    /// Counts from `origin` from now on: before anybody has asked for the time.
    pub fn count_from(&self, origin: Instant) {
        self.origin.set(origin);
        let now = self.tick();
        self.wall_read.set(now);
    }

    /// When the clock was read last: in this turn.
    pub fn now(&self) -> Moment {
        self.now.get()
    }

    /// Reads the clock. Only the core's loop does.
    pub fn tick(&self) -> Moment {
        let micros = kernel::monotonic().duration_since(self.origin.get()).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.now.set(Moment(micros.saturating_add(BEGINNING.0)));
        self.now.get()
    }

    /// The time of day, to the microsecond: asks the kernel.
    pub fn realtime(&self) -> SystemTime {
        kernel::realtime()
    }

    /// Seconds since 1970, at most a second old.
    pub fn unix_s(&self) -> u64 {
        if self.now() - self.wall_read.get() >= Duration::from_millis(500) {
            self.wall_s.set(unix_s());
            self.wall_read.set(self.now());
        }
        self.wall_s.get()
    }
}

fn unix_s() -> u64 {
    kernel::realtime().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
