//! WHAT DO THE BYTES MEAN? HTTP/1.0 and HTTP/1.1 messages (RFC 9110, RFC 9112), as a proxy needs
//! them.
//!
//! Laws:
//! - knows bytes in buffers, and nothing else: no sockets, no clock, no async, no settings of ours;
//! - may use `httparse`, `memchr` and values of `std` (an `IpAddr` is one); none of the other rooms;
//! - allocates nothing on the way of an ordinary request: heads are [`Span`]s into the caller's
//!   buffer, what leaves is written into the caller's buffer;
//! - says the same about the same octets, however they were split into reads;
//! - whatever it lets through leaves as exactly one unambiguous message; everything else is a
//!   [`Reason`].
//!
//! In the order of the wire:
//!
//! - [`grammar`]: tokens, numbers, targets, hosts, lists;
//! - `fields`: field lines, over httparse, each classified once;
//! - `head`, `request`, `response`: heads, read and judged;
//! - `framing`: how long the body is, decided in one function for each direction;
//! - `session`: whether the connection goes on, and what `Connection` names;
//! - [`chunked`]: the chunked coding, out of it in place and back into it;
//! - [`forward`]: the heads that leave;
//! - [`write`]: the writer below that, and the answers tidegate makes itself;
//! - [`date`]: the value of `Date`;
//! - `close`: the one table of reasons why a request ended.

pub mod chunked;
mod close;
pub mod date;
#[cfg(test)]
#[path = "../../tests/feed.rs"]
mod feed;
mod fields;
pub mod forward;
mod framing;
pub mod grammar;
mod head;
mod request;
mod response;
mod session;
pub mod write;

pub use close::{Fault, Reason};
pub use fields::{Field, Name, Span};
pub use framing::{Framing, outward};
pub use head::{Limits, Method, Progress, Version};
pub use request::Request;
pub use response::Response;
pub use session::acceptable_id;
