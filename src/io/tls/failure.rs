//! Which of our faults an error of rustls' is.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use super::super::tls_fault::TlsFault::{self, self as F};

/// What the peer may say of us. Alerts that are not here are [`TlsFault::PeerAlert`].
const ALERTS: &[(AlertDescription, TlsFault)] = {
    use AlertDescription as A;
    &[
        (A::UnknownCA, F::PeerUnknownCa),
        (A::CertificateExpired, F::PeerCertificateExpired),
        (A::CertificateRevoked, F::PeerCertificateRevoked),
        (A::BadCertificate, F::PeerBadCertificate),
        (A::UnsupportedCertificate, F::PeerUnsupportedCertificate),
        (A::CertificateUnknown, F::PeerCertificateUnknown),
        (A::CertificateRequired, F::PeerCertificateRequired),
        (A::AccessDenied, F::PeerAccessDenied),
        (A::ProtocolVersion, F::PeerNoSharedVersion),
        (A::HandshakeFailure, F::PeerHandshakeFailure),
        (A::InsufficientSecurity, F::PeerInsufficientSecurity),
        (A::UnrecognisedName, F::PeerUnknownName),
        (A::NoApplicationProtocol, F::PeerNoSharedProtocol),
        (A::DecryptError, F::PeerDecryptError),
        (A::BadRecordMac, F::PeerBadRecord),
        (A::DecodeError, F::PeerDecodeError),
        (A::IllegalParameter, F::PeerIllegalParameter),
        (A::UnexpectedMessage, F::PeerUnexpectedMessage),
        (A::MissingExtension, F::PeerMissingExtension),
        (A::InternalError, F::PeerInternalError),
        (A::UserCanceled, F::PeerCancelled),
        (A::InappropriateFallback, F::PeerFallback),
    ]
};

/// What rustls says where we show a client nothing.
const NO_CERTIFICATE: &str = "no server certificate chain resolved";

/// A peer that begins so speaks plain HTTP, as no record does: with a method and a target, or with a version. The
/// beginning need not have come whole: the first octet is judged as soon as it is there.
pub fn is_http(octets: &[u8]) -> bool {
    const VERSION: &[u8] = b"HTTP/";
    let method = octets.iter().take_while(|octet| octet.is_ascii_uppercase() || **octet == b'-');
    let (method, behind) = octets.split_at(method.count());
    let is_request = match *behind {
        [] | [b' '] => !method.is_empty(),
        [b' ', target, ..] if !method.is_empty() => {
            method == b"CONNECT" || matches!(target, b'/' | b'*' | b'h')
        }
        _ => false,
    };
    is_request || octets.starts_with(VERSION)
}

/// The fault that an error is.
pub fn fault(error: &Error) -> TlsFault {
    match error {
        Error::AlertReceived(alert) => {
            let found = ALERTS.iter().find(|(of, _)| of == alert);
            found.map_or(F::PeerAlert, |(_, fault)| *fault)
        }
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidCertRevocationList(_) => F::RevocationListInvalid,
        Error::NoCertificatesPresented => F::NoCertificate,
        Error::PeerIncompatible(error) => incompatible(error),
        Error::NoApplicationProtocol => F::NoSharedProtocol,
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => F::NotTls,
        Error::InvalidMessage(_) => F::InvalidMessage,
        Error::PeerSentOversizedRecord => F::RecordOverflow,
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            F::UnexpectedMessage
        }
        Error::PeerMisbehaved(_) => F::ProtocolViolation,
        Error::DecryptError => F::BadRecord,
        // It has no error of its own.
        Error::General(why) if why == NO_CERTIFICATE => F::NothingToShow,
        _ => F::InternalError,
    }
}

/// What is wrong with the peer's certificate.
fn certificate(error: &CertificateError) -> TlsFault {
    use CertificateError as E;
    match error {
        E::UnknownIssuer => F::UnknownCa,
        E::Expired | E::ExpiredContext { .. } => F::CertificateExpired,
        E::NotValidYet | E::NotValidYetContext { .. } => F::CertificateNotYetValid,
        E::NotValidForName | E::NotValidForNameContext { .. } => F::WrongName,
        E::Revoked => F::CertificateRevoked,
        E::UnknownRevocationStatus => F::RevocationUnknown,
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => {
            F::RevocationListExpired
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => F::WrongPurpose,
        E::BadSignature => F::BadSignature,
        E::UnsupportedSignatureAlgorithmContext { .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => F::UnsupportedSignature,
        // An error of webpki's, whose type is not shown.
        E::Other(other) if other.to_string() == "CaUsedAsEndEntity" => F::CaAsServer,
        _ => F::BadCertificate,
    }
}

/// What we have not in common.
fn incompatible(error: &PeerIncompatible) -> TlsFault {
    use PeerIncompatible as E;
    match error {
        E::Tls12NotOffered
        | E::Tls12NotOfferedOrEnabled
        | E::SupportedVersionsExtensionRequired
        | E::ServerDoesNotSupportTls12Or13
        | E::ServerTlsVersionIsDisabledByOurConfig => F::NoSharedVersion,
        E::NoCipherSuitesInCommon => F::NoSharedCipher,
        E::NoKxGroupsInCommon | E::NamedGroupsExtensionRequired | E::KeyShareExtensionRequired => {
            F::NoSharedGroup
        }
        E::NoSignatureSchemesInCommon
        | E::SignatureAlgorithmsExtensionRequired
        | E::NoCertificateRequestSignatureSchemesInCommon => F::NoSharedSignature,
        _ => F::Incompatible,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rustls::{CertRevocationListError, PeerMisbehaved};

    use super::super::super::tls_fault::TlsFaultKind;
    use super::*;

    #[test]
    fn http_is_known_by_its_beginning() {
        for (octets, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], true),
            (b"GET /", true),
            (b"OPTIO", true),
            (b"HTTP/1.1 400 Bad Request\r\n", true),
            (b"G", true),
            (b"M-SEARCH * HTTP/1.1", true),
            (b"PROPFIND /a HTTP/1.1", true),
            (b"CONNECT a:443 HTTP/1.1", true),
            (b"PRI ", true),
            (b" / HTTP/1.1", false),
            (b"get / HTTP/1.1", false),
            (b"SSH-2.0-OpenSSH_9.2\r\n", false),
            (b"EHLO a.test\r\n", false),
            (b"\x16\x03\x01\x02\x00", false),
            (b"", false),
        ] {
            assert_eq!(is_http(octets), expected, "{:?}", octets.escape_ascii().to_string());
        }
    }

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
            Error::General(NO_CERTIFICATE.to_owned()),
            Error::AlertReceived(AlertDescription::Unknown(200)),
        ];
        all.extend(certificates.map(Error::InvalidCertificate));
        all.extend(incompatible.map(Error::PeerIncompatible));
        all.extend(ALERTS.iter().map(|(alert, ..)| Error::AlertReceived(*alert)));
        all
    }

    #[test]
    fn every_kind_of_error_is_a_fault_of_its_own() {
        let mut found = BTreeMap::new();
        for error in some() {
            let fault = fault(&error);
            assert_eq!(found.insert(fault.label(), error.clone()), None, "{error:?}");
            let is_alert = matches!(error, Error::AlertReceived(_));
            assert_eq!(fault.kind() == TlsFaultKind::Alert, is_alert, "{error:?}");
        }
        // Five are found by looking at octets, and one can be made by webpki alone.
        assert_eq!(found.len(), TlsFault::ALL.len() - 6);
    }
}
