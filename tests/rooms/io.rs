//! The room `io` compiles alone: it knows no HTTP.
#![expect(unused, reason = "nothing runs here: that it compiles is the test")]

#[path = "../../src/io/mod.rs"]
pub mod io;

fn main() {}
