//! WHO ASKS? Which credentials a request presents, and whether they are good.
//!
//! Laws:
//! - Pure, as the whole room is: time comes in as a value, keys of hashes too. A [`CheckCache`] remembers what it is
//!   told, and nothing else here changes once it was made.
//! - What could be read in two ways is refused: nobody knows which one the upstream would believe.
//! - Secrets are not kept where their digest will do, and stand in no text: `Debug` and errors name kinds and places.
//! - How long a wrong secret takes says nothing of how wrong it is.
//! - A check that is slow on purpose (`password`) says so: its caller runs it on a thread of its own.
//!
//! Two modules are there only with the Cargo feature that has their cryptography: `password` with `passwords`, `jwt`
//! with `jwt`. The rest of signed tokens, [`jws`], needs none and is always there. Callers ask `cfg(feature = ...)`
//! where they make a checker, once; a plan that needs what the build has not is a mistake of the configuration.

mod cache;
mod json;
pub mod jws;
#[cfg(feature = "jwt")]
pub mod jwt;
#[cfg(feature = "passwords")]
pub mod password;
mod presented;
mod token;

pub use cache::{CacheKey, CheckCache, Outcome};
pub use presented::{NameAndPassword, Presented, basic, bearer};
pub use token::TokenTable;
