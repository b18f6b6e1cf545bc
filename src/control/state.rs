//! The folder where changes of upstreams made at run time outlive the process.
//!
//! One file, replaced as a whole: written beside, synced, renamed over the old one, and the folder synced. So it is
//! as it was or as it is to be, at any moment. A file that makes no sense is set aside, and never keeps us from
//! starting.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::config::{CHANGES_FILE as FILE, Overlay};
use crate::process::remedies;

/// A folder that can be written to.
#[derive(Debug)]
pub struct StateFolder(PathBuf);

impl StateFolder {
    /// Makes the folder if it is not there.
    ///
    /// # Errors
    /// When nothing can be kept there.
    pub fn open(path: &Path) -> Result<StateFolder, String> {
        let folder = StateFolder(path.to_owned());
        let made = match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
        // Better now than when somebody's change is refused.
        let trial = made.and_then(|()| {
            File::create(folder.beside())?;
            fs::remove_file(folder.beside())
        });
        trial.map_err(|error| {
            let remedy = remedies::keeping(&error);
            format!("cannot keep changes in {} (--state): {error}{remedy}", path.display())
        })?;
        Ok(folder)
    }

    /// The changes that were kept.
    pub fn read(&self) -> Overlay {
        let file = self.0.join(FILE);
        Overlay::kept_in(&self.0).unwrap_or_else(|why| {
            let aside = self.0.join(format!("{FILE}.damaged"));
            let moved_to = match fs::rename(&file, &aside) {
                Ok(()) => aside.display().to_string(),
                Err(error) => format!("nowhere: {error}"),
            };
            let file = file.display();
            tracing::error!(%file, %why, %moved_to, "cannot read the changes made at run time; started without them");
            Overlay::default()
        })
    }

    /// Keeps `overlay`, in place of what was kept before.
    ///
    /// # Errors
    /// When it cannot be written; the old one is kept then.
    pub fn write(&self, overlay: &Overlay) -> Result<(), String> {
        let replace = || -> io::Result<()> {
            let mut beside = File::create(self.beside())?;
            beside.write_all(overlay.text().as_bytes())?;
            beside.sync_all()?;
            fs::rename(self.beside(), self.0.join(FILE))?;
            File::open(&self.0)?.sync_all()
        };
        replace().map_err(|error| {
            let remedy = remedies::keeping(&error);
            format!("cannot write {FILE} in {} (--state): {error}{remedy}", self.0.display())
        })
    }

    fn beside(&self) -> PathBuf {
        self.0.join(format!("{FILE}.new"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Presence;

    fn overlay() -> Overlay {
        let mut overlay = Overlay::default();
        overlay.restore(("default", "http://a:1"), Presence::Added, true, Some(3)).unwrap();
        overlay.restore(("shop", "http://b:1"), Presence::Removed, false, None).unwrap();
        overlay.restore(("shop", "http://unix:/c"), Presence::AsAsked, true, None).unwrap();
        overlay
    }

    #[test]
    fn a_file_that_makes_no_sense_is_set_aside() {
        let path = std::env::temp_dir().join(format!("tidegate-state-{}", std::process::id()));
        let folder = StateFolder::open(&path).unwrap();
        folder.write(&overlay()).unwrap();
        assert_eq!(StateFolder::open(&path).unwrap().read(), overlay());
        let whole = fs::read_to_string(path.join(FILE)).unwrap();
        let damaged = [
            "",
            "{}",
            "{\"version\":2,\"upstreams\":[]}",
            &whole[..whole.len() / 2],
            &whole.replace("http://a", "ftp://a"),
            &whole.replace("added", "x"),
            &whole.replace(":3", ":257"),
            &whole.replace(":3", ":0"),
            "\u{feff}",
        ];
        for text in damaged {
            fs::write(path.join(FILE), text).unwrap();
            assert_eq!(folder.read(), Overlay::default(), "{text}");
            assert_eq!(fs::read_to_string(path.join("upstreams.json.damaged")).unwrap(), text);
            assert!(!path.join(FILE).exists());
        }
        fs::remove_dir_all(&path).unwrap();
        assert!(StateFolder::open(&path.join("a/b")).unwrap_err().contains("--state"));
    }
}
