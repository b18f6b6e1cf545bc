//! `policy` may use `config` and `http`, and never sees a connection or an upstream.
#![expect(unused, reason = "nothing runs here: that it compiles is the test")]

#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/http/mod.rs"]
pub mod http;
#[path = "../../src/policy/mod.rs"]
pub mod policy;

fn main() {}
