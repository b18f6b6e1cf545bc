//! HOW DO BYTES MOVE? One thread per core, each with its own executor, reactor, buffers and timers.
//!
//! Laws:
//! - Knows no HTTP and nothing of the other rooms.
//! - The only room with system calls: those of the data path in `kernel`, which `tests/sim` replaces
//!   with one in memory, those that make sockets listen in [`listen`]. The only one with `unsafe`: in
//!   `sys`, for the one call that rustix, socket2 and std do not offer.
//! - Nothing here is shared between cores but [`signal`]: a core's state is behind `Rc`, not locks.
//! - Bytes lie in owned pooled buffers. A buffer is taken when there is something to read, never
//!   before; it is lent to a send by value and comes back with the result.
//! - Idle costs nothing: a parked connection is a descriptor, a reactor slot and a timer link.
//! - Every wait has a deadline or another bound, every batch a limit.
//!
//! The files: [`clock`] (the time, read once a turn), `timer` (the wheel), [`alarm`] (a wait to the
//! microsecond), [`address`] (where to listen or connect), [`reactor`] (edge-triggered readiness),
//! [`buffer`] (the pool), `transport` (what octets go through), [`stream`] (one connection), [`relay`] and
//! [`splice`] (octets from one stream to another), [`linger`] (a close that loses nothing), [`listen`] (sockets
//! that listen), [`accept`] (connections that arrive), [`signal`] (to the cores and back), [`future_pool`]
//! (large futures used again), [`turn`] (fair turns), `kernel` and `sys` (system calls), [`cores`] (the threads
//! and their loop).

pub mod accept;
pub mod address;
pub mod alarm;
pub mod buffer;
pub mod clock;
pub mod cores;
mod error;
pub mod future_pool;
mod kernel;
pub mod linger;
pub mod listen;
pub mod reactor;
pub mod relay;
pub mod signal;
pub mod splice;
pub mod stream;
mod sys;
mod timer;
#[cfg(feature = "tls")]
pub mod tls;
mod tls_fault;
#[cfg(all(test, feature = "tls"))]
#[path = "tls/testing.rs"]
mod tls_testing;
mod transport;
pub mod turn;

pub use error::{Error, Result};
pub use kernel::Fd;
pub use tls_fault::{TlsFault, TlsFaultKind};
