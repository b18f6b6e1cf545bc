//! TLS: from what is given in `[tls]` and in `upstream-tls` to certificates and keys, read from the files they are in.
//!
//! What stands in PEM is told by its labels alone; whether keys fit, whoever links them says.

use std::fmt::{self, Display};
use std::path::Path;
use std::sync::Arc;

use super::acme::OF_ACME;
use super::diagnostics::{Diagnostic, wrong};
use super::files::{Files, remedy};
use super::given::{Given, Origin};
use super::layers::Layers;
use super::places;
use super::plan::Plan;
use super::pool::Secret;
use super::sections::{of, set};
use super::settings::{Item, Settings};
use super::table::ROUTE;
use super::tls::*;
use super::values;

/// Octets of a file.
const LARGEST: usize = 1 << 20;
/// Octets of an OCSP response: a message of a handshake has 64 KiB, with a chain in it.
const OCSP_MOST: usize = 32 << 10;
/// Certificates, and names of one.
const MOST: usize = 1024;
const MOST_NAMES: usize = 32;

/// What is about TLS towards clients, and needs a listener that speaks it.
const OF_CLIENTS: [&str; 13] = {
    let [acme, directory, contact, challenge, ca, kid, key] = OF_ACME;
    [
        "tls-cert",
        "tls-key",
        "tls-self-signed",
        acme,
        directory,
        contact,
        challenge,
        ca,
        kid,
        key,
        "tls-min-version",
        "tls-client-ca",
        "tls-crl",
    ]
};
/// What is about TLS towards upstreams.
pub const OF_UPSTREAMS: [&str; 5] = [
    "upstream-tls-ca",
    "upstream-tls-server-name",
    "upstream-tls-cert",
    "upstream-tls-key",
    "upstream-tls-verify",
];

/// The files of a certificate, by name: `site.pem key=site.key ocsp=site.ocsp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate with its chain.
    pub cert: String,
    /// Its key; `None`: it is named elsewhere.
    pub key: Option<String>,
    /// What its issuer says about it; `None`: nothing is shown.
    pub ocsp: Option<String>,
}

impl CertificateFiles {
    /// The names that stand in `text`, which may have blanks in them.
    pub fn of(text: &str) -> CertificateFiles {
        const MARKS: [&str; 2] = [" key=", " ocsp="];
        let cut = |text: &str| {
            let end = MARKS.iter().filter_map(|mark| text.find(mark)).min();
            text[..end.unwrap_or(text.len())].trim().to_owned()
        };
        let [key, ocsp] = MARKS.map(|mark| text.split_once(mark).map(|(_, rest)| cut(rest)));
        CertificateFiles { cert: cut(text), key, ocsp }
    }

    /// Every name as `change` has it.
    pub fn each(self, change: impl Fn(&str) -> String) -> CertificateFiles {
        let CertificateFiles { cert, key, ocsp } = self;
        let [key, ocsp] = [key, ocsp].map(|path| path.as_deref().map(&change));
        CertificateFiles { cert: change(&cert), key, ocsp }
    }
}

impl Display for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CertificateFiles { cert, key, ocsp } = self;
        f.write_str(cert)?;
        key.iter().try_for_each(|key| write!(f, " key={key}"))?;
        ocsp.iter().try_for_each(|ocsp| write!(f, " ocsp={ocsp}"))
    }
}

/// What is looked for in a PEM file (RFC 7468, RFC 1421): a name for it, its labels, and who makes it of DER.
struct Content {
    what: &'static str,
    labels: &'static [&'static str],
    made_by: &'static str,
}

const CERTIFICATE: Content =
    Content { what: "certificate", labels: &["CERTIFICATE"], made_by: "openssl x509 -inform der" };
const KEY: Content = Content {
    what: "private key",
    labels: &["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"],
    made_by: "openssl pkey -inform der",
};
const REVOCATION_LIST: Content =
    Content { what: "revocation list", labels: &["X509 CRL"], made_by: "openssl crl -inform der" };

/// Where files are read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    cwd: &'a Path,
    files: &'a Files,
}

