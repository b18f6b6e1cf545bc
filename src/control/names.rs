//! Names of upstreams to addresses: at the start, and again when a core could not connect.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use flume::Receiver;
use futures_lite::FutureExt;

use crate::config::UpstreamSpec;
use crate::io::signal::Mailbox;
use crate::proxy::Command;
use crate::stats::UpstreamState;
use crate::upstream::Runtime;
use crate::upstream::resolve::resolve;

/// The start waits so long for names to be resolved.
const WAIT: Duration = Duration::from_secs(2);
/// A name is not asked for more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// Resolves all names, or as many as the start can wait for.
pub async fn resolve_all(runtime: &Runtime, mailboxes: &[Mailbox<Command>]) {
    let all = async {
        for (spec, entry) in runtime.plan.pool.upstreams.iter().zip(&runtime.upstreams) {
            look_up(spec, entry, mailboxes).await;
        }
    };
    let patience = async {
        Timer::after(WAIT).await;
    };
    all.or(patience).await;
}

/// Resolves an upstream's name again when a core could not connect to it.
pub async fn keep_resolving(
    runtime: Arc<Runtime>,
    mailboxes: Vec<Mailbox<Command>>,
    unreachable: Receiver<Arc<UpstreamState>>,
) {
    while let Ok(first) = unreachable.recv_async().await {
        // A failing upstream is reported by every core and every request: ask once for each.
        Timer::after(PAUSE).await;
        let mut due = VecDeque::from([first]);
        for entry in unreachable.drain() {
            if !due.iter().any(|known| Arc::ptr_eq(known, &entry)) {
                due.push_back(entry);
            }
        }
        for entry in due {
            let all = runtime.plan.pool.upstreams.iter().zip(&runtime.upstreams);
            for (spec, _) in all.filter(|(_, known)| Arc::ptr_eq(known, &entry)) {
                look_up(spec, &entry, &mailboxes).await;
            }
        }
    }
}

async fn look_up(spec: &UpstreamSpec, entry: &Arc<UpstreamState>, mailboxes: &[Mailbox<Command>]) {
    match resolve(&spec.place).await {
        Ok(addresses) => mailboxes.iter().for_each(|mailbox| {
            mailbox.send(Command::Resolved(Arc::clone(entry), Arc::clone(&addresses)));
        }),
        Err(error) => {
            tracing::warn!(upstream = %spec.name, %error, "cannot resolve the name");
        }
    }
}
