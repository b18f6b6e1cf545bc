//! The timer wheel: one link for each reactor slot, no allocation per timer.
//!
//! A deadline is kept by its owner; the wheel only promises to look at a slot not later than one
//! [`TICK`] after the earliest deadline it was told. Moving a deadline further away therefore costs
//! nothing: the slot is looked at once at the old place and linked again at the new one.

use std::time::Duration;

use super::clock::Moment;

/// How coarse a deadline is. Ticks are counted in 32 bits: enough for 4.3 years of uptime.
pub const TICK: Duration = Duration::from_millis(32);

/// Buckets in the wheel, a power of two: with [`TICK`] it spans 131 s; a later deadline goes round again.
const BUCKETS: usize = 4096;
const NONE: u32 = u32::MAX;

/// Where a slot hangs. `bucket == NONE`: nowhere.
#[derive(Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
    bucket: u32,
    tick: u32,
}

const UNLINKED: Link = Link { prev: NONE, next: NONE, bucket: NONE, tick: 0 };

/// The wheel. Slots are named by their reactor key.
pub struct Wheel {
    /// First slot of each bucket.
    heads: Box<[u32]>,
    /// One bit for each bucket that is not empty.
    occupied: Box<[u64]>,
    links: Vec<Link>,
    /// All ticks before this one have been looked at.
    next: u32,
}

impl Default for Wheel {
    fn default() -> Self {
        Wheel {
            heads: vec![NONE; BUCKETS].into_boxed_slice(),
            occupied: vec![0; BUCKETS / 64].into_boxed_slice(),
            links: Vec::new(),
            next: 0,
        }
    }
}

/// The tick in which `moment` has certainly passed.
pub fn tick_after(moment: Moment) -> u32 {
    let ticks = moment.0 / TICK.as_micros() as u64 + 1;
    u32::try_from(ticks).unwrap_or(u32::MAX - 1)
}

/// The first of the moments of which [`tick_after`] gives `tick`.
pub fn moment_before(tick: u32) -> Moment {
    Moment(u64::from(tick.saturating_sub(1)) * TICK.as_micros() as u64)
}

impl Wheel {
    /// Looks at slot `key` at `tick` or before. Does nothing if it is to be looked at earlier anyway.
    pub fn set(&mut self, key: usize, tick: u32) {
        if self.links.len() <= key {
            self.links.resize(key + 1, UNLINKED);
        }
        let link = self.links[key];
        if link.bucket != NONE {
            if link.tick <= tick {
                return;
            }
            self.remove(key);
        }
        self.link(key, tick.max(self.next));
    }

    /// Forgets slot `key`.
    pub fn remove(&mut self, key: usize) {
        let Some(&Link { prev, next, bucket, .. }) = self.links.get(key) else { return };
        if bucket == NONE {
            return;
        }
        if next != NONE {
            self.links[next as usize].prev = prev;
        }
        if prev != NONE {
            self.links[prev as usize].next = next;
        } else {
            self.heads[bucket as usize] = next;
            if next == NONE {
                self.occupied[bucket as usize / 64] &= !(1 << (bucket % 64));
            }
        }
        self.links[key] = UNLINKED;
    }

    /// Takes one slot whose tick has come, if there is any at or before `now`. The caller compares
    /// with the deadline it holds and, if that lies ahead, calls [`Wheel::set`] again.
    pub fn take(&mut self, now: u32) -> Option<usize> {
        while self.next <= now {
            let bucket = self.next as usize % BUCKETS;
            let mut key = self.heads[bucket];
            while key != NONE {
                let link = self.links[key as usize];
                if link.tick <= now {
                    self.remove(key as usize);
                    return Some(key as usize);
                }
                key = link.next;
            }
            // Nothing due lies in this bucket; jump over the empty ones.
            self.next = self.next_occupied(self.next + 1).unwrap_or(now + 1).min(now + 1);
        }
        None
    }

    /// How long until [`Wheel::take`] may find something; `None`: the wheel is empty.
    pub fn wait(&self, now: Moment) -> Option<Duration> {
        let tick = self.next_occupied(self.next)?;
        Some(Moment(u64::from(tick) * TICK.as_micros() as u64) - now)
    }

    fn link(&mut self, key: usize, tick: u32) {
        let bucket = tick as usize % BUCKETS;
        let next = self.heads[bucket];
        if next != NONE {
            self.links[next as usize].prev = key as u32;
        }
        self.links[key] = Link { prev: NONE, next, bucket: bucket as u32, tick };
        self.heads[bucket] = key as u32;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
    }

    /// The first tick at or after `from` whose bucket is not empty, at most one turn of the wheel ahead.
    fn next_occupied(&self, from: u32) -> Option<u32> {
        let words = self.occupied.len();
        let start = from as usize % BUCKETS;
        for step in 0..=words {
            let index = (start / 64 + step) % words;
            let mut word = self.occupied[index];
            if step == 0 {
                word &= !0 << (start % 64);
            } else if step == words {
                word &= !(!0 << (start % 64));
            }
            if word != 0 {
                let bucket = index * 64 + word.trailing_zeros() as usize;
                return Some(from + ((bucket + BUCKETS - start) % BUCKETS) as u32);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel, now: u32) -> Vec<usize> {
        let mut keys: Vec<_> = std::iter::from_fn(|| wheel.take(now)).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn slots_come_at_their_tick_and_once() {
        let mut wheel = Wheel::default();
        wheel.set(0, 5);
        wheel.set(3, 5);
        wheel.set(1, 7);
        assert_eq!(due(&mut wheel, 4), Vec::<usize>::new());
        assert_eq!(due(&mut wheel, 6), [0, 3]);
        assert_eq!(due(&mut wheel, 6), Vec::<usize>::new());
        assert_eq!(due(&mut wheel, 100), [1]);
        assert_eq!(wheel.wait(Moment(0)), None);
    }

    #[test]
    fn a_later_deadline_keeps_the_earlier_look_and_an_earlier_one_moves_it() {
        let mut wheel = Wheel::default();
        wheel.set(0, 10);
        wheel.set(0, 50);
        assert_eq!(due(&mut wheel, 10), [0]);
        wheel.set(0, 50);
        wheel.set(0, 20);
        assert_eq!(due(&mut wheel, 20), [0]);
        assert_eq!(due(&mut wheel, 60), Vec::<usize>::new());
    }

    #[test]
    fn a_deadline_beyond_the_wheel_goes_round() {
        let mut wheel = Wheel::default();
        let far = BUCKETS as u32 * 3 + 17;
        wheel.set(2, far);
        for now in (0..far).step_by(100) {
            assert_eq!(due(&mut wheel, now), Vec::<usize>::new());
        }
        assert_eq!(due(&mut wheel, far), [2]);
    }

    #[test]
    fn removed_slots_never_come_and_neighbours_stay() {
        let mut wheel = Wheel::default();
        for key in 0..3 {
            wheel.set(key, 9);
        }
        wheel.remove(1);
        wheel.remove(1);
        wheel.remove(77);
        assert_eq!(due(&mut wheel, 9), [0, 2]);
    }

    #[test]
    fn the_wait_ends_at_the_first_occupied_bucket() {
        let mut wheel = Wheel::default();
        wheel.set(0, 100);
        wheel.set(1, 3000);
        assert_eq!(wheel.wait(Moment(0)), Some(TICK * 100));
        assert_eq!(due(&mut wheel, 100), [0]);
        assert_eq!(wheel.wait(Moment(0)), Some(TICK * 3000));
        assert_eq!(wheel.wait(Moment(u64::MAX)), Some(Duration::ZERO));
    }
}