impl Reader<'_> {
    fn octets(&self, path: &str) -> Result<Vec<u8>, Diagnostic> {
        let file = places::file(path)?;
        self.files
            .regular_octets(&self.cwd.join(file), LARGEST)
            .map_err(|error| wrong(format!("cannot read {path}: {error}"), remedy(&error)))
    }

    /// A PEM file that has such a thing in it.
    fn pem(&self, path: &str, content: &Content) -> Result<PemFile, Diagnostic> {
        let Content { what, labels, made_by } = content;
        // Octets that are no text may stand around what is PEM (RFC 7468 section 2).
        let text = String::from_utf8_lossy(&self.octets(path)?).into_owned();
        let found: Vec<&str> = text.lines().filter_map(label).collect();
        if found.iter().any(|label| labels.contains(label)) {
            return Ok(PemFile { path: path.into(), text: text.into() });
        }
        Err(match found.first() {
            Some(&ENCRYPTED) => encrypted(),
            Some(other) => {
                let what = format!("there is no {what} in {path}, but a {other}");
                wrong(what, format!("name the file that has BEGIN {} in it", labels[0]))
            }
            None => {
                let what = format!("there is no {what} in {path}");
                wrong(what, format!("{made_by} makes PEM, if it is DER"))
            }
        })
    }

    /// Certificates of those who are trusted.
    pub fn certificates(&self, path: &str) -> Result<PemFile, Diagnostic> {
        self.pem(path, &CERTIFICATE)
    }

    fn key(&self, path: &str) -> Result<Secret, Diagnostic> {
        let PemFile { text, .. } = self.pem(path, &KEY)?;
        if text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(encrypted());
        }
        Ok(Secret::new(&text, path))
    }

    fn ocsp(&self, path: &str) -> Result<DerFile, Diagnostic> {
        let octets = self.octets(path)?;
        match is_sequence(&octets) {
            true if octets.len() <= OCSP_MOST => {
                Ok(DerFile { path: path.into(), octets: octets.into() })
            }
            true => {
                let what = format!("the OCSP response in {path} is too long for a handshake");
                Err(wrong(what, "it has 32 KiB at most"))
            }
            false => {
                let what = format!("there is no OCSP response in {path}");
                Err(wrong(what, "openssl ocsp -respout writes one, in DER"))
            }
        }
    }

    /// A certificate, as far as its files are named.
    fn certificate(&self, text: &str) -> Result<CertificateDraft, Diagnostic> {
        if text.contains(',') {
            let right = "name files without any, or link to them";
            return Err(wrong("a comma parts the names of several certificates", right));
        }
        let CertificateFiles { cert, key, ocsp } = CertificateFiles::of(text);
        Ok(CertificateDraft {
            chain: self.pem(&cert, &CERTIFICATE)?,
            key: key.map(|path| self.key(&path)).transpose()?,
            ocsp: ocsp.map(|path| self.ocsp(&path)).transpose()?,
        })
    }
}

/// A certificate whose key may be named elsewhere.
struct CertificateDraft {
    chain: PemFile,
    key: Option<Secret>,
    ocsp: Option<DerFile>,
}

/// The octets are one whole SEQUENCE of less than 64 KiB (X.690 sections 8.1.3 and 8.9).
fn is_sequence(octets: &[u8]) -> bool {
    let (length, rest) = match *octets {
        [0x30, length @ ..=0x7f, ref rest @ ..] => (usize::from(length), rest),
        [0x30, 0x81, length, ref rest @ ..] => (usize::from(length), rest),
        [0x30, 0x82, high, low, ref rest @ ..] => {
            (usize::from(u16::from_be_bytes([high, low])), rest)
        }
        _ => return false,
    };
    length == rest.len()
}

/// `CERTIFICATE` of a line that begins one.
fn label(line: &str) -> Option<&str> {
    line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----")
}

