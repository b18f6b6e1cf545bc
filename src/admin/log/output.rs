//! Where the lines go, and how not to get stuck there.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Stdout, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Where an access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// A file; it is created if need be and only ever appended to.
    File(PathBuf),
}

impl Output {
    /// Opens it; an error is the file system's.
    pub(super) fn open(&self) -> io::Result<Sink> {
        let target = match self {
            Output::Stdout => Target::Stdout(io::stdout()),
            Output::File(path) => {
                Target::File(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        Ok(Sink { target, torn: false })
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Stdout => f.write_str("standard output"),
            Output::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Octets written to a pipe at once: it has room for so many when `poll` says that it has any.
const PIECE: usize = 4096;

/// How long a reader of our standard output may keep us waiting.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// An opened output.
#[derive(Debug)]
pub(super) struct Sink {
    target: Target,
    /// The last write broke off inside a line.
    torn: bool,
}

#[derive(Debug)]
enum Target {
    Stdout(Stdout),
    File(File),
}

impl Sink {
    /// A person may be reading.
    pub fn is_terminal(&self) -> bool {
        match &self.target {
            Target::Stdout(stdout) => stdout.is_terminal(),
            Target::File(file) => file.is_terminal(),
        }
    }

    /// Writes whole lines; an error says how many of the lines are lost. What it leaves behind of a line is ended
    /// before the next one begins.
    pub fn write(&mut self, lines: &[u8]) -> Result<(), (io::Error, u64)> {
        let mut written = 0;
        while written < lines.len() {
            let rest = &lines[written..];
            let wrote = match self.torn && written == 0 {
                true => self.write_some(b"\n").map(|_| 0),
                false => self.write_some(rest),
            };
            match wrote {
                Ok(octets) => {
                    written += octets;
                    self.torn = octets > 0 && lines[written - 1] != b'\n';
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((error, memchr::memchr_iter(b'\n', rest).count() as u64)),
            }
        }
        Ok(())
    }

    /// Writes at least an octet. A file takes what there is; standard output may be a pipe that nobody reads, so it is
    /// asked first and given a piece at a time.
    fn write_some(&mut self, octets: &[u8]) -> io::Result<usize> {
        let wrote = match &mut self.target {
            Target::File(file) => file.write(octets)?,
            Target::Stdout(stdout) => {
                wait_for_room(stdout.as_fd())?;
                // Past the line buffer of `Stdout`, which would keep what it could not write.
                rustix::io::write(stdout, &octets[..octets.len().min(PIECE)])?
            }
        };
        if wrote == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(wrote) }
    }
}

fn wait_for_room(fd: BorrowedFd<'_>) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], Some(&PATIENCE))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}
