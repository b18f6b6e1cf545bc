//! `acme` may use `base`, `config` and `tls` with what those need, and never sees a connection.
#![expect(unused, reason = "nothing runs here: that it compiles is the test")]

#[path = "../../src/acme/mod.rs"]
pub mod acme;
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
