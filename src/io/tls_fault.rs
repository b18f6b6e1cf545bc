//! Why TLS failed: one table. A label that begins with `peer_` is what the peer said of us (an alert, RFC 8446 section
//! 6), the others are what we say of the peer. It stands in every build, so that nobody has to ask which one this is.

use std::fmt;

/// What kind of failure it is (RFC 9209 sections 2.3.13 to 2.3.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFaultKind {
    /// The peer's certificate is not good, or none was shown.
    Certificate,
    /// The peer gave up, and said why.
    Alert,
    /// The protocol was not kept, or nothing is shared.
    Protocol,
}

/// A row: `Variant label kind "sentence"`.
macro_rules! faults {
    ($($variant:ident $label:ident $kind:ident $sentence:literal;)*) => {
        /// Why TLS failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum TlsFault {
            $(#[doc = $sentence] $variant,)*
        }

        impl TlsFault {
            /// All of them.
            pub const ALL: &'static [TlsFault] = &[$(TlsFault::$variant,)*];

            /// Its name in logs and metrics, in snake case.
            pub const fn label(self) -> &'static str {
                match self { $(TlsFault::$variant => stringify!($label),)* }
            }

            /// What kind of failure it is.
            pub const fn kind(self) -> TlsFaultKind {
                match self { $(TlsFault::$variant => TlsFaultKind::$kind,)* }
            }

            /// One sentence for a person; plain ASCII.
            pub const fn explain(self) -> &'static str {
                match self { $(TlsFault::$variant => $sentence,)* }
            }
        }
    };
}

