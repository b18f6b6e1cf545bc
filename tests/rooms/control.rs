//! `control` may use every room.
#![expect(unused, reason = "nothing runs here: that it compiles is the test")]

#[cfg(feature = "acme")]
#[path = "../../src/acme/mod.rs"]
pub mod acme;
#[path = "../../src/admin/mod.rs"]
pub mod admin;
#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/client/mod.rs"]
pub mod client;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/control/mod.rs"]
pub mod control;
#[path = "../../src/http/mod.rs"]
pub mod http;
#[path = "../../src/io/mod.rs"]
pub mod io;
#[path = "../../src/origin/mod.rs"]
pub mod origin;
#[path = "../../src/policy/mod.rs"]
pub mod policy;
#[path = "../../src/process/mod.rs"]
pub mod process;
#[path = "../../src/proxy/mod.rs"]
pub mod proxy;
#[path = "../../src/stats/mod.rs"]
pub mod stats;
#[cfg(feature = "tls")]
#[path = "../../src/tls/mod.rs"]
pub mod tls;
#[path = "../../src/upstream/mod.rs"]
pub mod upstream;

fn main() {}
