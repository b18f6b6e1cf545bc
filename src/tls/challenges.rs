//! What an ACME server is answered that validates a name (RFC 8555 section 8), while it does.
//!
//! It may come at any core, so all of them share this. Nobody else takes the lock: it is behind a protocol that no
//! browser offers, and behind a path that no page has.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::CommonState;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{HTTP_1_1, PROVIDER};

/// The protocol that is negotiated for a validation, and for nothing else (RFC 8737 section 3).
pub(super) const ACME_TLS_1: &[u8] = b"acme-tls/1";
/// What the path of a validation begins with (RFC 8555 section 8.3); the token follows.
const WELL_KNOWN: &[u8] = b"/.well-known/acme-challenge/";

/// The answer to a challenge.
#[derive(Debug)]
pub enum ChallengeAnswer {
    /// A handshake with this name is shown this certificate.
    TlsAlpn {
        /// In lower case.
        name: String,
        /// The certificate.
        key: Arc<CertifiedKey>,
    },
    /// A request for this token gets this text.
    Http {
        /// What stands at the end of the path.
        token: String,
        /// RFC 8555 section 8.1.
        key_authorization: String,
    },
}

impl ChallengeAnswer {
    /// A certificate for a handshake, and its key, both in DER.
    ///
    /// # Errors
    /// When the key is none.
    pub fn tls_alpn(name: &str, certificate: Vec<u8>, key: Vec<u8>) -> Result<Self, String> {
        let key = PROVIDER.key_provider.load_private_key(PrivatePkcs8KeyDer::from(key).into());
        let key = key.map_err(|_| "the key of a certificate for a validation is none")?;
        // Whether they fit is not looked at: what reads certificates there takes none for a validation.
        let key = CertifiedKey::new(vec![CertificateDer::from(certificate)], key);
        Ok(ChallengeAnswer::TlsAlpn { name: name.to_owned(), key: Arc::new(key) })
    }
}

/// What is answered now: one name is validated after the other.
#[derive(Debug, Default)]
pub struct Challenges {
    shown: RwLock<Option<Arc<ChallengeAnswer>>>,
}

/// An answer is shown as long as this is held, unless another one takes its place.
#[derive(Debug)]
pub struct ShownAnswer {
    challenges: Arc<Challenges>,
    answer: Arc<ChallengeAnswer>,
}

impl Drop for ShownAnswer {
    fn drop(&mut self) {
        let mut shown = self.challenges.shown.write().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref().is_some_and(|shown| Arc::ptr_eq(shown, &self.answer)) {
            *shown = None;
        }
    }
}

impl Challenges {
    /// Shows `answer`, in place of the one before it.
    #[must_use]
    pub fn show(self: &Arc<Self>, answer: ChallengeAnswer) -> ShownAnswer {
        let answer = Arc::new(answer);
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        *shown = Some(Arc::clone(&answer));
        ShownAnswer { challenges: Arc::clone(self), answer }
    }

    /// The key authorization for a request with this path.
    pub fn key_authorization(&self, path: &[u8]) -> Option<String> {
        let asked = path.strip_prefix(WELL_KNOWN)?;
        match &*self.get()? {
            ChallengeAnswer::Http { token, key_authorization } if token.as_bytes() == asked => {
                Some(key_authorization.clone())
            }
            _ => None,
        }
    }

    /// The certificate for a handshake that asks for this name.
    fn certificate(&self, asked: &str) -> Option<Arc<CertifiedKey>> {
        match &*self.get()? {
            ChallengeAnswer::TlsAlpn { name, key } if name == asked => Some(Arc::clone(key)),
            _ => None,
        }
    }

