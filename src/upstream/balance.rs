//! Which upstream is next, among those that a request may go to.
//!
//! Whose turn it is all cores share, as the number of turns so far; so they share how busy an upstream is.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::ring::{self, Ring};
use crate::config::Balance;
use crate::io::clock::Moment;

/// An upstream that can be chosen.
pub trait Member {
    /// Its share, in proportion to the others.
    fn weight(&self) -> u32;
    /// How much of its share it gets: less than 1 for a while after it came.
    fn ramp(&self, now: Moment) -> f32;
    /// Requests under way to it, on all cores.
    fn under_way(&self) -> u32;
    /// What a request costs there: the less, the better.
    fn cost(&self, now: Moment) -> f32;
}

/// What a choice rests on besides the members.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Turns so far.
    pub turns: &'a AtomicUsize,
    /// The request is sent again: it had its turn, and takes none from another.
    pub again: bool,
    /// What the request is hashed by.
    pub key: u64,
    /// Requests under way to all members.
    pub under_way: u32,
    pub now: Moment,
}

/// How some members are chosen from: made once for a plan, shared by all cores.
#[derive(Debug)]
pub enum Order {
    /// As [`Balance::RoundRobin`].
    Turns(Schedule),
    /// As [`Balance::LeastRequests`]; whose turn it is decides between equals.
    Least(Schedule),
    /// As [`Balance::TwoChoices`].
    TwoChoices(Schedule),
    /// As [`Balance::Hash`]; the weights of all together.
    Hash(Ring, u32),
}

impl Choice<'_> {
    /// Whose turn it is.
    fn turn(&self) -> usize {
        if self.again { self.turns.load(Relaxed) } else { self.turns.fetch_add(1, Relaxed) }
    }
}

/// With a hash, no member has more requests than so many times its share.
const BOUND: f32 = 1.25;
/// Points of a ring looked at for one request.
const STEPS_MOST: usize = 1024;

impl Order {
    /// The order of members with these names and weights, none of them 0.
    pub fn of(balance: &Balance, names: &[&str], weights: &[u32]) -> Order {
        match balance {
            Balance::RoundRobin => Order::Turns(Schedule::of(weights)),
            Balance::LeastRequests => Order::Least(Schedule::of(weights)),
            Balance::TwoChoices => Order::TwoChoices(Schedule::of(weights)),
            Balance::Hash(_) => {
                let members = names.iter().copied().zip(weights.iter().copied());
                Order::Hash(Ring::of(members), weights.iter().sum())
            }
        }
    }

    /// It goes by how many requests are under way.
    pub fn counts(&self) -> bool {
        !matches!(self, Order::Turns(_))
    }

    /// The next of `members`, one of the `usable`. `None`: none is.
    pub fn choose<'m, M: Member>(
        &self,
        members: &'m [M],
        choice: &Choice<'_>,
        usable: impl Fn(&M) -> bool,
    ) -> Option<&'m M> {
        match self {
            _ if members.is_empty() => None,
            Order::Turns(schedule) => schedule.next(members, choice, usable),
            Order::Least(schedule) => {
                let score = |member: &M| {
                    let share = member.weight() as f32 * member.ramp(choice.now);
                    member.under_way() as f32 / share
                };
                let turn = choice.turn();
                least(from(members, schedule.member(turn, members.len())), usable, score)
            }
            Order::TwoChoices(schedule) => {
                let drawn = ring::mix(choice.turn() as u64);
                let [one, other] = [drawn, drawn >> 32]
                    .map(|drawn| schedule.member(drawn as u32 as usize, members.len()));
                let other = if one == other { (other + 1) % members.len() } else { other };
                let cost = |member: &M| member.cost(choice.now) / member.ramp(choice.now);
                let two = [&members[one], &members[other]];
                let better = least(two.into_iter(), &usable, cost);
                better.or_else(|| from(members, one).find(|member| usable(member)))
            }
            Order::Hash(ring, weights) => by_key((ring, *weights), members, choice, usable),
        }
    }
}

