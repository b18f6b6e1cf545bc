//! THE LIFE OF A REQUEST. The only room that knows the others.
//!
//! A connection is accepted and parked until something can be read (`accept`). A request head is
//! read and judged (`begin`), it is decided what becomes of it (`check`), an upstream is chosen (`pick`) and connected
//! to (`dial`), head and bodies go across in both directions (`exchange`), and everything ends in one
//! place, with one reason (`finish`). Then the next request of the connection is begun, or it is parked again.
//! `attempt` goes from upstream to upstream; a body may be read before (`ahead`), a second upstream asked (`hedge`).
//!
//! ```text
//!   accept ──▶ begin ──▶ check ──▶ dial ──▶ exchange ──▶ finish ──▶ begin, park or close
//!                │         │         ▲ │        │           ▲
//!                │         │         └─┼─stale──┘           │
//!                └─────────┴───────────┴─── a reason ───────┘
//! ```
//!
//! Laws:
//! - Every step consumes what the step before it made; the fields are private and there is one
//!   maker each. So no upstream is contacted before `check` has spoken.
//! - Every request that was begun goes through `finish`, once, with one reason from `http::close`.
//! - A core applies commands between turns; a request sees one plan from begin to finish.
//! - On the plain path nothing is locked and nothing allocated.

mod accept;
mod ahead;
mod attempt;
mod begin;
mod check;
mod client;
mod core;
mod decide;
mod dial;
mod exchange;
mod facts;
mod finish;
mod gate;
#[cfg(feature = "tls")]
mod handshake;
mod hedge;
mod pace;
mod pick;
mod record;
mod reply;
mod session;
mod tunnel;

use std::convert::Infallible;
use std::rc::Rc;

use self::core::{Chosen, Worker};
use crate::io::future_pool::Slot;
use crate::io::turn::Slice;
use begin::Begin;
use check::Verdict;
use client::Client;
use finish::Ended;
use session::Session;
use tunnel::Tunnel;

pub use self::core::{
    Addresses, Adoption, AnswerSlot, BreakerReport, Change, ClientPermits, Command, CoreSpec,
    Event, LABELS, Lack, LinkedTls, ListenerTls, OpenListener, PageRequest, PageSlot, Runtime,
};

/// What happens to the connection after a request.
enum Next {
    /// Another request may follow, and may be there already.
    Again,
    /// Nothing to be read: wait without buffers.
    Park,
    /// Close.
    Close,
    /// Close, but let the peer read what was sent first.
    Linger,
    /// No more HTTP: octets only, until both sides close.
    Tunnel(Box<Tunnel>),
    /// Close so that it shows: the answer was not whole.
    Reset,
}

/// A client, and what becomes of it.
type Served = (Client, Next);

/// A request that was put off goes on.
enum Resumed {
    /// As much of its body has been read as was wanted.
    Read(Chosen),
    /// Somebody was asked about it, once more.
    Answered(Chosen),
}

/// Serves client after client, each as long as there are requests.
async fn serve(worker: Rc<Worker>, slot: Rc<Slot<Client, Served>>) -> Infallible {
    loop {
        let client = slot.job().await;
        let mut session = Session::new(Rc::clone(&worker), client);
        let mut slice = Slice::default();
        let (mut resumed, mut asked) = (None, Vec::new());
        let next = loop {
            let verdict = match resumed.take() {
                Some(Resumed::Read(route)) => {
                    Verdict::Forward(check::admit(begin::received(&mut session), route))
                }
                Some(Resumed::Answered(route)) => {
                    check::answered(begin::received(&mut session), route, &asked)
                }
                None => match begin::begin(&mut session) {
                    Begin::Nothing => break Next::Park,
                    Begin::Closed => break Next::Close,
                    Begin::Refused(reason) => Verdict::Refuse(reason),
                    Begin::Received(received) => check::check(received),
                },
            };
            let outcome = match verdict {
                Verdict::Refuse(reason) => Ended::Failed(reason),
                Verdict::Reply(reason, reply) => Ended::Reply(reason, reply),
                // Boxed: that is rare, and others should not carry the room.
                Verdict::Admin(page) => Box::pin(reply::page(&worker, page)).await,
                Verdict::Ask(route, question) => {
                    let answer = Box::pin(gate::ask(&worker, &question)).await;
                    asked.push((question, answer));
                    resumed = Some(Resumed::Answered(route));
                    continue;
                }
                Verdict::ReadAhead(route, octets) => {
                    match Box::pin(ahead::read(&mut session, octets)).await {
                        Ok(()) => {
                            resumed = Some(Resumed::Read(route));
                            continue;
                        }
                        Err(reason) => Ended::Failed(reason),
                    }
                }
                Verdict::Forward(admitted) => match attempt::attempts(admitted).await {
                    Ok(delivered) => Ended::Delivered(delivered),
                    Err(reason) => Ended::Failed(reason),
                },
            };
            asked.clear();
            match finish::finish(&mut session, outcome).await {
                // Answers of our own wait for nobody, so a row of requests could go on without end.
                Next::Again if slice.spend(0) => worker.core.reactor.next_turn().await,
                Next::Again => {}
                next => break next,
            }
        };
        slot.done((session.end(&next), next));
    }
}
