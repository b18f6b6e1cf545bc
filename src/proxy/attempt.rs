//! Attempt after attempt, until the client has an answer or none is left. What an attempt came to is noted here: by the
//! lease, by the upstream's state, and in the facts of the request.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::check::{Admitted, Terms};
use super::core::Worker;
use super::decide::{self, Again, Attempted, WhyNot};
use super::dial::{Dialled, Undialled, dial};
use super::exchange::{Delivered, ExchangeError, Undelivered, exchange};
use super::facts::{AnswerState, Facts};
use super::hedge;
use super::pick::{self, Wish};
use super::session::Exchange;
use crate::config::RetrySpec;
use crate::http::{Fault, Framing, Reason};
use crate::stats;
use crate::upstream::{Lease, Outcome, Refusal, Unavailable, Upstream, has_reason};

/// The key by which an upstream knows a request that it had before (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: &[u8] = b"idempotency-key";

/// Forwards the request to one upstream after the other: at most `retries` more than one, and once more to one whose
/// idle connection had died.
pub(super) async fn attempts(mut admitted: Admitted<'_>) -> Result<Delivered, Reason> {
    let terms = admitted.terms();
    if terms.spec.retry.most > 0 {
        terms.pool.begin();
    }
    let mut attempts = Attempts::new(terms, Wish::of(&mut admitted, terms));
    loop {
        let lease = match attempts.pick(admitted.exchange()) {
            Ok(lease) => lease,
            // Boxed, for it is rare, and others should not carry the room.
            Err(why) => Box::pin(attempts.pick_else(admitted.exchange(), why)).await?,
        };
        admitted.exchange().facts.upstream.set(Some(Rc::clone(lease.upstream())));
        let fresh = attempts.again.is_some();
        let mut dialled = match dial(admitted, terms, lease, fresh).await {
            Ok(dialled) => dialled,
            Err(undialled) => {
                admitted = attempts.undialled(*undialled)?;
                continue;
            }
        };
        let mut sent = None;
        if attempts.may_hedge(&dialled) {
            // Boxed for the same reason.
            (dialled, sent) = Box::pin(hedge::race(dialled, &mut attempts)).await;
        }
        // Pinned where it is made: awaited as it stands, its two KiB would be moved twice.
        let exchanged = pin!(exchange(dialled, sent, &attempts)).await;
        match exchanged {
            Ok(delivered) => return Ok(delivered),
            Err(undelivered) => admitted = attempts.undelivered(undelivered)?,
        }
    }
}

/// The state that earlier attempts leave to the next.
pub(super) struct Attempts<'s> {
    /// Where the request goes, and how.
    pub terms: Terms<'s>,
    /// Which upstream the request wants.
    wish: Wish<'s>,
    /// Upstreams that could not be connected to, or that failed the request.
    tried: Vec<Rc<Upstream>>,
    /// Those that could not be connected to, or closed on it: they are not asked again.
    excluded: Vec<Rc<Upstream>>,
    /// How often it was sent again to another upstream.
    retries: u32,
    /// The request is sent again: only a fresh connection will do.
    again: Option<Again>,
    /// The upstream of the last attempt, once it is sent again there.
    here: Option<Rc<Upstream>>,
}

