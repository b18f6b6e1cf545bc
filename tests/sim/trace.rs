//! What happened, in order: as a number to compare, and as lines to read.

use crate::net::Micros;

/// FNV-1a over all that was noted.
pub struct Trace {
    hash: u64,
    aloud: bool,
}

impl Trace {
    /// `aloud`: prints every line.
    pub fn new(aloud: bool) -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, aloud }
    }

    /// `what` happened to `id`, with `number` octets or the like.
    pub fn note(&mut self, now: Micros, what: &str, id: usize, number: i64) {
        let numbers = [now, id as u64, number as u64].map(u64::to_ne_bytes);
        for octet in numbers.as_flattened().iter().chain(what.as_bytes()) {
            self.hash = (self.hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.aloud {
            println!("{:>12.6}  {what:<14} {id:>4} {number}", now as f64 / 1e6);
        }
    }

    /// The same for two runs that went the same way.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Shows text to whoever reads along.
    pub fn say(&self, now: Micros, text: impl FnOnce() -> String) {
        if self.aloud {
            println!("{:>12.6}  {}", now as f64 / 1e6, text());
        }
    }
}
