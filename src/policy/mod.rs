//! MAY IT, AND HOW? Which route a request takes, and what its texts and header rules come to.
//!
//! Laws:
//! - Pure: a request, where it comes from and the plan go in, a decision comes out. No I/O, no clock, no async.
//! - May use `http` and `config`; knows nothing of connections and upstreams.
//! - What is matched is what leaves: a path is compared in its normal form, and where origins might see another one
//!   than we do, the request is refused.
//! - The plain path allocates nothing: what needs storage borrows a [`Scratch`].

mod asked;
mod fill;
mod matching;
mod router;
#[cfg(test)]
mod testing;

pub use asked::Asked;
pub use fill::{Values, lines, redirect, respond};
pub use router::{Router, Scratch, Verdict};
