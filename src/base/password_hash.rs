//! Hashes of passwords as text: what they have to look like, and what one may ask for.
//!
//! Two forms: `$argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH`, in base64 without padding (the PHC string format;
//! RFC 9106), and `$2b$COST$` with 22 symbols of salt and 31 of hash, in an alphabet of its own (bcrypt; `$2a$` and
//! `$2y$` mean the same). Nothing is computed here.

use data_encoding::BASE64_NOPAD;

use super::digits;

/// Memory for one check, in KiB: 256 MiB.
const MEMORY: u32 = 256 * 1024;
/// Passes over the memory.
const PASSES: u32 = 64;
/// KiB times passes: what one check may cost in time, about a second.
const WORK: u32 = 1024 * 1024;
/// Lanes.
const LANES: u32 = 16;
/// Octets of a salt, and of a hash.
const SALT: std::ops::RangeInclusive<usize> = 8..=64;
const HASH: std::ops::RangeInclusive<usize> = 16..=64;
/// Rounds of bcrypt, as a power of two: at 15 a check takes about two seconds.
const COSTS: std::ops::RangeInclusive<u32> = 4..=15;

/// A hash of a password, taken apart; it asks for no more memory and time than is sound.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordHash<'h> {
    /// Argon2id, version 1.3.
    Argon2id {
        /// Memory, in KiB.
        memory: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u32,
        /// The salt.
        salt: Vec<u8>,
        /// What the password comes to.
        hash: Vec<u8>,
    },
    /// bcrypt: the whole text, which is well-formed.
    Bcrypt(&'h str),
}

impl<'h> PasswordHash<'h> {
    /// Takes `text` apart; an error says what is wrong, and nothing of the text.
    pub fn of(text: &'h str) -> Result<PasswordHash<'h>, &'static str> {
        if let Some(rest) = text.strip_prefix("$argon2id$") {
            return argon2id(rest);
        }
        if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            return bcrypt(text);
        }
        if text.starts_with("$argon2") {
            return Err("of the Argon2 family only argon2id is taken");
        }
        Err("a hash begins with $argon2id$, $2a$, $2b$ or $2y$")
    }
}

/// Never shows what there is to be attacked.
impl std::fmt::Debug for PasswordHash<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PasswordHash::Argon2id { .. } => "Argon2id",
            PasswordHash::Bcrypt(_) => "Bcrypt",
        })
    }
}

/// Whether `text` is the hash of a password as [`PasswordHash::of`] takes it.
pub fn is_hash(text: &str) -> Result<(), &'static str> {
    PasswordHash::of(text).map(drop)
}

fn argon2id(rest: &str) -> Result<PasswordHash<'_>, &'static str> {
    const SHAPE: &str = "argon2id is $argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH";
    let mut parts = rest.split('$');
    let mut part = || parts.next().ok_or(SHAPE);
    let (version, parameters, salt, hash) = (part()?, part()?, part()?, part()?);
    if parts.next().is_some() {
        return Err(SHAPE);
    }
    if version != "v=19" {
        return Err("only version 19 of argon2id is taken");
    }
    let mut parameters = parameters.split(',');
    let mut number = |name: &str| {
        let text = parameters.next()?.strip_prefix(name)?.strip_prefix('=')?;
        let canonical = text == "0" || !text.starts_with('0');
        digits(text).filter(|_| canonical).and_then(|number| u32::try_from(number).ok())
    };
    let (memory, passes, lanes) = (number("m"), number("t"), number("p"));
    let (Some(memory), Some(passes), Some(lanes)) = (memory, passes, lanes) else {
        return Err(SHAPE);
    };
    if parameters.next().is_some() {
        return Err(SHAPE);
    }
    if lanes == 0 || lanes > LANES {
        return Err("argon2id has 1 to 16 lanes (p)");
    }
    if memory < 8 * lanes || memory > MEMORY {
        return Err("argon2id takes from 8 KiB for each lane up to 256 MiB of memory (m)");
    }
    if passes == 0 || passes > PASSES || memory * passes > WORK {
        return Err("argon2id makes 1 to 64 passes (t), over 1 GiB in all");
    }
    let decoded = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        let octets = BASE64_NOPAD.decode(text.as_bytes()).ok();
        octets.filter(|octets| lengths.contains(&octets.len()))
    };
    let salt = decoded(salt, SALT).ok_or("a salt has 8 to 64 octets, in base64 without padding")?;
    let hash =
        decoded(hash, HASH).ok_or("a hash has 16 to 64 octets, in base64 without padding")?;
    Ok(PasswordHash::Argon2id { memory, passes, lanes, salt, hash })
}

