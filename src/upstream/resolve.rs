//! Names to addresses, on the control plane: at the start, and again when a connection has failed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use crate::config::Place;
use crate::io::address::Address;

/// Addresses kept for one name.
const ADDRESSES_MOST: usize = 16;

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
