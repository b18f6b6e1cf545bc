//! TLS towards upstreams: what `upstream-tls` asks for, as a configuration of rustls.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::certificate::{LoadedCertificate, authorities, out_of_date, trusted};
use super::facts::X509Certificate;
use super::served::Served;
use super::{HTTP_1_1, PROVIDER};
use crate::base::CertificateFacts;
use crate::config::{UpstreamTlsSpec, Verify};

/// Names of upstreams whose sessions are kept.
const NAMES: usize = 256;
/// Sessions that rustls keeps for each name (RFC 8446 appendix C.4 wants each used once).
const SESSIONS_A_NAME: usize = 8;

/// Whom the system believes: read once, as that takes milliseconds and a file of megabytes.
fn of_the_system() -> Result<Arc<RootCertStore>, String> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = SYSTEM.get() {
        return Ok(Arc::clone(roots));
    }
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    match roots.add_parsable_certificates(found.certs) {
        // Not kept: they may be installed meanwhile.
        (0, _) => Err(match found.errors.first() {
            Some(error) => format!("the system's certificates of CAs cannot be read: {error}"),
            None => "the system has no certificates of CAs: install ca-certificates, or name a file as ca".to_owned(),
        }),
        _ => Ok(Arc::clone(SYSTEM.get_or_init(|| Arc::new(roots)))),
    }
}

/// TLS of the upstreams of a pool.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// What connections are made of. Its sessions are shared by all who share it.
    pub config: Arc<ClientConfig>,
    /// What is shown to upstreams that ask.
    pub certificate: Option<CertificateFacts>,
    /// What is odd, or will soon be wrong.
    pub warnings: Vec<String>,
}

impl ClientTls {
    /// Checks what was asked for, and makes it ready. May read the system's certificates, so it has no place where
    /// requests wait. `served`: as for [`ServerTls::link`](super::ServerTls::link).
    ///
    /// # Errors
    /// What is wrong, in a sentence.
    pub fn link(spec: &UpstreamTlsSpec, served: Option<&Served>) -> Result<ClientTls, String> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("no TLS is possible: {error}"))?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier(spec)?);
        let own = spec.certificate.as_ref();
        let own = own.map(|own| LoadedCertificate::link(own, &PROVIDER)).transpose()?;
        let mut warnings = Vec::new();
        let mut config = match &own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let what = format!("the certificate in {}", own.path.display());
                let (from, until) = (own.facts.not_before, own.facts.not_after);
                warnings.extend_from_slice(&own.warnings);
                let told = out_of_date(&what, from, until, UnixTime::now().as_secs());
                match served.is_none_or(|served| served.has_certificate(&own.facts)) {
                    true => warnings.extend(told),
                    false => told.map_or(Ok(()), Err)?,
                }
                let own = SingleCertAndKey::from(Arc::clone(&own.key));
                builder.with_client_cert_resolver(Arc::new(own))
            }
        };
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        config.resumption = Resumption::in_memory_sessions(NAMES * SESSIONS_A_NAME);
        let certificate = own.map(|own| own.facts);
        Ok(ClientTls { config: Arc::new(config), certificate, warnings })
    }

    /// What a connection to `host` is made of, and who has to be at its other end: see [`server_name`].
    ///
    /// # Errors
    /// That no certificate can have this name.
    pub fn towards(
        &self,
        set: Option<&str>,
        host: &str,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
        Ok((Arc::clone(&self.config), server_name(set, host)?))
    }
}

fn verifier(spec: &UpstreamTlsSpec) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let trust = match (spec.verify, &spec.ca) {
        (Verify::Off, _) => Trust::Anybody,
        (Verify::Full, Some(file)) => {
            let all = trusted(file)?;
            let chains = chains(authorities(file, &all)?.into())?;
            let pinned = all.into_iter().map(|one| one.der).collect();
            Trust::PinnedOrChained { pinned, chains }
        }
        (Verify::Full, None) => {
            Trust::PinnedOrChained { pinned: Vec::new(), chains: chains(of_the_system()?)? }
        }
    };
    Ok(Arc::new(UpstreamVerifier { trust, algorithms: PROVIDER.signature_verification_algorithms }))
}

/// What looks at chains that end at one of `roots`; `None`: there is no root.
fn chains(roots: Arc<RootCertStore>) -> Result<Option<Arc<WebPkiServerVerifier>>, String> {
    if roots.is_empty() {
        return Ok(None);
    }
    let chains = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&PROVIDER));
    chains.build().map(Some).map_err(|error| format!("nobody is trusted: {error}"))
}

/// The name that a certificate has to have, and that it is asked for: as `set`, or the host of a URL.
///
/// # Errors
/// That no certificate can have this name.
pub fn server_name(set: Option<&str>, host: &str) -> Result<ServerName<'static>, String> {
    let name = set.unwrap_or(host);
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    // Certificates have no dot at the end, and SNI none either (RFC 6066 section 3).
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    let parsed = ServerName::try_from(bare.to_owned());
    parsed.map_err(|_| format!("{name:?} is no name that a certificate can have"))
}

