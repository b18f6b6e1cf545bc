//! Which upstream of a pool gets a request: what stands between each of them and it, and whose turn it is.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::balance::{self, Choice};
use super::breaker::Grant;
use super::entry::Entry;
use super::lease::Lease;
use super::pool::Pool;
use super::upstream::Upstream;
use crate::io::clock::Moment;
use crate::stats::UpstreamState;

/// How often another core may be quicker before a request is told that there is no room.
const RACES_MOST: usize = 4;

/// The request that an upstream is picked for.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// Upstreams that are not asked again.
    pub tried: &'a [Rc<Upstream>],
    /// The request has failed once: an upstream that is known to work is preferred.
    pub again: bool,
    /// What it is hashed by, where the pool wants that.
    pub key: u64,
    /// The upstream that the client wants to stay with.
    pub stays_with: Option<&'a Arc<UpstreamState>>,
    /// All of it is here.
    pub whole: bool,
    /// The time.
    pub now: Moment,
}

/// Why there is no upstream for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// All were tried, are down, or get no requests.
    None,
    /// What is left is left alone until then.
    Resting(Moment),
    /// What is left has as many requests as it may have, or some of it has and the rest is left alone. Nobody who waits
    /// is called when the time of those comes: who joins, or ends, has the first look again, and waits are bounded.
    Full,
}

/// One that can be picked.
#[derive(Debug)]
pub(super) struct Member {
    pub upstream: Rc<Upstream>,
    pub weight: u32,
    pub slow_start: Duration,
}

impl Member {
    fn entry(&self) -> &Entry {
        self.upstream.entry()
    }
}

impl balance::Member for Member {
    fn weight(&self) -> u32 {
        self.weight
    }

    fn ramp(&self, now: Moment) -> f32 {
        if self.slow_start.is_zero() { 1.0 } else { self.entry().ramp(self.slow_start, now) }
    }

    fn under_way(&self) -> u32 {
        self.entry().load.under_way()
    }

    fn cost(&self, now: Moment) -> f32 {
        self.entry().load.cost(now) / self.weight as f32
    }
}

/// How a member stands to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Ready,
    Out(Unavailable),
}

impl Pool {
    /// The upstream for one request: of those that are ready the one whose turn it is.
    ///
    /// # Errors
    /// There is none; why.
    pub fn pick(self: &Rc<Self>, pick: &Pick<'_>) -> Result<Lease, Unavailable> {
        let mut races = 0;
        loop {
            let (member, is_forced) = self.choose(pick)?;
            if let Some(lease) = self.take(member, is_forced, pick) {
                return Ok(lease);
            }
            races += 1;
            if races == RACES_MOST {
                return self.after_races(member, pick);
            }
        }
    }

    /// Other cores were quicker each time, with this member last. Who may wait in a queue does; where there is none,
    /// one that somebody tries already is better than no answer.
    pub(super) fn after_races(
        self: &Rc<Self>,
        member: &Member,
        pick: &Pick<'_>,
    ) -> Result<Lease, Unavailable> {
        let may_force = self.rules().fail_open && self.queue_spec().is_none();
        let lease = if may_force { self.take(member, true, pick) } else { None };
        lease.ok_or(Unavailable::Full)
    }

    fn choose(&self, pick: &Pick<'_>) -> Result<(&Member, bool), Unavailable> {
        let is_ready = |member: &Member| self.standing(member, pick) == Standing::Ready;
        if let Some(wanted) = pick.stays_with
            && let Some(member) =
                self.members().find(|member| Arc::ptr_eq(member.upstream.state(), wanted))
            && is_ready(member)
        {
            return Ok((member, false));
        }
        let choice = Choice {
            turns: &self.linked.state.counts.turns,
            again: pick.again,
            key: pick.key,
            under_way: self.linked.state.counts.under_way.load(Relaxed),
            now: pick.now,
        };
        for (members, order) in self.tiers.iter().zip(&self.linked.orders) {
            if pick.again {
                let works = |member: &Member| is_ready(member) && member.upstream.works();
                if let Some(member) = order.choose(members, &choice, works) {
                    return Ok((member, false));
                }
            }
            if let Some(member) = order.choose(members, &choice, is_ready) {
                return Ok((member, false));
            }
        }
        let why = self.why_none(pick);
        // Not while another is merely busy: that one is well, and worth a wait.
        if self.rules().fail_open && matches!(why, Unavailable::Resting(_)) {
            let rests = |member: &Member| {
                matches!(self.standing(member, pick), Standing::Out(Unavailable::Resting(_)))
            };
            for (members, order) in self.tiers.iter().zip(&self.linked.orders) {
                if let Some(member) = order.choose(members, &choice, rests) {
                    return Ok((member, true));
                }
            }
        }
        Err(why)
    }

