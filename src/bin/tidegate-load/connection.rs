//! The life of a connection: opened, asked again and again, opened anew when the server closes it.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::dispatcher::RequestSlot;
use super::echo::Echo;
use super::load_fault::LoadFault;
use super::load_thread::LoadThread;
use super::response::ResponseReader;
use super::round_trip::{MessageReader, RoundTrip, RoundTripEnd};
use super::workload::WorkloadKind;
use tidegate::http::upgrade::Offer;
use tidegate::http::{Asked, Method};
use tidegate::io::reactor::Direction;
use tidegate::io::stream::Stream;

/// How long a connection rests after it could not be opened, so that a dead server does not make us spin.
const REST: Duration = Duration::from_millis(50);

/// Lives until there are no more requests or the run is over.
pub async fn run(thread: Rc<LoadThread>) {
    let mut connection = LoadConnection::new(&thread);
    let opened = connection.open().await;
    thread.opened(opened);
    match thread.workload.kind {
        WorkloadKind::Idle => connection.stand().await,
        WorkloadKind::Http | WorkloadKind::WebSocket => connection.work().await,
    }
    drop(connection);
    thread.left();
}

struct LoadConnection<'w> {
    thread: &'w LoadThread,
    stream: Option<Stream>,
    /// Requests that this stream has carried.
    carried: u64,
    answer: ResponseReader,
    echo: Option<Echo>,
}

impl<'w> LoadConnection<'w> {
    fn new(thread: &'w LoadThread) -> LoadConnection<'w> {
        let workload = &*thread.workload;
        let answer = ResponseReader::new(workload.method.into(), workload.hashes());
        let echo = thread.payload.as_ref().map(|payload| Echo::new(Rc::clone(payload)));
        LoadConnection { thread, stream: None, carried: 0, answer, echo }
    }

    /// Makes requests as long as there are any.
    async fn work(&mut self) {
        let (thread, slot) = (self.thread, Rc::new(RequestSlot::default()));
        while let Some(due) =
            poll_fn(|cx| thread.dispatcher.poll_next(&slot, thread.now(), cx)).await
        {
            let result = self.ask().await;
            if thread.has_ended() {
                return;
            }
            thread.note(result, due);
            if result.is_err_and(LoadFault::is_of_connecting)
                && thread.core.sleep(REST).await.is_err()
            {
                return;
            }
        }
    }

    /// Makes one request, and then stands until the run is over or the server closes.
    async fn stand(&mut self) {
        let result = match self.stream {
            Some(_) => self.ask().await,
            None => return,
        };
        if self.thread.has_ended() {
            return;
        }
        self.thread.note(result, self.thread.now());
        let Some(stream) = self.stream.as_ref().filter(|_| result.is_ok()) else {
            return self.thread.stands(false);
        };
        self.thread.stands(true);
        stream.no_deadline(Direction::Read);
        let gone = poll_fn(|cx| stream.poll_closed(true, cx)).await;
        if gone.is_ok() && !self.thread.has_ended() {
            self.thread.note(Err(LoadFault::ClosedEarly), self.thread.now());
        }
    }

    /// One request, on this connection or a new one. Where the server has closed an old one without taking
    /// notice of the request, a new one is tried, once.
    async fn ask(&mut self) -> Result<(), LoadFault> {
        if self.stream.as_ref().is_some_and(|stream| stream.is_readable() && !stream.is_quiet()) {
            self.stream = None;
        }
        let used = self.stream.is_some() && self.carried > 0;
        match self.try_once().await {
            Err((_, true)) if used && !self.thread.has_ended() => {
                self.try_once().await.map_err(|(fault, _)| fault)
            }
            result => result.map_err(|(fault, _)| fault),
        }
    }

    /// One attempt; an error tells whether the connection was stale.
    async fn try_once(&mut self) -> Result<(), (LoadFault, bool)> {
        if self.stream.is_none() {
            self.open().await.map_err(|fault| (fault, false))?;
        }
        // It was opened just now, where there was none.
        let Some(stream) = &self.stream else { return Err((LoadFault::Other, false)) };
        let workload = &*self.thread.workload;
        let octets = &workload.octets;
        let end = match &mut self.echo {
            Some(echo) => {
                echo.begin();
                round_trip(self.thread, stream, octets, echo).await
            }
            None => {
                self.answer.begin();
                round_trip(self.thread, stream, octets, &mut self.answer).await
            }
        };
        match end {
            Ok(end) => {
                self.carried += 1;
                let goes_on = match &mut self.echo {
                    Some(echo) => answer_ping(stream, echo).is_ok(),
                    None => self.answer.is_persistent() && workload.keep_alive,
                };
                if !goes_on || end.ended || !end.sent_all {
                    self.stream = None;
                }
                self.judge().map_err(|fault| (fault, false))
            }
            Err(failed) => {
                self.stream = None;
                Err(failed)
            }
        }
    }

    /// Is the answer the expected one?
    fn judge(&self) -> Result<(), LoadFault> {
        if self.echo.is_some() {
            return Ok(());
        }
        let status = self.answer.status();
        self.thread.saw_status(status);
        if self.thread.workload.prints_hash {
            self.thread.saw_digest(self.answer.digest());
        }
        self.thread.workload.expected.judge(status, || self.answer.digest())
    }

    async fn open(&mut self) -> Result<(), LoadFault> {
        let thread = self.thread;
        let _turn = thread.dials.acquire().await;
        if thread.has_ended() {
            return Err(LoadFault::Other);
        }
        if self.carried > 0 && thread.workload.keep_alive {
            thread.count_reconnect();
        }
        self.carried = 0;
        let stream = thread.dial().await?;
        if let Some(handshake) = &thread.workload.handshake {
            let offer = Some(Offer::WebSocket { key: handshake.key });
            let mut answer = ResponseReader::new(Asked { method: Method::Get, offer }, false);
            let sent = round_trip(thread, &stream, &handshake.octets, &mut answer).await;
            sent.map_err(|(fault, _)| fault)?;
            thread.saw_status(answer.status());
            if answer.status() != 101 {
                return Err(LoadFault::Status((answer.status() / 100) as u8));
            }
        }
        self.stream = Some(stream);
        Ok(())
    }
}

/// One round trip; an error tells whether the connection was stale.
async fn round_trip<H: MessageReader>(
    thread: &LoadThread,
    stream: &Stream,
    octets: &[u8],
    reader: &mut H,
) -> Result<RoundTripEnd, (LoadFault, bool)> {
    stream.deadline_in(Direction::Read, thread.workload.timeout);
    let mut round_trip = RoundTrip { thread, stream, octets, sent: 0, reader, answered: false };
    let result = poll_fn(|cx| round_trip.poll(cx)).await;
    result.map_err(|fault| (fault, round_trip.was_stale(fault)))
}

/// Sends the pong that is owed, if any; it is so small that it goes at once or never will.
fn answer_ping(stream: &Stream, echo: &mut Echo) -> io::Result<()> {
    let Some(pong) = echo.pong() else { return Ok(()) };
    match stream.write(&pong)? {
        Some(sent) if sent == pong.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}
