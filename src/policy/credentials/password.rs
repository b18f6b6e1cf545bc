//! Users by their passwords. A check takes tens of milliseconds and megabytes on purpose, so it is no work for a thread
//! that serves requests.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::base::{PasswordHash, same};
use crate::config::{Secret, User};

/// Octets that bcrypt looks at; it would take a longer password for its beginning.
const BCRYPT: usize = 72;
/// What is checked where there is no user at all: no password is known to come to it.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGtub3dz$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Memory in which hashes are made: as large as the largest took so far, and kept for the next one. Allocators do not
/// reuse such large pieces well, and kept ten in place of one.
#[derive(Default)]
pub struct Workspace(Vec<Block>);

impl Workspace {
    fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            self.0 = Vec::new(); // the old one goes before the new one comes
            self.0.resize_with(count, Block::new);
        }
        &mut self.0[..count]
    }

    /// Whether `password` is the one of `hash`; also `false` for a hash that is none, see [`PasswordHash::of`]. Slow on
    /// purpose: run it on a thread of its own, and not on many at once.
    ///
    /// A password of more than 72 octets is never the one of a bcrypt hash.
    pub fn verify(&mut self, hash: &str, password: &[u8]) -> bool {
        match PasswordHash::of(hash) {
            Ok(PasswordHash::Argon2id { memory, passes, lanes, salt, hash }) => {
                let mut made = vec![0; hash.len()];
                let Ok(params) = Params::new(memory, passes, lanes, Some(made.len())) else {
                    return false;
                };
                let blocks = self.blocks(params.block_count());
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into_with_memory(password, &salt, &mut made, blocks)
                    .is_ok_and(|()| same(&made, &hash))
            }
            Ok(PasswordHash::Bcrypt(text)) => {
                password.len() <= BCRYPT && bcrypt::verify(password, text).unwrap_or(false)
            }
            Err(_) => false,
        }
    }
}

/// The users of an `[auth.NAME]`.
pub struct Users {
    users: HashMap<Arc<str>, Arc<User>>,
    decoy: Secret,
}

/// Somebody who says that they are a user, before their password was checked.
#[derive(Clone)]
pub struct Candidate {
    user: Option<Arc<User>>,
    hash: Secret,
}

impl Users {
    /// Of several with the same name the first counts. Where their hashes are of several kinds, how long a check takes
    /// tells the kind.
    pub fn new(users: &[User]) -> Users {
        let decoy = users.first().map(|user| user.hash.clone());
        let mut by_name = HashMap::with_capacity(users.len());
        for user in users {
            by_name.entry(Arc::clone(&user.name)).or_insert_with(|| Arc::new(user.clone()));
        }
        let decoy = decoy.unwrap_or_else(|| Secret::new(NOBODY, Secret::MASK));
        Users { users: by_name, decoy }
    }

    /// The user of this name, or somebody whose check takes as long as that of the first user and always fails: by the
    /// time nobody learns who is a user.
    pub fn find(&self, name: &str) -> Candidate {
        let user = self.users.get(name).cloned();
        let hash = user.as_ref().map_or(&self.decoy, |user| &user.hash).clone();
        Candidate { user, hash }
    }
}

impl Candidate {
    /// The user, if this is their password. As slow as [`Workspace::verify`].
    pub fn check(self, password: &[u8], workspace: &mut Workspace) -> Option<Arc<User>> {
        let is_right = workspace.verify(&self.hash, password);
        self.user.filter(|_| is_right)
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.users.keys()).finish()
    }
}

