//! End to end: the real binary, real sockets, raw octets on both sides.
//!
//! One file per chapter, in plain order from basic to complex; a case reads as a story and its name is its claim.
//! `harness` is what they stand on, and `harness_stands` shows that it does, without a proxy in between.

mod harness;

mod harness_stands;