impl<'a> Settings<'a> {
    pub(super) fn reader(&self) -> Reader<'a> {
        let Layers { cwd, files, .. } = self.layers;
        Reader { cwd, files }
    }

    /// TLS towards clients, if any speak it: `secure` is the first address where they do.
    pub(super) fn tls(&mut self, secure: Option<&Given>) -> Option<Arc<TlsSpec>> {
        if !cfg!(feature = "tls") {
            self.not_in_this_build(&OF_CLIENTS, "TLS", "tls");
            return None;
        }
        let reader = self.reader();
        let spec = TlsSpec {
            certificates: self.certificates(),
            self_signed: self.list("tls-self-signed", MOST_NAMES, places::server_name),
            min_version: self.one("tls-min-version", version).unwrap_or(TlsVersion::Tls12),
            acme: self.acme(),
            client_ca: self.one("tls-client-ca", |path| reader.certificates(path)),
            crl: self.one("tls-crl", |path| reader.pem(path, &REVOCATION_LIST)),
        };
        if self.is_given("tls-cert")
            && let Some(given) = self.first_given(&["tls-self-signed"])
        {
            let what = "there is a certificate already, so none is made";
            self.refuse_one(&given, wrong(what, "leave one of the two out"));
        }
        self.refuse_acme_beside_self_signed();
        if !self.is_given("tls-client-ca")
            && let Some(given) = self.first_given(&["tls-crl"])
        {
            let what = "no client is asked for a certificate, so none is looked for in this list";
            self.refuse_one(&given, wrong(what, "give client-ca beside it, or leave it out"));
        }
        let given = self.first_said(&OF_CLIENTS);
        match (secure, given) {
            (None, None) => None,
            (None, Some(given)) => {
                let what = "this is not used, since no listener speaks TLS";
                self.warn(&given, wrong(what, "put https:// before an address of listen"));
                None
            }
            (Some(secure), _) => {
                if self.first_given(&["tls-cert", "tls-self-signed", "tls-acme"]).is_none() {
                    self.refuse_one(secure, no_certificate(&secure.origin));
                }
                Some(Arc::new(spec))
            }
        }
    }

    /// Certificates, each with its key: that which stands behind it, or the next of those that are named by themselves.
    fn certificates(&mut self) -> Vec<CertificateSpec> {
        let reader = self.reader();
        let certificates = self.all("tls-cert", MOST, |text| reader.certificate(text));
        let keys = self.all("tls-key", MOST, |path| reader.key(path));
        let is_damaged = |name: &str, read: usize| read == 0 && self.is_given(name);
        if is_damaged("tls-cert", certificates.len()) || is_damaged("tls-key", keys.len()) {
            return Vec::new();
        }
        let mut keys = keys.into_iter();
        let mut all = Vec::new();
        for Item { value: CertificateDraft { chain, key, ocsp }, given } in certificates {
            match key.or_else(|| keys.next().map(|item| item.value)) {
                Some(key) => all.push(Item { value: CertificateSpec { chain, key, ocsp }, given }),
                None => {
                    let what = format!("the key of {} is missing", chain.path.display());
                    self.refuse_one(&given, wrong(what, no_key(&given.origin)));
                }
            }
        }
        if let Some(Item { given, .. }) = keys.next() {
            let what = "there is no certificate for this key";
            self.refuse_one(&given, wrong(what, "name as many keys as certificates"));
        }
        self.without_repeats(all, |one| one.chain.path.clone())
    }

    /// TLS towards upstreams: as `above` says, but for what is said here.
    pub(super) fn upstream_tls(&mut self, above: &Arc<UpstreamTlsSpec>) -> Arc<UpstreamTlsSpec> {
        if self.first_given(&OF_UPSTREAMS).is_none() {
            return Arc::clone(above);
        }
        if !cfg!(feature = "tls") {
            self.not_in_this_build(&OF_UPSTREAMS, "TLS", "tls");
            return Arc::clone(above);
        }
        let reader = self.reader();
        let mut spec = (**above).clone();
        set(&mut spec.ca, self.one("upstream-tls-ca", or_off(|path| reader.certificates(path))));
        let name = self.one("upstream-tls-server-name", or_off(places::server_name));
        set(&mut spec.server_name, name);
        set(&mut spec.certificate, self.own_certificate());
        let verify = self.one("upstream-tls-verify", |text| values::choice(&Verify::ALL, text));
        set(&mut spec.verify, verify);
        if spec.verify == Verify::Off
            && let Some(given) = self.first_given(&["upstream-tls-verify"])
        {
            let what = "whoever stands between can be the upstream, since nothing is verified";
            self.warn(&given, wrong(what, "name who signs its certificate as ca, in place of it"));
        }
        if spec == **above { Arc::clone(above) } else { Arc::new(spec) }
    }

    /// What is shown to upstreams, where anything is said of it.
    fn own_certificate(&mut self) -> Option<Option<CertificateSpec>> {
        let reader = self.reader();
        let [cert, key] =
            ["upstream-tls-cert", "upstream-tls-key"].map(|name| self.first_given(&[name]));
        let is_named =
            |given: &Option<Given>| given.as_ref().is_some_and(|one| &*one.text != "off");
        let (chain, secret) = (
            self.one("upstream-tls-cert", or_off(|path| reader.certificates(path))),
            self.one("upstream-tls-key", or_off(|path| reader.key(path))),
        );
        match (is_named(&cert), is_named(&key)) {
            (true, true) => {
                let (chain, key) = (chain.flatten()?, secret.flatten()?);
                Some(Some(CertificateSpec { chain, key, ocsp: None }))
            }
            (false, false) => (cert.is_some() || key.is_some()).then_some(None),
            (has_cert, _) => {
                let (given, what) = match has_cert {
                    true => (cert, "the key of this certificate is missing"),
                    false => (key, "the certificate of this key is missing"),
                };
                let given = given?;
                self.refuse_one(&given, wrong(what, "name both, cert and key"));
                None
            }
        }
    }

    /// Certificates that are demanded where no client is asked for one.
    pub(super) fn refuse_certificates_of_nobody(&mut self, plan: &Plan) {
        let are_asked = plan.listener.tls.is_some() && self.is_given("tls-client-ca");
        if are_asked || !cfg!(feature = "tls") {
            return;
        }
        self.refuse_client_cert();
        for section in of(&self.layers.sections, ROUTE) {
            self.of(section).refuse_client_cert();
        }
    }

    fn refuse_client_cert(&mut self) {
        if let Some(given) = self.first_given(&["client-cert"])
            && values::switch(&given.text) == Ok(true)
        {
            let what = "no client is asked for a certificate, so all would be refused";
            let right = "give client-ca under [tls], and an address of listen with https://";
            self.refuse_one(&given, wrong(what, right));
        }
    }
}

