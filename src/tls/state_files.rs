//! Files that outlive a process: certificates of our own, and those that were ordered. Each is there whole or not at
//! all, and nobody else may read it.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use crate::base;
use crate::config::{CertificateSpec, PemFile, Secret};

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
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(told("read", path, &error)),
    }
}

/// Writes a file that is there whole or not at all; what was there stays.
pub fn create(path: &Path, text: &str) -> Result<(), String> {
    let draft = draft(path, text)?;
    let linked = fs::hard_link(&draft, path);
    let _ = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(told("write", path, &error)),
        _ => Ok(()),
    }
}

/// Writes a file that is there whole, in place of what was there.
pub fn replace(path: &Path, text: &str) -> Result<(), String> {
    let draft = draft(path, text)?;
    fs::rename(&draft, path).map_err(|error| {
        let _ = fs::remove_file(&draft);
        told("write", path, &error)
    })
}

/// Writes a file beside another, which we alone may read.
fn draft(path: &Path, text: &str) -> Result<PathBuf, String> {
    let random = HEXLOWER.encode(&base::random_secret()[..8]);
    let draft = path.with_extension(format!("{random}.new"));
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
}