    fn get(&self) -> Option<Arc<ChallengeAnswer>> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The handshake was a validation: there is nothing more to say on this connection.
pub fn is_validation(agreed: &CommonState) -> bool {
    agreed.alpn_protocol() == Some(ACME_TLS_1)
}

/// Shows a validation the answer to its challenge, and all others what they are shown usually.
#[derive(Debug)]
pub(super) struct ChallengeResolver {
    usual: Arc<dyn ResolvesServerCert>,
    challenges: Arc<Challenges>,
}

impl ChallengeResolver {
    pub fn new(
        usual: Arc<dyn ResolvesServerCert>,
        challenges: &Arc<Challenges>,
    ) -> ChallengeResolver {
        ChallengeResolver { usual, challenges: Arc::clone(challenges) }
    }
}

impl ResolvesServerCert for ChallengeResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered: Vec<&[u8]> = hello.alpn().map(Iterator::collect).unwrap_or_default();
        match offered[..] {
            [ACME_TLS_1] => self.challenges.certificate(hello.server_name()?),
            // It would be agreed on: a validation offers it alone (RFC 8737 section 3).
            _ if offered.contains(&ACME_TLS_1) && !offered.contains(&HTTP_1_1) => None,
            _ => self.usual.resolve(hello),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{Authority, handshake, offering, server_spec};
    use crate::tls::{ServerTls, TicketKeys, pem};

    fn answer(name: &str) -> (ChallengeAnswer, Vec<u8>) {
        let made = Authority::new("None").server(&[name]);
        let key = pem::key(&made.key_pem, "").unwrap().secret_der().to_vec();
        let leaf = made.leaf().to_vec();
        (ChallengeAnswer::tls_alpn(name, leaf.clone(), key).unwrap(), leaf)
    }

    #[test]
    fn a_handshake_that_looks_at_a_name_is_shown_its_answer() {
        let authority = Authority::new("CA");
        let usual = authority.server(&["a.test"]);
        let challenges = Arc::default();
        let server = ServerTls::link(&server_spec(&[&usual]), &TicketKeys::new(), None).unwrap();
        let server = server.answering(&challenges);
        let shown = |name: &str, protocols: &[&[u8]]| {
            handshake(&server.config, &offering(protocols), name)
                .ok()
                .map(|agreed| agreed.server_leaf)
        };
        let usual = Some(usual.leaf().to_vec());
        let (answer, special) = answer("a.test");
        let held = challenges.show(answer);
        for (name, protocols, expected) in [
            ("a.test", &[ACME_TLS_1][..], &Some(special)),
            ("b.test", &[ACME_TLS_1], &None),
            ("127.0.0.1", &[ACME_TLS_1], &None), // asks for no name
            ("a.test", &[], &usual),
            ("a.test", &[b"http/1.1"], &usual),
            ("a.test", &[ACME_TLS_1, b"http/1.1"], &usual),
            ("a.test", &[ACME_TLS_1, b"h2"], &None),
            ("a.test", &[b"h2"], &None),
        ] {
            assert_eq!(&shown(name, protocols), expected, "{name} {protocols:?}");
        }
        drop(held);
        assert_eq!(shown("a.test", &[ACME_TLS_1]), None);
        assert_eq!(shown("a.test", &[]), usual);
    }

    #[test]
    fn a_request_with_the_token_gets_the_text() {
        let challenges = Arc::new(Challenges::default());
        let path = "/.well-known/acme-challenge/token-1";
        assert_eq!(challenges.key_authorization(path.as_bytes()), None);
        let answer = ChallengeAnswer::Http {
            token: "token-1".into(),
            key_authorization: "token-1.x".into(),
        };
        let held = challenges.show(answer);
        for (path, is_it) in [
            (path, true),
            ("/.well-known/acme-challenge/token-2", false),
            ("/.well-known/acme-challenge/token-1/", false),
            ("/.well-known/acme-challenge/", false),
            ("/.well-known/acme-challenge", false),
            ("//.well-known/acme-challenge/token-1", false),
            ("/token-1", false),
        ] {
            assert_eq!(challenges.key_authorization(path.as_bytes()).is_some(), is_it, "{path}");
        }
        let other = ChallengeAnswer::Http { token: "other".into(), key_authorization: "x".into() };
        let other = challenges.show(other);
        drop(held);
        let text = challenges.key_authorization(b"/.well-known/acme-challenge/other");
        assert_eq!(text.as_deref(), Some("x"), "what is held no more was shown no more");
        drop(other);
        assert_eq!(challenges.key_authorization(b"/.well-known/acme-challenge/other"), None);
        assert_eq!(challenges.key_authorization(path.as_bytes()), None);
    }
}