/// The label of a key that has a passphrase (RFC 5958 section 3).
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

fn encrypted() -> Diagnostic {
    let right = "openssl pkey -in KEY -out PLAIN takes the passphrase away";
    wrong("this key is encrypted, and there is no passphrase", right)
}

fn version(text: &str) -> Result<TlsVersion, Diagnostic> {
    values::choice(&TlsVersion::ALL, text)
}

/// A value, or `off`.
fn or_off<T>(
    read: impl Fn(&str) -> Result<T, Diagnostic>,
) -> impl Fn(&str) -> Result<Option<T>, Diagnostic> {
    move |text| if text == "off" { Ok(None) } else { read(text).map(Some) }
}

/// TLS is spoken, and nothing is shown.
fn no_certificate(origin: &Origin) -> Diagnostic {
    let right = match origin {
        Origin::File(_) if cfg!(feature = "acme") => {
            "write certificate = { cert = \"site.pem\", key = \"site.key\" } under [tls], or acme, or self-signed"
        }
        Origin::File(_) => {
            "write certificate = { cert = \"site.pem\", key = \"site.key\" } under [tls], or self-signed"
        }
        _ => "give --tls-cert and --tls-key as well, or --tls-self-signed localhost",
    };
    wrong("TLS is spoken here, and there is no certificate", right)
}

