//! One finished request, and the bounded queue that carries it to whoever writes the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Counter;

/// One try to get an answer from an upstream.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The connection had been used before.
    pub reused: bool,
    /// Label of the reason it ended with, from the table of `http::close`.
    pub outcome: &'static str,
    /// What the operating system said, if anything; of a status after which it was sent again, the status.
    pub cause: Option<String>,
    /// Whether the request was sent again after it, or why not; empty where there was no reason to.
    pub again: &'static str,
}

/// Everything worth telling about one request. Absent facts are `None`; text is as it came, so a writer must escape it.
#[derive(Clone, Debug)]
pub struct Record {
    /// When the request's first octet was seen.
    pub time: SystemTime,
    /// `X-Request-Id`, honoured or made.
    pub id: String,
    /// The connected peer; `None` over a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Scheme the request came by.
    pub scheme: &'static str,
    /// Request method, empty if none could be read.
    pub method: String,
    /// Effective host.
    pub host: String,
    /// Request target with query.
    pub target: String,
    /// HTTP minor version, 0 or 1.
    pub minor: u8,
    /// Status sent to the client; 499 when the client left before one was.
    pub status: u16,
    /// Octets of the request, head and body.
    pub bytes_in: u64,
    /// Octets of the answer, head and body.
    pub bytes_out: u64,
    /// The heads among them.
    pub heads_out: u64,
    /// From the first octet to the end.
    pub total: Duration,
    /// Time in the queue of its pool, if it waited there.
    pub queued: Option<Duration>,
    /// Time to connect, if a connection was made.
    pub connect: Option<Duration>,
    /// From the first octet of the request to the first octet of the answer.
    pub first_byte: Option<Duration>,
    /// The name of its route; empty if none meant it.
    pub route: Arc<str>,
    /// The name of the pool it went to; empty if it went to none.
    pub pool: Arc<str>,
    /// Who asked: the name of the token or user; empty if nobody said.
    pub auth: Arc<str>,
    /// The limit that refused it, or would have in earnest; empty if none did.
    pub limit: Arc<str>,
    /// Label of the reason the request ended with.
    pub reason: &'static str,
    /// `User-Agent`.
    pub user_agent: String,
    /// `Referer`.
    pub referer: String,
    /// Every upstream tried, in order; the last one gave the answer, if one did.
    pub attempts: Vec<Attempt>,
}

impl Record {
    /// Octets of the answer's body that were sent; none if its head did not leave whole.
    pub fn body_out(&self) -> u64 {
        self.bytes_out.saturating_sub(self.heads_out)
    }
}

/// Puts records in the queue; never waits.
#[derive(Debug)]
pub struct Recorder<R = Record> {
    queue: flume::Sender<Box<R>>,
    unwritten: Arc<Counter>,
}

impl<R> Clone for Recorder<R> {
    fn clone(&self) -> Self {
        Recorder { queue: self.queue.clone(), unwritten: Arc::clone(&self.unwritten) }
    }
}

impl<R> Recorder<R> {
    /// `false`: the queue was full and the record is lost (the caller counts that).
    pub fn record(&self, record: Box<R>) -> bool {
        self.queue.try_send(record).is_ok()
    }

    /// The same; a record that is lost is counted with those that could not be written.
    pub fn record_or_count(&self, record: Box<R>) {
        if !self.record(record) {
            self.unwritten.add_shared(1);
        }
    }

    /// Records that were queued and then could not be written; the writer counts them.
    pub fn unwritten(&self) -> &Arc<Counter> {
        &self.unwritten
    }
}

/// A queue of at most `capacity` records.
pub fn records<R>(capacity: usize) -> (Recorder<R>, flume::Receiver<Box<R>>) {
    let (sender, receiver) = flume::bounded(capacity);
    (Recorder { queue: sender, unwritten: Arc::default() }, receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_finds_the_queue_full_is_counted() {
        let (recorder, queue) = records(1);
        for record in 0..3 {
            recorder.record_or_count(Box::new(record));
        }
        assert_eq!((recorder.unwritten().get(), *queue.recv().unwrap()), (2, 0));
    }
}
