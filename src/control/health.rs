//! What the log says of upstreams: once a second which of them have changed, and when none is left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use flume::Receiver;

use crate::proxy::Change;
use crate::stats::UpstreamState;

/// An upstream that goes and comes is told of no more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells of changes as the cores report them, until they are gone. Which upstreams are alive is read from their
/// `states`, so a report that was lost costs no more than its cause.
pub async fn tell(states: Vec<Arc<UpstreamState>>, changes: Receiver<Change>) {
    let mut told = vec![true; states.len()];
    loop {
        let alive = || states.iter().map(|state| state.is_alive());
        let mut causes = HashMap::new();
        if alive().eq(told.iter().copied()) {
            let Ok(change) = changes.recv_async().await else { return };
            note(&mut causes, change);
        }
        changes.drain().for_each(|change| note(&mut causes, change));
        let now: Vec<bool> = alive().collect();
        let differing = (0..now.len()).filter(|index| now[*index] != told[*index]);
        for index in differing {
            let upstream = &states[index].name;
            if now[index] {
                tracing::info!(%upstream, "upstream is up: a connection was made");
            } else if let Some(Change { reason, cause, .. }) = causes.get(upstream) {
                let cause = cause.as_deref().unwrap_or("nothing known");
                tracing::warn!(%upstream, reason, cause, "upstream is down");
            } else {
                tracing::warn!(%upstream, "upstream is down");
            }
        }
        if now != told && !now.contains(&true) {
            tracing::error!(upstreams = now.len(), "all upstreams are down: requests get 503");
        }
        told = now;
        Timer::after(PAUSE).await;
    }
}

/// Keeps the last report of each upstream that failed.
fn note(causes: &mut HashMap<Arc<str>, Change>, change: Change) {
    if !change.alive {
        causes.insert(Arc::clone(&change.upstream.name), change);
    }
}
