//! Files that outlive a process: certificates of our own, and those that were ordered. Each is there whole or not at
//! all, and nobody else may read it.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rustix::fs::OFlags;

use crate::base;
use crate::config::{CertificateSpec, PemFile, Secret};

/// What the name of a draft ends in.
const DRAFT: &str = "new";
/// Octets of a file.
const LARGEST: u64 = 1 << 20;

/// Where what outlives a process is kept, by the environment (XDG Base Directory Specification). `None`: there is no
/// home.
pub fn state_folder(
    state_home: Option<OsString>,
    home: Option<OsString>,
    is_root: bool,
) -> Option<PathBuf> {
    let absolute = |path: Option<OsString>| path.map(PathBuf::from).filter(|p| p.is_absolute());
    let usual = || match is_root {
        true => Some(PathBuf::from("/var/lib")),
        false => Some(absolute(home)?.join(".local/state")),
    };
    let state = absolute(state_home).or_else(usual)?;
    Some(state.join("tidegate"))
}

/// Makes a folder, and those that it lies in, where they are not there.
pub fn folder(path: &Path) -> Result<(), String> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(|error| told("make", path, &error))
}

fn told(verb: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {verb} {}: {error}", path.display())
}

/// The certificate in a file, with its chain, and its key behind it: so no moment has one without the other.
pub fn certificate(path: PathBuf, text: &str) -> CertificateSpec {
    let at = text.find("-----BEGIN PRIVATE KEY").unwrap_or(text.len());
    let key = Secret::new(&text[at..], &path.display().to_string());
    CertificateSpec { chain: PemFile { path, text: text[..at].into() }, key, ocsp: None }
}

/// What is in a file; `None`: there is none.
pub fn read(path: &Path) -> Result<Option<String>, String> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        open(path, OpenOptions::new().read(true))?.take(LARGEST).read_to_string(&mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) if text.len() as u64 == LARGEST => Err(format!("{} is too large", path.display())),
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(told("read", path, &error)),
    }
}

/// Opens a file, which is made if `options` say so. A pipe or a device has no place here, and must not hold anybody up.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = options.custom_flags(flags).mode(0o600).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// Looks whether a file of so many octets can be put in the place of this one.
pub fn is_replaceable(path: &Path, octets: usize) -> Result<(), String> {
    if path.is_dir() {
        return Err(format!("{} is a folder", path.display()));
    }
    let draft = draft(path, &" ".repeat(octets))?;
    fs::remove_file(draft).map_err(|error| told("write", path, &error))
}

/// Removes the drafts in a folder that a process left which was killed. Nobody else may write there meanwhile.
pub fn remove_drafts(folder: &Path) {
    let entries = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    for draft in entries.filter(|path| path.extension().is_some_and(|end| end == DRAFT)) {
        let _ = fs::remove_file(draft); // it is in nobody's way
    }
}

/// Writes a file that is there whole or not at all; what was there stays.
pub fn create(path: &Path, text: &str) -> Result<(), String> {
    let draft = draft(path, text)?;
    let linked = fs::hard_link(&draft, path);
    let _ = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(told("write", path, &error)),
        _ => sync_folder(path),
    }
}

/// Writes a file that is there whole, in place of what was there.
pub fn replace(path: &Path, text: &str) -> Result<(), String> {
    let draft = draft(path, text)?;
    fs::rename(&draft, path).map_err(|error| {
        let _ = fs::remove_file(&draft);
        told("write", path, &error)
    })?;
    sync_folder(path)
}

/// The folder of a file is on the disk, too, and so is what the file is called.
fn sync_folder(path: &Path) -> Result<(), String> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| told("write", path, &error))
}

/// Writes a file beside another, which we alone may read.
fn draft(path: &Path, text: &str) -> Result<PathBuf, String> {
    let random = HEXLOWER.encode(&base::random_secret()[..8]);
    let draft = path.with_extension(format!("{random}.{DRAFT}"));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&draft);
        told("write", &draft, &error)
    })?;
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_where_the_system_wants_it() {
        let path = |text: &str| (!text.is_empty()).then(|| OsString::from(text));
        for (state_home, home, is_root, expected) in [
            ("/s", "/h", false, "/s/tidegate"),
            ("", "/h", false, "/h/.local/state/tidegate"),
            ("relative", "/h", false, "/h/.local/state/tidegate"),
            ("/s", "/h", true, "/s/tidegate"),
            ("", "", true, "/var/lib/tidegate"),
            ("", "", false, ""),
        ] {
            let found = state_folder(path(state_home), path(home), is_root);
            assert_eq!(found, path(expected).map(PathBuf::from));
        }
    }

    #[test]
    fn what_is_no_file_of_ours_holds_nobody_up() {
        let random = HEXLOWER.encode(&base::random_secret()[..8]);
        let folder = std::env::temp_dir().join(format!("tidegate-state-{random}"));
        super::folder(&folder).unwrap();
        let path = |name: &str| folder.join(name);
        std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
        fs::write(path("large"), vec![b'a'; LARGEST as usize]).unwrap();
        fs::create_dir(path("folder")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), rustix::fs::Mode::RUSR).unwrap();
        for (name, expected) in [
            ("none", Ok(None)),
            ("zero", Err("it is no regular file")),
            ("pipe", Err("it is no regular file")),
            ("folder", Err("it is no regular file")),
            ("large", Err("is too large")),
        ] {
            match (read(&path(name)), expected) {
                (Err(why), Err(expected)) => assert!(why.ends_with(expected), "{why}"),
                (found, expected) => assert_eq!(found, expected.map_err(str::to_owned), "{name}"),
            }
        }
        for (name, is_replaceable) in [("none", true), ("large", true), ("folder", false)] {
            assert_eq!(super::is_replaceable(&path(name), 9).is_ok(), is_replaceable, "{name}");
        }
        assert!(super::is_replaceable(&path("none/none"), 9).is_err());
        draft(&path("none.pem"), "left over").unwrap();
        remove_drafts(&folder);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 4, "nothing is left over");
        fs::remove_dir_all(&folder).unwrap();
    }
}
