//! The room `base` compiles alone: it depends on no other room.
#![expect(unused, reason = "nobody calls it here; that it compiles is the test")]

#[path = "../../src/base/mod.rs"]
mod base;

fn main() {}
