//! One attempt: how far it is, what its two directions tell each other, and how it failed.

use std::cell::Cell;

use rustix::io::Errno;

use super::super::decide::{self, BodyError, Peer};
use crate::http::Reason;
use crate::io::Error;
use crate::io::clock::Moment;

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// Its body is still coming.
    Going,
    /// All of it is with the upstream.
    Whole,
    /// The upstream took no more of it; it may have answered all the same.
    Refused,
    /// The upstream reset the connection meanwhile. What it said before can still be read, but the end
    /// behind it is none: the kernel tells of a reset only once, and told the writing side.
    Reset,
}

impl Upload {
    /// Writing to the upstream failed, but not for want of time.
    pub fn failed(error: Error) -> Upload {
        match error {
            Error::Os(Errno::CONNRESET) => Upload::Reset,
            _ => Upload::Refused,
        }
    }
}

/// What one attempt moved; tells the truth also about one that failed or was given up half-way.
#[derive(Debug, Default)]
pub(super) struct Transfer {
    /// When the request's head, and what was there of its body, had been sent.
    pub request_sent: Cell<Option<Moment>>,
    /// When the first octet of the answer came.
    pub first_byte: Cell<Option<Moment>>,
    /// Octets of the body read from the client, after those that came with the head.
    pub client_read: Cell<u64>,
    /// Octets sent to the client.
    pub client_sent: Cell<u64>,
    /// Octets read from the upstream.
    pub upstream_read: Cell<u64>,
    /// Octets sent to the upstream.
    pub upstream_sent: Cell<u64>,
}

/// Why there was no answer, or not all of one.
#[derive(Debug)]
pub struct ExchangeError {
    pub reason: Reason,
    /// The connection ended before one octet of an answer came.
    pub silent: bool,
    pub cause: Option<Error>,
    /// The answer has this status, after which the request is sent again.
    pub status: Option<u16>,
}

impl ExchangeError {
    /// A body of this sender did not get across.
    pub fn of_body(sender: Peer, error: BodyError) -> ExchangeError {
        let cause = match error {
            BodyError::From(Error::Closed) | BodyError::Bad(_) => None,
            BodyError::From(error) | BodyError::To(error) => Some(error),
        };
        ExchangeError {
            reason: decide::reason_of_body(sender, error),
            silent: false,
            cause,
            status: None,
        }
    }
}

impl From<Reason> for ExchangeError {
    fn from(reason: Reason) -> ExchangeError {
        ExchangeError { reason, silent: false, cause: None, status: None }
    }
}
