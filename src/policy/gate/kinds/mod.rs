//! The kinds of credentials. Each looks at a request, and says what it tells.
//!
//! Two take a library that is not in every build: [`Passwords`] with the feature `passwords`, [`Signed`] with `jwt`.
//! Without it [`absent`] stands in their place, which lets nobody pass; a plan that asks for one is a mistake there.

#[cfg(not(all(feature = "jwt", feature = "passwords")))]
mod absent;
#[cfg(feature = "passwords")]
mod passwords;
mod service;
#[cfg(feature = "jwt")]
mod signed;
mod tokens;

#[cfg(feature = "passwords")]
pub use super::super::credentials::password::Workspace;
#[cfg(not(feature = "jwt"))]
pub use absent::Signed;
#[cfg(not(feature = "passwords"))]
pub use absent::{Passwords, Workspace};
#[cfg(feature = "passwords")]
pub use passwords::Passwords;
pub use service::Service;
#[cfg(feature = "jwt")]
pub use signed::Signed;
pub use tokens::Tokens;
