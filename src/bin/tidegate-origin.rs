//! `tidegate-origin`: a fast test backend to put behind a proxy.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use argh::FromArgs;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate::origin::{self, OriginSettings, PATHS};

/// A fast test backend: says who it is, echoes, sends sized, delayed, chunked, failing and streaming answers.
#[derive(FromArgs)]
struct Arguments {
    /// listen on 127.0.0.1 at this port (default 9001; 0: any free one)
    #[argh(option, default = "9001")]
    port: u16,

    /// listen at this address, such as 0.0.0.0:9001, instead of --port
    #[argh(option)]
    listen: Option<SocketAddr>,

    /// name, sent as X-Origin (default origin-PORT)
    #[argh(option, default = "String::new()")]
    name: String,

    /// the body of / (default "hello" and a line end)
    #[argh(option)]
    message: Option<String>,

    /// threads that serve (default 1)
    #[argh(option, default = "1")]
    threads: usize,

    /// close a connection without a word after this many answers
    #[argh(option)]
    idle_close_after: Option<u64>,

    /// close a connection without a word when idle for so many milliseconds
    #[argh(option)]
    close_idle_ms: Option<u64>,

    /// list the paths and what they do
    #[argh(switch)]
    paths: bool,
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    if arguments.paths {
        return print(PATHS);
    }
    let listen = arguments.listen.unwrap_or(([127, 0, 0, 1], arguments.port).into());
    let mut settings = OriginSettings::new(listen);
    settings.name = arguments.name;
    settings.threads = arguments.threads;
    settings.close_after = arguments.idle_close_after;
    settings.close_idle = arguments.close_idle_ms.map(Duration::from_millis);
    if let Some(message) = arguments.message {
        settings.message = message;
    }
    allow_many_connections();
    let served = origin::spawn(settings).and_then(|origin| {
        complain(&format!("tidegate-origin: listening on http://{}", origin.address()));
        origin.wait()
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("tidegate-origin: {listen}: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The command line; or what to exit with: 0 after help, 2 after a mistake.
fn arguments() -> Result<Arguments, ExitCode> {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = words.collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Arguments::from_args(&["tidegate-origin"], &words).map_err(|early| match early.status {
        Ok(()) => print(&format!("{}\n", early.output)),
        Err(()) => {
            complain(&early.output);
            ExitCode::from(2)
        }
    })
}

/// Prints to standard output; where that fails, the exit code says so.
fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("tidegate-origin: cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Says on standard error what there is to say, if anybody reads it.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Raises the soft limit on descriptors to the hard one; without it, there are fewer connections.
fn allow_many_connections() {
    let limits = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits });
}
