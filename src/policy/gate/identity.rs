//! Who asks, as far as credentials tell.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Octets of a name.
const LONGEST: usize = 256;

/// Whoever has presented good credentials.
pub struct Identity {
    /// The kind of credentials, by its name.
    pub auth: Arc<str>,
    /// The name: of the token, of the user, or whom the signed token is about. Visible ASCII and spaces.
    pub name: Arc<str>,
    /// What they may.
    pub roles: Vec<Arc<str>>,
    /// Field lines that the upstream gets.
    pub lines: Vec<u8>,
    /// Requests, where this stays from one to the next.
    requests: AtomicU64,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} of {})", self.name, self.auth)
    }
}

impl Identity {
    /// Somebody who was not seen before. A name that cannot stand in a field as it is becomes empty: were it cut or
    /// trimmed, one user could be taken for another.
    pub fn new(auth: &Arc<str>, name: &str, roles: Vec<Arc<str>>, lines: Vec<u8>) -> Arc<Identity> {
        let is_whole = name.len() <= LONGEST
            && name.trim_ascii().len() == name.len()
            && name.bytes().all(|octet| matches!(octet, b' '..=b'~'));
        Arc::new(Identity {
            auth: Arc::clone(auth),
            name: if is_whole { name.into() } else { "".into() },
            roles,
            lines,
            requests: AtomicU64::new(0),
        })
    }

    /// Octets of what is known of them.
    pub(super) fn octets(&self) -> usize {
        let roles = self.roles.iter().map(|role| role.len() + size_of::<Arc<str>>());
        self.name.len() + roles.sum::<usize>() + self.lines.len()
    }

    /// One more request.
    pub(super) fn count(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_becomes_another() {
        let longest = "x".repeat(LONGEST);
        for (name, expected) in [
            ("ada", "ada"),
            ("Ada L.", "Ada L."),
            (&*longest, &*longest),
            (" ada", ""),
            ("ada ", ""),
            ("J\u{f6}rg", ""),
            ("a\tb", ""),
            ("a\r\nX-Role: root", ""),
            (&format!("{longest}x"), ""),
        ] {
            let identity = Identity::new(&"default".into(), name, Vec::new(), Vec::new());
            assert_eq!(&*identity.name, expected, "{name:?}");
        }
    }
}