/// `text`: with one of the prefixes, which are four octets long.
fn bcrypt(text: &str) -> Result<PasswordHash<'_>, &'static str> {
    const SYMBOLS: &[u8] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const SHAPE: &str = "bcrypt is $2b$COST$ and 53 symbols, 60 octets in all";
    let octets = text.as_bytes();
    if octets.len() != 60 || octets[6] != b'$' {
        return Err(SHAPE);
    }
    let cost = digits(&octets[4..6]).and_then(|cost| u32::try_from(cost).ok()).ok_or(SHAPE)?;
    if !COSTS.contains(&cost) {
        return Err("the cost of bcrypt is from 04 to 15");
    }
    let value = |octet: &u8| SYMBOLS.iter().position(|symbol| symbol == octet);
    let values: Option<Vec<usize>> = octets[7..].iter().map(value).collect();
    let values = values.ok_or("bcrypt has no symbols but ./A-Za-z0-9")?;
    // 16 octets leave 4 bits of the last symbol unused, 23 octets 2: bits there would be lost.
    if values[21] % 16 != 0 || values[52] % 4 != 0 {
        return Err(
            "salt or hash of bcrypt ends in bits that mean nothing: it was not made by bcrypt",
        );
    }
    Ok(PasswordHash::Bcrypt(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &str = "c29tZXNhbHQ";
    const HASH: &str = "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

    fn argon2id(parameters: &str) -> String {
        format!("$argon2id$v=19${parameters}${SALT}${HASH}")
    }

    #[test]
    fn a_hash_of_argon2id_is_taken_apart() {
        let text = argon2id("m=65536,t=2,p=1");
        let Ok(PasswordHash::Argon2id { memory, passes, lanes, salt, hash }) =
            PasswordHash::of(&text)
        else {
            panic!("not argon2id");
        };
        assert_eq!((memory, passes, lanes), (65536, 2, 1));
        assert_eq!((&salt[..], hash.len()), (&b"somesalt"[..], 32));
    }

    #[test]
    fn what_is_no_hash_is_told_what_is_wrong() {
        let bcrypt = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
        for good in [
            &argon2id("m=8,t=1,p=1"),
            &argon2id("m=262144,t=4,p=16"),
            &argon2id("m=16384,t=64,p=1"),
            bcrypt,
            &bcrypt.replace("2b", "2a"),
            &bcrypt.replace("2b", "2y"),
            &bcrypt.replace("$10$", "$04$"),
        ] {
            assert_eq!(is_hash(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", "begins with"),
            ("hunter2", "begins with"),
            (&bcrypt[1..], "begins with"),
            (&bcrypt.replace("2b", "2x"), "begins with"),
            ("$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", "only argon2id"),
            (&argon2id("m=4194304,t=1,p=1"), "256 MiB"),
            (&argon2id("m=262145,t=1,p=1"), "256 MiB"),
            (&argon2id("m=4294967296,t=1,p=1"), "$argon2id$v=19$m="),
            (&argon2id("m=8,t=1,p=2"), "256 MiB"),
            (&argon2id("m=8,t=65,p=1"), "passes"),
            (&argon2id("m=262144,t=5,p=1"), "passes"),
            (&argon2id("m=8,t=0,p=1"), "passes"),
            (&argon2id("m=1024,t=1,p=17"), "lanes"),
            (&argon2id("m=1024,t=1,p=0"), "lanes"),
            (&argon2id("m=+8,t=1,p=1"), "$argon2id$v=19$m="),
            (&argon2id("m=08,t=1,p=1"), "$argon2id$v=19$m="),
            (&argon2id("t=1,m=8,p=1"), "$argon2id$v=19$m="),
            (&argon2id("m=8,t=1,p=1,x=1"), "$argon2id$v=19$m="),
            (&argon2id("m=8,t=1,p=1").replace("v=19", "v=16"), "version"),
            (&argon2id("m=8,t=1,p=1").replace(SALT, "c2FsdA"), "salt"),
            (&argon2id("m=8,t=1,p=1").replace(SALT, "c29tZXNhbHQ="), "salt"),
            (&argon2id("m=8,t=1,p=1").replace(HASH, "aGFzaA"), "a hash has"),
            (&format!("{}$", argon2id("m=8,t=1,p=1")), "$argon2id$v=19$m="),
            (&bcrypt[..59], "60 octets"),
            (&format!("{bcrypt}\n"), "60 octets"),
            (&bcrypt.replace("$10$", "$16$"), "cost"),
            (&bcrypt.replace("$10$", "$03$"), "cost"),
            (&bcrypt.replace("$10$", "$+9$"), "60 octets"),
            (&bcrypt.replace("lhWy", "lh-y"), "symbols"),
            (&bcrypt.replace("lhWy", "l\u{e9}y"), "symbols"),
            (&bcrypt.replace("lhWy", "lhWz"), "bits"),
            (&bcrypt.replace("ZMRZoMye", "ZMRZoMyf"), "bits"),
        ] {
            let told = is_hash(bad).expect_err(bad);
            assert!(told.contains(why), "{bad}: {told}");
        }
    }

    #[test]
    fn a_hash_is_not_shown() {
        let text = argon2id("m=8,t=1,p=1");
        assert_eq!(format!("{:?}", PasswordHash::of(&text)), "Ok(Argon2id)");
    }
}
