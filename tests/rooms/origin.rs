//! The origin compiles with `base` alone.
#![expect(unused, reason = "nothing runs here: that it compiles is the test")]

#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/origin/mod.rs"]
pub mod origin;

fn main() {}
