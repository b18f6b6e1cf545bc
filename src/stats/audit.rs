//! What is written down for those who look back: refused credentials, and changes of the settings, done or refused.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// One entry.
#[derive(Clone, Debug)]
pub struct AuditRecord {
    /// When it was.
    pub time: SystemTime,
    /// What it was.
    pub event: AuditEvent,
}

/// What is worth an entry. Texts of clients are as they came, so a writer must escape them; none of them is a secret.
#[derive(Clone, Debug)]
pub enum AuditEvent {
    /// Credentials, or whoever presented them, were refused.
    Credentials {
        /// Identity of the request.
        id: String,
        /// Who sent it; `None` over a Unix socket.
        client: Option<IpAddr>,
        /// The route that it took.
        route: Arc<str>,
        /// Who asked, where that is known.
        who: Arc<str>,
        /// Its method.
        method: String,
        /// The host that it was for.
        host: String,
        /// Its path, without the query.
        path: String,
        /// Label of the reason.
        reason: &'static str,
        /// More of it: what is wrong with a signed token; empty: there is no more.
        detail: &'static str,
    },
    /// Somebody wanted something changed.
    Change {
        /// What: `reload`, `add http://a:1` and so on.
        what: String,
        /// Who: the name of a token, or the way it came.
        by: String,
        /// `None`: it was done; else why not.
        refused: Option<String>,
    },
    /// Somebody wanted to look at a page of the admin with a token that is none, or without one.
    Look {
        /// The path of the page.
        path: String,
        /// Who: nobody, as far as is known.
        by: String,
        /// Why it was refused.
        refused: String,
    },
}
