//! The folder where changes of upstreams made at run time outlive the process.
//!
//! One file, replaced as a whole: written beside, synced, renamed over the old one, and the folder synced. So it is
//! as it was or as it is to be, at any moment. A file that makes no sense is set aside, and never keeps us from
//! starting.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::{Overlay, Presence};

const FILE: &str = "upstreams.json";
/// The largest file that is read: more than all upstreams there may be take up.
const LARGEST: u64 = 4 * 1024 * 1024;

/// The words for a presence.
const PRESENCES: [(Presence, &str); 3] =
    [(Presence::AsAsked, "as-asked"), (Presence::Added, "added"), (Presence::Removed, "removed")];

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
            format!("cannot keep changes in {} (--state): {error}", path.display())
        })?;
        Ok(folder)
    }

    /// The changes that were kept.
    pub fn read(&self) -> Overlay {
        let file = self.0.join(FILE);
        let mut text = String::new();
        let read = match File::open(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Overlay::default(),
            Err(error) => Err(error),
            Ok(open) => open.take(LARGEST).read_to_string(&mut text),
        };
        let parsed = match read {
            Ok(_) => parse(&text),
            Err(error) => Err(error.to_string()),
        };
        parsed.unwrap_or_else(|why| {
            let aside = self.0.join(format!("{FILE}.damaged"));
            let moved = fs::rename(&file, &aside).map_or_else(|e| e.to_string(), |()| "moved".into());
            let (file, aside) = (file.display(), aside.display());
            tracing::error!(%file, %why, %aside, %moved, "changes made at run time are lost: set aside");
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
            beside.write_all(text(overlay).as_bytes())?;
            beside.sync_all()?;
            fs::rename(self.beside(), self.0.join(FILE))?;
            File::open(&self.0)?.sync_all()
        };
        let what =
            |error| format!("cannot write {FILE} in {} (--state): {error}", self.0.display());
        replace().map_err(what)
    }

    fn beside(&self) -> PathBuf {
        self.0.join(format!("{FILE}.new"))
    }
}

/// One line for each change, for those who look.
fn text(overlay: &Overlay) -> String {
    let changes = overlay.changes().map(|change| {
        let presence = PRESENCES[change.presence as usize].1;
        let change = json!({
            "pool": change.pool, "url": change.upstream.name, "presence": presence,
            "draining": change.draining, "weight": change.weight,
        });
        format!("  {change}")
    });
    format!("{{\"version\":1,\"upstreams\":[\n{}\n]}}\n", changes.collect::<Vec<_>>().join(",\n"))
}

fn parse(text: &str) -> Result<Overlay, String> {
    let root: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if root["version"] != 1 {
        return Err(format!("its version is {} and not 1", root["version"]));
    }
    let mut overlay = Overlay::default();
    for change in root["upstreams"].as_array().ok_or("it has no list of upstreams")? {
        let (url, draining) = (change["url"].as_str(), change["draining"].as_bool());
        let presence = PRESENCES.iter().find(|(_, word)| change["presence"] == *word);
        let (Some(url), Some(draining), Some((presence, _))) = (url, draining, presence) else {
            return Err(format!("{change} is no change of an upstream"));
        };
        // Earlier versions knew one pool, and no weights.
        let pool = change["pool"].as_str().unwrap_or("default");
        let weight = change["weight"].as_u64().and_then(|weight| u32::try_from(weight).ok());
        overlay.restore((pool, url), *presence, draining, weight.filter(|weight| *weight > 0))?;
    }
    Ok(overlay)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay() -> Overlay {
        let mut overlay = Overlay::default();
        overlay.restore(("default", "http://a:1"), Presence::Added, true, Some(3)).unwrap();
        overlay.restore(("shop", "http://b:1"), Presence::Removed, false, None).unwrap();
        overlay.restore(("shop", "http://unix:/c"), Presence::AsAsked, true, None).unwrap();
        overlay
    }

    #[test]
    fn what_was_written_is_read() {
        assert!(PRESENCES.iter().enumerate().all(|(at, (presence, _))| *presence as usize == at));
        for overlay in [Overlay::default(), overlay()] {
            assert_eq!(parse(&text(&overlay)), Ok(overlay));
        }
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
