//! `process` may use `io`, `config` and `admin` with what that needs, and never sees `proxy`, `upstream` or `control`.
#![expect(unused, reason = "nothing runs here: that it compiles is the test")]

#[path = "../../src/admin/mod.rs"]
pub mod admin;
#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/http/mod.rs"]
pub mod http;
#[path = "../../src/io/mod.rs"]
pub mod io;
#[path = "../../src/policy/mod.rs"]
pub mod policy;
#[path = "../../src/process/mod.rs"]
pub mod process;
#[path = "../../src/stats/mod.rs"]
pub mod stats;

fn main() {}
