//! WHAT WAS ASKED? Flags, environment, dotenv -> a [`Plan`] that is valid by construction.
//!
//! Laws: knows the settings and nothing of sockets or cores; may use `http` for grammar; never
//! binds, connects or resolves.

mod plan;

pub use plan::*;
