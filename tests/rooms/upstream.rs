//! `upstream` may use `config`, `stats`, `http`, `io` and `tls`.
#![expect(unused, reason = "nothing runs here: that it compiles is the test")]

#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/http/mod.rs"]
pub mod http;
#[path = "../../src/io/mod.rs"]
pub mod io;
#[path = "../../src/stats/mod.rs"]
pub mod stats;
#[cfg(feature = "tls")]
#[path = "../../src/tls/mod.rs"]
pub mod tls;
#[path = "../../src/upstream/mod.rs"]
pub mod upstream;

fn main() {}
