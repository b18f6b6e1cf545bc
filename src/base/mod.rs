//! GROUND. What every room needs and none of them is about: numbers and dates as text, digests of secrets and the
//! text of hashes of passwords, what a certificate says, and values that lie alone in memory.
//!
//! Laws: no I/O, no clock, nothing of the other rooms.

mod certificate;
mod date;
mod digest;
mod digits;
mod own_line;
mod password_hash;
mod random;

pub use certificate::CertificateFacts;
pub use date::{Date, imf_fixdate};
pub use digest::{digest, keyed_digest, same};
pub use digits::digits;
pub use own_line::OwnLine;
pub use password_hash::{PasswordHash, is_hash};
pub use random::secret as random_secret;