impl<'s> Attempts<'s> {
    /// None yet.
    fn new(terms: Terms<'s>, wish: Wish<'s>) -> Attempts<'s> {
        Attempts {
            terms,
            wish,
            tried: Vec::new(),
            excluded: Vec::new(),
            retries: 0,
            again: None,
            here: None,
        }
    }

    /// Which upstream the request wants.
    pub fn wish(&self) -> Wish<'s> {
        self.wish
    }

    /// An attempt came to nothing: the request had its turn.
    fn has_failed(&self) -> bool {
        self.again.is_some() || !self.tried.is_empty()
    }

    /// The upstream to ask now, if one is ready.
    fn pick(&mut self, exchange: &Exchange) -> Result<Lease, Unavailable> {
        let Terms { pool, spec, .. } = self.terms;
        // Only the connection was stale; another upstream is asked if this one has been found dead meanwhile.
        if let Some(here) = self.here.take().filter(|here| here.works() || spec.retry.most == 0)
            && let Ok(lease) = pool.lease(&here, exchange.worker.now())
        {
            return Ok(lease);
        }
        pick::pick(exchange, pool, self.wish, &self.tried, self.has_failed())
    }

    /// None is: the upstream to ask after a wait, or one that was asked before.
    async fn pick_else(&self, exchange: &Exchange, why: Unavailable) -> Result<Lease, Reason> {
        let (terms, wish, again) = (self.terms, self.wish, self.has_failed());
        // All were tried; those that were late, or answered, may do better now.
        let revisits = why == Unavailable::None && self.tried.len() > self.excluded.len();
        let tried = if revisits { &self.excluded } else { &self.tried };
        let found = match revisits {
            true => pick::pick(exchange, terms.pool, wish, tried, again),
            false => Err(why),
        };
        match found {
            Ok(lease) => Ok(lease),
            Err(why) => pick::wait(exchange, terms, (wish, tried, again), why).await,
        }
    }

    /// This upstream failed the request; `closed`: so that it is not asked again.
    pub fn give_up_on(&mut self, upstream: Rc<Upstream>, closed: bool) {
        if closed {
            self.excluded.push(Rc::clone(&upstream));
        }
        self.tried.push(upstream);
    }

    /// The request may be sent to a second upstream if its answer takes long.
    fn may_hedge(&self, dialled: &Dialled<'_>) -> bool {
        let hedge = self.terms.spec.retry.hedge;
        !hedge.is_zero() && hedge::is_possible(dialled.exchange()) && hedge < self.patience(|| true)
    }

    /// No connection could be made. The request itself, if there is another attempt.
    fn undialled(&mut self, undialled: Undialled<'s>) -> Result<Admitted<'s>, Reason> {
        let Undialled { admitted, lease, refusal } = undialled;
        let exchange = admitted.exchange();
        let Terms { pool, spec, .. } = self.terms;
        self.give_up_on(Rc::clone(lease.upstream()), true);
        let again = match () {
            () if self.retries >= spec.retry.most => Err(WhyNot::NoneLeft),
            () if !pool.has_ready(&self.excluded, exchange.worker.now()) => Err(WhyNot::NoOther),
            () => Ok(Again::Elsewhere),
        };
        let label = again.map_or_else(WhyNot::label, Again::label);
        if !unreached(exchange, lease, &refusal, label) {
            return Err(refusal.reason); // another would not help
        }
        match (refusal.reason, again) {
            (_, Ok(_)) => {
                self.retries += 1;
                exchange.worker.stats.retries.add(1);
                Ok(admitted)
            }
            (Reason::ConnectTimeout, Err(_)) => Err(Reason::ConnectTimeout), // 504 says more than 503
            // The pick will say why there is none.
            (_, Err(WhyNot::NoOther)) => Ok(admitted),
            (_, Err(_)) => Err(Reason::NoUpstream),
        }
    }

    /// There was no answer, or not all of one, or one that is not wanted. The request itself, if it may be sent again.
    fn undelivered(&mut self, undelivered: Box<Undelivered<'s>>) -> Result<Admitted<'s>, Reason> {
        let attempted = self.attempted(&undelivered);
        let Undelivered { admitted, lease, connection, error, .. } = *undelivered;
        let Exchange { worker, facts, .. } = admitted.exchange();
        let upstream = Rc::clone(lease.upstream());
        let is_stale = error.silent && connection.is_reused() && self.again.is_none();
        let outcome = match error.status {
            Some(status) => Outcome::Answered(status),
            None if is_stale => Outcome::Stale,
            None => Outcome::Failed(error.reason),
        };
        let turned = lease.end(outcome);
        worker.report_breaker(turned, outcome);
        let closed = error.status.is_none() && error.reason != Reason::ResponseTimeout;
        let again = match error.status {
            // That was decided when it came.
            Some(_) => Ok(Again::Elsewhere),
            None => self.decide(worker, attempted, closed.then_some(&upstream)),
        };
        let again = match again {
            Ok(again) => again,
            Err(why) => {
                facts.cause.set(error.cause);
                // Where the upstream did nothing wrong, nobody asks why.
                let is_its_fault = error.reason.fault() == Fault::Upstream;
                facts.not_again.set(Some(why).filter(|_| is_its_fault));
                return Err(error.reason);
            }
        };
        let cause = error.cause.map(|cause| cause.to_string());
        let cause = cause.or(error.status.map(|status| status.to_string()));
        note(facts, &upstream, connection.is_reused(), (error.reason, cause), again.label());
        match again {
            Again::Here => {
                worker.stats.replays.add(1);
                self.here = Some(upstream);
            }
            Again::Elsewhere => {
                worker.stats.retries.add(1);
                self.retries += 1;
                self.give_up_on(upstream, closed);
            }
        }
        self.again = Some(again);
        Ok(admitted)
    }

    /// What the decision to send the request again rests on.
    fn attempted(&self, undelivered: &Undelivered<'_>) -> Attempted {
        let Undelivered { admitted, connection, sent, behind, error, .. } = undelivered;
        // If the upstream closed in order and its kernel had acknowledged nothing of the request by then, its
        // program never saw it.
        let is_unseen = || {
            error.silent
                && error.reason == Reason::UpstreamClosed
                && connection.stream.is_unacknowledged(*sent)
        };
        let spec = &self.terms.spec.retry;
        let whole = is_whole(admitted.exchange().request.framing, *behind);
        Attempted {
            untold: is_untold(&admitted.exchange().facts),
            unanswered: error.silent,
            whole,
            // The kernel is asked only where it matters.
            repeatable: undelivered.repeatable || (whole && is_unseen()),
            listed: has_reason(&spec.on, error.reason) && is_retried(error),
            reused: connection.is_reused(),
            again: self.again,
            left: self.retries < spec.most,
        }
    }

    /// Sends it again, or says why not. `closed`: the upstream that closed on it.
    fn decide(
        &self,
        worker: &Worker,
        attempted: Attempted,
        closed: Option<&Rc<Upstream>>,
    ) -> Result<Again, WhyNot> {
        let pool = self.terms.pool;
        let excluded: Vec<_> = self.excluded.iter().chain(closed).cloned().collect();
        let mut why = None;
        let budget = || {
            if !pool.has_ready(&excluded, worker.now()) {
                why = Some(WhyNot::NoOther);
                return false;
            }
            let may = pool.may_send_again();
            worker.stats.retries_refused.add(u64::from(!may));
            may
        };
        let again = decide::again(attempted, budget);
        again.map_err(|not| why.unwrap_or(not))
    }

    /// An answer of this status came, and its client knows nothing of it yet. `true`: the request is sent again, and
    /// the answer is not wanted. `whole`: all of the request is still here.
    pub fn refuses(
        &self,
        exchange: &Exchange,
        (status, whole): (u16, bool),
        repeatable: impl FnOnce() -> bool,
    ) -> bool {
        let RetrySpec { on, most, .. } = &self.terms.spec.retry;
        if !on.has_status(status) {
            return false;
        }
        let attempted = Attempted {
            untold: is_untold(&exchange.facts),
            unanswered: false,
            whole,
            repeatable: repeatable(),
            listed: true,
            reused: false,
            again: self.again,
            left: self.retries < *most,
        };
        match self.decide(&exchange.worker, attempted, None) {
            Ok(_) => true,
            Err(why) => {
                exchange.facts.not_again.set(Some(why));
                false
            }
        }
    }

    /// Another upstream for a request whose answer takes long, if one may be asked.
    pub fn second(&mut self, exchange: &Exchange, first: &Rc<Upstream>) -> Option<Lease> {
        let Terms { pool, spec, .. } = self.terms;
        let worker = &exchange.worker;
        let tried: Vec<_> = self.tried.iter().chain([first]).cloned().collect();
        if self.retries >= spec.retry.most || !pool.has_ready(&tried, worker.now()) {
            return None;
        }
        if !pool.may_send_again() {
            worker.stats.retries_refused.add(1);
            return None;
        }
        let lease = pick::second(exchange, pool, self.wish, &tried)?;
        self.retries += 1;
        Some(lease)
    }

    /// How long an upstream may take to the first octet of its answer. Shorter where the request can be sent to
    /// another.
    pub fn patience(&self, repeatable: impl FnOnce() -> bool) -> Duration {
        let Terms { spec, .. } = self.terms;
        let RetrySpec { try_timeout, on, most, .. } = &spec.retry;
        let may_follow = !try_timeout.is_zero() && on.timeout && self.retries < *most;
        match may_follow && repeatable() {
            true => spec.timeouts.response.min(*try_timeout),
            false => spec.timeouts.response,
        }
    }
}

/// No connection could be made for this lease: notes so, and tells whom it concerns. `false`: the lack was ours.
pub(super) fn unreached(
    exchange: &Exchange,
    lease: Lease,
    refusal: &Refusal,
    again: &'static str,
) -> bool {
    let Exchange { worker, facts, .. } = exchange;
    let upstream = Rc::clone(lease.upstream());
    let outcome = Outcome::Failed(refusal.reason);
    let turned = lease.end(outcome);
    if matches!(refusal.reason, Reason::NoDescriptors | Reason::Stopped) {
        return false;
    }
    worker.report_down(&upstream, refusal);
    worker.report_breaker(turned, outcome);
    let cause = refusal.cause.map(|cause| cause.to_string());
    note(facts, &upstream, false, (refusal.reason, cause), again);
    true
}

/// The upstream may have the request twice: by its method, or because it has a key.
pub(super) fn is_repeatable(exchange: &Exchange, head: &[u8]) -> bool {
    let request = &exchange.request;
    let has_key = || {
        let mut names = request.fields.iter().map(|field| field.name.of(head));
        names.any(|name| name.eq_ignore_ascii_case(IDEMPOTENCY_KEY))
    };
    request.method.is_idempotent() || has_key()
}

/// All of the request is still here, as it came: its body came with its head, `behind` it.
pub(super) fn is_whole(framing: Framing, behind: usize) -> bool {
    match framing {
        Framing::None => true,
        Framing::Length(length) => behind as u64 >= length,
        // Decoding has changed the octets in the buffer.
        Framing::Chunked | Framing::UntilClose => false,
    }
}

/// The client has got nothing of an answer, not even an interim one.
fn is_untold(facts: &Facts) -> bool {
    facts.answer.get() == AnswerState::Silent && !facts.has_interim.get()
}

/// A connection that ended in the middle of an answer, or nonsense, is no reason to ask anybody else; one that ended
/// before, or silence, is.
fn is_retried(error: &ExchangeError) -> bool {
    match error.reason {
        Reason::ResponseTimeout => true,
        _ => error.silent,
    }
}

/// Writes down an attempt that came to nothing. It is not the last one any more, so the record of the request will not
/// add it.
pub(super) fn note(
    facts: &Facts,
    upstream: &Upstream,
    reused: bool,
    (reason, cause): (Reason, Option<String>),
    again: &'static str,
) {
    facts.upstream.take();
    facts.attempts.borrow_mut().push(stats::Attempt {
        upstream: Arc::clone(upstream.name()),
        reused,
        outcome: reason.label(),
        cause,
        again,
    });
}
