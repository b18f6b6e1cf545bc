//! What the log tells once in a while, however often it happens.

use std::cell::Cell;
use std::time::Duration;

use crate::io::clock::Moment;

/// How often a core says the same.
const OFTEN: Duration = Duration::from_secs(60);

/// Something that goes wrong again and again, and when that was told last.
#[derive(Debug, Default)]
pub struct Complaint {
    last: Cell<Option<Moment>>,
}

impl Complaint {
    /// Whether it is to be told now; then it is taken for told.
    pub fn is_due(&self, now: Moment) -> bool {
        let is_due = self.last.get().is_none_or(|last| now >= last + OFTEN);
        if is_due {
            self.last.set(Some(now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_a_minute() {
        let complaint = Complaint::default();
        for (second, is_due) in [(0, true), (0, false), (59, false), (60, true), (61, false)] {
            let now = Moment::default() + Duration::from_secs(second);
            assert_eq!(complaint.is_due(now), is_due, "{second} s");
        }
    }
}
