//! A connection to the upstream that was picked: an idle one, or a new one.

use std::time::Duration;

use super::attempt::report_up;
use super::check::Admitted;
use super::core::{Lack, room};
use super::session::Exchange;
use crate::http::Reason;
use crate::upstream::{Connection, Lease, Refusal};

/// How often a request tries for a descriptor, and how long it waits where none was made free.
const PAUSES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// A request that has an upstream, and a connection to go to it; [`dial`] alone makes one.
pub(super) struct Dialled<'s> {
    admitted: Admitted<'s>,
    lease: Lease,
    connection: Connection,
}

/// A request that got no connection.
pub(super) struct Undialled<'s> {
    pub admitted: Admitted<'s>,
    pub lease: Lease,
    pub refusal: Refusal,
}

impl<'s> Dialled<'s> {
    /// For the next step.
    pub fn into_parts(self) -> (Admitted<'s>, Lease, Connection) {
        (self.admitted, self.lease, self.connection)
    }
}

/// Takes or makes a connection; `fresh`: one that has carried nothing yet.
pub(super) async fn dial<'s>(
    admitted: Admitted<'s>,
    lease: Lease,
    fresh: bool,
) -> Result<Dialled<'s>, Undialled<'s>> {
    match connection(admitted.exchange(), &lease, fresh).await {
        Ok(connection) => Ok(Dialled { admitted, lease, connection }),
        Err(refusal) => Err(Undialled { admitted, lease, refusal }),
    }
}

async fn connection(
    exchange: Exchange<'_>,
    lease: &Lease,
    fresh: bool,
) -> Result<Connection, Refusal> {
    let Exchange { worker, epoch, request, facts, .. } = exchange;
    let mut pauses = 0..PAUSES;
    loop {
        let certain = !request.method.is_idempotent();
        if !fresh && let Some(connection) = lease.idle(certain) {
            return Ok(connection);
        }
        let before = worker.now();
        let refusal = match lease.connect(&epoch.pool).await {
            Ok(connection) => {
                facts.connect.set(Some(worker.now() - before));
                report_up(worker, lease.upstream());
                return Ok(connection);
            }
            Err(refusal) => refusal,
        };
        if refusal.reason != Reason::NoDescriptors || pauses.next().is_none() {
            return Err(refusal);
        }
        if room::make_room(worker, Lack::Descriptor) {
            worker.core.reactor.next_turn().await;
        } else if worker.core.sleep(PAUSE).await.is_err() {
            return Err(Refusal { reason: Reason::Stopped, ..refusal });
        }
    }
}
