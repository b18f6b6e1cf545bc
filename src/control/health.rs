//! What the log says of upstreams: once a second which of them have changed, and when none is left.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use flume::Receiver;

use super::current::Current;
use crate::proxy::Runtime;
use crate::stats::{Health, LastError, UpstreamState};

/// An upstream that goes and comes is told of no more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells of changes whenever there is a hint of some (`news`), until nobody is left to give one. How upstreams are now
/// is known of all before anything is told: so an upgrade tells nothing twice.
pub async fn tell(current: Rc<Current>, news: Receiver<()>) {
    // What was told last of each upstream that there is. One that is new is taken to be up.
    let mut told = all(&current.get());
    while news.recv_async().await.is_ok() {
        let runtime = current.get();
        let was_alive = |one: &UpstreamState| told.get(&key(one)).copied().unwrap_or(true);
        let now = all(&runtime);
        let is_alive = |one: &UpstreamState| now.get(&key(one)).copied().unwrap_or(true);
        let has_changed = |one: &UpstreamState| is_alive(one) != was_alive(one);
        runtime.upstreams().filter(|one| has_changed(one)).for_each(|one| tell_of(one));
        for (pool, linked) in runtime.plan.pools.iter().zip(&runtime.pools) {
            let mut all = linked.upstreams.iter();
            let have_changed = all.clone().any(|one| has_changed(&one.state));
            let were_alive = all.clone().any(|one| was_alive(&one.state));
            if have_changed && were_alive && all.all(|one| !is_alive(&one.state)) {
                let upstreams = pool.upstreams.len();
                let what = match pool.health {
                    Some(_) => "all upstreams are down: requests get 503",
                    // They are asked all the same.
                    None => "no upstream can be connected to",
                };
                tracing::error!(upstreams, pool = %pool.name, "{what}");
            }
        }
        told = now;
        Timer::after(PAUSE).await;
    }
}

/// One has gone down, or come back.
fn tell_of(entry: &UpstreamState) {
    let UpstreamState { name: upstream, pool, .. } = entry;
    let condition = entry.condition();
    match (is_alive(entry), condition.last_error) {
        (true, _) if condition.is_checked => {
            tracing::info!(%upstream, %pool, "upstream is up: checks succeed");
        }
        (true, _) => tracing::info!(%upstream, %pool, "upstream is up: a connection was made"),
        (false, Some(LastError { reason, text: cause, .. })) => {
            let (reason, failures) = (reason.label(), condition.failures);
            tracing::warn!(%upstream, %pool, reason, cause, failures, "upstream is down");
        }
        (false, None) => tracing::warn!(%upstream, %pool, "upstream is down"),
    }
}

/// A core knows that an upstream is down before we know why: it is told when both do.
fn is_alive(entry: &UpstreamState) -> bool {
    entry.is_alive() || entry.condition().health != Health::Down
}

fn all(runtime: &Runtime) -> HashMap<Key, bool> {
    runtime.upstreams().map(|one| (key(one), is_alive(one))).collect()
}

/// The pool and the name of an upstream.
type Key = (Arc<str>, Arc<str>);

fn key(entry: &UpstreamState) -> Key {
    (Arc::clone(&entry.pool), Arc::clone(&entry.name))
}