faults! {
    PeerUnknownCa peer_unknown_ca Alert
        "The peer does not trust the issuer of our certificate.";
    PeerCertificateExpired peer_certificate_expired Alert
        "The peer considers our certificate expired, or not yet valid.";
    PeerCertificateRevoked peer_certificate_revoked Alert
        "The peer considers our certificate revoked.";
    PeerBadCertificate peer_bad_certificate Alert
        "The peer does not take our certificate; often it is for another name.";
    PeerUnsupportedCertificate peer_unsupported_certificate Alert
        "The peer does not take a certificate of our kind.";
    PeerCertificateUnknown peer_certificate_unknown Alert
        "The peer does not take our certificate, and says no more.";
    PeerCertificateRequired peer_certificate_required Alert
        "The peer demands a certificate, and we have shown none.";
    PeerAccessDenied peer_access_denied Alert
        "The peer took our certificate for valid, and does not let us in.";
    PeerNoSharedVersion peer_protocol_version Alert
        "The peer speaks no version of TLS that we speak.";
    PeerHandshakeFailure peer_handshake_failure Alert
        "The peer found no cipher, group or signature in common.";
    PeerInsufficientSecurity peer_insufficient_security Alert
        "The peer demands stronger ciphers than we offer.";
    PeerUnknownName peer_unrecognized_name Alert
        "The peer serves no such name.";
    PeerNoSharedProtocol peer_no_application_protocol Alert
        "The peer does not speak HTTP/1.1.";
    PeerDecryptError peer_decrypt_error Alert
        "The peer could not verify a signature or a check sum of ours.";
    PeerBadRecord peer_bad_record_mac Alert
        "The peer could not open a record of ours: something on the way changed it.";
    PeerDecodeError peer_decode_error Alert
        "The peer could not read a message of ours.";
    PeerIllegalParameter peer_illegal_parameter Alert
        "The peer rejected a message of ours as wrong.";
    PeerUnexpectedMessage peer_unexpected_message Alert
        "The peer did not expect a message of ours.";
    PeerMissingExtension peer_missing_extension Alert
        "The peer misses something in a message of ours.";
    PeerInternalError peer_internal_error Alert
        "The peer failed, by what it says for a reason of its own.";
    PeerCancelled peer_user_canceled Alert
        "The peer gave the handshake up.";
    PeerFallback peer_inappropriate_fallback Alert
        "The peer considers our version a downgrade (RFC 7507).";
    PeerAlert peer_alert Alert
        "The peer gave up with an alert.";
    RevocationListInvalid revocation_list_invalid Certificate
        "The revocation list for the peer's certificate is not valid, or not its issuer's.";
    NoCertificate no_certificate Certificate
        "The peer has shown no certificate.";
    NoSharedProtocol no_shared_protocol Protocol
        "The peer does not speak HTTP/1.1.";
    NothingToShow nothing_to_show Protocol
        "There is no certificate of ours to show yet.";
    NotTls not_tls Protocol
        "What came is not TLS.";
    InvalidMessage invalid_message Protocol
        "A message of the peer's cannot be read.";
    RecordOverflow record_overflow Protocol
        "A record of the peer's is too long.";
    UnexpectedMessage unexpected_message Protocol
        "A message of the peer's came where it has no place.";
    ProtocolViolation protocol_violation Protocol
        "The peer broke a rule of TLS.";
    BadRecord bad_record_mac Protocol
        "A record cannot be opened: something on the way changed it.";
    InternalError internal_error Protocol
        "TLS failed here, for no reason of the peer's.";
    UnknownCa unknown_ca Certificate
        "The issuer of the peer's certificate is not trusted.";
    CertificateExpired certificate_expired Certificate
        "The peer's certificate, or one above it, has expired.";
    CertificateNotYetValid certificate_not_yet_valid Certificate
        "The peer's certificate, or one above it, is not valid yet.";
    WrongName wrong_name Certificate
        "The peer's certificate is for other names than the one asked for.";
    CertificateRevoked certificate_revoked Certificate
        "The peer's certificate, or one above it, is revoked.";
    RevocationUnknown revocation_unknown Certificate
        "No revocation list is of the issuer of the peer's certificate.";
    RevocationListExpired revocation_list_expired Certificate
        "The revocation list of the issuer of the peer's certificate has expired.";
    WrongPurpose wrong_purpose Certificate
        "The peer's certificate is for another purpose: for servers, or for clients.";
    BadSignature bad_signature Certificate
        "A signature of the peer's, or on its certificate, is wrong.";
    UnsupportedSignature unsupported_signature Certificate
        "A signature of the peer's, or on its certificate, is of no known kind.";
    BadCertificate bad_certificate Certificate
        "The peer's certificate cannot be read, or is not allowed.";
    CaAsServer ca_as_end_entity Certificate
        "The peer shows the certificate of an authority (CA:TRUE) as its own.";
    NoSharedVersion no_shared_version Protocol
        "The peer speaks no version of TLS that is allowed here.";
    NoSharedCipher no_shared_cipher Protocol
        "The peer knows no cipher that is allowed here.";
    NoSharedGroup no_shared_group Protocol
        "The peer knows no key exchange that is allowed here.";
    NoSharedSignature no_shared_signature Protocol
        "The peer knows no signature that our key can make.";
    Incompatible incompatible Protocol
        "The peer lacks something that TLS of today needs.";
    PlainHttp plain_http Protocol
        "The peer speaks plain HTTP, where TLS is spoken.";
    HandshakeCut handshake_cut Protocol
        "The peer closed the connection in the middle of the handshake.";
    MessageTooLong message_too_long Protocol
        "A message of the peer's is longer than any that is kept.";
    TooMuchOverhead too_much_overhead Protocol
        "The peer sent 256 KiB of TLS's own messages, and no octet for a reader.";
    Truncated truncated Protocol
        "The peer ended without saying so (close_notify): octets may be missing.";
}

/// As logs have it.
impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.explain(), self.label())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_has_its_own_label_and_sentence() {
        let mut labels = BTreeSet::new();
        for fault in TlsFault::ALL {
            let (label, sentence) = (fault.label(), fault.explain());
            assert!(labels.insert(label), "{label} twice");
            assert!(label.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_'));
            assert!(sentence.ends_with('.') && sentence.is_ascii(), "{sentence}");
            assert_eq!(label.starts_with("peer_"), fault.kind() == TlsFaultKind::Alert, "{label}");
        }
    }
}
