//! Names of upstreams to addresses: at the start, and again when a core could not connect.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use flume::Receiver;
use futures_lite::FutureExt;

use tidegate::config::Plan;
use tidegate::io::signal::Mailbox;
use tidegate::proxy::Command;
use tidegate::upstream::resolve::resolve;

/// The start waits so long for names to be resolved.
const WAIT: Duration = Duration::from_secs(2);
/// A name is not asked for more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// Resolves all names, or as many as the start can wait for.
pub async fn resolve_all(plan: &Plan, mailboxes: &[Mailbox<Command>]) {
    let all = async {
        for index in 0..plan.upstreams.len() {
            look_up(plan, index, mailboxes).await;
        }
    };
    let patience = async {
        Timer::after(WAIT).await;
    };
    all.or(patience).await;
}

/// Resolves an upstream's name again when a core could not connect to it.
pub async fn keep_resolving(
    plan: Arc<Plan>,
    mailboxes: Vec<Mailbox<Command>>,
    unreachable: Receiver<usize>,
) {
    while let Ok(first) = unreachable.recv_async().await {
        // A failing upstream is reported by every core and every request: ask once for each.
        Timer::after(PAUSE).await;
        let mut due = VecDeque::from([first]);
        for index in unreachable.drain() {
            if !due.contains(&index) {
                due.push_back(index);
            }
        }
        for index in due {
            look_up(&plan, index, &mailboxes).await;
        }
    }
}

async fn look_up(plan: &Plan, index: usize, mailboxes: &[Mailbox<Command>]) {
    let upstream = &plan.upstreams[index];
    match resolve(&upstream.place).await {
        Ok(addresses) => mailboxes.iter().for_each(|mailbox| {
            mailbox.send(Command::Resolved(index, Arc::clone(&addresses)));
        }),
        Err(error) => {
            tracing::warn!(upstream = %upstream.name, %error, "cannot resolve the name");
        }
    }
}
