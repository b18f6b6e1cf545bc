//! tidegate's own log: standard error, and how not to get stuck there.
//!
//! Cores say what is odd themselves, so a reader of standard error that has stopped reading must not stop
//! them: what cannot be written at once is dropped. When it reads again, it is told how much that was.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Lines that were dropped since the last one that was written.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Octets a pipe takes whole when it has any room at all (pipe(7), `PIPE_BUF`).
const WHOLE: usize = 4096;

/// Standard error. Each write is a line.
#[derive(Clone, Copy, Debug)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        if !has_room(&stderr) {
            DROPPED.fetch_add(1, Relaxed);
            return Ok(line.len());
        }
        let dropped = DROPPED.swap(0, Relaxed);
        if dropped > 0 {
            writeln!(stderr, "{dropped} lines of this log were dropped: nobody read them")?;
            if !has_room(&stderr) {
                DROPPED.fetch_add(1, Relaxed);
                return Ok(line.len());
            }
        }
        stderr.write_all(&line[..line.len().min(WHOLE)])?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line can be written without waiting.
fn has_room(stderr: &io::StderrLock<'_>) -> bool {
    let mut asked = [PollFd::new(stderr, PollFlags::OUT)];
    // Where asking fails, writing tells what is wrong.
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(0)
}
