//! `origin` may use `http` and `io`.
#![expect(unused, reason = "nothing runs here: that it compiles is the test")]

#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/http/mod.rs"]
pub mod http;
#[path = "../../src/io/mod.rs"]
pub mod io;
#[path = "../../src/origin/mod.rs"]
pub mod origin;

fn main() {}