/// The member that the key belongs to, unless it has more than [`BOUND`] allows: then the next that has not.
fn by_key<'m, M: Member>(
    (ring, weights): (&Ring, u32),
    members: &'m [M],
    choice: &Choice<'_>,
    usable: impl Fn(&M) -> bool,
) -> Option<&'m M> {
    let on_ring = |steps: usize| {
        let places = ring.from(choice.key).take(steps);
        places.map(|place| &members[place]).filter(|member| usable(member))
    };
    let share = |member: &M| member.weight() as f32 * member.ramp(choice.now);
    let is_below = |member: &M, average: f32| {
        (member.under_way() as f32) < (BOUND * average * share(member)).ceil()
    };
    // What nearly all find: the first is below what would be allowed were all usable, and the others are not looked at.
    if let Some(member) = on_ring(members.len()).next()
        && is_below(member, (choice.under_way + 1) as f32 / weights as f32)
    {
        return Some(member);
    }
    // Those that are out take no share, or those that are left could not be below theirs.
    let mut left = (0, 0.0);
    for member in members.iter().filter(|member| usable(member)) {
        left = (left.0 + member.under_way(), left.1 + share(member));
    }
    if left.1 == 0.0 {
        return None;
    }
    let average = (left.0 + 1) as f32 / left.1;
    let load = |member: &M| member.under_way() as f32 / share(member);
    // At least one is below; but its points may lie far off.
    let found = on_ring(STEPS_MOST).find(|member| is_below(member, average));
    found.or_else(|| least(from(members, choice.key as usize % members.len()), &usable, load))
}

/// All members, beginning with the one at `first`.
fn from<M>(members: &[M], first: usize) -> impl Iterator<Item = &M> {
    let (before, behind) = members.split_at(first);
    behind.iter().chain(before)
}

/// The first of those with the least score.
fn least<'m, M: 'm>(
    members: impl Iterator<Item = &'m M>,
    usable: impl Fn(&M) -> bool,
    score: impl Fn(&M) -> f32,
) -> Option<&'m M> {
    let mut best: Option<(f32, &M)> = None;
    for member in members.filter(|member| usable(member)) {
        let score = score(member);
        if best.is_none_or(|(least, _)| score < least) {
            best = Some((score, member));
        }
    }
    best.map(|(_, member)| member)
}

/// Whose turn is when, by weight.
#[derive(Debug, Default)]
pub struct Schedule {
    /// The members by their places, each as often as it weighs and spread out; empty: one after the other.
    turns: Vec<u32>,
}

/// Turns of a schedule at most: beyond that, weights are rounded.
const MOST_TURNS: u64 = 1 << 16;

impl Schedule {
    /// A schedule for members of these weights, none of them 0.
    pub fn of(weights: &[u32]) -> Schedule {
        let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, *weight)).max(1);
        if weights.iter().all(|weight| *weight == divisor) {
            return Schedule::default();
        }
        let total: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
        let shrink = total.div_ceil(MOST_TURNS).max(1) as u32;
        // A member's turns lie at equal distances, beginning in the middle of the first.
        let mut turns: Vec<(f64, u32)> = Vec::new();
        for (member, weight) in weights.iter().enumerate() {
            let weight = (weight / divisor / shrink).max(1);
            let at = |turn: u32| (f64::from(turn) + 0.5) / f64::from(weight);
            turns.extend((0..weight).map(|turn| (at(turn), member as u32)));
        }
        turns.sort_by(|one, other| one.0.total_cmp(&other.0));
        Schedule { turns: turns.into_iter().map(|(_, member)| member).collect() }
    }

    /// The next of `members` that is usable. Passing over one takes its turn, so that the one behind it is not served
    /// twice as often.
    fn next<'m, M: Member>(
        &self,
        members: &'m [M],
        choice: &Choice<'_>,
        usable: impl Fn(&M) -> bool,
    ) -> Option<&'m M> {
        let first = choice.turn();
        let mut held_back = None;
        for passed in 0..self.len(members.len()) {
            let turn = first.wrapping_add(passed);
            let member = &members[self.member(turn, members.len())];
            if !usable(member) {
                continue;
            }
            let ramp = member.ramp(choice.now);
            if ramp < 1.0 && fraction(turn) >= ramp {
                held_back.get_or_insert(member);
                continue;
            }
            if passed > 0 && !choice.again {
                choice.turns.fetch_add(passed, Relaxed);
            }
            return Some(member);
        }
        held_back
    }

    /// How many turns there are until it begins anew.
    fn len(&self, members: usize) -> usize {
        if self.turns.is_empty() { members } else { self.turns.len() }
    }

    /// The place of the member whose turn it is; `turn` counts from anywhere.
    pub fn member(&self, turn: usize, members: usize) -> usize {
        match self.turns.len() {
            0 => turn % members,
            len => self.turns[turn % len] as usize,
        }
    }
}

/// A number from 0 to 1 that is not foreseen, the same for the same turn.
fn fraction(turn: usize) -> f32 {
    (ring::mix(turn as u64) >> 40) as f32 / (1_u64 << 24) as f32
}

