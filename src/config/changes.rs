//! Changes of upstreams made at run time, as they are written down.

use std::fmt::{self, Display};
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::files::Files;
use super::overlay::{Overlay, Presence, UpstreamChange};
use super::places::HEAVIEST;

/// Where they are kept, in the folder that `state` names.
pub const CHANGES_FILE: &str = "upstreams.json";
/// The largest such file that is read: more octets than all upstreams there may be take up.
const LARGEST: usize = 4 * 1024 * 1024;

/// The words for a presence.
const PRESENCES: [(Presence, &str); 3] =
    [(Presence::AsAsked, "as-asked"), (Presence::Added, "added"), (Presence::Removed, "removed")];

impl UpstreamChange {
    /// As it is written down, and shown.
    pub fn json(&self) -> Value {
        json!({
            "pool": self.pool, "url": self.upstream.name, "presence": PRESENCES[self.presence as usize].1,
            "draining": self.draining, "weight": self.weight, "backup": self.upstream.backup,
        })
    }
}

/// As people read it: `pool shop: http://a:1 added, draining, weight 3`.
impl Display for UpstreamChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool {}: {}", self.pool, self.upstream.name)?;
        let presence = match self.presence {
            Presence::AsAsked => None,
            other => Some(PRESENCES[other as usize].1.to_owned()),
        };
        let draining = self.draining.then(|| "draining".to_owned());
        let weight = self.weight.map(|weight| format!("weight {weight}"));
        let backup = self.upstream.backup.then(|| "backup".to_owned());
        let what = [presence, draining, weight, backup].into_iter().flatten();
        let what: Vec<String> = what.collect();
        write!(f, " {}", what.join(", "))
    }
}

impl Overlay {
    /// The text of the file, a line for each change.
    pub fn text(&self) -> String {
        let changes = self.changes().map(|change| format!("  {}", change.json()));
        format!(
            "{{\"version\":1,\"upstreams\":[\n{}\n]}}\n",
            changes.collect::<Vec<_>>().join(",\n")
        )
    }

    /// The changes that are kept in `folder`; none, if there is no file.
    ///
    /// # Errors
    /// When it cannot be read, or makes no sense.
    pub fn kept_in(folder: &Path) -> Result<Overlay, String> {
        match Files::at_once().text(&folder.join(CHANGES_FILE), LARGEST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Overlay::default()),
            Err(error) => Err(error.to_string()),
            Ok(text) => Overlay::parse(&text),
        }
    }

    /// What such a text says.
    ///
    /// # Errors
    /// When it makes no sense, and why.
    pub fn parse(text: &str) -> Result<Overlay, String> {
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
            let is_backup = change["backup"].as_bool().unwrap_or(false);
            let url = &if is_backup { format!("{url} backup=true") } else { url.to_owned() };
            // Earlier versions knew one pool, and neither weights nor backups.
            let pool = change["pool"].as_str().unwrap_or("default");
            let weight = match &change["weight"] {
                Value::Null => None,
                weight => match weight.as_u64() {
                    Some(weight @ 1..=HEAVIEST) => Some(weight as u32),
                    _ => return Err(format!("{weight} is no weight")),
                },
            };
            overlay.restore((pool, url), *presence, draining, weight)?;
        }
        Ok(overlay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        assert!(PRESENCES.iter().enumerate().all(|(at, (presence, _))| *presence as usize == at));
        let mut some = Overlay::default();
        some.restore(("default", "http://a:1"), Presence::Added, true, Some(3)).unwrap();
        some.restore(("shop", "http://b:1"), Presence::Removed, false, None).unwrap();
        let backup = ("shop", "http://c:1 backup=true");
        some.restore(backup, Presence::Added, false, None).unwrap();
        let shown: Vec<String> = some.changes().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "pool default: http://a:1 added, draining, weight 3",
                "pool shop: http://b:1 removed",
                "pool shop: http://c:1 added, backup"
            ]
        );
        for overlay in [Overlay::default(), some] {
            assert_eq!(Overlay::parse(&overlay.text()), Ok(overlay));
        }
    }
}
