//! `--demo`: two origins inside the process, the proxy in front of them, and what to try.

use std::io;
use std::net::SocketAddr;

use tidegate::config::{Listen, Place, Plan, Told, Upstream};
use tidegate::origin::{self, Origin, Settings};

use crate::control;

/// Runs the proxy in front of two origins, which end with it.
pub fn run(mut plan: Plan, told: &Told) -> Result<(), String> {
    let origins = [(1, 9001), (2, 9002)].map(|(number, port)| start(number, port));
    let [first, second] = origins;
    let origins = [first.map_err(failure)?, second.map_err(failure)?];
    plan.upstreams = origins.iter().map(|origin| upstream(origin.address())).collect();
    crate::print(&welcome(&plan))?;
    control::run(plan, told)
}

fn failure(error: io::Error) -> String {
    format!("the demonstration's origins cannot start: {error}")
}

/// An origin on its usual port, or on any free one.
fn start(number: u32, port: u16) -> io::Result<Origin> {
    let settings = |port| {
        let mut settings = Settings::new(SocketAddr::from(([127, 0, 0, 1], port)));
        settings.name = format!("server-{number}");
        settings.message = format!("Response from server {number}\n");
        settings
    };
    origin::spawn(settings(port)).or_else(|_| origin::spawn(settings(0)))
}

fn upstream(address: SocketAddr) -> Upstream {
    Upstream {
        name: format!("http://{address}"),
        authority: address.to_string(),
        place: Place::Tcp { host: address.ip().to_string(), port: address.port() },
    }
}

fn welcome(plan: &Plan) -> String {
    let proxy = match plan.listen.first() {
        Some(Listen::Tcp(address)) => format!("http://localhost:{}", address.port()),
        Some(Listen::Unix(path)) => format!("--unix-socket {} http://localhost", path.display()),
        None => String::new(),
    };
    let upstreams: Vec<_> = plan.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    let mut text = format!(
        "tidegate in front of {}. Try, from another terminal:\n\n\
         \x20 curl {proxy}/                       # answered by the two in turn\n\
         \x20 curl -i {proxy}/echo -d 'some data' # what the upstream saw\n\
         \x20 curl {proxy}/bytes/1000000 | wc -c  # a large answer\n\
         \x20 curl -i {proxy}/1xx                 # early hints, relayed\n\
         \x20 curl -i {proxy}/garbage             # an upstream that does not speak HTTP\n",
        upstreams.join(" and "),
    );
    if let Some(Listen::Tcp(admin)) = &plan.admin {
        for path in ["health", "status", "metrics"] {
            text.push_str(&format!("  curl http://{admin}/{path}\n"));
        }
    }
    text.push_str("\nCtrl-C ends it.\n\n");
    text
}
