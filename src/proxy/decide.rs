//! Decisions about a request, as functions of what is known: why it failed, whether it is sent again, and where to.

use super::facts::AnswerState;
use crate::http::Reason;
use crate::io::Error;
use crate::io::reactor::Direction;

/// A side of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Client,
    Upstream,
}

/// Why a body did not get across.
#[derive(Clone, Copy, Debug)]
pub(super) enum BodyError {
    /// The sender closed too early, failed, or was silent for too long.
    From(Error),
    /// The receiver failed, or took nothing for too long.
    To(Error),
    /// It is malformed, or larger than allowed.
    Bad(Reason),
}

/// What it means that octets could not be read from, or written to, a peer.
pub(super) fn reason(peer: Peer, direction: Direction, error: Error) -> Reason {
    use Direction::{Read, Write};
    use Peer::{Client, Upstream};
    match (error, peer, direction) {
        (Error::Aborted, _, _) => Reason::Stopped,
        (Error::Deadline, Client, Read) => Reason::BodyTimeout,
        (Error::Deadline, Client, Write) => Reason::ClientWriteTimeout,
        (Error::Deadline, Upstream, Read) => Reason::UpstreamBodyTimeout,
        (Error::Deadline, Upstream, Write) => Reason::UpstreamWriteTimeout,
        (Error::Closed | Error::Tls(_), Client, Read) => Reason::BodyCutShort,
        (Error::Closed | Error::Os(_) | Error::Tls(_), Upstream, Read) => Reason::ResponseCutShort,
        (Error::Closed | Error::Os(_) | Error::Tls(_), Client, _) => Reason::ClientReset,
        (Error::Closed | Error::Os(_) | Error::Tls(_), Upstream, Write) => Reason::UpstreamReset,
    }
}

/// What it means that a body of this sender did not get to the other side.
pub(super) fn reason_of_body(sender: Peer, error: BodyError) -> Reason {
    match (error, sender) {
        (BodyError::From(error), sender) => reason(sender, Direction::Read, error),
        (BodyError::To(error), Peer::Client) => reason(Peer::Upstream, Direction::Write, error),
        (BodyError::To(error), Peer::Upstream) => reason(Peer::Client, Direction::Write, error),
        (BodyError::Bad(reason), Peer::Client) => reason,
        (BodyError::Bad(reason), Peer::Upstream) => reason.by_upstream(),
    }
}

/// What a client whose request failed still gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// An answer of ours, with this status.
    Answer(u16),
    /// The close, which says all there is to say.
    Close,
    /// A reset: a close would make what it got look whole.
    Reset,
}

/// What happens to the client's connection when a request fails for `reason`, with the answer so far.
pub(super) fn ending(answer: AnswerState, reason: Reason) -> Ending {
    match (answer, reason.status()) {
        // 499: nobody is left to be told.
        (AnswerState::Silent, None | Some(499)) => Ending::Close,
        (AnswerState::Silent, Some(status)) => Ending::Answer(status),
        (AnswerState::BodyUntilClose, _) => Ending::Reset,
        // A close shows that it was cut: its length was announced, or none of it can be taken for an end.
        (
            AnswerState::Interim | AnswerState::Switching | AnswerState::Body | AnswerState::Whole,
            _,
        ) => Ending::Close,
    }
}

/// Where a request goes whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// To the same upstream, over a new connection: the old one had died while it was idle.
    Here,
    /// To another upstream, if there is one that was not tried.
    Elsewhere,
}

impl Again {
    /// The word for it in the log.
    pub const fn label(self) -> &'static str {
        match self {
            Again::Here => "replayed",
            Again::Elsewhere => "retried",
        }
    }
}

/// Why a request whose attempt failed is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhyNot {
    /// The client has part of the answer.
    Answered,
    /// Part of its body is gone.
    BodyGone,
    /// The upstream may have done what it asks, and twice is not the same as once.
    NotIdempotent,
    /// `retry-on` has no such failure.
    NotListed,
    /// It was sent as often as `max-retries` allows.
    NoneLeft,
    /// No other upstream could be asked.
    NoOther,
    /// Too many were sent again lately.
    Budget,
}

impl WhyNot {
    /// The word for it in the log.
    pub const fn label(self) -> &'static str {
        match self {
            WhyNot::Answered => "answered",
            WhyNot::BodyGone => "body_gone",
            WhyNot::NotIdempotent => "not_idempotent",
            WhyNot::NotListed => "not_listed",
            WhyNot::NoneLeft => "none_left",
            WhyNot::NoOther => "no_other",
            WhyNot::Budget => "budget",
        }
    }
}

