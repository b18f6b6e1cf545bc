//! The life of a connection: opened, asked again and again, opened anew when the server closes it.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::answer::Answer;
use super::dispatcher::Seat;
use super::echo::Echo;
use super::exchange::{Exchange, Heard, Heeded};
use super::fault::Fault;
use super::plan::Kind;
use super::worker::Worker;
use tidegate::http::upgrade::Offer;
use tidegate::http::{Asked, Method};
use tidegate::io::reactor::Direction;
use tidegate::io::stream::Stream;

/// How long a connection rests after it could not be opened, so that a dead server does not make us spin.
const REST: Duration = Duration::from_millis(50);

/// Lives until there are no more requests or the run is over.
pub async fn live(worker: Rc<Worker>) {
    let mut connection = Connection::new(&worker);
    let opened = connection.open().await;
    worker.opened(opened);
    match worker.plan.kind {
        Kind::Idle => connection.stand().await,
        Kind::Http | Kind::WebSocket => connection.work().await,
    }
    drop(connection);
    worker.left();
}

struct Connection<'w> {
    worker: &'w Worker,
    stream: Option<Stream>,
    /// Requests that this stream has carried.
    carried: u64,
    answer: Answer,
    echo: Option<Echo>,
}

impl<'w> Connection<'w> {
    fn new(worker: &'w Worker) -> Connection<'w> {
        let plan = &*worker.plan;
        let answer = Answer::new(plan.method.into(), plan.hashes());
        let echo = worker.payload.as_ref().map(|payload| Echo::new(Rc::clone(payload)));
        Connection { worker, stream: None, carried: 0, answer, echo }
    }

    /// Makes requests as long as there are any.
    async fn work(&mut self) {
        let (worker, seat) = (self.worker, Rc::new(Seat::default()));
        while let Some(due) =
            poll_fn(|cx| worker.dispatcher.poll_next(&seat, worker.now(), cx)).await
        {
            let result = self.ask().await;
            if worker.has_ended() {
                return;
            }
            worker.note(result, due);
            if result.is_err_and(Fault::is_of_connecting) && worker.core.sleep(REST).await.is_err()
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
        if self.worker.has_ended() {
            return;
        }
        self.worker.note(result, self.worker.now());
        let Some(stream) = self.stream.as_ref().filter(|_| result.is_ok()) else {
            return self.worker.stands(false);
        };
        self.worker.stands(true);
        stream.no_deadline(Direction::Read);
        let gone = poll_fn(|cx| stream.poll_closed(true, cx)).await;
        if gone.is_ok() && !self.worker.has_ended() {
            self.worker.note(Err(Fault::ClosedEarly), self.worker.now());
        }
    }

    /// One request, on this connection or a new one. Where the server has closed an old one without taking
    /// notice of the request, a new one is tried, once.
    async fn ask(&mut self) -> Result<(), Fault> {
        if self.stream.as_ref().is_some_and(|stream| stream.is_readable() && !stream.is_quiet()) {
            self.stream = None;
        }
        let used = self.stream.is_some() && self.carried > 0;
        match self.try_once().await {
            Err((_, true)) if used && !self.worker.has_ended() => {
                self.try_once().await.map_err(|(fault, _)| fault)
            }
            result => result.map_err(|(fault, _)| fault),
        }
    }

    /// One attempt; an error tells whether the connection was stale.
    async fn try_once(&mut self) -> Result<(), (Fault, bool)> {
        if self.stream.is_none() {
            self.open().await.map_err(|fault| (fault, false))?;
        }
        // It was opened just now, where there was none.
        let Some(stream) = &self.stream else { return Err((Fault::Other, false)) };
        let plan = &*self.worker.plan;
        let octets = &plan.octets;
        let heeded = match &mut self.echo {
            Some(echo) => {
                echo.begin();
                exchange(self.worker, stream, octets, echo).await
            }
            None => {
                self.answer.begin();
                exchange(self.worker, stream, octets, &mut self.answer).await
            }
        };
        match heeded {
            Ok(heeded) => {
                self.carried += 1;
                let goes_on = match &mut self.echo {
                    Some(echo) => answer_ping(stream, echo).is_ok(),
                    None => self.answer.is_persistent() && plan.keep_alive,
                };
                if !goes_on || heeded.ended || !heeded.sent_all {
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
    fn judge(&self) -> Result<(), Fault> {
        if self.echo.is_some() {
            return Ok(());
        }
        let status = self.answer.status();
        self.worker.saw_status(status);
        if self.worker.plan.prints_hash {
            self.worker.saw_digest(self.answer.digest());
        }
        self.worker.plan.expected.judge(status, || self.answer.digest())
    }

    async fn open(&mut self) -> Result<(), Fault> {
        let worker = self.worker;
        let _turn = worker.dials.acquire().await;
        if worker.has_ended() {
            return Err(Fault::Other);
        }
        if self.carried > 0 && worker.plan.keep_alive {
            worker.count_reconnect();
        }
        self.carried = 0;
        let stream = worker.dial().await?;
        if let Some(opening) = &worker.plan.opening {
            let offer = Some(Offer::WebSocket { key: opening.key });
            let mut answer = Answer::new(Asked { method: Method::Get, offer }, false);
            let sent = exchange(worker, &stream, &opening.octets, &mut answer).await;
            sent.map_err(|(fault, _)| fault)?;
            worker.saw_status(answer.status());
            if answer.status() != 101 {
                return Err(Fault::Status((answer.status() / 100) as u8));
            }
        }
        self.stream = Some(stream);
        Ok(())
    }
}

/// One exchange; an error tells whether the connection was stale.
async fn exchange<H: Heard>(
    worker: &Worker,
    stream: &Stream,
    octets: &[u8],
    heard: &mut H,
) -> Result<Heeded, (Fault, bool)> {
    stream.deadline_in(Direction::Read, worker.plan.timeout);
    let mut exchange = Exchange { worker, stream, octets, sent: 0, heard, answered: false };
    let result = poll_fn(|cx| exchange.poll(cx)).await;
    result.map_err(|fault| (fault, exchange.was_stale(fault)))
}

/// Sends the pong that is owed, if any; it is so small that it goes at once or never will.
fn answer_ping(stream: &Stream, echo: &mut Echo) -> io::Result<()> {
    let Some(pong) = echo.pong() else { return Ok(()) };
    match stream.write(&pong)? {
        Some(sent) if sent == pong.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}
