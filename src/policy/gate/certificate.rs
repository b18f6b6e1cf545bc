//! The certificate that a client has shown in the handshake of its connection (RFC 8446 section 4.4.2): an identity.

use std::sync::Arc;

use super::identity::Identity;
use crate::http::names;
use crate::http::write::field_line;

/// Names of a certificate that count as roles; one that has more has none of them.
const ROLES_MOST: usize = 64;

/// A certificate that a handshake found good. It is made once a connection.
#[derive(Debug)]
pub struct ShownCertificate {
    /// Whoever it was made out to. The roles are its subject and its alternative names.
    pub identity: Arc<Identity>,
    /// Field lines that upstreams get.
    pub lines: Vec<u8>,
    /// Until when it holds, in seconds after the epoch.
    not_after: u64,
}

impl ShownCertificate {
    /// One with this subject and these alternative names, with their kinds (`DNS:a.test`); `field`: the value of
    /// `Client-Cert`.
    pub fn new(
        subject: Option<&str>,
        names: &[String],
        field: Option<&str>,
        not_after: u64,
    ) -> ShownCertificate {
        let names = if names.len() > ROLES_MOST { &[] } else { names };
        let roles = subject.into_iter().chain(names.iter().map(String::as_str));
        let roles = roles.map(Arc::from).collect();
        let mut lines = Vec::new();
        for (name, value) in [(names::CERTIFICATE, field), (names::SUBJECT, subject)] {
            if let Some(value) = value {
                field_line(&mut lines, name.as_bytes(), value.as_bytes());
            }
        }
        let name = subject.unwrap_or_default();
        let identity = Identity::new(&"client-cert".into(), name, roles, Vec::new());
        ShownCertificate { identity, lines, not_after }
    }

    /// It still holds, at so many seconds after the epoch: a connection may outlive it, and a resumed session begins
    /// without another look at it.
    pub fn holds(&self, unix_s: u64) -> bool {
        unix_s <= self.not_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_get_what_there_is() {
        for (subject, field, lines) in [
            (Some("CN=a"), Some(":YQ==:"), "Client-Cert: :YQ==:\r\nX-Client-Subject: CN=a\r\n"),
            (None, Some(":YQ==:"), "Client-Cert: :YQ==:\r\n"),
            (Some("CN=a"), None, "X-Client-Subject: CN=a\r\n"),
            (None, None, ""),
        ] {
            let shown = ShownCertificate::new(subject, &[], field, 9);
            assert_eq!(shown.lines, lines.as_bytes());
        }
    }

    #[test]
    fn a_certificate_with_too_many_names_has_none() {
        for (count, roles) in [(0, 1), (ROLES_MOST, ROLES_MOST + 1), (ROLES_MOST + 1, 1)] {
            let names = vec!["DNS:a.test".to_owned(); count];
            let shown = ShownCertificate::new(Some("CN=a"), &names, None, 9);
            assert_eq!(shown.identity.roles.len(), roles, "{count}");
        }
    }

    #[test]
    fn it_holds_up_to_its_last_second() {
        let shown = ShownCertificate::new(None, &[], None, 9);
        assert_eq!([8, 9, 10].map(|now| shown.holds(now)), [true, true, false]);
    }
}
