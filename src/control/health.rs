//! What the log says of upstreams: once a second which of them have changed, and when none is left.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use flume::Receiver;

use super::current::Current;
use crate::proxy::Change;
use crate::stats::UpstreamState;
use crate::upstream::LinkedPool;

/// An upstream that goes and comes is told of no more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells of changes as the cores report them, until they are gone. Which upstreams are alive is read from their
/// states, so a report that was lost costs no more than its cause.
pub async fn tell(current: Rc<Current>, changes: Receiver<Change>) {
    // What was told last of each upstream that there is. One that is new is taken to be up.
    let mut told: HashMap<Key, bool> = HashMap::new();
    loop {
        let was_alive = |state: &UpstreamState| told.get(&key(state)).copied().unwrap_or(true);
        let mut causes = HashMap::new();
        if current.get().upstreams().all(|state| state.is_alive() == was_alive(state)) {
            let Ok(change) = changes.recv_async().await else { return };
            note(&mut causes, change);
        }
        changes.drain().for_each(|change| note(&mut causes, change));
        let runtime = current.get();
        let states = || runtime.upstreams();
        let now: HashMap<Key, bool> = states().map(|one| (key(one), one.is_alive())).collect();
        let mut has_changed = false;
        for state in states() {
            let UpstreamState { name: upstream, pool, .. } = &**state;
            if state.is_alive() == was_alive(state) {
                continue;
            }
            has_changed = true;
            if state.is_alive() {
                tracing::info!(%upstream, %pool, "upstream is up: a connection was made");
            } else if let Some(Change { reason, cause, .. }) = causes.get(&key(state)) {
                let cause = cause.as_deref().unwrap_or("nothing known");
                tracing::warn!(%upstream, %pool, reason, cause, "upstream is down");
            } else {
                tracing::warn!(%upstream, %pool, "upstream is down");
            }
        }
        for pool in runtime.pools.iter().filter(|_| has_changed) {
            let LinkedPool { state, upstreams, .. } = &**pool;
            let were_alive = upstreams.iter().any(|one| was_alive(&one.state));
            if were_alive
                && !upstreams.is_empty()
                && upstreams.iter().all(|one| !one.state.is_alive())
            {
                let (pool, upstreams) = (&state.name, upstreams.len());
                tracing::error!(upstreams, %pool, "all upstreams are down: requests get 503");
            }
        }
        told = now;
        Timer::after(PAUSE).await;
    }
}

/// The pool and the name of an upstream.
type Key = (Arc<str>, Arc<str>);

fn key(state: &UpstreamState) -> Key {
    (Arc::clone(&state.pool), Arc::clone(&state.name))
}

/// Keeps the last report of each upstream that failed.
fn note(causes: &mut HashMap<Key, Change>, change: Change) {
    if !change.alive {
        causes.insert(key(&change.upstream), change);
    }
}
