//! TLS towards the server: what is offered, and sessions for every connection, or for none.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, CommonState, DigitallySignedStruct, Error, NamedGroup, SignatureScheme,
    SupportedProtocolVersion,
};

/// Tickets of TLS 1.3 that are kept.
const TICKETS: usize = 4096;

/// What is offered to a server, as it was given.
#[derive(Clone, Copy, Debug, Default)]
pub struct TlsOffer<'a> {
    /// The oldest version, `1.2` or `1.3`.
    pub min: Option<&'a str>,
    /// The newest one.
    pub max: Option<&'a str>,
    /// Cipher suites by name, with commas; none: all that there are.
    pub ciphers: Option<&'a str>,
    /// Key exchanges by name, likewise.
    pub groups: Option<&'a str>,
    /// Sessions are resumed.
    pub resumes: bool,
}

/// What connections are made of.
#[derive(Clone, Debug)]
pub struct TlsTarget {
    /// The same for all, sessions included.
    pub config: Arc<ClientConfig>,
    /// Whom they ask for.
    pub name: ServerName<'static>,
}

impl TlsTarget {
    /// Makes ready what was asked for; an error says what is wrong. The server's certificate may be anybody's: what is
    /// measured is the server, and often on a machine where nobody vouches for it.
    pub fn new(host: &str, offer: TlsOffer<'_>) -> Result<TlsTarget, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is no name that a certificate can have"))?;
        let mut provider = aws_lc_rs::default_provider();
        let (suites, groups) = (&mut provider.cipher_suites, &mut provider.kx_groups);
        keep("--tls-cipher", offer.ciphers, suites, |suite| format!("{:?}", suite.suite()))?;
        keep("--tls-group", offer.groups, groups, |group| format!("{:?}", group.name()))?;
        let versions = versions(offer.min, offer.max)?;
        let verifier = Anybody { schemes: schemes(&provider) };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)
            .map_err(|error| format!("nothing can be offered: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = match offer.resumes {
            true => Resumption::store(Arc::new(Sessions::default())),
            false => Resumption::disabled(),
        };
        Ok(TlsTarget { config: Arc::new(config), name })
    }
}

/// Version, cipher suite and key exchange, in words. A session of TLS 1.2 that goes on has no key exchange.
pub fn agreed(common: &CommonState) -> String {
    let version = common.protocol_version().map(|version| format!("{version:?}"));
    let suite = common.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    let group = common.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
    version.into_iter().chain(suite).chain(group).collect::<Vec<_>>().join(" ")
}

/// Keeps those of `all` that a list names.
fn keep<T>(
    flag: &str,
    list: Option<&str>,
    all: &mut Vec<T>,
    name: impl Fn(&T) -> String,
) -> Result<(), String> {
    let Some(list) = list else { return Ok(()) };
    let known: Vec<String> = all.iter().map(&name).collect();
    let named: Vec<&str> = list.split(',').map(str::trim).collect();
    if let Some(unknown) = named.iter().find(|one| !known.iter().any(|name| name == *one)) {
        return Err(format!("{flag} {unknown}: there are {}", known.join(", ")));
    }
    all.retain(|one| named.contains(&&*name(one)));
    Ok(())
}

fn versions(
    min: Option<&str>,
    max: Option<&str>,
) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let known = [("1.2", &TLS12), ("1.3", &TLS13)];
    let place = |flag: &str, text: Option<&str>, usual: usize| match text {
        None => Ok(usual),
        Some(text) => known
            .iter()
            .position(|(name, _)| *name == text)
            .ok_or_else(|| format!("{flag} {text}: 1.2 or 1.3 is wanted")),
    };
    let (min, max) = (place("--tls-min", min, 0)?, place("--tls-max", max, 1)?);
    match known.get(min..=max) {
        Some(found) if !found.is_empty() => Ok(found.iter().map(|(_, version)| *version).collect()),
        _ => Err("--tls-min is newer than --tls-max".to_owned()),
    }
}

fn schemes(provider: &CryptoProvider) -> Vec<SignatureScheme> {
    provider.signature_verification_algorithms.supported_schemes()
}

/// Takes any certificate, and any signature: who is measured is not doubted, and the load has to be cheap.
#[derive(Debug)]
struct Anybody {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// Sessions of the one server that there is. rustls' own store has eight tickets of TLS 1.3 for a server, and each is
/// used once; here many connections begin at the same moment, and all of them are to resume.
#[derive(Debug, Default)]
struct Sessions {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl Sessions {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.known().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.known().group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.known().tls12 = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.known().tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.known().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let tickets = &mut self.known().tls13;
        if tickets.len() == TICKETS {
            tickets.pop_front();
        }
        tickets.push_back(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.known().tls13.pop_back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(offer: TlsOffer<'_>) -> String {
        TlsTarget::new("localhost", offer).err().unwrap_or_default()
    }

    #[test]
    fn what_is_offered_is_what_was_named() {
        let offer = TlsOffer {
            min: Some("1.3"),
            ciphers: Some("TLS13_AES_128_GCM_SHA256"),
            groups: Some("X25519, secp256r1"),
            ..TlsOffer::default()
        };
        let target = TlsTarget::new("127.0.0.1", offer).unwrap();
        let provider = target.config.crypto_provider();
        assert_eq!((provider.cipher_suites.len(), provider.kx_groups.len()), (1, 2));
    }

    #[test]
    fn what_cannot_be_offered_is_told() {
        let none = TlsOffer::default();
        for (offer, part) in [
            (TlsOffer { min: Some("1.1"), ..none }, "1.2 or 1.3"),
            (TlsOffer { min: Some("1.3"), max: Some("1.2"), ..none }, "newer than"),
            (TlsOffer { ciphers: Some("RC4"), ..none }, "TLS13_AES_256_GCM_SHA384"),
            (TlsOffer { groups: Some("X25519,x"), ..none }, "--tls-group x: there are"),
            (
                TlsOffer { max: Some("1.2"), ciphers: Some("TLS13_AES_128_GCM_SHA256"), ..none },
                "nothing can be offered",
            ),
        ] {
            assert!(told(offer).contains(part), "{part}: {}", told(offer));
        }
        assert_eq!(told(none), "");
        assert!(TlsTarget::new("not a name", none).is_err());
    }
}
