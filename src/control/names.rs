//! Names of upstreams to addresses: at the start, and again when a core could not connect.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use flume::Receiver;
use futures_lite::FutureExt;

use super::current::Current;
use crate::config::UpstreamSpec;
use crate::io::address::Address;
use crate::io::signal::Mailbox;
use crate::proxy::{Addresses, Command, Runtime};
use crate::stats::UpstreamState;
use crate::upstream::resolve::{literal, resolve};

/// A start or a reload waits so long for names to be resolved.
const WAIT: Duration = Duration::from_secs(2);
/// A name is not asked for more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// Resolves all names, or as many as a start can wait for.
pub async fn resolve_all(runtime: &Runtime, mailboxes: &[Mailbox<Command>]) {
    for addresses in resolve_where(runtime, |_| true).await {
        tell(mailboxes, addresses);
    }
}

/// The addresses of the upstreams that `before` did not have, of as many as a reload can wait for.
pub async fn resolve_new(runtime: &Runtime, before: &Runtime) -> Vec<Addresses> {
    let known: HashSet<_> = before.upstreams().map(Arc::as_ptr).collect();
    resolve_where(runtime, |entry| !known.contains(&Arc::as_ptr(entry))).await
}

async fn resolve_where(
    runtime: &Runtime,
    is_wanted: impl Fn(&Arc<UpstreamState>) -> bool,
) -> Vec<Addresses> {
    let mut found = Vec::new();
    let all = async {
        let upstreams = runtime.plan.upstreams().map(|(_, spec)| spec).zip(runtime.upstreams());
        for (spec, entry) in upstreams.filter(|(spec, entry)| {
            // The others are where they say they are.
            literal(&spec.place).is_none() && is_wanted(entry)
        }) {
            found.extend(look_up(spec, entry).await);
        }
    };
    let patience = async {
        Timer::after(WAIT).await;
    };
    all.or(patience).await;
    found
}

/// Resolves an upstream's name again when a core could not connect to it.
pub async fn keep_resolving(
    current: Rc<Current>,
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
        for state in due {
            let runtime = current.get();
            let entries = runtime.pools.iter().flat_map(|pool| &pool.upstreams);
            let all = runtime.plan.upstreams().map(|(_, spec)| spec).zip(entries);
            for (spec, entry) in all.filter(|(_, entry)| Arc::ptr_eq(&entry.state, &state)) {
                let before = state.addresses();
                if let Some(found) = look_up(spec, &state).await
                    && !is_same(&before, &state.addresses())
                {
                    // It is somewhere else now. Had it only failed, to forget that would have it tried every second.
                    entry.breaker.forget();
                    tell(&mailboxes, found);
                }
            }
        }
    }
}

/// Both have the same addresses; their order is that of an answer, and means nothing.
fn is_same(before: &[SocketAddr], after: &[SocketAddr]) -> bool {
    let set = |addresses: &[SocketAddr]| addresses.iter().copied().collect::<HashSet<_>>();
    set(before) == set(after)
}

async fn look_up(spec: &UpstreamSpec, entry: &Arc<UpstreamState>) -> Option<Addresses> {
    match resolve(&spec.place).await {
        Ok(addresses) => {
            entry.set_addresses(addresses.iter().filter_map(Address::tcp).collect());
            Some((Arc::clone(entry), addresses))
        }
        Err(error) if entry.is_excluded() => {
            // Checks ask for it again and again; that it is down has been told.
            tracing::debug!(upstream = %spec.name, %error, "still cannot resolve the name");
            None
        }
        Err(error) => {
            tracing::warn!(upstream = %spec.name, %error, "cannot resolve the name");
            None
        }
    }
}

fn tell(mailboxes: &[Mailbox<Command>], (entry, addresses): Addresses) {
    mailboxes.iter().for_each(|mailbox| {
        mailbox.send(Command::Resolved(Arc::clone(&entry), Arc::clone(&addresses)));
    });
}
