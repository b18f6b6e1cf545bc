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
//! Top-down: [`arguments`] make a [`plan`] (by `target` and `request`); [`run()`](run::run) has each thread be a
//! `worker` with its `connection`s, which take requests from the `dispatcher` (in the open loop by the
//! [`schedule`]) and make an `exchange` of each, in which an `answer` or an `echo` is heard; a [`tally`]
//! counts, by kinds of [`fault`]; `progress` shows, and a [`report`] tells.

mod answer;
mod arguments;
mod connection;
mod dispatcher;
mod echo;
mod exchange;
mod fault;
mod plan;
mod progress;
mod report;
mod request;
mod run;
mod schedule;
mod tally;
mod target;
mod worker;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use arguments::Request;
use plan::Kind;
use report::Report;

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let plan = match arguments::read(words) {
        Ok(Request::Run(plan)) => Arc::new(*plan),
        Ok(Request::Print(text)) => return print(&text, 0),
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
    let outcome = match run::run(&plan, shows, standing) {
        Ok(outcome) => outcome,
        Err(error) => {
            complain(&format!("tidegate-load: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let report = Report { plan: &plan, tally: &outcome.tally, connected: outcome.connected };
    let code = report.exit_code();
    let digest = report.digest().filter(|_| plan.prints_hash && code == 0);
    match digest {
        Some(digest) => print(&format!("{digest}\n"), code),
        None if plan.kind == Kind::Idle || plan.prints_hash => {
            if code != 0 {
                complain(&report.table());
            }
            ExitCode::from(code)
        }
        None if plan.json => print(&format!("{}\n", report.json()), code),
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
