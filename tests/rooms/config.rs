//! The compiler as judge: the room `config` with the only other room it may use.

#![expect(dead_code, unused_imports, reason = "nothing runs here; it only has to compile")]

#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/http/mod.rs"]
pub mod http;

fn main() {}
