//! GROUND. What every room needs and none of them is about: numbers and dates as text.
//!
//! Laws: no I/O, no clock, nothing of the other rooms.

mod date;
mod digits;

pub use date::{Date, imf_fixdate};
pub use digits::digits;
