//! What the log says of upstreams: once a second which of them have changed, and when none is left.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use flume::Receiver;

use super::current::Current;
use crate::proxy::Change;

/// An upstream that goes and comes is told of no more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells of changes as the cores report them, until they are gone. Which upstreams are alive is read from their
/// states, so a report that was lost costs no more than its cause.
pub async fn tell(current: Rc<Current>, changes: Receiver<Change>) {
    // What was told last of each upstream that there is. One that is new is taken to be up.
    let mut told: HashMap<Arc<str>, bool> = HashMap::new();
    loop {
        let was_alive = |name: &Arc<str>| told.get(name).copied().unwrap_or(true);
        let mut causes = HashMap::new();
        if current.get().upstreams.iter().all(|state| state.is_alive() == was_alive(&state.name)) {
            let Ok(change) = changes.recv_async().await else { return };
            note(&mut causes, change);
        }
        changes.drain().for_each(|change| note(&mut causes, change));
        let states = &current.get().upstreams;
        let now: HashMap<_, _> =
            states.iter().map(|state| (Arc::clone(&state.name), state.is_alive())).collect();
        let mut has_changed = false;
        for upstream in states.iter().map(|state| &state.name) {
            if now[upstream] == was_alive(upstream) {
                continue;
            }
            has_changed = true;
            if now[upstream] {
                tracing::info!(%upstream, "upstream is up: a connection was made");
            } else if let Some(Change { reason, cause, .. }) = causes.get(upstream) {
                let cause = cause.as_deref().unwrap_or("nothing known");
                tracing::warn!(%upstream, reason, cause, "upstream is down");
            } else {
                tracing::warn!(%upstream, "upstream is down");
            }
        }
        if has_changed && now.values().all(|alive| !alive) {
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
