//! A request without a body that was sent before anybody listens to its answer.

use super::super::check::{Admitted, Terms};
use super::super::session::Exchange;
use super::request;
use super::transfer::{Transfer, Upload};
use crate::io::Error;
use crate::io::clock::Moment;
use crate::io::stream::Stream;
use crate::upstream::Upstream;

/// Counts what was sent, should nobody wait for the rest.
struct Counted<'e> {
    exchange: &'e Exchange,
    transfer: Transfer,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.exchange.worker.stats.upstream_sent.add(self.transfer.upstream_sent.get());
    }
}

/// How far it is.
pub struct Sent {
    pub(super) transfer: Transfer,
    pub(super) upload: Upload,
    /// Its answer has been waited for as long as it may be.
    pub is_late: bool,
}

impl Sent {
    /// Sends the head, if it can be made: else that is an error once it is made again.
    pub async fn send(
        admitted: &mut Admitted<'_>,
        terms: Terms<'_>,
        upstream: &Upstream,
        stream: &Stream,
    ) -> Box<Sent> {
        let exchange = admitted.exchange();
        let head: &[u8] = admitted.parts().head;
        let mut counted = Counted { exchange, transfer: Transfer::default() };
        let (mut upload, mut is_late) = (Upload::Going, false);
        let permit = exchange.quota.permit().await;
        if let Ok(out) = request::head(exchange, terms, head, upstream, &permit, None) {
            let wait = terms.spec.timeouts.write;
            let (sent, _) = stream.send(out, wait, &counted.transfer.upstream_sent).await;
            counted.transfer.request_sent.set(Some(exchange.worker.now()));
            is_late = sent == Err(Error::Deadline);
            upload = sent.map_or_else(Upload::failed, |()| Upload::Whole);
        }
        Box::new(Sent { transfer: std::mem::take(&mut counted.transfer), upload, is_late })
    }

    /// All of it is with the upstream.
    pub fn is_whole(&self) -> bool {
        self.upload == Upload::Whole
    }

    /// Since when an answer is waited for.
    pub fn since(&self) -> Option<Moment> {
        self.transfer.request_sent.get()
    }

    /// Counts it: nobody will listen to its answer.
    pub fn give_up(self, exchange: &Exchange, upstream: &Upstream) {
        upstream.stats().requests.add(1);
        exchange.worker.stats.upstream_sent.add(self.transfer.upstream_sent.get());
    }
}
