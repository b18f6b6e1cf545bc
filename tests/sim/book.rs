//! What all in the world write into: the requests with their fates, and complaints.

use crate::scenario::Ask;

/// See above.
pub struct Book {
    pub asks: Vec<Ask>,
    pub complaints: Vec<String>,
}

impl Book {
    pub fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }
}