fn gcd(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { gcd(other, one % other) }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::config::HashKey;

    #[derive(Debug)]
    struct Fake {
        place: usize,
        weight: u32,
        ramp: f32,
        under_way: Cell<u32>,
        cost: f32,
    }

    impl Member for Fake {
        fn weight(&self) -> u32 {
            self.weight
        }
        fn ramp(&self, _: Moment) -> f32 {
            self.ramp
        }
        fn under_way(&self) -> u32 {
            self.under_way.get()
        }
        fn cost(&self, _: Moment) -> f32 {
            self.cost * (self.under_way.get() + 1) as f32 / self.weight as f32
        }
    }

    const BALANCES: [Balance; 4] = [
        Balance::RoundRobin,
        Balance::LeastRequests,
        Balance::TwoChoices,
        Balance::Hash(HashKey::Client),
    ];

    fn members(weights: &[u32]) -> Vec<Fake> {
        let member = |(place, weight): (usize, &u32)| Fake {
            place,
            weight: *weight,
            ramp: 1.0,
            under_way: Cell::new(0),
            cost: 1.0,
        };
        weights.iter().enumerate().map(member).collect()
    }

    fn order(balance: &Balance, members: &[Fake]) -> Order {
        let names: Vec<String> =
            members.iter().map(|one| format!("http://a{}:1", one.place)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let weights: Vec<u32> = members.iter().map(|one| one.weight).collect();
        Order::of(balance, &names, &weights)
    }

    /// How often each member is chosen in so many requests, of which none ends.
    fn chosen(
        order: &Order,
        members: &[Fake],
        requests: u32,
        usable: impl Fn(&Fake) -> bool,
    ) -> Vec<u32> {
        let turns = AtomicUsize::new(0);
        let mut chosen = vec![0; members.len()];
        for request in 0..requests {
            let key = ring::hash(&request.to_be_bytes());
            let choice =
                Choice { turns: &turns, again: false, key, under_way: request, now: Moment(1) };
            if let Some(member) = order.choose(members, &choice, &usable) {
                chosen[member.place] += 1;
                member.under_way.set(member.under_way.get() + 1);
            }
        }
        chosen
    }

    #[test]
    fn a_million_requests_are_spread_by_weight() {
        for (balance, within) in BALANCES.iter().zip([0.0001, 0.0001, 0.05, 0.26]) {
            let members = members(&[1, 2, 5]);
            let requests = 1_000_000;
            let shares = chosen(&order(balance, &members), &members, requests, |_| true);
            assert_eq!(shares.iter().sum::<u32>(), requests);
            for (share, weight) in shares.iter().zip([1, 2, 5]) {
                let fair = f64::from(requests) * f64::from(weight) / 8.0;
                let off = (f64::from(*share) / fair - 1.0).abs();
                assert!(off <= within, "{balance:?}: {shares:?}");
            }
        }
    }

    #[test]
    fn nobody_gets_what_is_not_usable_and_somebody_gets_what_is() {
        for balance in &BALANCES {
            for usable in 0..4 {
                let members = members(&[1, 3, 2, 1]);
                let order = order(balance, &members);
                let only = chosen(&order, &members, 100, |one| one.place == usable);
                assert_eq!(only[usable], 100, "{balance:?}");
                assert_eq!(chosen(&order, &members, 100, |_| false), [0; 4], "{balance:?}");
            }
            assert_eq!(chosen(&order(balance, &[]), &[], 1, |_| true), [0; 0]);
        }
    }

    #[test]
    fn one_that_is_passed_over_does_not_double_the_load_of_the_next() {
        let members = members(&[1, 1, 1]);
        let order = order(&Balance::RoundRobin, &members);
        assert_eq!(chosen(&order, &members, 300, |one| one.place > 0), [0, 150, 150]);
    }

    #[test]
    fn a_request_that_is_sent_again_takes_no_turn() {
        let members = members(&[1, 1]);
        let order = order(&Balance::RoundRobin, &members);
        let turns = AtomicUsize::new(0);
        let places = [false, true, false, true, false].map(|again| {
            let choice = Choice { turns: &turns, again, key: 0, under_way: 0, now: Moment(1) };
            order.choose(&members, &choice, |_| true).unwrap().place
        });
        assert_eq!(places, [0, 1, 1, 0, 0], "nobody is always the first to be asked");
    }

    #[test]
    fn the_least_busy_is_next_and_turns_decide_between_equals() {
        let members = members(&[1, 1, 1]);
        let order = order(&Balance::LeastRequests, &members);
        members[0].under_way.set(5);
        assert_eq!(chosen(&order, &members, 10, |_| true), [0, 5, 5]);
        members.iter().for_each(|one| one.under_way.set(0));
        let turns = AtomicUsize::new(0);
        let choice = Choice { turns: &turns, again: false, key: 0, under_way: 0, now: Moment(1) };
        let idle = [(); 6].map(|()| order.choose(&members, &choice, |_| true).unwrap().place);
        assert_eq!(idle, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn of_two_the_one_that_answers_sooner_is_taken() {
        let mut members = members(&[1, 1]);
        members[0].cost = 10.0;
        let order = order(&Balance::TwoChoices, &members);
        let turns = AtomicUsize::new(0);
        let mut slow = 0;
        for _ in 0..1000 {
            let choice =
                Choice { turns: &turns, again: false, key: 0, under_way: 0, now: Moment(1) };
            slow += u32::from(order.choose(&members, &choice, |_| true).unwrap().place == 0);
        }
        assert_eq!(slow, 0);
    }

    #[test]
    fn a_key_stays_unless_its_upstream_has_more_than_its_share() {
        let members = members(&[1; 8]);
        let order = order(&Balance::Hash(HashKey::Uri), &members);
        let turns = AtomicUsize::new(0);
        let mut most = 0.0_f64;
        for request in 0..1000_u32 {
            let choice =
                Choice { turns: &turns, again: false, key: 42, under_way: request, now: Moment(1) };
            let member = order.choose(&members, &choice, |_| true).unwrap();
            member.under_way.set(member.under_way.get() + 1);
            let average = f64::from(request + 1) / 8.0;
            most = most.max(f64::from(member.under_way.get()) - 1.25 * average);
        }
        assert!(most <= 1.0, "no more than the next whole request above: {most}");
        members.iter().for_each(|one| one.under_way.set(0));
        let choice = Choice { turns: &turns, again: false, key: 42, under_way: 0, now: Moment(1) };
        let calm = [(); 5].map(|()| order.choose(&members, &choice, |_| true).unwrap().place);
        assert!(calm.iter().all(|place| *place == calm[0]), "{calm:?}");
    }

    #[test]
    fn a_key_is_spread_over_those_that_are_left() {
        for out in [1, 2, 3] {
            let members = members(&[1; 5]);
            let order = order(&Balance::Hash(HashKey::Uri), &members);
            let (turns, looked) = (AtomicUsize::new(0), Cell::new(0));
            let is_left = |one: &Fake| {
                looked.set(looked.get() + 1);
                one.place >= out
            };
            for under_way in 0..1000_u32 {
                let now = Moment(1);
                let choice = Choice { turns: &turns, again: false, key: 42, under_way, now };
                let member = order.choose(&members, &choice, is_left).unwrap();
                member.under_way.set(member.under_way.get() + 1);
                let average = f64::from(under_way + 1) / (5 - out) as f64;
                let most = f64::from(member.under_way.get());
                assert!(most <= (1.25 * average).ceil(), "{most}, on average {average}");
            }
            assert!(looked.get() < 50_000, "{} looks for {out} that are out", looked.get());
            looked.set(0);
            let choice =
                Choice { turns: &turns, again: false, key: 42, under_way: 0, now: Moment(1) };
            let nobody = |one: &Fake| is_left(one) && one.place > 4;
            assert!(order.choose(&members, &choice, nobody).is_none());
            assert!(looked.get() <= 10, "{} looks when all are out", looked.get());
        }
    }

    #[test]
    fn who_came_lately_gets_part_of_its_share() {
        let mut members = members(&[1, 1]);
        members[0].ramp = 0.25;
        let order = order(&Balance::RoundRobin, &members);
        let shares = chosen(&order, &members, 10_000, |_| true);
        let share = f64::from(shares[0]) / 5_000.0;
        assert!((0.2..0.4).contains(&share), "{shares:?}");
        members.iter().for_each(|one| one.under_way.set(0));
        assert_eq!(chosen(&order, &members, 10, |one| one.place == 0)[0], 10, "alone, all");
    }

    #[test]
    fn turns_are_spread_out_by_weight() {
        for (weights, expected) in [
            (&[1, 1][..], &[][..]),
            (&[7, 7, 7], &[]),
            (&[1, 3], &[1, 0, 1, 1]),
            (&[2, 6], &[1, 0, 1, 1]),
            (&[5, 1, 1], &[0, 0, 0, 1, 2, 0, 0]),
        ] {
            assert_eq!(Schedule::of(weights).turns, expected, "{weights:?}");
        }
        let heavy = Schedule::of(&(1..=256).cycle().take(16_384).collect::<Vec<_>>());
        assert!(heavy.turns.len() <= 2 * MOST_TURNS as usize, "{}", heavy.turns.len());
    }
}
