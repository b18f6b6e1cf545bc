//! An origin and everybody in front of it, started and compared: do all give the same answers?

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::ask::{self, Answer, Question};
use crate::peers::{DIRECT, FLOOR, Found, start_floor};
use crate::process::{Places, Running, free_port, wait_for};
use crate::results::Results;
use crate::secure::Key;
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
    /// `tidegate-origin`, behind those who speak TLS, with a certificate of this kind.
    Tls(Key),
}

impl Play {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Play; 4] =
        [Play::Http, Play::WebSocket, Play::Tls(Key::Ecdsa), Play::Tls(Key::Rsa)];

    /// The one that `workload` belongs to.
    pub fn of(workload: &Workload) -> Play {
        match (workload.kind, workload.tls()) {
            (_, Some(tls)) => Play::Tls(tls.key),
            (Kind::Messages { .. } | Kind::Idle { tunnels: true, .. }, None) => Play::WebSocket,
            _ => Play::Http,
        }
    }

    /// Clients speak TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Play::Tls(_))
    }

    /// Does an answer come through?
    pub fn answers(self, address: SocketAddr) -> bool {
        match self {
            Play::Http | Play::Tls(_) => {
                let question = Question { path: "/", tls: self.is_tls(), ..Question::default() };
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
    play: Play,
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
        // The floor has no TLS.
        let floor = (!play.is_tls()).then(|| (FLOOR, start_floor(home, port, places)));
        let able = found.iter().filter(|found| found.can(play));
        let peers =
            able.map(|found| (found.peer.name, found.start(play, home, port, 1, &[places.proxy])));
        let mut proxies = Vec::new();
        // All are started before any is waited for: the slowest sets the pace.
        for (name, started) in floor.into_iter().chain(peers) {
            match started {
                Ok(started) => proxies.push((name, started)),
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
        Ok(Stage { proxies, origin, play })
    }

    /// Everybody who can be asked, no proxy at all included: but the origin has no TLS.
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let proxies = self.proxies.iter().map(|(name, running)| (*name, running.address));
        let direct = (!self.play.is_tls()).then_some((DIRECT, self.origin.address));
        direct.into_iter().chain(proxies).collect()
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
        let wanted = sample(workload, self.origin.address, false)?;
        let mut equal = self.addresses();
        equal.retain(|(name, address)| {
            let why = match sample(workload, *address, self.play.is_tls()) {
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

/// Starts an origin and does not wait for it.
pub fn start_origin(play: Play, home: &Path, processors: &[usize]) -> io::Result<Running> {
    let port = free_port()?;
    let mut command = match play {
        Play::Http | Play::Tls(_) => Command::new(env!("CARGO_BIN_EXE_tidegate-origin")),
        Play::WebSocket => Command::new(std::env::current_exe()?),
    };
    match play {
        Play::Http | Play::Tls(_) => {
            command.args(["--port", &port.to_string(), "--message", MESSAGE])
        }
        Play::WebSocket => command.args(["mirror", &port.to_string()]),
    };
    Running::start(&mut command, port, processors, &home.join(format!("origin-{port}")))
}

/// One answer of the kind that `workload` is about.
fn sample(workload: &Workload, address: SocketAddr, tls: bool) -> io::Result<Answer> {
    if let Kind::Messages { octets, .. } = workload.kind {
        return ask::echo(address, octets);
    }
    let Some(requests) = workload.requests() else {
        return Question { path: "/", tls, ..Question::default() }.ask(address);
    };
    let fields = requests.fields.lines();
    let (method, path, body) = (requests.method, requests.path, requests.body);
    let answer = Question { method, path, fields: &fields, body, tls }.ask(address)?;
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
