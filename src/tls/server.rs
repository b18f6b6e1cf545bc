//! TLS towards clients: what `[tls]` asks for, as a configuration of rustls.

use std::sync::Arc;

use rustls::pki_types::{CertificateRevocationListDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use x509_cert::certificate::Raw;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;

use super::certificate::{
    LoadedCertificate, TrustedCertificate, authorities, out_of_date, trusted,
};
use super::challenges::{ACME_TLS_1, ChallengeResolver, Challenges};
use super::client_chain::OnePath;
use super::peer::printable;
use super::resolver::Resolver;
use super::served::Served;
use super::tickets::TicketKeys;
use super::{HTTP_1_1, PROVIDER, pem};
use crate::base::{self, CertificateFacts};
use crate::config::{PemFile, TlsSpec, TlsVersion};

/// TLS of a listener.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// What connections are made of.
    pub config: Arc<ServerConfig>,
    /// What is served, in the order of the settings.
    pub certificates: Vec<CertificateFacts>,
    /// Clients are asked for certificates.
    pub asks_for_certificates: bool,
    /// What is odd, or will soon be wrong.
    pub warnings: Vec<String>,
    /// What is answered to an ACME server; `None`: none is expected to ask.
    pub challenges: Option<Arc<Challenges>>,
    /// The revocation lists that hold.
    pub(super) crl: Option<PemFile>,
}

impl ServerTls {
    /// Checks what was asked for, and makes it ready. What is out of date is a fault, but for what is `served` already:
    /// that goes on with a warning. At a start, which has `None` there, all does. So a reload changes nothing for the
    /// worse, and a start goes as far as it can.
    ///
    /// # Errors
    /// All that is wrong, a sentence each.
    pub fn link(
        spec: &TlsSpec,
        tickets: &TicketKeys,
        served: Option<&Served>,
    ) -> Result<ServerTls, Vec<String>> {
        let mut check = Check::new(served, tickets.now());
        let certificates = check.certificates(spec);
        // Those that are ordered may still be on their way.
        if spec.certificates.is_empty() && spec.acme.is_none() {
            check.faults.push("TLS needs a certificate, and there is none".to_owned());
        }
        let verifier = check.verifier(spec);
        if !check.faults.is_empty() {
            return Err(check.faults);
        }
        let (resolver, doubles) = Resolver::new(&certificates);
        check.warnings.extend(doubles);
        let facts: Vec<_> = certificates.into_iter().map(|own| own.facts).collect();
        let builder =
            ServerConfig::builder_with_details(Arc::clone(&PROVIDER), Arc::clone(tickets.clock()));
        let builder = builder
            .with_protocol_versions(versions(spec.min_version))
            .map_err(|error| vec![format!("no TLS is possible: {error}")])?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        config.ticketer = tickets.under(setting(spec, &facts), check.lists_end);
        // Sessions are the clients' to keep.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // A request in early data may be anybody's who heard it before (RFC 8470).
        config.max_early_data_size = 0;
        config.send_half_rtt_data = false;
        Ok(ServerTls {
            config: Arc::new(config),
            certificates: facts,
            asks_for_certificates: spec.client_ca.is_some(),
            warnings: check.warnings,
            challenges: None,
            crl: spec.crl.clone(),
        })
    }

    /// The same, which also answers an ACME server that validates names.
    #[must_use]
    pub fn answering(mut self, challenges: &Arc<Challenges>) -> ServerTls {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols.push(ACME_TLS_1.to_vec());
        let usual = Arc::clone(&config.cert_resolver);
        config.cert_resolver = Arc::new(ChallengeResolver::new(usual, challenges));
        self.challenges = Some(Arc::clone(challenges));
        self
    }

    /// What is wrong with what was asked for, as far as that shows without a certificate that is made for it.
    pub fn faults(spec: &TlsSpec) -> Vec<String> {
        let mut check = Check::new(None, UnixTime::now().as_secs());
        check.certificates(spec);
        check.verifier(spec);
        check.faults
    }
}

