//! A head lies in a pooled buffer, parsed and judged.

use super::ongoing::Ongoing;
use crate::http::{Progress, Reason};

/// What was found.
pub(super) enum Begin {
    /// A request: [`Begun::of`] is there to be checked.
    Request,
    /// No whole head yet; what there is stays in the input buffer.
    Nothing,
    /// The client closed, or broke, the connection between requests.
    Closed,
    /// Something that must be answered with a refusal.
    Refused(Reason),
}

/// A request whose head was judged good.
pub(super) struct Begun<'o>(&'o mut Ongoing);

impl<'o> Begun<'o> {
    /// The request [`begin`] has just found.
    pub fn of(ongoing: &'o mut Ongoing) -> Begun<'o> {
        debug_assert!(ongoing.used == ongoing.heads.request.len && ongoing.used > 0);
        Begun(ongoing)
    }

    /// For the next step.
    pub fn into_inner(self) -> &'o mut Ongoing {
        self.0
    }
}

/// Looks for a head in what was read, and reads more as long as there is more.
pub(super) fn begin(ongoing: &mut Ongoing) -> Begin {
    let worker = &ongoing.worker;
    let input = &mut ongoing.input;
    loop {
        if !input.is_empty() {
            match ongoing.heads.request.read(input.filled(), &worker.limits) {
                Ok(Progress::Complete) => {
                    ongoing.begin(ongoing.heads.request.len);
                    return Begin::Request;
                }
                Ok(Progress::Partial) => {}
                Err(reason) => return refuse(ongoing, reason),
            }
        }
        if input.spare().is_empty() {
            input.compact();
        }
        if ongoing.client.stream.is_readable() {
            match ongoing.client.stream.try_recv(input, usize::MAX) {
                Ok(Some(0)) | Err(_) => return Begin::Closed,
                Ok(Some(n)) => {
                    worker.stats.client_bytes[0].add(n as u64);
                    continue;
                }
                Ok(None) => {}
            }
        }
        // Only now: what came in time may have waited for us.
        let late = !input.is_empty() && worker.late(ongoing.started);
        return if late { refuse(ongoing, Reason::HeadTimeout) } else { Begin::Nothing };
    }
}

/// What cannot be understood is taken for one request that fills all that came.
fn refuse(ongoing: &mut Ongoing, reason: Reason) -> Begin {
    ongoing.begin(ongoing.input.len());
    Begin::Refused(reason)
}
