//! Looking whether the files that settings are read from have changed (`--watch`).
//!
//! They are looked at once a second, by their metadata, rather than with inotify(7): that tells of a folder's entries
//! and not of where links lead, and says nothing of what other machines do to a shared file system.

use std::time::Duration;

use async_io::Timer;

use crate::config::StampedFile;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The files, as they were when they were read.
#[derive(Debug)]
pub struct Watcher {
    read: Vec<StampedFile>,
    /// As they were at the last look.
    seen: Vec<StampedFile>,
}

impl Watcher {
    /// Watches the files that were `read`.
    pub fn new(read: Vec<StampedFile>) -> Watcher {
        Watcher { seen: read.clone(), read }
    }

    /// Waits until the files are others than those that were read, and have not changed since the last look: whoever
    /// writes them in several steps should be done. May be dropped and called again.
    pub async fn changed(&mut self) {
        loop {
            Timer::after(LOOK).await;
            if self.look() {
                return;
            }
        }
    }

    fn look(&mut self) -> bool {
        let now = self.now();
        let settled = now == self.seen;
        self.seen = now;
        settled && self.seen != self.read
    }

    /// The files as they are now are about to be read.
    pub fn read_now(&mut self) {
        self.read = self.now();
    }

    fn now(&self) -> Vec<StampedFile> {
        self.read.iter().map(|file| StampedFile::now(&file.path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_change_is_noticed_when_it_has_settled_and_once() {
        let folder = std::env::temp_dir().join(format!("tidegate-watch-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let [file, link, other] = ["a", "b", "c"].map(|name| folder.join(name));
        fs::write(&file, "1").unwrap();
        fs::write(&other, "1").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut watcher =
            Watcher::new([&link, &folder.join("none")].map(|p| StampedFile::now(p)).into());
        let mut looks = |n: usize| -> Vec<bool> { (0..n).map(|_| watcher.look()).collect() };
        assert_eq!(looks(2), [false, false]);
        fs::write(&file, "12").unwrap();
        assert_eq!(looks(1), [false]);
        fs::write(&file, "123").unwrap();
        assert_eq!(looks(3), [false, true, true]);
        watcher.read_now();
        assert!(!watcher.look());
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert!(!watcher.look() && watcher.look(), "it leads elsewhere");
        watcher.read_now();
        fs::write(folder.join("none"), "").unwrap();
        assert!(!watcher.look() && watcher.look(), "one has come that was not there");
        fs::remove_dir_all(&folder).unwrap();
    }
}
