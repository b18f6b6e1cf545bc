//! The load generator asks in HTTP over our own sockets, and knows no other room.
#![expect(unused, reason = "nothing runs here: that it compiles is the test")]

#[path = "../../src/http/mod.rs"]
pub mod http;
#[path = "../../src/io/mod.rs"]
pub mod io;
#[path = "../../src/load/mod.rs"]
pub mod load;

fn main() {}