/// From the newest to the oldest.
static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

fn versions(oldest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match oldest {
        TlsVersion::Tls12 => &VERSIONS,
        TlsVersion::Tls13 => &VERSIONS[..1],
    }
}

/// What a session must have in common with the one that it resumes: who may come in, by which versions, and whose names
/// are served, so that no listener goes on with a session of another one. New certificates for the same names go on.
fn setting(spec: &TlsSpec, certificates: &[CertificateFacts]) -> u128 {
    let [ca, crl] =
        [&spec.client_ca, &spec.crl].map(|file| file.as_ref().map_or("", |file| &*file.text));
    let version = format!("{:?}", spec.min_version);
    let mut names: Vec<&str> =
        certificates.iter().flat_map(|facts| facts.names.iter().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    let texts = [ca, crl, &version].into_iter().chain(names);
    base::keyed_digest(&[0; 32], texts.map(str::as_bytes))
}

/// What comes of looking at the settings.
struct Check<'b> {
    served: Option<&'b Served>,
    /// In seconds after the epoch.
    now: u64,
    faults: Vec<String>,
    warnings: Vec<String>,
    /// When the first revocation list is out of date, in seconds after the epoch.
    lists_end: u64,
}

impl<'b> Check<'b> {
    fn new(served: Option<&'b Served>, now: u64) -> Check<'b> {
        Check { served, now, faults: Vec::new(), warnings: Vec::new(), lists_end: u64::MAX }
    }

    fn certificates(&mut self, spec: &TlsSpec) -> Vec<LoadedCertificate> {
        let mut certificates = Vec::new();
        for spec in &spec.certificates {
            if let Some(own) = self.unless_wrong(LoadedCertificate::link(spec, &PROVIDER)) {
                self.look_at(&own);
                certificates.push(own);
            }
        }
        certificates
    }

    fn look_at(&mut self, own: &LoadedCertificate) {
        let (facts, path) = (&own.facts, own.path.display());
        self.warnings.extend_from_slice(&own.warnings);
        if facts.names.is_empty() {
            self.warnings.push(format!(
                "the certificate in {path} has no subjectAltName, so clients of today reject it"
            ));
        }
        let what = format!("the certificate in {path}");
        if let Some(sentence) = out_of_date(&what, facts.not_before, facts.not_after, self.now) {
            self.dated(sentence, |served| served.has_certificate(facts));
        }
    }

    /// Something is out of date, which may be what serves.
    fn dated(&mut self, sentence: String, is_served: impl Fn(&Served) -> bool) {
        let list = match self.served.is_none_or(is_served) {
            true => &mut self.warnings,
            false => &mut self.faults,
        };
        list.push(sentence);
    }

    /// What verifies the certificates of clients; `None`: they are not asked for any.
    fn verifier(&mut self, spec: &TlsSpec) -> Option<Arc<dyn ClientCertVerifier>> {
        let file = spec.client_ca.as_ref()?;
        let all = self.unless_wrong(trusted(file))?;
        self.authorities(file, &all);
        let roots = self.unless_wrong(authorities(file, &all))?;
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&PROVIDER));
        // A client without one is let in: routes say where a certificate is demanded.
        let mut builder = builder.allow_unauthenticated();
        if let Some(file) = &spec.crl {
            let lists = self.unless_wrong(pem::lists(file))?;
            self.lists(file, &lists, &all);
            // A list that is out of date tells nothing of who was revoked since.
            builder = builder.with_crls(lists).enforce_revocation_expiration();
        }
        if !self.faults.is_empty() {
            return None;
        }
        let path = spec.crl.as_ref().unwrap_or(file).path.display();
        let verifier = builder.build().map_err(|error| format!("{path}: {error}"));
        self.unless_wrong(verifier).map(|verifier| Arc::new(OnePath(verifier)) as _)
    }

    /// Looks whether all are of authorities, and at their dates. Whom they signed comes in whatever those are: an
    /// anchor of trust is trusted for its key (RFC 5280 section 6.1.1).
    fn authorities(&mut self, file: &PemFile, all: &[TrustedCertificate]) {
        let path = file.path.display();
        for (number, TrustedCertificate { read, .. }) in all.iter().enumerate() {
            if !read.is_ca() {
                self.faults.push(format!(
                    "{path}: certificate {} is not one of an authority (CA:TRUE), so nothing it signs is valid",
                    number + 1
                ));
            }
            let subject = printable(read.subject()).unwrap_or_default();
            let what = format!("{path}: the authority {subject}");
            self.warnings.extend(out_of_date(&what, read.not_before(), read.not_after(), self.now));
        }
    }

    /// Looks whether lists are of today, and whether each authority has one.
    fn lists(
        &mut self,
        file: &PemFile,
        lists: &[CertificateRevocationListDer<'_>],
        authorities: &[TrustedCertificate],
    ) {
        let path = file.path.display();
        let mut read_lists: Vec<CertificateList<Raw>> = Vec::new();
        for (number, der) in lists.iter().enumerate() {
            match CertificateList::from_der(der) {
                Ok(list) => read_lists.push(list),
                Err(_) => self.faults.push(format!("{path}: list {} cannot be read", number + 1)),
            }
        }
        let lists = read_lists;
        for list in &lists {
            let from = list.tbs_cert_list.this_update.to_unix_duration().as_secs();
            let until = list.tbs_cert_list.next_update;
            let until = until.map_or(u64::MAX, |until| until.to_unix_duration().as_secs());
            self.lists_end = self.lists_end.min(until);
            let what = format!("{path}: a revocation list");
            // Nobody looks at the beginning when certificates are verified: the issuer's clock may be ahead.
            if from > self.now {
                self.warnings.extend(out_of_date(&what, from, u64::MAX, self.now));
            }
            // At the very second the list is of no use (RFC 5280 section 5.1.2.5).
            if let Some(sentence) = out_of_date(&what, 0, until.saturating_sub(1), self.now) {
                let sentence = format!("{sentence}: no certificate of its issuer is accepted");
                self.dated(sentence, |served| served.has_crl(file));
            }
        }
        for TrustedCertificate { read, .. } in authorities {
            let has_one =
                |list: &CertificateList<Raw>| list.tbs_cert_list.issuer == *read.subject();
            if !lists.is_empty() && !lists.iter().any(has_one) {
                let name = printable(read.subject()).unwrap_or_default();
                self.warnings.push(format!(
                    "{path} has no list of {name}: no certificate that it signs is accepted"
                ));
            }
        }
    }

    fn unless_wrong<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|fault| self.faults.push(fault)).ok()
    }
}

