//! WHAT DO THE BYTES MEAN? HTTP/1.0 and HTTP/1.1 messages (RFC 9110, RFC 9112), as a proxy needs
//! them.
//!
//! Laws:
//! - knows bytes in buffers, and nothing else: no sockets, no clock, no async, no settings of ours;
//! - may use `httparse`, `memchr` and values of `std` such as an `IpAddr`; none of the other rooms;
//! - allocates nothing on the way of an ordinary request: heads are [`Span`]s into the caller's
//!   buffer, what leaves is written into the caller's buffer;
//! - says the same about the same octets, however they were split into reads;
//! - whatever it lets through leaves as exactly one unambiguous message; everything else is a
//!   [`Reason`].
//!
//! In the order of the wire:
//!
//! - [`proxy_protocol`]: whom a load balancer speaks for, before the first octet of HTTP;
//! - [`grammar`]: tokens, numbers, targets, hosts, lists;
//! - `fields`: field lines, over httparse, each classified once;
//! - `head`, `request`, `response`: heads, read and judged;
//! - `framing`: how long the body is, decided in one function for each direction;
//! - `connection`: whether the connection goes on, and what `Connection` names;
//! - [`media`]: what a body is said to be;
//! - [`cors`]: the origin that a page says it has;
//! - [`upgrade`]: whether it leaves HTTP, and for what;
//! - [`chunked`]: the chunked coding, out of it in place and back into it;
//! - [`body`]: the same for every framing: what belongs to a body, and what leaves for it;
//! - [`forward`]: the heads that leave;
//! - `reply`: the answers tidegate makes itself;
//! - [`mod@write`]: the writer below both;
//! - [`websocket`]: where the frames of a tunnel begin and end, and the Close tidegate puts between;
//! - `close`: the one table of reasons why a request ended.
//!
//! A request in, a request out, and the answer back:
//! ```
//! use tidegate::http::body::Decoder;
//! use tidegate::http::forward::{self, FieldEdits, PathEdits, RequestEdits, ResponseEdits};
//! use tidegate::http::{Framing, Limits, Method, Progress, Request, Response, outward};
//! use tidegate::http::write::Writer;
//!
//! let (limits, mut buffer) = (Limits::default(), [0; 1024]);
//!
//! let bytes = b"GET http://a.example HTTP/1.1\r\nHost: b\r\nConnection: X-C\r\nX-C: d\r\n\r\n";
//! let mut asked = Request::default();
//! assert_eq!(asked.read(&bytes[..20], &limits), Ok(Progress::Partial));
//! assert_eq!(asked.read(bytes, &limits), Ok(Progress::Complete));
//! assert_eq!((asked.method, asked.host.of(bytes)), (Method::Get, &b"a.example"[..]));
//!
//! let peer = Some([192, 0, 2, 1].into());
//! let upgrade = asked.offer(bytes, &["tcp"]);
//! let edits = RequestEdits {
//!     peer,
//!     trusted: false,
//!     withheld: &[],
//!     fields: FieldEdits::default(),
//!     path: PathEdits::default(),
//!     secure: false,
//!     host: None,
//!     request_id: b"7",
//!     upgrade,
//! };
//! let mut out = Writer::new(&mut buffer);
//! forward::request(&mut out, &asked, bytes, &edits).unwrap();
//! assert!(out.written().starts_with(b"GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 192."));
//!
//! let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
//! let mut answer = Response::default();
//! assert_eq!(answer.read(bytes, &limits, asked.method), Ok(Progress::Complete));
//! assert_eq!((answer.status, answer.framing), (200, Framing::Chunked));
//!
//! let (to, framing) = (asked.version, outward(answer.framing, asked.version));
//! let (date, persistent) = (b"Sun, 06 Nov 1994 08:49:37 GMT", asked.persistent);
//! let (fields, backend, request_id) = (FieldEdits::default(), None, Some(&b"7"[..]));
//! let edits = ResponseEdits { to, persistent, framing, fields, date, backend, request_id };
//! let mut out = Writer::new(&mut buffer);
//! forward::response(&mut out, &answer, bytes, &edits).unwrap();
//! assert!(out.written().ends_with(b"X-Request-Id: 7\r\nTransfer-Encoding: chunked\r\n\r\n"));
//!
//! let mut body = bytes[answer.len..].to_vec();
//! let decoded = Decoder::new(answer.framing).decode(&mut body).unwrap();
//! assert_eq!((&body[..decoded.payload], decoded.done), (&b"hi"[..], true));
//! ```

pub mod body;
pub mod chunked;
mod close;
mod connection;
pub mod cors;
#[cfg(test)]
#[path = "../../tests/feed.rs"]
mod feed;
mod fields;
pub mod forward;
mod framing;
pub mod grammar;
mod head;
pub mod host;
pub mod media;
pub mod names;
pub mod path;
pub mod proxy_protocol;
mod reply;
mod request;
mod response;
pub mod upgrade;
pub mod userinfo;
pub mod websocket;
pub mod write;

pub use close::{Fault, Reason};
pub use connection::acceptable_id;
pub use fields::{Field, Span};
pub use framing::{Framing, outward};
pub use head::{Limits, Method, Progress, Version};
pub use names::{CLAIM, HOP_BY_HOP, Name, OURS, looks_like};
pub use reply::{RefusalForm, Reply, ReplyEdits};
pub use request::Request;
pub use response::{Asked, Response};
pub use upgrade::{Offer, Upgrade};
