//! The room `http` with the only other room it may use, `base`.
#![expect(unused, reason = "nobody calls it here; that it compiles is the test")]

#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/http/mod.rs"]
mod http;

fn main() {}
