//! Why a handshake or a connection failed: a label for metrics and a sentence for people, for each end of the same
//! mistake. A label that begins with `peer_` is what the peer said of us (an alert, RFC 8446 section 6), the others are
//! what we say of the peer.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// A label and a sentence.
type Failure = (&'static str, &'static str);

/// What the peer may say of us. Alerts that are not here have [`PEER_OTHER`].
const ALERTS: &[(AlertDescription, &str, &str)] = {
    use AlertDescription as A;
    &[
        (A::UnknownCA, "peer_unknown_ca", "The peer does not trust the issuer of our certificate."),
        (
            A::CertificateExpired,
            "peer_certificate_expired",
            "The peer holds our certificate for expired, or for not yet valid.",
        ),
        (
            A::CertificateRevoked,
            "peer_certificate_revoked",
            "The peer holds our certificate for revoked.",
        ),
        (
            A::BadCertificate,
            "peer_bad_certificate",
            "The peer does not take our certificate; often it is for another name.",
        ),
        (
            A::UnsupportedCertificate,
            "peer_unsupported_certificate",
            "The peer does not take a certificate of our kind.",
        ),
        (
            A::CertificateUnknown,
            "peer_certificate_unknown",
            "The peer does not take our certificate, and says no more.",
        ),
        (
            A::CertificateRequired,
            "peer_certificate_required",
            "The peer demands a certificate, and we have shown none.",
        ),
        (
            A::AccessDenied,
            "peer_access_denied",
            "The peer took our certificate for valid, and does not let us in.",
        ),
        (
            A::ProtocolVersion,
            "peer_no_shared_version",
            "The peer speaks no version of TLS that we speak.",
        ),
        (
            A::HandshakeFailure,
            "peer_handshake_failure",
            "The peer found no cipher, group or signature in common.",
        ),
        (
            A::InsufficientSecurity,
            "peer_insufficient_security",
            "The peer demands stronger ciphers than we offer.",
        ),
        (A::UnrecognisedName, "peer_unknown_name", "The peer serves no such name."),
        (A::NoApplicationProtocol, "peer_no_shared_protocol", "The peer does not speak HTTP/1.1."),
        (
            A::DecryptError,
            "peer_decrypt_error",
            "The peer could not verify a signature or a check sum of ours.",
        ),
        (
            A::BadRecordMac,
            "peer_bad_record",
            "The peer could not open a record of ours: something on the way changed it.",
        ),
        (A::DecodeError, "peer_decode_error", "The peer could not read a message of ours."),
        (
            A::IllegalParameter,
            "peer_illegal_parameter",
            "The peer holds a message of ours for wrong.",
        ),
        (
            A::UnexpectedMessage,
            "peer_unexpected_message",
            "The peer did not expect a message of ours.",
        ),
        (
            A::MissingExtension,
            "peer_missing_extension",
            "The peer misses something in a message of ours.",
        ),
        (
            A::InternalError,
            "peer_internal_error",
            "The peer failed, by what it says for a reason of its own.",
        ),
        (A::UserCanceled, "peer_cancelled", "The peer gave the handshake up."),
        (
            A::InappropriateFallback,
            "peer_fallback",
            "The peer holds our version for older than it must be.",
        ),
    ]
};

const PEER_OTHER: Failure = ("peer_alert", "The peer gave up with an alert.");

/// The label and the sentence of a failure.
pub fn explain(error: &Error) -> (&'static str, &'static str) {
    match error {
        Error::AlertReceived(alert) => {
            let found = ALERTS.iter().find(|(of, ..)| of == alert);
            found.map_or(PEER_OTHER, |(_, label, sentence)| (*label, *sentence))
        }
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidCertRevocationList(_) => (
            "revocation_list_invalid",
            "The revocation list is none of the issuer of the peer's certificate.",
        ),
        Error::NoCertificatesPresented => ("no_certificate", "The peer has shown no certificate."),
        Error::PeerIncompatible(error) => incompatible(error),
        Error::NoApplicationProtocol => ("no_shared_protocol", "The peer does not speak HTTP/1.1."),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => ("not_tls", "What came is not TLS."),
        Error::InvalidMessage(_) => ("invalid_message", "A message of the peer's cannot be read."),
        Error::PeerSentOversizedRecord => {
            ("record_overflow", "A record of the peer's is too long.")
        }
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            ("unexpected_message", "A message of the peer's came where it has no place.")
        }
        Error::PeerMisbehaved(_) => ("protocol_violation", "The peer broke a rule of TLS."),
        Error::DecryptError => {
            ("bad_record", "A record cannot be opened: something on the way changed it.")
        }
        _ => ("internal_error", "TLS failed here, for no reason of the peer's."),
    }
}

