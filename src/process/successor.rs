//! The binary upgrade: a new process gets the listening sockets, and takes over once it is ready.
//!
//! Nothing is closed meanwhile: both processes hold the same sockets, so whatever waits in their
//! queues waits for whichever of the two accepts. If the new one does not come to be ready, it is
//! ended, and nothing has happened.

use std::env;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt, FutureExt};
use rustix::fs::{MemfdFlags, memfd_create};

use super::inherited::{INHERIT, Label, READY, UPSTREAMS_MOST};

/// A new process that has not become ready by then is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Octets it may say at most.
const WORDS_MOST: usize = 4096;
/// What a service manager told this process, and not the next.
const OURS_ALONE: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// A new process that is not ready yet.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    line: Async<UnixStream>,
    words: Vec<u8>,
    patience: Timer,
}

impl Successor {
    /// Starts `program` with our arguments and our environment, with copies of `sockets`, and with what is known of
    /// `upstreams`.
    pub fn start<'s>(
        program: &Path,
        upstreams: &[u8],
        sockets: impl Iterator<Item = &'s (Label, OwnedFd)>,
    ) -> io::Result<Successor> {
        let (line, report) = UnixStream::pair()?;
        // A plain dup is not closed on exec: these copies, and nothing else, reach the new process.
        // Only this thread starts processes, and ours are closed again on return.
        let report = rustix::io::dup(&report)?;
        let mut words = format!("report={}", report.as_raw_fd());
        let mut copies = Vec::new();
        match file_of(upstreams) {
            Ok(file) => {
                words.push_str(&format!(",upstreams={}", file.as_raw_fd()));
                copies.push(file);
            }
            Err(error) => {
                tracing::warn!(%error, "the new process will have to find out how upstreams are");
            }
        }
        for (label, socket) in sockets {
            let copy = rustix::io::dup(socket)?;
            words.push_str(&format!(",{}={}", label.word(), copy.as_raw_fd()));
            copies.push(copy);
        }
        let mut command = Command::new(program);
        command.args(env::args_os().skip(1)).env(INHERIT, words);
        for name in OURS_ALONE {
            command.env_remove(name);
        }
        let line = Async::new(line)?;
        let child = command.spawn()?;
        Ok(Successor { child, line, words: Vec::new(), patience: Timer::after(PATIENCE) })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it is ready, has failed, or took too long; an error is what it had to say, if it
    /// did not end without a word. May be dropped and called again.
    pub async fn settle(&mut self) -> Result<(), Option<String>> {
        let Successor { line, words, patience, .. } = self;
        let hear = async {
            let mut piece = [0; 512];
            while words.len() < WORDS_MOST {
                match line.read(&mut piece).await {
                    Ok(octets @ 1..) => words.extend_from_slice(&piece[..octets]),
                    Ok(0) | Err(_) => break,
                }
            }
            true
        };
        let late = async {
            patience.await;
            false
        };
        match hear.or(late).await {
            true if self.words == READY => Ok(()),
            true if self.words.is_empty() => Err(None),
            true => Err(Some(String::from_utf8_lossy(&self.words).into_owned())),
            false => Err(Some(format!("it was not ready after {PATIENCE:?}"))),
        }
    }

    /// Ends it; how it ended, for the log.
    pub fn give_up(mut self) -> String {
        // One that has ended already keeps its own exit status.
        let _ = self.child.kill();
        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

/// A file in memory that is not closed on exec, to be read from its beginning.
fn file_of(octets: &[u8]) -> io::Result<OwnedFd> {
    if octets.len() > UPSTREAMS_MOST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut file = File::from(memfd_create("upstreams", MemfdFlags::empty())?);
    file.write_all(octets)?;
    file.rewind()?;
    Ok(file.into())
}