/// What is known of an attempt that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempted {
    /// The client has got nothing of an answer.
    pub untold: bool,
    /// The connection ended before one octet of an answer came.
    pub unanswered: bool,
    /// The whole request is still here, as it came.
    pub whole: bool,
    /// The upstream may have the request twice: its method is idempotent (RFC 9110 section 9.2.2), it has a key by
    /// which the upstream knows it, or it is certain that its program has not seen the first.
    pub repeatable: bool,
    /// It is one of the failures after which requests are sent again.
    pub listed: bool,
    /// The connection had carried a request before.
    pub reused: bool,
    /// The request was sent again already.
    pub again: Option<Again>,
    /// A retry is left.
    pub left: bool,
}

/// Is the request sent again, and where to? `budget`: takes the right to, asked last.
pub(super) fn again(attempted: Attempted, budget: impl FnOnce() -> bool) -> Result<Again, WhyNot> {
    let Attempted { untold, unanswered, whole, repeatable, listed, reused, again, left } =
        attempted;
    match () {
        () if !untold => Err(WhyNot::Answered),
        () if !repeatable => Err(WhyNot::NotIdempotent),
        () if !whole => Err(WhyNot::BodyGone),
        // A connection that had died while it was idle says nothing of the upstream.
        () if unanswered && reused && again.is_none() => Ok(Again::Here),
        () if !listed => Err(WhyNot::NotListed),
        () if !left => Err(WhyNot::NoneLeft),
        () if !budget() => Err(WhyNot::Budget),
        () => Ok(Again::Elsewhere),
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_a_client_still_gets_depends_on_what_it_got() {
        use Ending::{Answer, Close, Reset};
        for (answer, refused, gone) in [
            (AnswerState::Silent, Answer(502), Close),
            (AnswerState::Interim, Close, Close),
            (AnswerState::Switching, Close, Close),
            (AnswerState::Body, Close, Close),
            (AnswerState::BodyUntilClose, Reset, Reset),
            (AnswerState::Whole, Close, Close),
        ] {
            let told = [Reason::UpstreamClosed, Reason::ClientGone].map(|why| ending(answer, why));
            assert_eq!(told, [refused, gone], "{answer:?}");
        }
    }

    #[test]
    fn each_side_fails_in_its_own_way() {
        use Direction::{Read, Write};
        use Peer::{Client, Upstream};
        use Reason::*;
        let broken = Error::Os(Errno::CONNRESET);
        for (peer, direction, deadline, closed, os) in [
            (Client, Read, BodyTimeout, BodyCutShort, ClientReset),
            (Client, Write, ClientWriteTimeout, ClientReset, ClientReset),
            (Upstream, Read, UpstreamBodyTimeout, ResponseCutShort, ResponseCutShort),
            (Upstream, Write, UpstreamWriteTimeout, UpstreamReset, UpstreamReset),
        ] {
            let of = |error| reason(peer, direction, error);
            let told = [Error::Aborted, Error::Deadline, Error::Closed, broken].map(of);
            assert_eq!(told, [Stopped, deadline, closed, os], "{peer:?} {direction:?}");
        }
        let bad = |sender| reason_of_body(sender, BodyError::Bad(BadChunk));
        assert_eq!([Client, Upstream].map(bad), [BadChunk, BadChunk.by_upstream()]);
        let unread = |sender| reason_of_body(sender, BodyError::To(Error::Deadline));
        assert_eq!([Client, Upstream].map(unread), [UpstreamWriteTimeout, ClientWriteTimeout]);
    }

    #[test]
    fn a_stale_connection_is_replaced_and_a_dying_upstream_left() {
        use Again::{Elsewhere, Here};
        use WhyNot::*;
        let fine = Attempted {
            untold: true,
            unanswered: true,
            whole: true,
            repeatable: true,
            listed: true,
            reused: true,
            again: None,
            left: true,
        };
        for (attempted, expected) in [
            (fine, Ok(Here)),
            (Attempted { left: false, ..fine }, Ok(Here)),
            (Attempted { listed: false, ..fine }, Ok(Here)),
            (Attempted { reused: false, ..fine }, Ok(Elsewhere)),
            (Attempted { unanswered: false, ..fine }, Ok(Elsewhere)),
            (Attempted { again: Some(Here), ..fine }, Ok(Elsewhere)),
            (Attempted { again: Some(Here), reused: false, ..fine }, Ok(Elsewhere)),
            (Attempted { again: Some(Elsewhere), reused: false, ..fine }, Ok(Elsewhere)),
            (Attempted { again: Some(Here), listed: false, ..fine }, Err(NotListed)),
            (Attempted { reused: false, left: false, ..fine }, Err(NoneLeft)),
            (Attempted { again: Some(Here), left: false, ..fine }, Err(NoneLeft)),
            (Attempted { untold: false, ..fine }, Err(Answered)),
            (Attempted { whole: false, ..fine }, Err(BodyGone)),
            (Attempted { repeatable: false, ..fine }, Err(NotIdempotent)),
        ] {
            assert_eq!(again(attempted, || true), expected, "{attempted:?}");
            let without = if expected == Ok(Elsewhere) { Err(Budget) } else { expected };
            assert_eq!(again(attempted, || false), without, "{attempted:?}");
        }
    }
}
