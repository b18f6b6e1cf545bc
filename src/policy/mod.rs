//! MAY IT, AND HOW? Which route a request takes, whether it may, and what its texts and header rules come to.
//!
//! Laws:
//! - Pure: a request, where it comes from, the time and the plan go in, a decision comes out. No I/O, no clock, no
//!   async. All that lasts from one request to the next is what was counted for limits.
//! - May use `base`, `http` and `config`; knows nothing of connections and upstreams.
//! - What is matched is what leaves: a path is compared in its normal form, and where origins might see another one
//!   than we do, the request is refused.
//! - The plain path allocates nothing: what needs storage borrows a [`Scratch`].

pub mod cors;
pub mod credentials;
mod explain;
mod fill;
pub mod gate;
mod input;
pub mod limit;
mod matching;
pub mod media;
mod networks;
mod outgoing;
mod router;
mod security;

pub use explain::{explain, split_question};
pub use fill::{Values, fits, fixed_lines, lines, redirect, respond};
pub use input::MatchInput;
pub use networks::NetworkSet;
pub use outgoing::{Outgoing, withheld};
pub use router::{Router, Scratch, Verdict};
pub use security::security_lines;

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
            method: request.method_text.of(text.as_bytes()),
            listen: &Listen::Any(80),
            peer: Some([192, 0, 2, 1].into()),
            secure: false,
            trusted: &[],
            withheld: &[],
            certificate: None,
        })
    }
}
