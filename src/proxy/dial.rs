//! A connection to the upstream that was picked: an idle one, or a new one.

use std::time::Duration;

use super::check::{Admitted, Terms};
use super::core::{Lack, room};
use super::exchange;
use super::session::Exchange;
use crate::http::Reason;
use crate::upstream::{Connection, Lease, Outcome, Refusal};

/// How often a request tries for a descriptor, and how long it waits where none was made free.
const PAUSES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// A request that has an upstream, and a connection to go to it; [`dial`] makes one, and [`Dialled::over`] out of that.
pub(super) struct Dialled<'s> {
    admitted: Admitted<'s>,
    lease: Lease,
    connection: Connection,
}

/// A request that got no connection. Boxed, for it is rare, and others should not carry the room.
pub(super) struct Undialled<'s> {
    pub admitted: Admitted<'s>,
    pub lease: Lease,
    pub refusal: Refusal,
}

impl<'s> Dialled<'s> {
    /// What is known of the request.
    pub fn exchange(&self) -> &'s Exchange {
        self.admitted.exchange()
    }

    /// Goes on over another connection than the one that [`dial`] found.
    pub fn over(admitted: Admitted<'s>, lease: Lease, connection: Connection) -> Dialled<'s> {
        Dialled { admitted, lease, connection }
    }

    /// For the next step.
    pub fn into_parts(self) -> (Admitted<'s>, Lease, Connection) {
        (self.admitted, self.lease, self.connection)
    }
}

/// Takes or makes a connection; `fresh`: one that has carried nothing yet.
pub(super) async fn dial<'s>(
    mut admitted: Admitted<'s>,
    terms: Terms<'_>,
    lease: Lease,
    fresh: bool,
) -> Result<Dialled<'s>, Box<Undialled<'s>>> {
    let exchange = admitted.exchange();
    let found = match idle(exchange, &lease, fresh) {
        Some(connection) => Ok(connection),
        // Boxed: most requests find one that is idle, and should not carry the room.
        None => Box::pin(connect(exchange, admitted.parts().head, terms, &lease, fresh)).await,
    };
    match found {
        Ok(connection) => Ok(Dialled { admitted, lease, connection }),
        Err(refusal) => Err(Box::new(Undialled { admitted, lease, refusal })),
    }
}

/// A connection that was used before, if that will do.
fn idle(exchange: &Exchange, lease: &Lease, fresh: bool) -> Option<Connection> {
    let certain = !exchange.request.method.is_idempotent();
    if fresh { None } else { lease.idle(certain) }
}

/// A new connection; for want of a descriptor one that has become idle meanwhile, if that will do.
pub(super) async fn connect(
    exchange: &Exchange,
    head: &[u8],
    Terms { pool, spec, .. }: Terms<'_>,
    lease: &Lease,
    fresh: bool,
) -> Result<Connection, Refusal> {
    let Exchange { worker, facts, .. } = exchange;
    let wait = spec.timeouts.connect;
    let preface = exchange::preface_of_tls(exchange, head, pool, lease.upstream());
    for _ in 0..PAUSES {
        let before = worker.now();
        match pool.connect(lease, &preface, wait).await {
            Ok(connection) => {
                facts.connect.set(Some(worker.now() - before));
                worker.report_up(lease.upstream());
                worker.report_breaker(lease.connected(), Outcome::Connected);
                return Ok(connection);
            }
            Err(refusal) if refusal.reason != Reason::NoDescriptors => return Err(refusal),
            Err(_) => {}
        }
        if room::make_room(worker, Lack::Descriptor) {
            worker.core.reactor.next_turn().await;
        } else if worker.core.sleep(PAUSE).await.is_err() {
            return Err(Refusal { reason: Reason::Stopped, cause: None });
        }
        if let Some(connection) = idle(exchange, lease, fresh) {
            return Ok(connection);
        }
    }
    Err(Refusal { reason: Reason::NoDescriptors, cause: None })
}
