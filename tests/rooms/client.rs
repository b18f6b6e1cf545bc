//! `client` may use `http`, `io` and `stats`, and never sees who asks.
#![expect(unused, reason = "nothing runs here: that it compiles is the test")]

#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/client/mod.rs"]
pub mod client;
#[path = "../../src/http/mod.rs"]
pub mod http;
#[path = "../../src/io/mod.rs"]
pub mod io;
#[path = "../../src/stats/mod.rs"]
pub mod stats;

fn main() {}
