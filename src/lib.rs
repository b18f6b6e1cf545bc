//! **tidegate**: a small, strict and fast HTTP/1.1 reverse proxy on smol.
//!
//! The rooms, in order of dependence; each may use only the ones named above it
//! (`tests/rooms` lets the compiler check that):
//!
//! - [`base`]: ground. Numbers and dates as text; no I/O, no clock.
//! - [`http`]: what do the bytes mean? Pure: no I/O, no clock, no async.
//! - [`io`]: how do bytes move? Knows no HTTP; the only room with system calls and `unsafe`.
//! - [`stats`]: what happened? Per-core counters and the bounded record queue.
//! - [`config`]: what was asked? Flags, environment, dotenv -> a `Plan` that is valid by construction.
//! - `tls`, in builds with that feature: whom do we trust, and who are we? Settings -> configurations of rustls.
//! - `acme`, in builds with that feature: may we have a certificate? What is said to a server of RFC 8555.
//! - [`policy`]: may it, and how? Which route a request takes, and what its header rules come to. Pure.
//! - [`client`]: ask one question. A small HTTP client, never in the data path.
//! - [`upstream`]: where to? Pools, balancing, leases, connections.
//! - [`proxy`]: the life of a request; the only room that knows the others.
//! - [`admin`]: who is looking? API, metrics, logs; never in the data path.
//! - [`process`]: who are we to the system? Sockets, upgrade, service manager, our own log.
//! - [`control`]: who decides? The control plane: one event loop over all of the above.
//! - [`origin`]: who answers? A fast test backend for trials, benchmarks and `--demo`; on `http` and `io`.
//!
//! How to use the program is told in [`manual`].
//!
//! In scope: HTTP/1.0 and HTTP/1.1 from clients, HTTP/1.1 to upstreams, over TCP and Unix sockets.
//! Out of scope: HTTP/2 and HTTP/3, forward proxying (`CONNECT`), scripting in the data path.

#[cfg(feature = "acme")]
pub mod acme;
pub mod admin;
pub mod base;
pub mod client;
pub mod config;
pub mod control;
pub mod http;
pub mod io;
pub mod manual;
pub mod origin;
pub mod policy;
pub mod process;
pub mod proxy;
pub mod stats;
#[cfg(feature = "tls")]
pub mod tls;
pub mod upstream;
