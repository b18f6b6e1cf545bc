//! `--demo`: two origins inside the process, the proxy in front of them, and what to try.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::{Place, Plan, Report, Sources, UpstreamSpec};
use crate::io::address::Address;
use crate::origin::{self, OriginServer, OriginSettings};

use super::start_with;
use crate::process::console;
use crate::process::listeners::ListenerSockets;

/// Runs the proxy in front of two origins, which end with it.
pub fn run(mut plan: Plan, report: &Report, sources: Sources<'static>) -> Result<(), String> {
    let origins = [(1, 9001), (2, 9002)].map(|(number, port)| start(number, port));
    let [first, second] = origins;
    let origins = [first.map_err(failure)?, second.map_err(failure)?];
    let upstreams: Vec<_> = origins.iter().map(|origin| upstream(origin.address())).collect();
    let names: Vec<_> = upstreams.iter().map(|upstream| upstream.name.clone()).collect();
    if let Some(pool) = plan.pools.first_mut() {
        Arc::make_mut(pool).upstreams.clone_from(&upstreams);
    }
    start_with(plan, report, sources, |listeners| {
        let [proxy, admin] = [&listeners.listen, &listeners.admin].map(|row| row.first().map(base));
        console::print(&welcome(&names, proxy, admin))
    })
}

fn failure(error: io::Error) -> String {
    format!("the demonstration's origins cannot start: {error}")
}

/// An origin on its usual port, or on any free one.
fn start(number: u32, port: u16) -> io::Result<OriginServer> {
    let settings = |port| {
        let mut settings = OriginSettings::new(SocketAddr::from(([127, 0, 0, 1], port)));
        settings.name = format!("server-{number}");
        settings.message = format!("Response from server {number}\n");
        settings
    };
    origin::spawn(settings(port)).or_else(|_| origin::spawn(settings(0)))
}

fn upstream(address: SocketAddr) -> UpstreamSpec {
    UpstreamSpec {
        name: format!("http://{address}"),
        authority: address.to_string(),
        place: Place::Tcp { host: address.ip().to_string(), port: address.port() },
        secure: false,
        base: String::new(),
        weight: 1,
        backup: false,
        draining: false,
        resolved_from: None,
    }
}

/// The URL for curl, up to the path.
fn base(listener: &ListenerSockets) -> String {
    match &listener.bound.address {
        Address::Tcp(address) if address.ip().is_unspecified() => {
            format!("http://localhost:{}", address.port())
        }
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(path) => format!("--unix-socket {} http://localhost", path.display()),
    }
}

fn welcome(upstreams: &[String], proxy: Option<String>, admin: Option<String>) -> String {
    let proxy = proxy.unwrap_or_default();
    let mut text = format!(
        "tidegate in front of {}. Try, from another terminal:\n\n\
         \x20 curl {proxy}/                       # answered by the two in turn\n\
         \x20 curl -i {proxy}/echo -d 'some data' # what the upstream saw\n\
         \x20 curl {proxy}/bytes/1000000 | wc -c  # a large answer\n\
         \x20 curl -i {proxy}/1xx                 # early hints, relayed\n\
         \x20 curl -i {proxy}/garbage             # an upstream that does not speak HTTP\n",
        upstreams.join(" and "),
    );
    if let Some(admin) = admin {
        for path in ["health", "status", "metrics"] {
            text.push_str(&format!("  curl {admin}/{path}\n"));
        }
    }
    text.push_str("\nCtrl-C ends it.\n\n");
    text
}
