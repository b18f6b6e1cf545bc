//! `admin` may use `config`, `policy`, `stats` and `http`, and never sees `proxy`, `upstream` or `io`.
#![expect(unused, reason = "nothing runs here: that it compiles is the test")]

#[path = "../../src/admin/mod.rs"]
pub mod admin;
#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/http/mod.rs"]
pub mod http;
#[path = "../../src/policy/mod.rs"]
pub mod policy;
#[path = "../../src/stats/mod.rs"]
pub mod stats;

fn main() {}
