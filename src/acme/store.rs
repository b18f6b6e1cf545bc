//! Where accounts and certificates are kept: a folder for each server, so that what a test server issued is never
//! taken for what a real one did.
//!
//! In it lie `account.key`, and for each name a file with the certificate, its chain and its key. A name cannot have
//! a slash in it, and ends in `.pem` here.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{AccountKey, Issued};
use crate::base;
use crate::config::{AcmeSpec, CertificateSpec};
use crate::tls::{pem, state_files};

const KEY: &str = "PRIVATE KEY";
/// Octets of a file with a chain and a key, as a rule.
const USUAL: usize = 16 * 1024;
/// Servers that are looked for.
const SERVERS_MOST: usize = 64;
/// Octets of a name that its file is called by.
const NAME_MOST: usize = 150;

/// The folder.
#[derive(Clone, Debug)]
pub struct Store(PathBuf);

/// Nobody else orders as long as this is held.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Issued {
    /// As it will be served.
    pub fn certificate(&self) -> CertificateSpec {
        state_files::certificate(PathBuf::from("what was issued"), &self.0)
    }
}

impl Store {
    /// That of the server of `spec`, in the folder where all is that outlives a process. It is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(state: &Path, spec: &AcmeSpec) -> Result<Store, String> {
        let digest = base::keyed_digest(&[0; 32], [spec.directory.text.as_bytes()]);
        let host = spec.directory.host().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let folder = state.join("acme").join(format!("{host}-{:08x}", digest as u32));
        state_files::folder(&folder)?;
        Ok(Store(folder))
    }

    /// Those of other servers beside it.
    pub fn others(&self) -> impl Iterator<Item = Store> {
        let folders = self.0.parent().and_then(|folder| folder.read_dir().ok());
        let folders = folders.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        folders.filter(|folder| *folder != self.0).take(SERVERS_MOST).map(Store)
    }

    /// The key of the account there, which is made if there is none.
    ///
    /// # Errors
    /// When it cannot be read or written, or is none.
    pub fn account(&self) -> Result<AccountKey, String> {
        let path = self.0.join("account.key");
        if state_files::read(&path)?.is_none() {
            state_files::create(&path, &pem::write(KEY, &AccountKey::make()?))?;
        }
        let text = state_files::read(&path)?.unwrap_or_default();
        let shown = path.display().to_string();
        let key = pem::key(&text, &shown).ok().and_then(|key| AccountKey::read(key.secret_der()));
        key.ok_or_else(|| {
            format!("{shown} has no key of an account; remove it to open another one")
        })
    }

    /// The certificate for `name`; `None`: there is none.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn certificate(&self, name: &str) -> Result<Option<CertificateSpec>, String> {
        let path = self.path(name);
        Ok(state_files::read(&path)?.map(|text| state_files::certificate(path, &text)))
    }

    /// Looks whether a certificate for `name` can be kept: better before one is issued than after.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn can_save(&self, name: &str) -> Result<(), String> {
        state_files::is_replaceable(&self.path(name), USUAL)
    }

    /// Keeps a certificate, in place of the one before it.
    ///
    /// # Errors
    /// When it cannot be written; the one before it is kept then.
    pub fn save(&self, name: &str, issued: &Issued) -> Result<(), String> {
        state_files::replace(&self.path(name), &issued.0)
    }

    /// Takes the lock; `None`: somebody else has it.
    ///
    /// # Errors
    /// When there can be none.
    pub fn lock(&self) -> Result<Option<Lock>, String> {
        let path = self.0.join("lock");
        let told = |error: io::Error| format!("cannot lock {}: {error}", path.display());
        state_files::folder(&self.0)?; // somebody may have removed it
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true);
        let file = state_files::open(&path, options).map_err(told)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                state_files::remove_drafts(&self.0);
                Ok(Some(Lock { _file: file }))
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(told(error.into())),
        }
    }

    /// File names end earlier than DNS names may.
    fn path(&self, name: &str) -> PathBuf {
        if name.len() <= NAME_MOST {
            return self.0.join(format!("{name}.pem"));
        }
        let digest = base::keyed_digest(&[0; 32], [name.as_bytes()]);
        self.0.join(format!("{}+{digest:032x}.pem", &name[..NAME_MOST]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Folder, spec};
    use super::*;

    #[test]
    fn each_server_has_a_folder_and_each_name_a_file() {
        let folder = Folder::new();
        let store = Store::open(&folder.0, &spec("https://ca.test/directory")).unwrap();
        let other = Store::open(&folder.0, &spec("https://ca.test/other")).unwrap();
        assert_ne!(store.0, other.0);
        let shown = store.0.file_name().unwrap().to_str().unwrap();
        assert!(
            shown.starts_with("ca-test-") && shown.len() == "ca-test-12345678".len(),
            "{shown}"
        );
        let issued = Issued("chain\n-----BEGIN PRIVATE KEY-----\nAA==".to_owned());
        let long = ["a"; 126].join(".");
        let longer = format!("{long}.b");
        for name in ["a.test", "account", &long, &longer] {
            assert_eq!(store.certificate(name), Ok(None), "{name}");
            store.save(name, &issued).unwrap();
            let found = store.certificate(name).unwrap().unwrap();
            assert_eq!(found, state_files::certificate(store.path(name), &issued.0));
            assert_eq!(other.certificate(name), Ok(None), "{name}");
        }
        let found = store.certificate("a.test").unwrap().unwrap();
        assert_eq!((&*found.chain.text, found.key.lines().count()), ("chain\n", 2));
    }

    #[test]
    fn an_account_is_opened_once() {
        let folder = Folder::new();
        let store = Store::open(&folder.0, &spec("https://ca.test/directory")).unwrap();
        let key = store.account().unwrap().public();
        assert_eq!(store.account().unwrap().public(), key);
        std::fs::write(store.0.join("account.key"), "nothing").unwrap();
        let told = store.account().unwrap_err();
        assert!(
            told.ends_with("account.key has no key of an account; remove it to open another one")
        );
        std::fs::write(folder.0.join("file"), "").unwrap();
        assert!(Store::open(&folder.0.join("file"), &spec("https://a/")).is_err());
    }

    #[test]
    fn one_alone_orders_at_a_time() {
        let folder = Folder::new();
        let store = Store::open(&folder.0, &spec("https://ca.test/directory")).unwrap();
        let lock = store.lock().unwrap();
        assert!(lock.is_some() && store.lock().unwrap().is_none());
        drop(lock);
        assert!(store.lock().unwrap().is_some());
    }
}
