//! Looking whether the files that settings are read from have changed (`--watch`).
//!
//! What they are tells the metadata. inotify(7) says when to look: it speaks of the entries of folders, not of where
//! links lead, and is silent about what other machines do to a shared file system, so there is a look now and then
//! without it, too.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::FutureExt;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::config::StampedFile;

/// How often files are looked at, where nothing tells of a change; and where nothing can.
const LOOK: Duration = Duration::from_secs(10);
const LOOK_ALONE: Duration = Duration::from_secs(1);
/// Files that have not changed for so long are done: some are written in several steps.
const SETTLE: Duration = Duration::from_millis(200);

/// The files, as they were when they were read.
#[derive(Debug)]
pub struct Watcher {
    read: Vec<StampedFile>,
    /// As they were at the last look.
    seen: Vec<StampedFile>,
    /// Readable when there is something new in one of their folders.
    notices: Option<Async<OwnedFd>>,
}

/// What a look tells.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// They are as they were read.
    AsRead,
    /// They have changed since the last look.
    Unsettled,
    /// They are others than those that were read.
    Changed,
}

impl Watcher {
    /// Knows the files that were `read`.
    pub fn new(read: Vec<StampedFile>) -> Watcher {
        Watcher { seen: read.clone(), read, notices: None }
    }

    /// Waits until the files are others than those that were read, and whoever changes them is done. May be dropped
    /// and called again.
    pub async fn changed(&mut self) {
        if self.notices.is_none() {
            self.notices = notices(&self.read).inspect_err(|error| {
                tracing::debug!(%error, "inotify cannot be had: files are looked at once a second");
            }).ok();
        }
        loop {
            match self.look() {
                Look::Changed => return,
                Look::Unsettled => {}
                Look::AsRead => self.notice().await,
            }
            Timer::after(SETTLE).await;
        }
    }

    /// Waits until it is time to look.
    async fn notice(&self) {
        let late = async |after| _ = Timer::after(after).await;
        let Some(notices) = &self.notices else { return late(LOOK_ALONE).await };
        let noticed = async {
            if notices.readable().await.is_err() {
                late(LOOK_ALONE).await;
            }
            // What they say does not matter; those that are left wake us once more.
            let _ = rustix::io::read(notices, &mut [0; 4096]);
        };
        noticed.or(late(LOOK)).await;
    }

    fn look(&mut self) -> Look {
        let now: Vec<_> = self.read.iter().map(|file| StampedFile::now(&file.path)).collect();
        let settled = now == self.seen;
        self.seen = now;
        match (settled, self.seen == self.read) {
            (true, true) => Look::AsRead,
            (true, false) => Look::Changed,
            (false, _) => Look::Unsettled,
        }
    }
}

/// Tells of what happens in the folders of `files`, and in those where their links lead.
fn notices(files: &[StampedFile]) -> io::Result<Async<OwnedFd>> {
    let notices = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let mut folders = BTreeSet::new();
    for StampedFile { path, .. } in files {
        folders.insert(folder(path));
        if let Ok(target) = path.canonicalize() {
            folders.insert(folder(&target));
        }
    }
    let happens = WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::MODIFY
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::ATTRIB;
    for folder in folders {
        match inotify::add_watch(&notices, &folder, happens) {
            // What is not there will have its folder changed, or is found at a look.
            Ok(_) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Async::new_nonblocking(notices)
}

/// Where `file` lies; a folder lies in itself, for what comes and goes in it.
fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        _ if file.is_dir() => file.to_owned(),
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A folder of its own, with a file `a` and a link `b` to it.
    fn folder_of(test: &str) -> PathBuf {
        let name = format!("tidegate-watch-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a"), "1").unwrap();
        symlink(folder.join("a"), folder.join("b")).unwrap();
        folder
    }

    fn watcher(files: &[PathBuf]) -> Watcher {
        Watcher::new(files.iter().map(|path| StampedFile::now(path)).collect())
    }

    #[test]
    fn a_change_is_seen_when_it_has_settled() {
        use Look::{AsRead, Changed, Unsettled};
        let folder = folder_of("look");
        let files = [folder.join("b"), folder.join("none")];
        let mut watched = watcher(&files);
        assert_eq!([watched.look(), watched.look()], [AsRead, AsRead]);
        fs::write(&files[0], "12").unwrap();
        assert_eq!(watched.look(), Unsettled);
        fs::write(&files[0], "123").unwrap();
        assert_eq!([watched.look(), watched.look(), watched.look()], [Unsettled, Changed, Changed]);
        watched = watcher(&files);
        fs::write(folder.join("c"), "123").unwrap();
        fs::remove_file(&files[0]).unwrap();
        symlink(folder.join("c"), &files[0]).unwrap();
        assert_eq!([watched.look(), watched.look()], [Unsettled, Changed], "it leads elsewhere");
        watched = watcher(&files);
        fs::write(&files[1], "").unwrap();
        assert_eq!([watched.look(), watched.look()], [Unsettled, Changed], "it was not there");
        fs::write(&files[0], "1234").unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_kernel_says_when_to_look() {
        let folder = folder_of("notices");
        let elsewhere = folder.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("d"), "1").unwrap();
        symlink(elsewhere.join("d"), folder.join("c")).unwrap();
        let changes: [(&str, &str); 4] =
            [("a", "a"), ("b", "a"), ("c", "elsewhere/d"), ("none", "none")];
        for (watched, written) in changes {
            let mut watcher = watcher(&[folder.join(watched)]);
            let writes = async {
                Timer::after(SETTLE).await;
                fs::write(folder.join(written), format!("new {watched}")).unwrap();
                std::future::pending().await
            };
            let late = async {
                Timer::after(LOOK / 2).await;
                panic!("{watched}: nobody said that it has changed");
            };
            smol::block_on(watcher.changed().or(writes).or(late));
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
