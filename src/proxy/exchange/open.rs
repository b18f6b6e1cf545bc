//! A request on its way to an upstream, before anything of an answer has come.

use std::rc::Rc;

use super::super::check::Admitted;
use super::super::dial::Dialled;
use super::super::session::Exchange;
use super::request;
use super::transfer::{Transfer, Upload};
use crate::http::Reason;
use crate::io::stream::Stream;
use crate::upstream::{Connection, Lease, Outcome};

/// A request, and the way it goes.
pub struct Open<'s> {
    pub admitted: Admitted<'s>,
    pub going: Going,
    /// Its answer has been waited for as long as it may be.
    pub is_late: bool,
}

/// The way of a request to one upstream.
pub struct Going {
    pub lease: Lease,
    pub connection: Connection,
    /// What went across so far.
    pub(super) transfer: Transfer,
    /// How far the request is.
    pub(super) upload: Upload,
}

impl<'s> Open<'s> {
    /// Nothing of it has left yet.
    pub fn new(dialled: Dialled<'s>) -> Open<'s> {
        let (admitted, lease, connection) = dialled.into_parts();
        Open { admitted, going: Going::new(lease, connection), is_late: false }
    }

    /// Sends it, if it has no body.
    pub async fn send(&mut self) {
        let Open { admitted, going, .. } = self;
        going.send(admitted).await;
    }

    /// Goes on over `other`, and gives the way back that it went so far.
    pub fn turn_to(&mut self, other: Going) -> Going {
        std::mem::replace(&mut self.going, other)
    }
}

impl Going {
    /// Nothing has left yet.
    pub fn new(lease: Lease, connection: Connection) -> Going {
        Going { lease, connection, transfer: Transfer::default(), upload: Upload::Going }
    }

    /// The connection.
    pub fn stream(&self) -> &Stream {
        &self.connection.stream
    }

    /// Sends a head without a body.
    pub async fn send(&mut self, admitted: &mut Admitted<'_>) {
        let (exchange, terms) = (admitted.exchange(), admitted.terms());
        let head: &[u8] = admitted.parts().head;
        let permit = exchange.quota.permit().await;
        let upstream = self.lease.upstream();
        let Ok(out) = request::head(exchange, terms, head, upstream, &permit, None) else {
            return; // it is made once more, and then this is an error
        };
        let wait = terms.spec.timeouts.write;
        let (sent, _) = self.stream().send(out, wait, &self.transfer.upstream_sent).await;
        self.transfer.request_sent.set(Some(exchange.worker.now()));
        self.upload = sent.map_or_else(Upload::failed, |()| Upload::Whole);
    }

    /// Nobody waits for its answer any more.
    pub fn give_up(self, exchange: &Exchange) {
        let upstream = Rc::clone(self.lease.upstream());
        upstream.stats().requests.add(1);
        exchange.worker.stats.upstream_sent.add(self.transfer.upstream_sent.get());
        let outcome = Outcome::Failed(Reason::Hedged);
        let turned = self.lease.end(outcome);
        exchange.worker.report_turned(&upstream, turned, outcome);
    }
}
