//! What all cores write, kept apart from what they read.

use std::ops::Deref;

/// A value that shares no cache line with another: writing it takes nothing else from the other cores.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct OwnLine<T>(pub T);

impl<T> Deref for OwnLine<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
