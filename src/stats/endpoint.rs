//! What all cores and the admin know of one endpoint.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The shared state of one endpoint.
#[derive(Debug)]
pub struct EndpointState {
    /// Its canonical URL.
    pub name: Arc<str>,
    /// The last connection attempt succeeded, or none was made yet.
    pub alive: AtomicBool,
}