fn no_key(origin: &Origin) -> &'static str {
    match origin {
        Origin::File(_) => "write key = \"site.key\" beside it",
        _ => "give --tls-key once for each --tls-cert, in the same order",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ocsp_response_is_a_whole_sequence() {
        let long = |length: u16, there: usize| {
            let [high, low] = length.to_be_bytes();
            [&[0x30, 0x82, high, low][..], &vec![0; there]].concat()
        };
        for (octets, expected) in [
            (vec![0x30, 3, 10, 1, 3], true),
            (vec![0x30, 3, 10, 1], false),
            (vec![0x30, 3, 10, 1, 3, 0], false),
            ([&[0x30, 0x81, 200][..], &[0; 200]].concat(), true),
            (long(600, 600), true),
            (long(600, 599), false),
            (vec![0x30, 0x80, 0, 0], false),
            (vec![0x30], false),
            (vec![0x31, 0], false),
            (vec![], false),
        ] {
            assert_eq!(is_sequence(&octets), expected, "{octets:?}");
        }
    }

    #[test]
    fn files_of_a_certificate_have_any_names_and_any_order() {
        for (text, cert, key, ocsp) in [
            ("a.pem", "a.pem", None, None),
            ("a.pem key=a.key", "a.pem", Some("a.key"), None),
            ("a b.pem  ocsp=o 1 key=k=1", "a b.pem", Some("k=1"), Some("o 1")),
            ("a key= ocsp=", "a", Some(""), Some("")),
        ] {
            let files = CertificateFiles::of(text);
            let CertificateFiles { cert: own, key: its, ocsp: answer } = &files;
            let read = (own.as_str(), its.as_deref(), answer.as_deref());
            assert_eq!(read, (cert, key, ocsp), "{text}");
            assert_eq!(CertificateFiles::of(&files.to_string()), files);
        }
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests_of_settings {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::super::{Plan, Rejected, Report, testing};
    use super::*;

    /// A folder with files of every kind, gone at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Relaxed);
            let name = format!("tidegate-securing-{}-{number}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            std::fs::create_dir(&folder).unwrap();
            let pem =
                |label: &str| format!("-----BEGIN {label}-----\nAA==\n-----END {label}-----\n");
            for (file, text) in [
                ("a.pem", pem("CERTIFICATE")),
                ("b.pem", pem("CERTIFICATE").repeat(2)),
                ("a.key", pem("PRIVATE KEY")),
                ("b.key", pem("EC PRIVATE KEY")),
                ("locked.key", pem("ENCRYPTED PRIVATE KEY")),
                ("old.key", pem("RSA PRIVATE KEY").replace("AA", "Proc-Type: 4,ENCRYPTED\nAA")),
                ("crl.pem", pem("X509 CRL")),
                ("a.ocsp", "0\u{3}\n\u{1}\0".to_owned()),
                ("empty", String::new()),
                ("large", "x".repeat(LARGEST + 1)),
            ] {
                std::fs::write(folder.join(file), text).unwrap();
            }
            std::fs::write(folder.join("der"), [0x30, 0x82, 0xff, 0xfe]).unwrap();
            Folder(folder)
        }

        /// What comes of a file and flags, in which `@` stands for this folder.
        fn loaded(&self, text: &str, flags: &str) -> Result<(Plan, Report), Rejected> {
            let here = |text: &str| text.replace('@', &format!("{}/", self.0.display()));
            let (text, flags) = (here(text), here(flags));
            let flags: Vec<&str> = flags.split_whitespace().collect();
            testing::loaded(&text, &flags)
        }

        fn plan(&self, text: &str, flags: &str) -> Plan {
            let loaded = self.loaded(text, flags);
            loaded.unwrap_or_else(|rejected| panic!("{text}{flags}\n{}", rejected.text())).0
        }

        /// Names of files as they are without this folder.
        fn bare(&self, text: &str) -> String {
            text.replace(&format!("{}/", self.0.display()), "@")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const UPSTREAM: &str = "upstream = 'http://a:1'\n";
    const SECURE: &str = "upstream = 'http://a:1'\nlisten = 'https://:8443'\n";

    /// Certificates of clients' side with their keys, as they would be written.
    fn certificates(plan: &Plan) -> String {
        super::super::show::value_of("tls-cert", plan)
    }

    #[test]
    fn certificates_are_given_as_a_table_a_list_and_flat() {
        let folder = Folder::new();
        for (tls, flags, expected) in [
            ("certificate = { cert = '@a.pem', key = '@a.key' }", "", "@a.pem key=@a.key"),
            (
                "certificate = [{ cert = '@a.pem', key = '@a.key', ocsp = '@a.ocsp' }, '@b.pem key=@b.key']",
                "",
                "@a.pem key=@a.key ocsp=@a.ocsp,@b.pem key=@b.key",
            ),
            ("cert = '@a.pem'\nkey = '@a.key'", "", "@a.pem key=@a.key"),
            (
                "cert = ['@a.pem', '@b.pem']\nkey = ['@b.key', '@a.key']",
                "",
                "@a.pem key=@b.key,@b.pem key=@a.key",
            ),
            // What has a key of its own takes none of the others.
            (
                "certificate = ['@b.pem key=@b.key', '@a.pem']\nkey = '@a.key'",
                "",
                "@b.pem key=@b.key,@a.pem key=@a.key",
            ),
            ("certificate = '@b.pem'", "--tls-cert @a.pem --tls-key @a.key", "@a.pem key=@a.key"),
            (
                "",
                "--tls-cert @a.pem --tls-key @a.key --tls-cert @b.pem --tls-key @b.key",
                "@a.pem key=@a.key,@b.pem key=@b.key",
            ),
        ] {
            let plan = folder.plan(&format!("{SECURE}[tls]\n{tls}\n"), flags);
            assert_eq!(folder.bare(&certificates(&plan)), expected, "{tls}");
        }
        let plan = folder.plan(&format!("{SECURE}[tls]\ncert = '@a.pem'\nkey = '@a.key'\n"), "");
        let spec = plan.listener.tls.as_ref().unwrap();
        assert!(spec.certificates[0].key.starts_with("-----BEGIN PRIVATE KEY-----"));
        let shown = format!("{plan:?}");
        assert!(!shown.contains("BEGIN") && shown.contains("a.key"), "{shown}");
        assert_eq!(plan.listener.secure, plan.listener.addresses);
    }

    #[test]
    fn what_is_settled_for_clients_stands_in_the_plan() {
        let folder = Folder::new();
        let tls = "self-signed = ['localhost', '127.0.0.1', '::1']\nmin-version = '1.3'\n\
                   client-ca = '@b.pem'\ncrl = '@crl.pem'";
        let text = format!(
            "listen = ['https://127.0.0.1:1', ':2', 'https://unix:/run/a']\n{UPSTREAM}\
             client-cert = true\n[tls]\n{tls}\n[[route]]\nlisten = 'https://127.0.0.1:1'\npath = '/a'\n\
             client-cert = false\n[[route]]\nlisten = ':2'\n"
        );
        let plan = folder.plan(&text, "");
        let spec = plan.listener.tls.as_ref().unwrap();
        assert_eq!(spec.self_signed, ["localhost", "127.0.0.1", "::1"]);
        assert_eq!(spec.min_version, TlsVersion::Tls13);
        assert!(spec.client_ca.is_some() && spec.crl.is_some());
        let written = plan.listener.addresses.iter().map(|one| plan.listener.written(one));
        let written: Vec<String> = written.collect();
        assert_eq!(written, ["https://127.0.0.1:1", ":2", "https://unix:/run/a"]);
        let demanded: Vec<bool> = plan.routes.iter().map(|route| route.gate.client_cert).collect();
        assert_eq!((plan.gate.client_cert, &demanded[..]), (true, &[false, true][..]));
        for flags in ["", "--listen :8080"] {
            let plan = folder.plan(UPSTREAM, flags);
            assert!(plan.listener.tls.is_none() && plan.listener.secure.is_empty());
        }
    }

    #[test]
    fn a_pool_says_otherwise_than_the_top_of_its_upstreams() {
        let folder = Folder::new();
        let rows = |top: &str, own: &str| {
            let text =
                format!("{top}\n[pool.p]\nupstream = 'https://a'\n{own}\n[[route]]\npool = 'p'\n");
            let plan = folder.plan(&text, "");
            let rows = super::super::written_tls::upstreams(&plan.pool("p").unwrap().tls);
            folder.bare(&rows.map(|(_, text)| text).join(" "))
        };
        let all = "upstream-tls = { ca = '@a.pem', server-name = 'A.b', cert = '@a.pem', key = '@a.key' }";
        for (top, own, expected) in [
            ("", "", "off off off off full"),
            (all, "", "@a.pem a.b @a.pem @a.key full"),
            ("", all, "@a.pem a.b @a.pem @a.key full"),
            ("upstream-tls = '@a.pem'", "", "@a.pem off off off full"),
            (all, "upstream-tls = '@b.pem'", "@b.pem a.b @a.pem @a.key full"),
            (all, "upstream-tls = { ca = 'off', cert = 'off' }", "off a.b off off full"),
            (
                all,
                "upstream-tls = { server-name = 'off', verify = 'off' }",
                "@a.pem off @a.pem @a.key off",
            ),
            (
                all,
                "upstream-tls = { cert = '@b.pem', key = '@b.key' }",
                "@a.pem a.b @b.pem @b.key full",
            ),
            ("", "upstream-tls.server-name = '10.0.0.1'", "off 10.0.0.1 off off full"),
        ] {
            assert_eq!(rows(top, own), expected, "{top} {own}");
        }
    }

    #[test]
    fn what_cannot_be_is_told_with_what_would_be_right() {
        let folder = Folder::new();
        let cert = "certificate = { cert = '@a.pem', key = '@a.key' }";
        for (text, what, right) in [
            (
                SECURE.to_owned(),
                "TLS is spoken here, and there is no certificate",
                "write certificate = {",
            ),
            (
                format!("{SECURE}[tls]\ncert = '@a.pem'"),
                "the key of @a.pem is missing",
                "write key = ",
            ),
            (
                format!("{SECURE}[tls]\n{cert}\nkey = '@b.key'"),
                "no certificate for this key",
                "as many",
            ),
            (
                format!("{SECURE}[tls]\n{cert}\nself-signed = 'a'"),
                "a certificate already",
                "leave one",
            ),
            (
                format!("{SECURE}[tls]\n{cert}\ncrl = '@crl.pem'"),
                "no client is asked",
                "give client-ca",
            ),
            (
                format!("{SECURE}[tls]\n{cert}\nclient-ca = '@a.key'"),
                "but a PRIVATE KEY",
                "BEGIN CERTIFICATE",
            ),
            (
                format!("{SECURE}[tls]\n{cert}\nmin-version = '1.1'"),
                "none of the choices",
                "write 1.2 or 1.3",
            ),
            (
                format!("{SECURE}[tls]\ncert = '@none'\nkey = '@a.key'"),
                "cannot read @none",
                "can be read",
            ),
            (
                format!("{SECURE}[tls]\ncert = '@large'\nkey = '@a.key'"),
                "larger than 1 MiB",
                "shorten",
            ),
            (
                format!("{SECURE}[tls]\ncert = '@der'\nkey = '@a.key'"),
                "there is no certificate in @der",
                "x509",
            ),
            (
                format!("{SECURE}[tls]\ncert = '@a.pem'\nkey = '@empty'"),
                "no private key in @empty",
                "pkey",
            ),
            (
                format!("{SECURE}[tls]\ncert = '@a.pem'\nkey = '@locked.key'"),
                "this key is encrypted",
                "openssl",
            ),
            (
                format!("{SECURE}[tls]\ncert = '@a.pem'\nkey = '@old.key'"),
                "this key is encrypted",
                "openssl",
            ),
            (
                format!("{SECURE}[tls]\ncertificate = '@a.pem key=@a.key ocsp=@a.pem'"),
                "no OCSP response in @a.pem",
                "openssl ocsp",
            ),
            (
                format!("{UPSTREAM}[tls]\ncertificate = {{ key = 'a' }}"),
                "the cert is missing",
                "write { cert",
            ),
            (format!("{SECURE}[tls]\nself-signed = 'a:80'"), "a name has no port", "write a"),
            (format!("{SECURE}[tls]\nself-signed = '[::1]'"), "is written so", "write ::1"),
            (
                format!("{SECURE}client-cert = true\n[tls]\n{cert}"),
                "no client is asked",
                "give client-ca",
            ),
            (
                format!("{SECURE}[tls]\n{cert}\n[[route]]\nclient-cert = true"),
                "no client is asked",
                "give",
            ),
            (
                format!("{UPSTREAM}listen = [':1', 'https://127.0.0.1:1']\n[tls]\n{cert}"),
                ":1 and https://127.0.0.1:1 are one address",
                "put https://",
            ),
            (
                format!("{SECURE}[tls]\n{cert}\n[[route]]\nlisten = 'http://:8443'"),
                "nothing listens on http://:8443",
                "https://:8443",
            ),
            (
                "upstream = 'https://a'\nupstream-tls.cert = '@a.pem'".into(),
                "the key of this",
                "name both",
            ),
            (
                "upstream = 'https://a'\nupstream-tls.key = '@a.key'".into(),
                "the certificate of",
                "name both",
            ),
            ("upstream = 'https://a'\nupstream-tls.verify = 'no'".into(), "choices", "write off"),
            (
                "upstream = 'https://a'\nupstream-tls.server-name = 'a:1'".into(),
                "no port",
                "write a",
            ),
            (
                "upstream = 'https://a'\nadmin = 'https://:1'".into(),
                "TLS is not spoken here",
                "write :1",
            ),
            (format!("{UPSTREAM}upstream-tls = {{}}"), "this table says nothing", "leave it out"),
        ] {
            let rejected = folder.loaded(&text, "").err();
            let told = folder.bare(&rejected.unwrap_or_else(|| panic!("{text}")).text());
            assert!(told.contains(what) && told.contains(right), "{text}\n{told}");
            assert!(told.contains("tidegate: 1 mistake,"), "{text}\n{told}");
        }
    }

    #[test]
    fn a_key_in_place_of_its_file_is_not_shown() {
        let folder = Folder::new();
        let key = "-----BEGIN PRIVATE KEY-----MIIEsecret-----END PRIVATE KEY-----";
        for name in ["key", "cert", "client-ca"] {
            let text = format!("{SECURE}[tls]\nself-signed = 'a'\n{name} = '{key}'\n");
            let told = folder.loaded(&text, "").err().unwrap().text();
            assert!(told.contains("this is no name of a file") && !told.contains("MIIE"), "{told}");
        }
        let key = key.replace(' ', "_");
        let told = folder.loaded(UPSTREAM, &format!("--tls-key {key}")).err();
        assert!(told.is_some_and(|told| !told.text().contains("MIIE")));
    }

    #[test]
    fn what_is_odd_is_told_and_taken() {
        let folder = Folder::new();
        let cert = "certificate = { cert = '@a.pem', key = '@a.key' }";
        let unused = "since no upstream speaks TLS";
        for (text, warnings) in [
            (format!("{SECURE}[tls]\n{cert}"), &[][..]),
            (format!("{UPSTREAM}[tls]\n{cert}"), &["since no listener speaks TLS"]),
            (
                format!(
                    "{SECURE}[tls]\n{}",
                    cert.replace("= {", "= [{").replace('}', "}, '@a.pem key=@a.key']")
                ),
                &["given twice"],
            ),
            (format!("{UPSTREAM}upstream-tls = '@a.pem'"), &[unused]),
            (format!("{UPSTREAM}upstream-tls = '@a.pem'\n[auth.a]\nurl = 'https://a/'"), &[]),
            (format!("{UPSTREAM}upstream-tls = '@a.pem'\n[auth.a]\nurl = 'http://a/'"), &[unused]),
            (
                "upstream = 'https://a'\nupstream-tls.verify = 'off'".into(),
                &["whoever stands between"],
            ),
            ("upstream = 'https://a'\nupstream-tls.verify = 'full'".into(), &[]),
            ("upstream-tls = '@a.pem'\n[pool.default]\nupstream = 'https://a'\n".into(), &[]),
            (
                "[pool.default]\nupstream = 'https://a'\n[pool.b]\nupstream = 'http://b'\n\
                 upstream-tls = '@a.pem'\n"
                    .into(),
                &[unused],
            ),
        ] {
            let (_, report) =
                folder.loaded(&text, "").unwrap_or_else(|why| panic!("{}", why.text()));
            assert_eq!(report.warnings.len(), warnings.len(), "{text}{:#?}", report.warnings);
            for (told, warning) in report.warnings.iter().zip(warnings) {
                assert!(told.contains(warning), "{text}{told}");
            }
        }
    }

    #[test]
    fn files_are_read_with_the_settings_and_lie_beside_the_file_that_names_them() {
        let folder = Folder::new();
        let file = folder.0.join("t.toml");
        let text = format!(
            "{SECURE}upstream-tls = {{ ca = 'b.pem', cert = 'off' }}\n\
             [tls]\ncertificate = {{ cert = 'a.pem', key = 'a.key', ocsp = 'a.ocsp' }}\nclient-ca = 'b.pem'\n"
        );
        std::fs::write(&file, text).unwrap();
        let around = super::super::Surroundings {
            cwd: std::path::Path::new("/"),
            cores: 1,
            descriptors: 100_000,
            stdout_is_terminal: false,
        };
        let args = ["--config".into(), file.into_os_string()];
        let Ok(super::super::Action::Run(plan, report)) = super::super::load(args, [], &around)
        else {
            panic!()
        };
        assert_eq!(folder.bare(&certificates(&plan)), "@a.pem key=@a.key ocsp=@a.ocsp");
        let read = report.files.iter().map(|file| folder.bare(&file.path.display().to_string()));
        let read: Vec<String> = read.filter(|path| path.starts_with('@')).collect();
        assert_eq!(read, ["@a.key", "@a.ocsp", "@a.pem", "@b.pem", "@t.toml"]);
    }

    #[test]
    fn what_is_printed_asks_for_the_same_again() {
        let folder = Folder::new();
        let text = "listen = ['https://:1 proxy-protocol=10.0.0.0/8', ':2']\n\
             upstream = ['https://a/b', 'https://b:1 weight=3']\n\
             client-cert = true\nupstream-tls = { ca = '@a.pem', server-name = 'x' }\n\
             [tls]\ncertificate = [{ cert = '@a.pem', key = '@a.key', ocsp = '@a.ocsp' }, '@b.pem key=@b.key']\n\
             min-version = '1.3'\nclient-ca = '@b.pem'\ncrl = '@crl.pem'\n\
             [pool.p]\nupstream = 'https://c'\n\
             upstream-tls = { ca = 'off', cert = '@b.pem', key = '@b.key', verify = 'off' }\n\
             [[route]]\npool = 'p'\nclient-cert = false\n[[route]]\npath = '/a'\n";
        let text = text.replace('@', &format!("{}/", folder.0.display()));
        let wanted = folder.plan(&text, "");
        for form in ["toml", "json"] {
            let printed = testing::shown(&text, &["config", "show", "--format", form]);
            let again = testing::loaded_as(form, &printed, &[]);
            let again = again.unwrap_or_else(|why| panic!("{}\n{printed}", why.text())).0;
            assert_eq!(again, wanted, "{printed}");
        }
    }
}
