//! The room `io` with all of its real files but three: `kernel` is the one in memory, `listen` makes its
//! socket, and `sys` is needed by neither.

#[path = "../../../src/io/accept.rs"]
pub mod accept;
#[path = "../../../src/io/buffer.rs"]
pub mod buffer;
#[path = "../../../src/io/clock.rs"]
pub mod clock;
#[path = "../../../src/io/cores.rs"]
pub mod cores;
mod kernel;
pub mod listen;
#[path = "../../../src/io/reactor.rs"]
pub mod reactor;
#[path = "../../../src/io/relay.rs"]
pub mod relay;
#[path = "../../../src/io/signal.rs"]
pub mod signal;
#[path = "../../../src/io/slots.rs"]
pub mod slots;
#[path = "../../../src/io/splice.rs"]
pub mod splice;
#[path = "../../../src/io/stream.rs"]
pub mod stream;
#[path = "../../../src/io/timer.rs"]
mod timer;

pub use kernel::Fd;
