//! Which version of a file was read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells a version of a file from another: where it lies, how long it is, and when it was written. Links are
/// followed, so one that leads elsewhere now is another version, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    octets: u64,
    written: (i64, i64),
}

/// A file that settings are read from, and the version that was read; `None`: it was not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StampedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its version.
    pub stamp: Option<Stamp>,
}

impl StampedFile {
    /// The file as it is now: to be asked for before it is read, so that no later change is taken for read.
    pub fn now(path: &Path) -> StampedFile {
        let stamp = fs::metadata(path).ok().map(|found| Stamp {
            device: found.dev(),
            inode: found.ino(),
            octets: found.len(),
            written: (found.mtime(), found.mtime_nsec()),
        });
        StampedFile { path: path.to_owned(), stamp }
    }
}