    /// What stands between this member and the request.
    fn standing(&self, member: &Member, pick: &Pick<'_>) -> Standing {
        let Member { upstream, .. } = member;
        if upstream.is_down() || is_among(pick.tried, upstream) {
            return Standing::Out(Unavailable::None);
        }
        let head_start = self.rules().head_start(pick.whole);
        if let Err(until) = member.entry().breaker.look(pick.now, head_start) {
            return Standing::Out(Unavailable::Resting(until));
        }
        match self.queue_spec() {
            Some(queue) if member.entry().load.under_way() >= queue.max_requests => {
                Standing::Out(Unavailable::Full)
            }
            _ => Standing::Ready,
        }
    }

    /// Why none of the members is ready: room may be made soonest, and the one that rests shortest comes next.
    fn why_none(&self, pick: &Pick<'_>) -> Unavailable {
        let mut resting: Option<Moment> = None;
        for member in self.members() {
            match self.standing(member, pick) {
                Standing::Ready | Standing::Out(Unavailable::Full) => return Unavailable::Full,
                Standing::Out(Unavailable::Resting(until)) => {
                    resting = Some(resting.map_or(until, |known| known.min(until)));
                }
                Standing::Out(Unavailable::None) => {}
            }
        }
        resting.map_or(Unavailable::None, Unavailable::Resting)
    }

    /// A lease of this member, unless another core was quicker.
    fn take(self: &Rc<Self>, member: &Member, is_forced: bool, pick: &Pick<'_>) -> Option<Lease> {
        let Member { upstream, .. } = member;
        let load = &member.entry().load;
        let grant = match is_forced {
            true => Grant::Forced,
            false => {
                let head_start = self.rules().head_start(pick.whole);
                member.entry().breaker.admit(self.rules(), pick.now, head_start).ok()?
            }
        };
        // From here on the lease gives back what it has.
        let mut lease = Lease::new(self, upstream, grant);
        if self.counts {
            match self.queue_spec() {
                Some(queue) if !load.up_below(queue.max_requests) => return None,
                Some(_) => {}
                None => load.up(),
            }
            self.linked.state.counts.under_way.fetch_add(1, Relaxed);
            lease.count();
        }
        Some(lease)
    }

    /// The same upstream once more. A breaker that was asked for has its say again: what failed may have opened it.
    ///
    /// # Errors
    /// It takes no more requests now.
    pub fn lease(
        self: &Rc<Self>,
        upstream: &Rc<Upstream>,
        now: Moment,
    ) -> Result<Lease, Unavailable> {
        let member = self.members().find(|member| Rc::ptr_eq(&member.upstream, upstream));
        let member = member.filter(|_| !upstream.is_down()).ok_or(Unavailable::None)?;
        let pick = Pick { tried: &[], again: true, key: 0, stays_with: None, whole: true, now };
        self.take(member, !self.rules().is_asked, &pick).ok_or(Unavailable::Full)
    }

    /// Is there an upstream besides the `excluded` that a request could go to now?
    pub fn has_ready(&self, excluded: &[Rc<Upstream>], now: Moment) -> bool {
        let pick =
            Pick { tried: excluded, again: true, key: 0, stays_with: None, whole: true, now };
        self.members().any(|member| match self.standing(member, &pick) {
            Standing::Ready | Standing::Out(Unavailable::Full) => true,
            Standing::Out(Unavailable::Resting(_)) => self.rules().fail_open,
            Standing::Out(Unavailable::None) => false,
        })
    }
}

fn is_among(upstreams: &[Rc<Upstream>], this: &Rc<Upstream>) -> bool {
    upstreams.iter().any(|upstream| Rc::ptr_eq(upstream, this))
}
