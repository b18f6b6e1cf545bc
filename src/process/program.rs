//! Where our own program is, to be started again when it may have been replaced.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The path under which this program was started. Found at the start, before a newer one takes its
/// place: a link is kept as it is, so that it may be turned to another version.
pub fn find() -> Option<PathBuf> {
    let ours = env::current_exe().ok();
    let said = env::args_os().next().and_then(|name| named(&name));
    let same = |path: &PathBuf| ours.is_some() && fs::canonicalize(path).ok() == ours;
    said.filter(same).or_else(|| ours.map(undeleted))
}

/// What a shell would have run for `name`.
fn named(name: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return std::path::absolute(name).ok();
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file())
}

/// The kernel adds a word to the name of a program whose file is gone; another may be there already.
fn undeleted(path: PathBuf) -> PathBuf {
    match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(name) if !path.exists() => OsString::from_vec(name.to_vec()).into(),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found() {
        let found = find().unwrap();
        assert!(found.is_absolute() && found.is_file(), "{}", found.display());
    }

    #[test]
    fn names_are_looked_up_as_a_shell_does() {
        let shell = named("sh".as_ref()).unwrap();
        assert!(shell.is_absolute() && shell.ends_with("sh"), "{}", shell.display());
        assert_eq!(named("no-such-program".as_ref()), None);
        assert_eq!(named("/x/y".as_ref()), Some("/x/y".into()));
        assert!(named("./y".as_ref()).unwrap().is_absolute());
    }

    #[test]
    fn the_word_for_a_deleted_file_is_taken_off() {
        assert_eq!(undeleted("/x/y (deleted)".into()), PathBuf::from("/x/y"));
        assert_eq!(undeleted("/x/y".into()), PathBuf::from("/x/y"));
    }
}
