//! MAY IT, AND HOW? Which route a request takes, and what its texts and header rules come to.
//!
//! Laws:
//! - Pure: a request, where it comes from and the plan go in, a decision comes out. No I/O, no clock, no async.
//! - May use `http` and `config`; knows nothing of connections and upstreams.
//! - What is matched is what leaves: a path is compared in its normal form, and where origins might see another one
//!   than we do, the request is refused.
//! - The plain path allocates nothing: what needs storage borrows a [`Scratch`].

mod explain;
mod fill;
mod input;
mod matching;
mod outgoing;
mod router;

pub use explain::{explain, split_question};
pub use fill::{Values, fits, fixed_lines, lines, redirect, respond};
pub use input::MatchInput;
pub use outgoing::Outgoing;
pub use router::{Router, Scratch, Verdict};

#[cfg(test)]
mod testing {
    //! What the tests of this room share: requests.

    use super::MatchInput;
    use crate::config::Listen;
    use crate::http::{Limits, Request};

    /// What `look` says of a request with this head, that came in at port 80 from 192.0.2.1.
    pub fn input<T>(head: &str, look: impl FnOnce(&MatchInput<'_>) -> T) -> T {
        let text = format!("{head}\r\n\r\n");
        let mut request = Request::default();
        request.read(text.as_bytes(), &Limits::default()).unwrap();
        look(&MatchInput {
            head: &request,
            bytes: text.as_bytes(),
            listen: &Listen::Any(80),
            peer: Some([192, 0, 2, 1].into()),
            trusted: &[],
        })
    }
}
