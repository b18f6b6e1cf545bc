//! A body that is read before its request is sent, so that it can be sent again.

use std::cell::Cell;

use futures_lite::FutureExt;

use super::attempt;
use super::check::Admitted;
use super::decide::{self, Peer};
use super::facts::{self, AnswerState};
use super::pace;
use super::session::{Exchange, Session};
use crate::http::write::CONTINUE;
use crate::http::{Framing, Reason};
use crate::io::buffer::Buf;
use crate::io::reactor::Direction;

/// Octets of the body that are still to be read, where its route wants that: of a request that may be sent again, with
/// a body of a known length that is not all here and fits `retry-buffer`.
pub(super) fn wanted(admitted: &mut Admitted<'_>) -> Option<usize> {
    let retry = &admitted.terms().spec.retry;
    let exchange = admitted.exchange();
    let Framing::Length(length) = exchange.request.framing else { return None };
    let parts = admitted.parts();
    let fits = retry.most > 0 && length <= retry.buffer as u64;
    let left = usize::try_from(length).ok()?.checked_sub(parts.rest.len())?;
    (fits && left > 0 && attempt::is_repeatable(exchange, parts.head)).then_some(left)
}

/// Reads so many octets behind the head.
pub(super) async fn read(session: &mut Session, left: usize) -> Result<(), Reason> {
    let Session { exchange, input, .. } = session;
    if exchange.request.expects_continue {
        invite(exchange).await?;
    }
    let exchange = &*exchange;
    while input.spare().len() < left {
        input.make_room(input.len() + left);
    }
    // More is to come of the request, so all that is here is of it.
    exchange.facts.bytes_in.set(input.len() as u64);
    let come = Cell::new(0);
    let body = body(exchange, input, left, &come);
    match exchange.spec().min_rate {
        None => body.await,
        Some(least) => {
            let slow = async { Err(pace::lost(exchange, least, [&come, &come]).await) };
            body.or(slow).await
        }
    }
}

/// The same, and counts what has come.
async fn body(
    exchange: &Exchange,
    input: &mut Buf,
    length: usize,
    come: &Cell<u64>,
) -> Result<(), Reason> {
    let Exchange { client, worker, facts, .. } = exchange;
    let wait = exchange.spec().timeouts.read;
    let of_client = |error| decide::reason(Peer::Client, Direction::Read, error);
    let mut left = length;
    while left > 0 {
        client.stream.deadline_in(Direction::Read, wait);
        client.stream.ready(Direction::Read).await.map_err(of_client)?;
        match client.stream.try_recv(input, left).map_err(of_client)? {
            None => {}
            Some(0) => return Err(Reason::BodyCutShort),
            Some(n) => {
                worker.stats.client_received.add(n as u64);
                facts::add(&facts.bytes_in, n as u64);
                left -= n;
                come.set((length - left) as u64);
            }
        }
    }
    client.stream.no_deadline(Direction::Read);
    Ok(())
}

/// The client waits for an invitation, and nobody else will send one before the body is here.
async fn invite(exchange: &Exchange) -> Result<(), Reason> {
    let Exchange { client, quota, facts, .. } = exchange;
    let permit = quota.permit().await;
    let mut out = permit.take();
    let _fits = out.append(CONTINUE);
    facts::add(&facts.heads_out, out.len() as u64);
    facts.answer.set(AnswerState::Interim);
    let wait = exchange.spec().timeouts.write;
    let (sent, _) = client.stream.send(out, wait, &facts.bytes_out).await;
    sent.map_err(|error| decide::reason(Peer::Client, Direction::Write, error))?;
    facts.answer.set(AnswerState::Silent);
    Ok(())
}
