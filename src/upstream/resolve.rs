//! Names to addresses, on the control plane. The system's resolver blocks, so it is asked on threads of the blocking
//! pool, and lookups that hang keep no more than a few of them. With the feature `dns` names that are followed are
//! asked for over DNS instead, which says how long an answer holds, and knows services.

use std::collections::HashSet;
use std::hash::Hash;
use std::io;
#[cfg(not(feature = "dns"))]
use std::net::ToSocketAddrs;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use smol::lock::Semaphore;

use crate::config::{Lookup, Place, Target};
use crate::io::address::Address;

/// Addresses kept for one name that is one upstream.
pub const ADDRESSES_MOST: usize = 16;
/// Lookups under way at a time; the others wait.
pub const LOOKUPS_MOST: usize = 16;

/// What a lookup has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// At least one.
    pub targets: Vec<Target>,
    /// How long it holds; `None`: nobody says.
    pub ttl: Option<Duration>,
}

/// Looks names up again and again for whoever follows their addresses. Clones share one bound.
#[derive(Clone, Debug)]
pub struct Resolver {
    under_way: Arc<Semaphore>,
    #[cfg(feature = "dns")]
    servers: Arc<[SocketAddr]>,
}

impl Resolver {
    /// Asks these servers; where there are none, as the system is configured to. Only the feature `dns` knows servers.
    pub fn new(servers: &[SocketAddr]) -> Resolver {
        #[cfg(not(feature = "dns"))]
        let _ = servers; // a plan has none then
        Resolver {
            under_way: Arc::new(Semaphore::new(LOOKUPS_MOST)),
            #[cfg(feature = "dns")]
            servers: servers.into(),
        }
    }

    /// The addresses that `lookup` asks for.
    ///
    /// # Errors
    /// When there are none, or nobody could be asked.
    #[cfg(feature = "dns")]
    pub async fn look_up(&self, lookup: &Lookup) -> io::Result<Answer> {
        let _permit = self.under_way.acquire().await;
        super::dns::look_up(lookup, &self.servers).await
    }

    /// The addresses that `lookup` asks for. It ends only when the system's resolver has answered: whoever has less
    /// patience keeps the future, so that no second thread is spent on the same name.
    ///
    /// # Errors
    /// When there are none, or nobody could be asked.
    #[cfg(not(feature = "dns"))]
    pub async fn look_up(&self, lookup: &Lookup) -> io::Result<Answer> {
        let Lookup::Host(name) = lookup else {
            return Err(io::Error::other("SRV records need a build with --features dns"));
        };
        let name = Arc::clone(name);
        let permit = self.under_way.acquire_arc().await;
        let found = smol::unblock(move || {
            let _until_answered = permit; // dropping the future does not end the thread
            (&*name, 0).to_socket_addrs()
        });
        let targets: Vec<Target> = found.await?.map(|one| Target::of_host(one.ip())).collect();
        match targets.is_empty() {
            true => Err(io::Error::other("it has no address")),
            false => Ok(Answer { targets, ttl: None }),
        }
    }
}

/// The same addresses, in whatever order: resolvers turn them round at each answer.
pub fn are_same<T: Eq + Hash>(these: &[T], others: &[T]) -> bool {
    these.iter().collect::<HashSet<_>>() == others.iter().collect::<HashSet<_>>()
}

/// The address of a place that needs no resolving.
pub fn literal(place: &Place) -> Option<Address> {
    match place {
        Place::Unix(path) => Some(Address::Unix(path.as_path().into())),
        Place::Tcp { host, port } => {
            let ip: IpAddr = IpAddr::from_str(host).ok()?;
            Some(Address::Tcp(SocketAddr::new(ip, *port)))
        }
    }
}

/// Asks the system's resolver, on a thread of its own.
pub async fn resolve(place: &Place) -> io::Result<Arc<[Address]>> {
    if let Some(address) = literal(place) {
        return Ok([address].into());
    }
    let Place::Tcp { host, port } = place else { return Ok([].into()) };
    let found = async_net::resolve((host.as_str(), *port)).await?;
    Ok(found.into_iter().take(ADDRESSES_MOST).map(Address::Tcp).collect())
}

#[cfg(test)]
mod tests {
    use super::are_same;

    #[test]
    fn another_order_is_no_other_set() {
        for (these, others, expected) in [
            (&[1, 2][..], &[2, 1][..], true),
            (&[1, 2], &[1, 2, 2], true),
            (&[1, 2], &[1], false),
            (&[], &[1], false),
            (&[1, 2], &[1, 3], false),
        ] {
            assert_eq!(are_same(these, others), expected, "{these:?} {others:?}");
        }
    }
}
