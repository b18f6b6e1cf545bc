//! The room `io` with the real files of the data path: `kernel` is the one in memory, `listen` makes its
//! socket, and of `sys` there is only what a core says about itself.

#[path = "../../../src/io/accept.rs"]
pub mod accept;
#[path = "../../../src/io/address.rs"]
pub mod address;
#[path = "../../../src/io/buffer.rs"]
pub mod buffer;
#[path = "../../../src/io/clock.rs"]
pub mod clock;
#[path = "../../../src/io/cores.rs"]
pub mod cores;
#[path = "../../../src/io/error.rs"]
mod error;
#[path = "../../../src/io/future_pool.rs"]
pub mod future_pool;
mod kernel;
#[path = "../../../src/io/linger.rs"]
pub mod linger;
pub mod listen;
#[path = "../../../src/io/reactor.rs"]
pub mod reactor;
#[path = "../../../src/io/relay.rs"]
pub mod relay;
#[path = "../../../src/io/signal.rs"]
pub mod signal;
#[path = "../../../src/io/splice.rs"]
pub mod splice;
#[path = "../../../src/io/stream.rs"]
pub mod stream;
#[path = "../../../src/io/timer.rs"]
mod timer;
#[cfg(feature = "tls")]
#[path = "../../../src/io/tls/mod.rs"]
pub mod tls;
#[path = "../../../src/io/tls_fault.rs"]
mod tls_fault;
#[path = "../../../src/io/transport.rs"]
mod transport;
#[path = "../../../src/io/turn.rs"]
pub mod turn;

/// Processor time has no place in a world with a time of its own.
mod sys {
    use std::time::Duration;

    pub fn thread_times() -> [Duration; 2] {
        [Duration::ZERO; 2]
    }
}

pub use error::{Error, Result};
pub use kernel::Fd;
pub use tls_fault::{TlsFault, TlsFaultKind};
