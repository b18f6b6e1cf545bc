//! Where the counts are: sets of eight keys, each key in one of two sets, as in the caches of processors.
//!
//! A set is allocated when the first key comes to it, and never grows. A key whose quota is whole is as good as none,
//! so nothing has to be swept.

use std::cmp::Reverse;

use super::sliding::MARKS_MOST;
use super::tick::Now;
use super::{Rule, Standing};

/// Keys of a set: their hashes take one line of a cache.
pub const WAYS: usize = 8;

/// What is known of a key besides its marks. All zero: nothing was counted yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// In ticks. A window: when the last request was admitted. A bucket: when it will be full.
    pub time: u64,
    /// A window: requests that are in it. A bucket: parts of a tick behind `time`.
    pub count: u32,
    /// A window: where in the ring the oldest mark is.
    pub first: u32,
}

/// All that is known of a key.
#[derive(Debug)]
pub struct Slot<'a> {
    /// Its numbers.
    pub tally: &'a mut Tally,
    /// Its ring of times.
    pub marks: &'a mut [u32],
}

/// Eight keys. One that was never used is 0, which no key is.
#[derive(Clone, Debug)]
pub struct Set {
    keys: [u64; WAYS],
    tallies: [Tally; WAYS],
    marks: Box<[u32]>,
}

impl Set {
    fn new(marks: usize) -> Set {
        let marks = vec![0; WAYS * marks].into();
        Set { keys: [0; WAYS], tallies: [Tally::default(); WAYS], marks }
    }

    fn slot(&mut self, way: usize) -> Slot<'_> {
        let marks = self.marks.len() / WAYS;
        Slot {
            tally: &mut self.tallies[way],
            marks: &mut self.marks[way * marks..(way + 1) * marks],
        }
    }
}

/// Sets that share a lock.
#[derive(Debug, Default)]
pub struct Shard {
    /// None at all until the first key comes.
    sets: Box<[Option<Box<Set>>]>,
    /// Sets that there are.
    allocated: usize,
}

/// Where a key is, or may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotIndex {
    set: usize,
    way: usize,
}

/// A key, the two sets that may have it, and of how many.
#[derive(Clone, Copy, Debug)]
pub struct Home {
    /// Not 0.
    pub key: u64,
    /// Sets of the shard; the same one twice if it has no other.
    pub sets: [usize; 2],
    /// Sets that a shard has.
    pub of: usize,
}

impl Shard {
    /// How the key stands; nothing is counted.
    pub fn peek(&mut self, rule: &Rule, home: &Home, now: &Now) -> Standing {
        match self.find(home) {
            Some(index) => rule.peek(&mut self.slot(rule, home, index), now),
            None => rule.peek(&mut Slot { tally: &mut Tally::default(), marks: &mut [] }, now),
        }
    }

    /// Counts a request if it may pass.
    pub fn take(&mut self, rule: &Rule, home: &Home, now: &Now) -> Standing {
        if let Some(index) = self.find(home) {
            return rule.take(&mut self.slot(rule, home, index), now);
        }
        let Some(index) = self.free(rule, home, now).or_else(|| self.victim(rule, home, now))
        else {
            let (tally, marks) = (&mut Tally::default(), &mut [0; MARKS_MOST as usize]);
            let standing = rule.take(&mut Slot { tally, marks }, now);
            return Standing { untracked: true, ..standing };
        };
        let mut slot = self.slot(rule, home, index);
        *slot.tally = Tally::default();
        rule.take(&mut slot, now)
    }

    /// Octets that are allocated for it.
    pub fn octets(&self, rule: &Rule) -> usize {
        size_of_val(&*self.sets) + self.allocated * set_octets(rule)
    }

    fn find(&self, home: &Home) -> Option<SlotIndex> {
        home.sets.iter().find_map(|&set| {
            let keys = &self.sets.get(set)?.as_ref()?.keys;
            let way = keys.iter().position(|key| *key == home.key)?;
            Some(SlotIndex { set, way })
        })
    }

