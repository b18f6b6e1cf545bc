//! The origin stands alone: it compiles without any other room of ours.
#![expect(unused, reason = "nothing runs here: that it compiles is the test")]

#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/origin/mod.rs"]
pub mod origin;

fn main() {}
