//! What the tests of this room share: requests.

use super::Asked;
use crate::config::Listen;
use crate::http::{Limits, Request};

/// What `look` says of a request with this head, that came in at port 80 from 192.0.2.1.
pub fn asked<T>(head: &str, look: impl FnOnce(&Asked<'_>) -> T) -> T {
    let text = format!("{head}\r\n\r\n");
    let mut request = Request::default();
    request.read(text.as_bytes(), &Limits::default()).unwrap();
    look(&Asked {
        head: &request,
        bytes: text.as_bytes(),
        listen: &Listen::Any(80),
        peer: Some([192, 0, 2, 1].into()),
        trusted: &[],
    })
}