/// Not whether the user is known.
impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Candidate")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    // From the tests of the reference implementation of Argon2; the others are of libxcrypt.
    const ONE_LANE: &str =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    const TWO_LANES: &str =
        "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc";
    const BCRYPT_B: &str = "$2b$10$EixZaYVK1fsbw1ZfbX3OXehc5vBllSDXXmwTJR7L/HDK.G8Wkr3zu";
    const BCRYPT_A72: &str = "$2a$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i";
    const BCRYPT_Y: &str = "$2y$04$abcdefghijklmnopqrstuuk1lOnefiDFz3Np4jMhy6J7wA.qMbDWO";

    fn verify(hash: &str, password: &[u8]) -> bool {
        Workspace::default().verify(hash, password)
    }

    fn check(candidate: Candidate, password: &str) -> Option<Arc<User>> {
        candidate.check(password.as_bytes(), &mut Workspace::default())
    }

    fn user(name: &str, hash: &str) -> User {
        User { name: name.into(), hash: Secret::new(hash, Secret::MASK), roles: vec![] }
    }

    #[test]
    fn the_right_password_and_no_other() {
        let long = "x".repeat(BCRYPT);
        for (hash, password) in [
            (ONE_LANE, "password"),
            (TWO_LANES, "password"),
            (BCRYPT_B, "correct horse"),
            (BCRYPT_A72, &long),
            (BCRYPT_Y, "h\u{e9}"),
        ] {
            assert!(verify(hash, password.as_bytes()), "{hash}");
            for wrong in ["", "Password", &password[1..], &format!("{password}x")] {
                assert!(!verify(hash, wrong.as_bytes()), "{hash} {wrong}");
            }
            let mut other = password.as_bytes().to_vec();
            *other.last_mut().unwrap() ^= 1;
            assert!(!verify(hash, &other), "{hash}");
        }
        for none in ["", "password", "$2b$10$", &ONE_LANE.replace("m=256", "m=4194304"), NOBODY] {
            assert!(!verify(none, b"password") && !verify(none, b""), "{none}");
        }
    }

    #[test]
    fn memory_of_another_hash_changes_nothing() {
        let mut workspace = Workspace::default();
        let wider = "$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";
        for _ in 0..2 {
            assert!(workspace.verify(ONE_LANE, b"password"));
            assert!(!workspace.verify(ONE_LANE, b"passwort"));
            assert!(workspace.verify(TWO_LANES, b"password"));
            assert!(!workspace.verify(wider, b"password"));
        }
        assert_eq!(workspace.0.len(), 1024, "as much as the largest, and no more");
    }

    #[test]
    fn who_is_no_user_fails_as_slowly() {
        let users = Users::new(&[user("ada", ONE_LANE), user("bob", BCRYPT_B)]);
        assert_eq!(&*check(users.find("ada"), "password").unwrap().name, "ada");
        assert_eq!(&*check(users.find("bob"), "correct horse").unwrap().name, "bob");
        assert!(check(users.find("ada"), "correct horse").is_none());
        // The hash of the first user is checked, and its right password helps nobody.
        for name in ["", "eve", "Ada", "ada "] {
            assert_eq!(&*users.find(name).hash, ONE_LANE);
            assert!(check(users.find(name), "password").is_none(), "{name:?}");
        }
        let nobody = Users::new(&[]).find("ada");
        assert!(PasswordHash::of(&nobody.hash).is_ok() && check(nobody, "").is_none());
    }

    #[test]
    fn of_two_users_of_a_name_the_first_counts() {
        let users = Users::new(&[user("ada", ONE_LANE), user("ada", BCRYPT_B)]);
        assert!(check(users.find("ada"), "password").is_some());
        assert!(check(users.find("ada"), "correct horse").is_none());
    }

    #[test]
    fn no_hash_is_shown() {
        let users = Users::new(&[user("ada", ONE_LANE)]);
        assert_eq!(format!("{users:?} {:?}", users.find("ada")), "{\"ada\"} Candidate");
    }

    #[test]
    #[ignore = "a measurement: run it in release"]
    #[expect(clippy::disallowed_methods, reason = "a test has no core whose clock it could ask")]
    fn what_a_check_takes() {
        let with = |parameters| ONE_LANE.replace("m=256,t=2,p=1", parameters);
        for hash in [
            &with("m=19456,t=2,p=1"),
            &with("m=65536,t=3,p=4"),
            &with("m=262144,t=4,p=1"),
            &BCRYPT_B.replace("$10$", "$12$"),
            BCRYPT_B,
        ] {
            let took = (0..3).map(|_| {
                let begin = Instant::now();
                verify(hash, b"password");
                begin.elapsed()
            });
            eprintln!("{}: {:?}", &hash[..28], took.min().unwrap_or(Duration::ZERO));
        }
    }
}
