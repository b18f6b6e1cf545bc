//! Is a failed request sent again, and where to?

/// Where a request goes whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// To the same upstream, over a new connection: the old one had died while it was idle.
    Here,
    /// To another upstream.
    Elsewhere,
}

/// What is known of an attempt that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempted {
    /// The connection ended before one octet of an answer came.
    pub unanswered: bool,
    /// The whole request is still here, as it came.
    pub whole: bool,
    /// The upstream may have the request twice: its method is idempotent (RFC 9110 section 9.2.2), or it is
    /// certain that its program has not seen the first.
    pub repeatable: bool,
    /// The connection had carried a request before.
    pub reused: bool,
    /// The request was sent again already.
    pub again: Option<Again>,
    /// There is an upstream that was not tried, and a retry left to try it.
    pub another: bool,
}

/// Is the request sent again, and where to?
pub(super) fn again(attempted: Attempted) -> Option<Again> {
    let Attempted { unanswered, whole, repeatable, reused, again, another } = attempted;
    if !unanswered || !whole || !repeatable {
        return None;
    }
    if reused && again.is_none() {
        return Some(Again::Here);
    }
    another.then_some(Again::Elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_connection_is_replaced_and_a_dying_upstream_left() {
        use Again::{Elsewhere, Here};
        let fine = Attempted {
            unanswered: true,
            whole: true,
            repeatable: true,
            reused: true,
            again: None,
            another: true,
        };
        for (attempted, expected) in [
            (fine, Some(Here)),
            (Attempted { another: false, ..fine }, Some(Here)),
            (Attempted { reused: false, ..fine }, Some(Elsewhere)),
            (Attempted { again: Some(Here), ..fine }, Some(Elsewhere)),
            (Attempted { again: Some(Here), reused: false, ..fine }, Some(Elsewhere)),
            (Attempted { again: Some(Elsewhere), reused: false, ..fine }, Some(Elsewhere)),
            (Attempted { reused: false, another: false, ..fine }, None),
            (Attempted { again: Some(Here), another: false, ..fine }, None),
            (Attempted { unanswered: false, ..fine }, None),
            (Attempted { whole: false, ..fine }, None),
            (Attempted { repeatable: false, ..fine }, None),
        ] {
            assert_eq!(again(attempted), expected, "{attempted:?}");
        }
    }
}