    /// The slot, which is the key's from now on, and is allocated if it was not.
    fn slot(&mut self, rule: &Rule, home: &Home, index: SlotIndex) -> Slot<'_> {
        if self.sets.is_empty() {
            self.sets = vec![None; home.of].into();
        }
        let set = &mut self.sets[index.set];
        self.allocated += usize::from(set.is_none());
        let set = set.get_or_insert_with(|| Box::new(Set::new(rule.marks())));
        set.keys[index.way] = home.key;
        set.slot(index.way)
    }

    /// A free slot, in that of the two sets which has more of them.
    fn free(&mut self, rule: &Rule, home: &Home, now: &Now) -> Option<SlotIndex> {
        let mut best: Option<(usize, SlotIndex)> = None;
        for set in home.sets {
            let (mut free, mut first) = (0, 0);
            match self.sets.get_mut(set).and_then(Option::as_mut) {
                None => free = WAYS,
                Some(set) => {
                    for way in (0..WAYS).rev().filter(|way| rule.is_whole(&set.slot(*way), now)) {
                        (free, first) = (free + 1, way);
                    }
                }
            }
            if free > best.map_or(0, |(most, _)| most) {
                best = Some((free, SlotIndex { set, way: first }));
            }
        }
        best.map(|(_, index)| index)
    }

    /// The slot whose key makes room: the one with the most requests left, of these the one that was not used for the
    /// longest time; never one that has none left.
    fn victim(&mut self, rule: &Rule, home: &Home, now: &Now) -> Option<SlotIndex> {
        let mut best = None;
        for set in home.sets {
            let Some(Some(found)) = self.sets.get_mut(set) else { continue };
            for way in 0..WAYS {
                let mut slot = found.slot(way);
                let rank = (rule.remaining(&mut slot, now), Reverse(slot.tally.time));
                if rank.0 > 0 && best.is_none_or(|(most, _)| rank > most) {
                    best = Some((rank, SlotIndex { set, way }));
                }
            }
        }
        best.map(|(_, index)| index)
    }
}

/// Octets of a set, what it has elsewhere counted in.
pub fn set_octets(rule: &Rule) -> usize {
    size_of::<Set>() + WAYS * rule.marks() * size_of::<u32>()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::LimitTable;
    use super::super::testing::spec;

    const SECOND: Duration = Duration::from_secs(1);
    const MILLI: Duration = Duration::from_millis(1);

    /// A table with one set: all keys meet in it.
    fn one_set(requests: u32) -> LimitTable {
        LimitTable::new(&spec(requests, 10 * SECOND, None, 8))
    }

    /// How many requests each of these keys has left of `requests`; as many as ever for one that is not there.
    fn left(table: &LimitTable, keys: std::ops::Range<u64>, now: Duration) -> Vec<u32> {
        keys.map(|key| table.peek(key, now).remaining).collect()
    }

    #[test]
    fn keys_that_meet_in_a_set_are_counted_apart() {
        let table = one_set(9);
        for key in 1..9 {
            (0..key).for_each(|_| assert!(table.take(key, SECOND).admitted));
        }
        assert_eq!(left(&table, 1..9, SECOND), [8, 7, 6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn the_least_used_goes_and_of_these_the_oldest() {
        let table = one_set(9);
        let mut now = SECOND;
        // Keys 3 and 5 were used once, 5 before 3; the others twice.
        for key in [8, 8, 1, 1, 5, 2, 2, 3, 4, 4, 6, 6, 7, 7] {
            now += MILLI;
            table.take(key, now);
        }
        assert!(table.take(100, now).admitted);
        assert_eq!(left(&table, 1..9, now), [7, 7, 8, 7, 9, 7, 7, 7]);
        // Now 3 is older than 100.
        assert!(table.take(101, now).admitted);
        assert_eq!(left(&table, 1..9, now), [7, 7, 9, 7, 9, 7, 7, 7]);
        assert_eq!(left(&table, 100..102, now), [8, 8]);
    }

    #[test]
    fn a_slot_whose_quota_is_whole_is_free() {
        let table = one_set(9);
        (1..9).for_each(|key| assert!(table.take(key, u32::from(key == 4) * SECOND).admitted));
        let later = 10 * SECOND + MILLI;
        // Key 4 has 999 ms to go; the other seven are as good as not there.
        (100..107).for_each(|key| assert!(table.take(key, later).admitted));
        assert_eq!(left(&table, 4..5, later), [8]);
        assert_eq!(left(&table, 100..107, later), [8; 7]);
    }

    #[test]
    fn who_is_refused_keeps_the_place_and_a_new_one_passes_uncounted() {
        for burst in [None, Some(2)] {
            let table = LimitTable::new(&spec(2, 10 * SECOND, burst, 8));
            for key in 1..9 {
                (0..2).for_each(|_| assert!(table.take(key, SECOND).admitted));
            }
            for key in 100..200 {
                let standing = table.take(key, SECOND + MILLI);
                assert!(standing.admitted && standing.untracked, "{burst:?}: {standing:?}");
                assert_eq!(standing.remaining, 1);
            }
            for key in 1..9 {
                let standing = table.take(key, SECOND + MILLI);
                assert!(!standing.admitted && !standing.untracked, "{burst:?}: {standing:?}");
            }
            // When they may again, they are evicted as others are.
            assert!(!table.take(100, 11 * SECOND).untracked);
        }
    }

    #[test]
    fn a_peek_takes_no_place_and_counts_nothing() {
        let table = one_set(1);
        let before = table.octets();
        (0..1000).for_each(|key| assert_eq!(table.peek(key, SECOND).remaining, 1));
        assert_eq!(table.octets(), before, "a peek allocates");
        assert!(table.take(0, SECOND).admitted);
        assert!((0..10).all(|_| !table.peek(0, SECOND).admitted));
    }
}
