//! `tls` may use `base` and `config` with what that needs, and never sees a connection; its tests use the faults of
//! `io`.
#![expect(unused, reason = "nothing runs here: that it compiles is the test")]

#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/http/mod.rs"]
pub mod http;
#[path = "../../src/io/mod.rs"]
pub mod io;
#[path = "../../src/tls/mod.rs"]
pub mod tls;

fn main() {}
