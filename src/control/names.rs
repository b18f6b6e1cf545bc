//! Names of upstreams to addresses: at the start, and again when a core could not connect.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use flume::Receiver;
use futures_lite::FutureExt;
use smol::LocalExecutor;
use smol::lock::Semaphore;

use super::current::Current;
use crate::config::UpstreamSpec;
use crate::io::address::Address;
use crate::io::signal::Mailbox;
use crate::proxy::{Addresses, Command, Runtime};
use crate::stats::UpstreamState;
use crate::upstream::Entry;
use crate::upstream::resolve::{LOOKUPS_MOST, are_same, literal, resolve};

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
    // The others are where they say they are.
    let named = upstreams(runtime, is_wanted).filter(|(spec, _)| literal(&spec.place).is_none());
    side_by_side(named.map(|(spec, entry)| look_up(spec, entry)), WAIT).await
}

/// The upstreams in force with what is known of them, as far as they are wanted.
fn upstreams(
    runtime: &Runtime,
    is_wanted: impl Fn(&Arc<UpstreamState>) -> bool,
) -> impl Iterator<Item = (&UpstreamSpec, &Entry)> {
    let entries = runtime.pools.iter().flat_map(|pool| &pool.upstreams);
    let all = runtime.plan.upstreams().map(|(_, spec)| spec).zip(entries.map(|one| &**one));
    all.filter(move |(_, entry)| is_wanted(&entry.state))
}

/// What came of all that ended within `wait`: a name that nobody answers for does not keep the others waiting.
async fn side_by_side<T>(
    all: impl Iterator<Item = impl Future<Output = Option<T>>>,
    wait: Duration,
) -> Vec<T> {
    let permits = Semaphore::new(LOOKUPS_MOST);
    let (report, reports) = flume::unbounded();
    let executor = LocalExecutor::new();
    for one in all {
        let (permits, report) = (&permits, report.clone());
        let task = executor.spawn(async move {
            let _permit = permits.acquire().await;
            let found = one.await;
            found.into_iter().for_each(|found| drop(report.send(found)));
        });
        task.detach(); // it ends with the executor
    }
    drop(report);
    let mut found = Vec::new();
    let ends = async {
        while let Ok(one) = reports.recv_async().await {
            found.push(one);
        }
    };
    let patience = async {
        Timer::after(wait).await;
    };
    executor.run(ends).or(patience).await;
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
        for entry in due {
            let runtime = current.get();
            for (spec, entry) in upstreams(&runtime, |known| Arc::ptr_eq(known, &entry)) {
                if let Some(addresses) = look_up(spec, entry).await {
                    tell(&mailboxes, addresses);
                }
            }
        }
    }
}

async fn look_up(spec: &UpstreamSpec, entry: &Entry) -> Option<Addresses> {
    let state = &entry.state;
    match resolve(&spec.place).await {
        Ok(addresses) => {
            take_up(entry, addresses.iter().filter_map(Address::tcp).collect());
            Some((Arc::clone(state), addresses))
        }
        Err(error) if state.is_excluded() => {
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

/// What failed elsewhere says nothing of other addresses. It is forgotten here, once: a core that hears late of them
/// could forget what others have found out at them.
fn take_up(entry: &Entry, addresses: Arc<[SocketAddr]>) {
    let UpstreamState { name, pool, .. } = &*entry.state;
    let is_elsewhere = !are_same(&entry.state.addresses(), &addresses);
    entry.state.set_addresses(addresses);
    if is_elsewhere && entry.forget_failures() {
        tracing::info!(upstream = %name, %pool, "breaker closed: the name has other addresses");
    }
}

fn tell(mailboxes: &[Mailbox<Command>], (entry, addresses): Addresses) {
    mailboxes.iter().for_each(|mailbox| {
        mailbox.send(Command::Resolved(Arc::clone(&entry), Arc::clone(&addresses)));
    });
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_lite::future::{pending, yield_now};

    use super::*;
    use crate::stats::BreakerState;

    #[test]
    fn only_other_addresses_make_a_breaker_forget() {
        let entry = Entry::new(UpstreamState::new("default", "http://a:1", 1));
        let addresses = |last: &[u8]| -> Arc<[SocketAddr]> {
            last.iter().map(|last| SocketAddr::from(([10, 0, 0, *last], 1))).collect()
        };
        take_up(&entry, addresses(&[1, 2]));
        entry.state.breaker.store(BreakerState::Open);
        take_up(&entry, addresses(&[2, 1]));
        assert_eq!(entry.state.breaker.load(), BreakerState::Open);
        take_up(&entry, addresses(&[2, 3]));
        assert_eq!(entry.state.breaker.load(), BreakerState::Closed);
        assert_eq!(*entry.state.addresses(), *addresses(&[2, 3]));
    }

    #[test]
    fn one_that_never_ends_keeps_no_other_waiting_and_few_go_at_once() {
        let (now, most) = (Cell::new(0), Cell::new(0));
        let lookup = async |nth: usize| {
            now.set(now.get() + 1);
            most.set(now.get().max(most.get()));
            if nth == 0 {
                pending::<()>().await;
            }
            yield_now().await;
            now.set(now.get() - 1);
            (nth != 1).then_some(nth)
        };
        let all = (0..100).map(lookup);
        let mut found = smol::block_on(side_by_side(all, Duration::from_millis(300)));
        found.sort_unstable();
        assert_eq!(found, (2..100).collect::<Vec<_>>());
        assert_eq!(most.get(), LOOKUPS_MOST);
    }
}
