//! `tidegate-load`: HOW MUCH CAN IT TAKE? The load generator: requests or WebSocket messages against any server, closed
//! loop or open, with every answer checked and every latency counted.
//!
//! Laws:
//! - Uses `http` and `io` of the library; nothing depends on it.
//! - Must cost less than what it measures: the request is made once, nothing is allocated for each, and an
//!   ordinary exchange is one send, one receive and a share of a wait.
//! - Answers are judged by our own strict parser; what is not a good answer is an error of a named kind,
//!   and only good ones have a latency.
//! - In the open loop a latency begins when the request was due, whoever made it wait.
//! - Bounded: a connection has one request under way, what is due and not sent is counted, not stored.
//!
//! Top-down: [`arguments`] make a [`workload`] (by `target`, `request` and `secure`); [`run()`](run::run) starts a
//! `load_thread` for each thread, with its `connection`s, which take requests from the `dispatcher` (in the open
//! loop by the [`schedule`]) and make a `round_trip` of each, in which a `response` or an `echo` is read; a
//! [`tally`] counts, by kinds of [`load_fault`]; `progress` shows, and a [`report`] tells.

mod arguments;
mod connection;
mod dispatcher;
mod echo;
mod load_fault;
mod load_thread;
mod progress;
mod report;
mod request;
mod response;
mod round_trip;
mod run;
mod schedule;
#[cfg(feature = "tls")]
mod secure;
mod tally;
mod target;
mod workload;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use arguments::Invocation;
use report::LoadReport;
use workload::WorkloadKind;

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let workload = match arguments::read(words) {
        Ok(Invocation::Run(workload)) => Arc::new(*workload),
        Ok(Invocation::Print(text)) => return print(&text, 0),
        Err(wrong) => {
            complain(&format!("tidegate-load: {wrong}\n--help lists all flags\n"));
            return ExitCode::from(2);
        }
    };
    allow_many_connections();
    // The line is drawn over itself, which a dumb terminal cannot do.
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let shows = io::stderr().is_terminal() && !dumb;
    let standing = |connections| {
        print(&format!("idle {connections}\n"), 0);
    };
    let outcome = match run::run(&workload, shows, standing) {
        Ok(outcome) => outcome,
        Err(error) => {
            complain(&format!("tidegate-load: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let report =
        LoadReport { workload: &workload, tally: &outcome.tally, connected: outcome.connected };
    let code = report.exit_code();
    let digest = report.digest().filter(|_| workload.prints_hash && code == 0);
    match digest {
        Some(digest) => print(&format!("{digest}\n"), code),
        None if workload.kind == WorkloadKind::Idle || workload.prints_hash => {
            if code != 0 {
                complain(&report.table());
            }
            ExitCode::from(code)
        }
        None if workload.json => print(&format!("{}\n", report.json()), code),
        None => print(&report.table(), code),
    }
}

/// Prints to standard output; where that fails, so does whatever was to be told.
fn print(text: &str, code: u8) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            complain(&format!("tidegate-load: cannot write to standard output: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Says on standard error what is wrong, if anybody reads it.
fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Raises the soft limit on descriptors to the hard one; without it, there are fewer connections.
fn allow_many_connections() {
    let limits = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits });
}
