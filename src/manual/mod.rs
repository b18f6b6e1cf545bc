//! The manual, a subject each: what users of the program read. The same files lie in `src/manual`.
//!
//! Laws:
//! - prose alone: no code, and nothing that only developers need;
//! - every setting and every reason is named (`tests/tidy.rs` sees to that).

#[doc = include_str!("running.md")]
pub mod running {}

#[doc = include_str!("routes.md")]
pub mod routes {}

#[doc = include_str!("gate.md")]
pub mod gate {}

#[doc = include_str!("tls.md")]
pub mod tls {}

#[doc = include_str!("forwarding.md")]
pub mod forwarding {}

#[doc = include_str!("refusals.md")]
pub mod refusals {}

#[doc = include_str!("upstreams.md")]
pub mod upstreams {}

#[doc = include_str!("retries.md")]
pub mod retries {}

#[doc = include_str!("websockets.md")]
pub mod websockets {}

#[doc = include_str!("settings.md")]
pub mod settings {}

#[doc = include_str!("limits.md")]
pub mod limits {}

#[doc = include_str!("admin.md")]
pub mod admin {}

#[doc = include_str!("logs.md")]
pub mod logs {}

#[doc = include_str!("endings.md")]
pub mod endings {}

#[doc = include_str!("security.md")]
pub mod security {}
