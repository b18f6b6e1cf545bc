//! A request without a body that was sent before anybody listens to its answer.

use super::super::check::{Admitted, Terms};
use super::super::session::Exchange;
use super::request;
use super::transfer::{Transfer, Upload};
use crate::io::stream::Stream;
use crate::upstream::Upstream;

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
        let (transfer, mut upload) = (Transfer::default(), Upload::Going);
        let permit = exchange.quota.permit().await;
        if let Ok(out) = request::head(exchange, terms, head, upstream, &permit, None) {
            let wait = terms.spec.timeouts.write;
            let (sent, _) = stream.send(out, wait, &transfer.upstream_sent).await;
            transfer.request_sent.set(Some(exchange.worker.now()));
            upload = sent.map_or_else(Upload::failed, |()| Upload::Whole);
        }
        Box::new(Sent { transfer, upload, is_late: false })
    }

    /// Counts it: nobody will listen to its answer.
    pub fn give_up(self, exchange: &Exchange, upstream: &Upstream) {
        upstream.stats().requests.add(1);
        exchange.worker.stats.upstream_sent.add(self.transfer.upstream_sent.get());
    }
}