/// What is wrong with the peer's certificate.
fn certificate(error: &CertificateError) -> Failure {
    use CertificateError as E;
    match error {
        E::UnknownIssuer => ("unknown_ca", "The issuer of the peer's certificate is not trusted."),
        E::Expired | E::ExpiredContext { .. } => {
            ("certificate_expired", "The peer's certificate, or one above it, has expired.")
        }
        E::NotValidYet | E::NotValidYetContext { .. } => (
            "certificate_not_yet_valid",
            "The peer's certificate, or one above it, is not valid yet.",
        ),
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            ("wrong_name", "The peer's certificate is for other names than the one asked for.")
        }
        E::Revoked => {
            ("certificate_revoked", "The peer's certificate, or one above it, is revoked.")
        }
        E::UnknownRevocationStatus => {
            ("revocation_unknown", "No revocation list is of the issuer of the peer's certificate.")
        }
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => (
            "revocation_list_expired",
            "The revocation list of the issuer of the peer's certificate has expired.",
        ),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => (
            "wrong_purpose",
            "The peer's certificate is for another purpose: for servers, or for clients.",
        ),
        E::BadSignature => {
            ("bad_signature", "A signature of the peer's, or on its certificate, is wrong.")
        }
        E::UnsupportedSignatureAlgorithmContext { .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
            "unsupported_signature",
            "A signature of the peer's, or on its certificate, is of no known kind.",
        ),
        _ => ("bad_certificate", "The peer's certificate cannot be read, or is not allowed."),
    }
}

/// What we have not in common.
fn incompatible(error: &PeerIncompatible) -> Failure {
    use PeerIncompatible as E;
    match error {
        E::Tls12NotOffered
        | E::Tls12NotOfferedOrEnabled
        | E::SupportedVersionsExtensionRequired
        | E::ServerDoesNotSupportTls12Or13
        | E::ServerTlsVersionIsDisabledByOurConfig => {
            ("no_shared_version", "The peer speaks no version of TLS that is allowed here.")
        }
        E::NoCipherSuitesInCommon => {
            ("no_shared_cipher", "The peer knows no cipher that is allowed here.")
        }
        E::NoKxGroupsInCommon | E::NamedGroupsExtensionRequired | E::KeyShareExtensionRequired => {
            ("no_shared_group", "The peer knows no key exchange that is allowed here.")
        }
        E::NoSignatureSchemesInCommon
        | E::SignatureAlgorithmsExtensionRequired
        | E::NoCertificateRequestSignatureSchemesInCommon => {
            ("no_shared_signature", "The peer knows no signature that our key can make.")
        }
        _ => ("incompatible", "The peer lacks something that TLS of today needs."),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rustls::{CertRevocationListError, PeerMisbehaved};

    use super::*;

    /// One of each kind.
    fn some() -> Vec<Error> {
        let certificates = [
            CertificateError::UnknownIssuer,
            CertificateError::Expired,
            CertificateError::NotValidYet,
            CertificateError::NotValidForName,
            CertificateError::Revoked,
            CertificateError::UnknownRevocationStatus,
            CertificateError::ExpiredRevocationList,
            CertificateError::InvalidPurpose,
            CertificateError::BadSignature,
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: Vec::new(),
                public_key_algorithm_id: Vec::new(),
            },
            CertificateError::BadEncoding,
        ];
        let incompatible = [
            PeerIncompatible::Tls12NotOffered,
            PeerIncompatible::NoCipherSuitesInCommon,
            PeerIncompatible::NoKxGroupsInCommon,
            PeerIncompatible::NoSignatureSchemesInCommon,
            PeerIncompatible::NullCompressionRequired,
        ];
        let mut all = vec![
            Error::InvalidCertRevocationList(CertRevocationListError::IssuerInvalidForCrl),
            Error::NoCertificatesPresented,
            Error::NoApplicationProtocol,
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::InvalidMessage(InvalidMessage::MessageTooShort),
            Error::PeerSentOversizedRecord,
            Error::InappropriateMessage {
                expect_types: Vec::new(),
                got_type: rustls::ContentType::Alert,
            },
            Error::PeerMisbehaved(PeerMisbehaved::IllegalMiddleboxChangeCipherSpec),
            Error::DecryptError,
            Error::EncryptError,
            Error::AlertReceived(AlertDescription::Unknown(200)),
        ];
        all.extend(certificates.map(Error::InvalidCertificate));
        all.extend(incompatible.map(Error::PeerIncompatible));
        all.extend(ALERTS.iter().map(|(alert, ..)| Error::AlertReceived(*alert)));
        all
    }

    #[test]
    fn every_failure_has_its_own_label_and_sentence() {
        let mut labels = BTreeMap::new();
        for error in some() {
            let (label, sentence) = explain(&error);
            assert!(labels.insert(label, sentence).is_none(), "{label} twice: {error:?}");
            assert!(label.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_'));
            assert!(sentence.ends_with('.') && sentence.is_ascii(), "{sentence}");
            let is_alert = matches!(error, Error::AlertReceived(_));
            assert_eq!(label.starts_with("peer_"), is_alert, "{label}");
        }
    }
}
