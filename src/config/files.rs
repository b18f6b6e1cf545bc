//! Every file that settings are read from, and the version that was read. Nothing else in this room opens one.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Read};
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
    /// The file as it is now.
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

/// The files that were read so far, or would have been.
#[derive(Debug, Default)]
pub struct Files {
    noted: RefCell<Vec<StampedFile>>,
    /// No pipe is read: nobody is kept waiting.
    at_once: bool,
}

impl Files {
    /// Reads regular files only.
    pub fn at_once() -> Files {
        Files { at_once: true, ..Files::default() }
    }

    /// Notes the version of a file or folder: before it is read, so that no later change is taken for read.
    pub fn note(&self, path: &Path) {
        self.noted.borrow_mut().push(StampedFile::now(path));
    }

    /// A file of at most so many octets. May be a pipe, which keeps us waiting for whoever writes into it, unless
    /// nobody is to be kept waiting.
    pub fn octets(&self, path: &Path, most: usize) -> io::Result<Vec<u8>> {
        self.note(path);
        if self.at_once {
            is_regular(path)?;
        }
        bounded(path, most)
    }

    /// The same as text.
    pub fn text(&self, path: &Path, most: usize) -> io::Result<String> {
        as_text(self.octets(path, most)?)
    }

    /// What is in a regular file, which is there at once.
    pub fn regular_octets(&self, path: &Path, most: usize) -> io::Result<Vec<u8>> {
        self.note(path);
        is_regular(path)?;
        bounded(path, most)
    }

    /// The same as text.
    pub fn regular(&self, path: &Path, most: usize) -> io::Result<String> {
        as_text(self.regular_octets(path, most)?)
    }

    /// Each file once, in the version that was read first.
    pub fn stamped(&self) -> Vec<StampedFile> {
        let mut files = self.noted.borrow().clone();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|later, first| later.path == first.path);
        files
    }
}

/// What to do about a file that could not be read.
pub fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::FileTooLarge => "put parts of it into other files, or shorten it",
        io::ErrorKind::InvalidData => "save it as UTF-8",
        _ => "name a file that can be read",
    }
}

fn is_regular(path: &Path) -> io::Result<()> {
    match fs::metadata(path)?.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("it is no regular file")),
    }
}

fn bounded(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut octets)?;
    if octets.len() > most {
        let size = match most >> 20 {
            0 => format!("{} KiB", most >> 10),
            mebi => format!("{mebi} MiB"),
        };
        let what = format!("it is larger than {size}");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(octets)
}

fn as_text(octets: Vec<u8>) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text");
    String::from_utf8(octets).map_err(not_text)
}