/// Looks at certificates of upstreams. That a peer has the key of its certificate is looked at whomever we trust: it
/// costs nothing to do right.
#[derive(Debug)]
struct UpstreamVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Whose certificates are good.
#[derive(Debug)]
enum Trust {
    /// Anybody's.
    Anybody,
    /// Those that an authority has signed, and the very certificates that stand in the file: `openssl req -x509` makes
    /// such as are an authority and a server in one, which no authority may be where chains are looked at.
    PinnedOrChained {
        pinned: Vec<CertificateDer<'static>>,
        /// `None`: the file has no authority.
        chains: Option<Arc<WebPkiServerVerifier>>,
    },
}

impl ServerCertVerifier for UpstreamVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::PinnedOrChained { pinned, chains } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        if !pinned.contains(leaf) {
            let Some(chains) = chains else {
                return Err(CertificateError::UnknownIssuer.into());
            };
            return chains.verify_server_cert(leaf, others, name, ocsp, now);
        }
        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        let read = X509Certificate::read(leaf).ok_or(CertificateError::BadEncoding)?;
        match now.as_secs() {
            now if now > read.not_after() => Err(CertificateError::Expired.into()),
            now if now < read.not_before() => Err(CertificateError::NotValidYet.into()),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::HandshakeKind::{Full, Resumed};

    use super::*;
    use crate::io::tls::fault;
    use crate::tls::testing::{
        Authority, GaveUp, certificate, file, handshake, lasts, server_spec, trusting,
        upstream_spec,
    };
    use crate::tls::{ServerTls, TicketKeys, pem};

    fn label(told: &GaveUp) -> &'static str {
        match told {
            GaveUp::Client(error) => fault(error).label(),
            GaveUp::Server(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn upstreams_are_who_their_certificates_say() {
        let (authority, other) = (Authority::new("CA"), Authority::new("Other"));
        for (made, name, expected) in [
            (&authority.server(&["a.test"]), "a.test", ""),
            (&authority.server(&["*.b.test"]), "a.b.test", ""),
            (&authority.server(&["192.0.2.1"]), "192.0.2.1", ""),
            (&authority.server(&["a.test"]), "b.test", "wrong_name"),
            (&authority.server(&["a.test"]), "192.0.2.1", "wrong_name"),
            (&authority.server_for(&["a.test"], -9, -1), "a.test", "certificate_expired"),
            (&authority.server_for(&["a.test"], 2, 9), "a.test", "certificate_not_yet_valid"),
            (&other.server(&["a.test"]), "a.test", "unknown_ca"),
            (&Authority::new("CA").server(&["a.test"]), "a.test", "bad_signature"),
            (&authority.client("a.test", -1, 9), "a.test", "wrong_purpose"),
        ] {
            let server = ServerTls::link(&server_spec(&[made]), &TicketKeys::new(), None).unwrap();
            let told = handshake(&server.config, &trusting(&authority.pem()), name);
            assert_eq!(told.as_ref().err().map_or("", label), expected, "{name}");
            // Whoever does not look takes all of them.
            let blind = UpstreamTlsSpec { verify: Verify::Off, ..upstream_spec("") };
            let blind = ClientTls::link(&blind, None).unwrap();
            assert!(handshake(&server.config, &blind.config, name).is_ok());
        }
    }

    #[test]
    fn a_certificate_may_be_trusted_by_itself() {
        use rcgen::{BasicConstraints, IsCa};
        let authority = IsCa::Ca(BasicConstraints::Unconstrained);
        for (is_ca, days, name, expected) in [
            (IsCa::NoCa, (-1, 9), "a.test", ""),
            (authority, (-1, 9), "a.test", ""),
            (authority, (-1, 9), "b.test", "wrong_name"),
            (authority, (-9, -1), "a.test", "certificate_expired"),
            (authority, (1, 9), "a.test", "certificate_not_yet_valid"),
        ] {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
            params.is_ca = is_ca;
            lasts(&mut params, days.0, days.1);
            let made = params.self_signed(&key).unwrap();
            let chain = pem::write("CERTIFICATE", made.der());
            let mut spec = server_spec(&[&Authority::new("CA").server(&["a.test"])]);
            spec.certificates[0].chain = file("a.pem", &chain);
            let key = pem::write("PRIVATE KEY", key.serialized_der());
            spec.certificates[0].key = crate::config::Secret::new(&key, "k.pem");
            let server = ServerTls::link(&spec, &TicketKeys::new(), None).unwrap();
            let told = handshake(&server.config, &trusting(&chain), name);
            assert_eq!(told.as_ref().err().map_or("", label), expected, "{name}");
        }
        // As a server's it is none of an authority that is trusted.
        let authority = Authority::new("CA");
        let made = authority.sign(|params| {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.subject_alt_names = vec![rcgen::SanType::DnsName("a.test".try_into().unwrap())];
        });
        let server = ServerTls::link(&server_spec(&[&made]), &TicketKeys::new(), None).unwrap();
        let told = handshake(&server.config, &trusting(&authority.pem()), "a.test").unwrap_err();
        assert_eq!(label(&told), "ca_as_end_entity");
    }

    #[test]
    fn a_certificate_that_is_none_of_an_authority_signs_nothing() {
        let authority = Authority::new("CA");
        let (leaf, signed) = authority.signed_by_leaf("a.test");
        for (file, made, expected) in [
            (leaf.chain_pem.clone(), &leaf, ""),
            (leaf.chain_pem.clone(), &signed, "unknown_ca"),
            (format!("{}{}", leaf.chain_pem, Authority::new("Two").pem()), &signed, "unknown_ca"),
        ] {
            let server = ServerTls::link(&server_spec(&[made]), &TicketKeys::new(), None).unwrap();
            let told = handshake(&server.config, &trusting(&file), "a.test");
            assert_eq!(told.as_ref().err().map_or("", label), expected);
        }
    }

    #[test]
    fn an_upstream_that_asks_is_shown_a_certificate() {
        let authority = Authority::new("CA");
        let mut spec = server_spec(&[&authority.server(&["a.test"])]);
        spec.client_ca = Some(file("ca.pem", &authority.pem()));
        let server = ServerTls::link(&spec, &TicketKeys::new(), None).unwrap();
        for (until, warnings) in [(9, 0), (-1, 1)] {
            let made = authority.client("us", -9, until);
            let own = Some(certificate(&made, "us.pem"));
            let spec = UpstreamTlsSpec { certificate: own, ..upstream_spec(&authority.pem()) };
            let client = ClientTls::link(&spec, None).unwrap();
            assert_eq!(client.warnings.len(), warnings, "{:?}", client.warnings);
            assert!(client.certificate.is_some());
            let agreed = handshake(&server.config, &client.config, "a.test");
            assert_eq!(agreed.is_ok(), until > 0);
            assert!(agreed.is_err() || agreed.unwrap().client_leaf.as_deref() == Some(made.leaf()));
        }
    }

    #[test]
    fn sessions_are_resumed_by_name() {
        let authority = Authority::new("CA");
        let made = authority.server(&["a.test", "b.test"]);
        let server = ServerTls::link(&server_spec(&[&made]), &TicketKeys::new(), None).unwrap();
        let client = trusting(&authority.pem());
        for (name, expected) in
            [("a.test", Full), ("a.test", Resumed), ("b.test", Full), ("a.test", Resumed)]
        {
            assert_eq!(handshake(&server.config, &client, name).unwrap().kind, expected);
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let made = Authority::new("CA").server(&["a.test"]);
        let mut own = certificate(&made, "us.pem");
        own.chain.text = "".into();
        for (spec, expected) in [
            (upstream_spec(""), "ca.pem has no certificate in PEM"),
            (
                UpstreamTlsSpec { certificate: Some(own), ..upstream_spec(&made.chain_pem) },
                "us.pem has no certificate in PEM",
            ),
        ] {
            assert_eq!(ClientTls::link(&spec, None).unwrap_err(), expected);
        }
    }

    #[test]
    fn the_system_is_believed_where_no_file_is_named() {
        let spec = UpstreamTlsSpec { ca: None, ..upstream_spec("") };
        let is_empty = rustls_native_certs::load_native_certs().certs.is_empty();
        let linked = ClientTls::link(&spec, None);
        assert_eq!(linked.is_err(), is_empty, "{:?}", linked.as_ref().err());
        let Ok(client) = linked else { return };
        let made = Authority::new("CA").server(&["a.test"]);
        let server = ServerTls::link(&server_spec(&[&made]), &TicketKeys::new(), None).unwrap();
        let told = handshake(&server.config, &client.config, "a.test").unwrap_err();
        assert_eq!(label(&told), "unknown_ca");
    }

    #[test]
    fn the_name_is_that_of_the_settings_or_of_the_url() {
        for (set, host, expected) in [
            (None, "a.test", Some("a.test")),
            (None, "a.test.", Some("a.test")),
            (None, "192.0.2.1", Some("192.0.2.1")),
            (None, "[::1]", Some("::1")),
            (Some("b.test"), "192.0.2.1", Some("b.test")),
            (Some("b.test"), "not a name", Some("b.test")),
            (None, "not a name", None),
            (None, "", None),
            (None, ".", None),
            (Some("-"), "a.test", None),
        ] {
            let name = server_name(set, host);
            assert_eq!(name.as_ref().map(|name| name.to_str()).ok().as_deref(), expected, "{host}");
        }
    }
}
