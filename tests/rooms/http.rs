//! The room `http` compiles alone: it depends on no other room.
#![expect(unused, reason = "nobody calls it here; that it compiles is the test")]

#[path = "../../src/http/mod.rs"]
mod http;

fn main() {}
