//! Where the lines go, and how not to get stuck there.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

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
    pub(super) fn open(&self) -> io::Result<LogSink> {
        let file = match self {
            // A descriptor of our own: `io::stdout` has a line buffer that would keep what it could not write.
            Output::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            Output::File(path) => OpenOptions::new()
                .create(true)
                .append(true)
                // A named pipe without a reader is then an error, and not an endless wait.
                .custom_flags(OFlags::NONBLOCK.bits() as i32)
                .open(path)?,
        };
        LogSink::new(file)
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

/// Octets written at once to what is not a file on a disk: a pipe has room for so many when `poll`
/// says that it has any.
const PIECE: usize = 4096;

/// What of `octets` is written at once: whole lines if possible, for another process may write to the
/// same pipe while it takes over from us, and the kernel keeps a piece together.
fn piece(octets: &[u8]) -> &[u8] {
    let most = &octets[..octets.len().min(PIECE)];
    memchr::memrchr(b'\n', most).map_or(most, |end| &most[..=end])
}

/// How long a reader may keep us waiting; once it has, not at all until it reads again.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
const NO_PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// An opened output.
#[derive(Debug)]
pub(super) struct LogSink {
    file: File,
    /// It lies on a disk: nobody has to read for us to write.
    on_disk: bool,
    /// The last write broke off inside a line.
    torn: bool,
    /// The last wait was in vain.
    stuck: bool,
}

impl LogSink {
    fn new(file: File) -> io::Result<LogSink> {
        let on_disk = file.metadata()?.is_file();
        Ok(LogSink { file, on_disk, torn: false, stuck: false })
    }

    /// A person may be reading.
    pub fn is_terminal(&self) -> bool {
        self.file.is_terminal()
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

    /// Writes at least an octet. A disk takes what there is; anything else may have a reader that
    /// does not read, so it is asked first and given a piece at a time.
    fn write_some(&mut self, octets: &[u8]) -> io::Result<usize> {
        let piece = if self.on_disk { octets } else { piece(octets) };
        if !self.on_disk {
            self.wait_for_room()?;
        }
        match self.file.write(piece)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            octets => Ok(octets),
        }
    }

    fn wait_for_room(&mut self) -> io::Result<()> {
        let patience = if self.stuck { NO_PATIENCE } else { PATIENCE };
        let mut asked = [PollFd::new(&self.file, PollFlags::OUT)];
        self.stuck = poll(&mut asked, Some(&patience))? == 0;
        if self.stuck { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::admin::testing::now;

    fn pipe() -> (File, LogSink) {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        (File::from(reader), LogSink::new(File::from(writer)).unwrap())
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_little_time() {
        let (mut reader, mut sink) = pipe();
        // A pipe holds 64 KiB: line 16 of 5,000 octets finds it full, having left a piece of itself there.
        let line = [vec![b'a'; 4999], vec![b'\n']].concat();
        let lines = line.repeat(20);
        let (error, lost) = sink.write(&lines).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!((1..20).contains(&lost), "{lost}");
        let start = now();
        assert_eq!(sink.write(&lines).unwrap_err().1, 20);
        assert!(start.elapsed().as_millis() < 900);

        // It reads again: the torn line ends where it broke off, and the next one is whole.
        let mut seen = vec![0; 65_536];
        let octets = reader.read(&mut seen).unwrap();
        seen.truncate(octets);
        sink.write(b"next\n").unwrap();
        drop(sink);
        reader.read_to_end(&mut seen).unwrap();
        let text = String::from_utf8(seen).unwrap();
        let whole = text.lines().filter(|line| line.len() == 4999).count() as u64;
        assert_eq!(whole, 20 - lost);
        assert_eq!(text.lines().last(), Some("next"));
    }

    #[test]
    fn a_piece_ends_with_a_line_if_one_ends_in_it() {
        assert_eq!(piece(b"a\nb\nc"), b"a\nb\n");
        assert_eq!(piece(b"abc"), b"abc");
        let long = [vec![b'a'; PIECE], vec![b'\n']].concat();
        assert_eq!(piece(&long).len(), PIECE);
        let lines = [vec![b'a'; 2999], vec![b'\n']].concat().repeat(3);
        assert_eq!(piece(&lines).len(), 3000);
    }

    #[test]
    fn a_reader_that_has_gone_is_an_error() {
        let (reader, mut sink) = pipe();
        drop(reader);
        let (error, lost) = sink.write(b"a\nb\n").unwrap_err();
        assert_eq!((error.kind(), lost), (io::ErrorKind::BrokenPipe, 2));
    }
}