#[cfg(test)]
mod tests {
    use rustls::HandshakeKind::{Full, Resumed};
    use rustls::ProtocolVersion;

    use super::*;
    use crate::config::DerFile;
    use crate::io::tls::fault;
    use crate::tls::testing::{
        Authority, Clock, GaveUp, Made, certificate, file, handshake, server_spec, showing,
        speaking, trusting, with_one_session,
    };

    fn link(spec: &TlsSpec) -> ServerTls {
        ServerTls::link(spec, &TicketKeys::new(), None).unwrap()
    }

    #[test]
    fn a_client_is_shown_what_it_asks_for() {
        let authority = Authority::new("CA");
        let (a, b) = (authority.server(&["a.test"]), authority.server(&["*.b.test"]));
        let server = link(&server_spec(&[&a, &b]));
        assert_eq!(server.warnings, [""; 0]);
        let client = trusting(&authority.pem());
        for (name, leaf) in [("a.test", &a), ("x.b.test", &b), ("X.B.TEST", &b), ("a.test", &a)] {
            let agreed = handshake(&server.config, &client, name).unwrap();
            assert_eq!(agreed.server_leaf, leaf.leaf(), "{name}");
            assert_eq!(agreed.client.alpn_protocol(), Some(HTTP_1_1));
            assert_eq!(agreed.server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        }
        assert!(handshake(&server.config, &client, "other.test").is_err());
    }

    #[test]
    fn a_stapled_answer_is_shown() {
        let authority = Authority::new("CA");
        let mut spec = server_spec(&[&authority.server(&["a.test"])]);
        spec.certificates[0].ocsp =
            Some(DerFile { path: "ocsp".into(), octets: [0x30, 0][..].into() });
        let server = link(&spec);
        assert!(handshake(&server.config, &trusting(&authority.pem()), "a.test").is_ok());
        let own = LoadedCertificate::link(&spec.certificates[0], &PROVIDER).unwrap();
        assert_eq!(own.key.ocsp.as_deref(), Some(&[0x30, 0][..]));
    }

    #[test]
    fn a_session_goes_on_under_the_settings_that_it_began_with() {
        let authority = Authority::new("CA");
        let a = authority.server(&["a.test", "b.test"]);
        let begun = TlsSpec {
            client_ca: Some(file("ca.pem", &authority.pem())),
            crl: Some(file("crl.pem", &authority.crl(&[], 9))),
            ..server_spec(&[&a])
        };
        let with = |change: &dyn Fn(&mut TlsSpec)| {
            let mut spec = begun.clone();
            change(&mut spec);
            spec
        };
        let both = format!("{}{}", authority.pem(), Authority::new("Two").pem());
        let revoked = authority.client("me", -1, 9);
        let renewed = authority.server(&["b.test", "a.test"]);
        let other = authority.server(&["a.test", "b.test", "c.test"]);
        for (what, spec, expected) in [
            ("the same", begun.clone(), Resumed),
            (
                "renewed",
                with(&|spec| spec.certificates = server_spec(&[&renewed]).certificates),
                Resumed,
            ),
            (
                "other names",
                with(&|spec| spec.certificates = server_spec(&[&other]).certificates),
                Full,
            ),
            ("another CA", with(&|spec| spec.client_ca = Some(file("ca.pem", &both))), Full),
            ("no CA", with(&|spec| (spec.client_ca, spec.crl) = (None, None)), Full),
            ("no list", with(&|spec| spec.crl = None), Full),
            (
                "another list",
                with(&|spec| spec.crl = Some(file("crl.pem", &authority.crl(&[&revoked], 9)))),
                Full,
            ),
            ("another version", with(&|spec| spec.min_version = TlsVersion::Tls13), Full),
        ] {
            let tickets = TicketKeys::new();
            let link = |spec| ServerTls::link(spec, &tickets, None).unwrap().config;
            let client = trusting(&authority.pem());
            assert_eq!(handshake(&link(&begun), &client, "a.test").unwrap().kind, Full);
            assert_eq!(
                handshake(&link(&spec), &client, "a.test").unwrap().kind,
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn a_session_is_of_one_name() {
        let authority = Authority::new("CA");
        let server = link(&server_spec(&[&authority.server(&["a.test", "b.test", "192.0.2.1"])]));
        for version in [&TLS12, &TLS13] {
            let client = with_one_session(&speaking(&authority.pem(), version));
            for (name, expected) in [
                ("a.test", Full),
                ("a.test", Resumed),
                ("b.test", Full),
                ("b.test", Resumed),
                ("192.0.2.1", Full),
                ("192.0.2.1", Resumed),
                ("a.test", Full),
            ] {
                let agreed = handshake(&server.config, &client, name).unwrap();
                assert_eq!(agreed.kind, expected, "{name} {version:?}");
            }
        }
    }

    #[test]
    fn a_session_goes_on_for_half_a_day() {
        const HOUR: u64 = 60 * 60;
        let authority = Authority::new("CA");
        let spec = server_spec(&[&authority.server(&["a.test"])]);
        let start = TicketKeys::new().now();
        for (begun, resumed, expected) in [
            (0, 12, Resumed),
            (0, 23, Resumed),
            (0, 24, Full),
            (11, 23, Resumed),
            (13, 36, Resumed),
        ] {
            let clock = Clock::new(start);
            let tickets = TicketKeys::with_clock(clock.clone());
            let server = ServerTls::link(&spec, &tickets, None).unwrap().config;
            handshake(&server, &trusting(&authority.pem()), "a.test").unwrap(); // a key is made
            let client = trusting(&authority.pem());
            clock.go_to(start + begun * HOUR);
            assert_eq!(handshake(&server, &client, "a.test").unwrap().kind, Full);
            clock.go_to(start + resumed * HOUR);
            let kind = handshake(&server, &client, "a.test").unwrap().kind;
            assert_eq!(kind, expected, "{begun} to {resumed}");
        }
    }

    #[test]
    fn another_process_goes_on_with_sessions() {
        let authority = Authority::new("CA");
        let spec = server_spec(&[&authority.server(&["a.test"])]);
        let client = trusting(&authority.pem());
        let (before, after) = (TicketKeys::new(), TicketKeys::new());
        let begun = ServerTls::link(&spec, &before, None).unwrap();
        assert_eq!(handshake(&begun.config, &client, "a.test").unwrap().kind, Full);
        assert!(after.import(&before.export()));
        let taken = ServerTls::link(&spec, &after, None).unwrap();
        assert_eq!(handshake(&taken.config, &client, "a.test").unwrap().kind, Resumed);
        let stranger = link(&spec);
        assert_eq!(handshake(&stranger.config, &client, "a.test").unwrap().kind, Full);
    }

    #[test]
    fn clients_are_who_their_certificates_say() {
        let (servers, clients) = (Authority::new("Servers"), Authority::new("Clients"));
        let revoked = clients.client("revoked", -1, 9);
        let mut spec = server_spec(&[&servers.server(&["a.test"])]);
        spec.client_ca = Some(file("ca.pem", &clients.pem()));
        let plain = link(&spec);
        spec.crl = Some(file("crl.pem", &clients.crl(&[&revoked], 9)));
        let with_list = link(&spec);
        spec.crl = Some(file("crl.pem", &clients.crl(&[], -1)));
        let with_old_list = link(&spec);
        spec.crl = Some(file("crl.pem", &servers.crl(&[], 9)));
        let with_strange_list = link(&spec);
        let good = clients.client("me", -1, 9);
        for (server, made, expected) in [
            (&plain, Some(&good), ""),
            (&plain, None, ""),
            (&plain, Some(&revoked), ""),
            (&plain, Some(&clients.client("old", -9, -1)), "certificate_expired"),
            (&plain, Some(&clients.client("new", 2, 9)), "certificate_not_yet_valid"),
            (&plain, Some(&servers.client("me", -1, 9)), "unknown_ca"),
            (&plain, Some(&Authority::new("Clients").client("me", -1, 9)), "bad_signature"),
            (&with_list, Some(&good), ""),
            (&with_list, None, ""),
            (&with_list, Some(&revoked), "certificate_revoked"),
            (&with_old_list, Some(&good), "revocation_list_expired"),
            (&with_old_list, None, ""),
            (&with_strange_list, Some(&good), "revocation_unknown"),
        ] {
            for version in [&TLS12, &TLS13] {
                let client = match made {
                    Some(made) => showing(&servers.pem(), made, version),
                    None => speaking(&servers.pem(), version),
                };
                let label = match handshake(&server.config, &client, "a.test") {
                    Ok(agreed) => {
                        assert_eq!(agreed.client_leaf.as_deref(), made.map(Made::leaf));
                        ""
                    }
                    Err(GaveUp::Server(error)) => fault(&error).label(),
                    Err(other) => panic!("{other:?}"),
                };
                assert_eq!(label, expected, "{version:?}");
            }
        }
    }

    #[test]
    fn a_resumed_session_knows_its_certificate() {
        let authority = Authority::new("CA");
        let mut spec = server_spec(&[&authority.server(&["a.test"])]);
        spec.client_ca = Some(file("ca.pem", &authority.pem()));
        let (server, made) = (link(&spec), authority.client("me", -1, 9));
        for version in [&TLS12, &TLS13] {
            let client = showing(&authority.pem(), &made, version);
            for expected in [Full, Resumed] {
                let agreed = handshake(&server.config, &client, "a.test").unwrap();
                assert_eq!(agreed.kind, expected);
                assert_eq!(agreed.client_leaf.as_deref(), Some(made.leaf()));
            }
        }
    }

    #[test]
    fn older_versions_are_refused() {
        let authority = Authority::new("CA");
        let mut spec = server_spec(&[&authority.server(&["a.test"])]);
        for (oldest, version, expected) in [
            (TlsVersion::Tls12, &TLS12, ""),
            (TlsVersion::Tls12, &TLS13, ""),
            (TlsVersion::Tls13, &TLS12, "no_shared_version"),
            (TlsVersion::Tls13, &TLS13, ""),
        ] {
            spec.min_version = oldest;
            let client = speaking(&authority.pem(), version);
            let label = match handshake(&link(&spec).config, &client, "a.test") {
                Ok(_) => "",
                Err(GaveUp::Server(error)) => fault(&error).label(),
                Err(other) => panic!("{other:?}"),
            };
            assert_eq!(label, expected, "{oldest:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_at_once() {
        let authority = Authority::new("CA");
        let (a, b) = (authority.server(&["a.test"]), authority.server(&["b.test"]));
        let mut crossed = server_spec(&[&a, &b]);
        crossed.certificates[0].key = crossed.certificates[1].key.clone();
        crossed.certificates[1].chain.text = "".into();
        crossed.client_ca = Some(file("ca.pem", &a.chain_pem));
        let with = |client_ca: Option<&str>, crl: Option<&str>| TlsSpec {
            client_ca: client_ca.map(|text| file("ca.pem", text)),
            crl: crl.map(|text| file("crl.pem", text)),
            ..server_spec(&[&a])
        };
        let ca = authority.pem();
        let broken = pem::write("X509 CRL", b"none");
        for (spec, expected) in [
            (server_spec(&[]), &["TLS needs a certificate, and there is none"][..]),
            (
                crossed,
                &[
                    "the key k.pem does not fit the first certificate in 0.pem",
                    "1.pem has no certificate in PEM",
                    "ca.pem: certificate 1 is not one of an authority (CA:TRUE), so nothing it signs is valid",
                ],
            ),
            (with(Some(&ca), Some(&broken)), &["crl.pem: list 1 cannot be read"]),
            (with(Some(&ca), Some(&ca)), &["crl.pem has no revocation list (X509 CRL) in PEM"]),
        ] {
            let faults = ServerTls::link(&spec, &TicketKeys::new(), None).unwrap_err();
            assert_eq!(faults, expected);
        }
    }

    #[test]
    fn what_is_odd_is_told_and_served() {
        let authority = Authority::new("CA");
        let nameless = authority.sign(|_| {});
        let [one, two] = [(); 2].map(|()| authority.server(&["a.test"]));
        let other = Authority::until("Other", -1);
        let both = format!("{}{}", authority.pem(), other.pem());
        let spec = TlsSpec {
            client_ca: Some(file("ca.pem", &both)),
            crl: Some(file("crl.pem", &authority.crl(&[], 9))),
            ..server_spec(&[&one, &two, &nameless])
        };
        let mut told = link(&spec).warnings;
        // The date is another one every day.
        let expired = told.remove(1);
        assert!(
            expired.starts_with("ca.pem: the authority CN=Other has expired, on "),
            "{expired}"
        );
        let warnings = [
            "the certificate in 2.pem has no subjectAltName, so clients of today reject it",
            "crl.pem has no list of CN=Other: no certificate that it signs is accepted",
            "1.pem: a.test is in 0.pem already, which is served instead",
        ];
        assert_eq!(told, warnings);
    }

    #[test]
    fn what_is_out_of_date_replaces_nothing() {
        let authority = Authority::new("CA");
        let good = authority.server(&["a.test"]);
        let old = authority.server_for(&["a.test"], -9, -1);
        let early = authority.server_for(&["a.test"], 2, 9);
        let [list, old_list, older_list] = [9, -1, -2].map(|until| authority.crl(&[], until));
        let spec = |made: &Made, list: &str| TlsSpec {
            client_ca: Some(file("ca.pem", &authority.pem())),
            crl: Some(file("crl.pem", list)),
            ..server_spec(&[made])
        };
        let tickets = TicketKeys::new();
        let serving =
            [&good, &old].map(|made| ServerTls::link(&spec(made, &list), &tickets, None).unwrap());
        let serving_old_list = ServerTls::link(&spec(&good, &old_list), &tickets, None).unwrap();
        let served = |server| Served::new(Some(server), std::iter::empty());
        let [good_served, old_served] = [served(&serving[0]), served(&serving[1])];
        let old_list_served = served(&serving_old_list);
        for (served, made, list, is_taken, warnings) in [
            (None, &good, &list, true, 0),
            (None, &old, &list, true, 1),
            (None, &early, &old_list, true, 2),
            (Some(&good_served), &good, &list, true, 0),
            (Some(&good_served), &old, &list, false, 0),
            (Some(&good_served), &early, &list, false, 0),
            (Some(&good_served), &good, &old_list, false, 0),
            // It has served, and must not be in the way of other changes.
            (Some(&old_served), &old, &list, true, 1),
            (Some(&old_served), &early, &list, false, 0),
            (Some(&old_list_served), &good, &old_list, true, 1),
            (Some(&old_list_served), &good, &older_list, false, 0),
            // TLS is new in a process that runs.
            (Some(&Served::default()), &good, &list, true, 0),
            (Some(&Served::default()), &old, &list, false, 0),
            (Some(&Served::default()), &good, &old_list, false, 0),
        ] {
            match ServerTls::link(&spec(made, list), &tickets, served) {
                Ok(server) => {
                    assert!(is_taken);
                    assert_eq!(server.warnings.len(), warnings, "{:?}", server.warnings);
                }
                Err(faults) => {
                    assert!(!is_taken, "{faults:?}");
                    assert_eq!(faults.len(), 1);
                }
            }
        }
        let until = serving.map(|server| server.certificates[0].not_after);
        assert!(until[0] > tickets.now() && until[1] < tickets.now(), "{until:?}");
    }

    #[test]
    fn keys_stay_out_of_what_is_told() {
        let authority = Authority::new("CA");
        let made = authority.server(&["a.test"]);
        let mut spec = server_spec(&[&made]);
        let server = link(&spec);
        let other = authority.server(&["b.test"]);
        spec.certificates.push(certificate(&other, "b.pem"));
        spec.certificates[0].key = spec.certificates[1].key.clone();
        let faults = ServerTls::link(&spec, &TicketKeys::new(), None).unwrap_err();
        let keys =
            [&made, &other].map(|made| made.key_pem.lines().filter(|line| !line.contains('-')));
        let secrets: Vec<&str> = keys.into_iter().flatten().collect();
        let told = format!("{server:?} {faults:?}");
        assert!(!secrets.iter().any(|line| told.contains(line)));
    }
}
