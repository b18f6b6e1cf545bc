//! An origin and everybody in front of it, started and compared: do all give the same answers?

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::ask::{self, Answer, Question};
use crate::peers::{DIRECT, FLOOR, Found, start_floor};
use crate::process::{Places, Running, free_port, wait_for};
use crate::results::Results;
use crate::workloads::{Fields, Kind, Workload};

/// What the small answers say.
const MESSAGE: &str = "hello world 12";

/// Which origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// `tidegate-origin`.
    Http,
    /// The mirror of messages.
    WebSocket,
}

impl Play {
    /// Does an answer come through?
    pub fn answers(self, address: SocketAddr) -> bool {
        match self {
            Play::Http => {
                let question = Question { path: "/", ..Question::default() };
                question.ask(address).is_ok_and(|answer| answer.status == 200)
            }
            Play::WebSocket => ask::open_websocket(address).is_ok(),
        }
    }
}

/// The origin and those in front of it; all end when this is dropped.
#[derive(Debug)]
pub struct Stage {
    /// By name, the reference points first.
    pub proxies: Vec<(&'static str, Running)>,
    origin: Running,
}

impl Stage {
    /// Starts them; who does not start is told in `results`.
    pub fn open(
        play: Play,
        found: &[Found],
        home: &Path,
        places: &Places,
        results: &mut Results,
    ) -> io::Result<Stage> {
        let mut origin = start_origin(play, home, &[places.origin])?;
        origin.wait_until_it_listens().map_err(io::Error::other)?;
        let port = origin.address.port();
        let floor = start_floor(home, port, places).map(|running| (FLOOR, running));
        let peers = found.iter().map(|found| {
            let started = found.start(home, port, 1, &[places.proxy]);
            started.map(|running| (found.peer.name, running))
        });
        let mut proxies = Vec::new();
        // All are started before any is waited for: the slowest sets the pace.
        for (started, name) in std::iter::once(floor).chain(peers).zip(names(found)) {
            match started {
                Ok(started) => proxies.push(started),
                Err(error) => results.cannot(name, format!("cannot be started: {error}")),
            }
        }
        proxies.retain_mut(|(name, running)| match running.wait_until_it_listens() {
            // Some listen before they know what to answer. Who never does is found out by the comparison of answers.
            Ok(()) => wait_for(|| play.answers(running.address).then_some(true)).unwrap_or(true),
            Err(why) => {
                results.cannot(name, why);
                false
            }
        });
        Ok(Stage { proxies, origin })
    }

    /// Everybody who can be asked, no proxy at all included.
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let proxies = self.proxies.iter().map(|(name, running)| (*name, running.address));
        std::iter::once((DIRECT, self.origin.address)).chain(proxies).collect()
    }

    /// The program of that name; none for the direct way.
    pub fn running(&self, name: &str) -> Option<&Running> {
        self.proxies.iter().find(|(found, _)| *found == name).map(|(_, running)| running)
    }

    /// Those that answer as the origin itself does; the others are told in `results`.
    pub fn equal(
        &self,
        workload: &'static Workload,
        results: &mut Results,
    ) -> io::Result<Vec<(&'static str, SocketAddr)>> {
        let wanted = sample(workload, self.origin.address)?;
        let mut equal = self.addresses();
        equal.retain(|(name, address)| {
            let why = match sample(workload, *address) {
                Ok(answer) if answer == wanted => return true,
                Ok(answer) => format!(
                    "another answer than the origin's: status {} and {} octets, not {} and {}",
                    answer.status,
                    answer.body.len(),
                    wanted.status,
                    wanted.body.len()
                ),
                Err(error) => format!("no answer: {error}"),
            };
            results.differ.push((workload.name, *name));
            results.failed.insert((workload.name, *name), why);
            false
        });
        Ok(equal)
    }
}

fn names(found: &[Found]) -> impl Iterator<Item = &'static str> {
    std::iter::once(FLOOR).chain(found.iter().map(|found| found.peer.name))
}

/// Starts an origin and does not wait for it.
pub fn start_origin(play: Play, home: &Path, processors: &[usize]) -> io::Result<Running> {
    let port = free_port()?;
    let mut command = match play {
        Play::Http => Command::new(env!("CARGO_BIN_EXE_tidegate-origin")),
        Play::WebSocket => Command::new(std::env::current_exe()?),
    };
    match play {
        Play::Http => command.args(["--port", &port.to_string(), "--message", MESSAGE]),
        Play::WebSocket => command.args(["mirror", &port.to_string()]),
    };
    Running::start(&mut command, port, processors, &home.join(format!("origin-{port}")))
}

/// One answer of the kind that `workload` is about.
fn sample(workload: &Workload, address: SocketAddr) -> io::Result<Answer> {
    if let Kind::Messages { octets, .. } = workload.kind {
        return ask::echo(address, octets);
    }
    let Some(requests) = workload.requests() else {
        return Question { path: "/", ..Question::default() }.ask(address);
    };
    let fields = requests.fields.lines();
    let (method, path, body) = (requests.method, requests.path, requests.body);
    let answer = Question { method, path, fields: &fields, body }.ask(address)?;
    if requests.fields == Fields::Thirty {
        all_arrive(address, &fields)?;
    }
    Ok(answer)
}

/// Does every field reach the origin, with its value?
fn all_arrive(address: SocketAddr, fields: &[String]) -> io::Result<()> {
    let echo = Question { path: "/echo", fields, ..Question::default() }.ask(address)?;
    let echo = String::from_utf8_lossy(&echo.body).to_ascii_lowercase();
    match fields.iter().find(|field| !echo.contains(&field.to_ascii_lowercase())) {
        None => Ok(()),
        Some(field) => Err(io::Error::other(format!("a field does not arrive: {field}"))),
    }
}
