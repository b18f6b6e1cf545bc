//! What is known of the request under way: the one truth that counters, the log record and the decisions are views of.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::decide::WhyNot;
use crate::io::Error;
use crate::io::clock::Moment;
use crate::policy::gate::GateFacts;
use crate::stats::Attempt;
use crate::upstream::Upstream;

/// How far the answer is, as the client sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AnswerState {
    /// No octet of it has left, but for interim answers that left whole.
    #[default]
    Silent,
    /// An interim answer has begun to leave, and has not left whole: no other answer can follow it.
    Interim,
    /// The head of a switch to another protocol is on the way.
    Switching,
    /// The final head is on the way, or a body whose length the client knows.
    Body,
    /// The same, and only the close will mark the end of the body.
    BodyUntilClose,
    /// It has left whole.
    Whole,
}

/// Written where a thing happens, and read once in `finish`.
pub(super) struct Facts {
    /// When the request's first octet was seen.
    pub started: Cell<Moment>,
    /// Octets of the request that were read, head and body.
    pub bytes_in: Cell<u64>,
    /// Octets of the answer that were sent, head and body, interim answers included.
    pub bytes_out: Cell<u64>,
    /// The heads among `bytes_out`, counted when they begin to leave.
    pub heads_out: Cell<u64>,
    /// The whole request was read.
    pub request_read: Cell<bool>,
    pub answer: Cell<AnswerState>,
    /// An interim answer of an upstream has left.
    pub has_interim: Cell<bool>,
    /// Status of the final answer, once its head is on the way.
    pub status: Cell<Option<u16>>,
    /// The connection to the upstream that was picked last had been used before.
    pub reused: Cell<bool>,
    /// The upstream of the last attempt, if it is not among `attempts`.
    pub upstream: Cell<Option<Rc<Upstream>>>,
    /// Attempts that failed and were followed by another, for the log.
    pub attempts: RefCell<Vec<Attempt>>,
    /// Why the request is not sent again after the last one.
    pub not_again: Cell<Option<WhyNot>>,
    /// When the client may try again, in seconds; 0: nobody knows.
    pub retry_after: Cell<u32>,
    /// What the gate says of it, where there is one.
    pub gate: OnceCell<Box<GateFacts>>,
    /// The client is to be told which upstream it stays with.
    pub tells_upstream: Cell<bool>,
    /// What went wrong with the last one.
    pub cause: Cell<Option<Error>>,
    /// How long it waited for room at an upstream, where it did.
    pub queued: Cell<Option<Duration>>,
    /// How long connecting took.
    pub connect: Cell<Option<Duration>>,
    /// From the first octet of the request to the first of the answer.
    pub first_byte: Cell<Option<Duration>>,
}

impl Facts {
    /// Those of a request whose first octet came at `started`, or comes later.
    pub fn new(started: Moment) -> Facts {
        Facts {
            started: Cell::new(started),
            bytes_in: Cell::default(),
            bytes_out: Cell::default(),
            heads_out: Cell::default(),
            request_read: Cell::default(),
            answer: Cell::default(),
            has_interim: Cell::default(),
            status: Cell::default(),
            reused: Cell::default(),
            upstream: Cell::default(),
            attempts: RefCell::default(),
            not_again: Cell::default(),
            retry_after: Cell::default(),
            gate: OnceCell::new(),
            tells_upstream: Cell::default(),
            cause: Cell::default(),
            queued: Cell::default(),
            connect: Cell::default(),
            first_byte: Cell::default(),
        }
    }

    /// The head of the final answer, or of a switch, is on the way.
    pub fn answers(&self, status: u16, answer: AnswerState) {
        self.status.set(Some(status));
        self.answer.set(answer);
    }
}

/// Adds to a count.
pub(super) fn add(count: &Cell<u64>, n: u64) {
    count.set(count.get() + n);
}
