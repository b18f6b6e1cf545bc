//! GROUND. What every room needs and none of them is about: numbers and dates as text, and
//! values that lie alone in memory.
//!
//! Laws: no I/O, no clock, nothing of the other rooms.

mod date;
mod digits;
mod own_line;

pub use date::{Date, imf_fixdate};
pub use digits::digits;
pub use own_line::OwnLine;
