//! Certificates of clients.
#![cfg(feature = "tls")]

use std::fs;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{DnType, ExtendedKeyUsagePurpose, SanType, date_time_ymd};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, HandshakeKind, SupportedProtocolVersion};
use serde_json::json;

use crate::harness::tls::{Authority, Certificate, Tls, alert, asked, connect, speaking};
use crate::harness::{
    Configured, Origin, Proxy, Response, Scratch, ask, eventually, mirror, seen, verdict,
};

/// An authority, what it signs for the server, and the folder of the proxy's file of settings.
struct Case {
    ca: Authority,
    site: Certificate,
    folder: Scratch,
}

impl Case {
    fn new() -> Case {
        let ca = Authority::new("CA");
        Case { site: ca.sign("localhost"), ca, folder: Scratch::new() }
    }

    fn worker(&self) -> Certificate {
        self.ca.issue(|params| {
            params.distinguished_name.push(DnType::CommonName, "worker");
            params.subject_alt_names =
                vec![SanType::DnsName("worker.internal".try_into().unwrap())];
        })
    }

    /// A proxy that asks for certificates; `rest`: more of its settings.
    fn proxy(&self, origin: &Origin, rest: &str) -> Proxy {
        self.proxy_with(origin, rest, &[])
    }

    /// The same, with flags.
    fn proxy_with(&self, origin: &Origin, rest: &str, flags: &[&str]) -> Proxy {
        let text = format!(
            "listen = 'https://127.0.0.1:0'\nupstream = '{}'\naccess-log = 'json'\n[tls]\n\
             certificate = {{ cert = '{}', key = '{}' }}\nclient-ca = '{}'\n{rest}",
            origin.url(),
            self.site.cert,
            self.site.key,
            self.ca.ca,
        );
        let path = self.folder.join("t.toml");
        fs::write(&path, text).unwrap();
        let own = ["--config", &path, "--admin", "127.0.0.1:0"];
        Proxy::start_as(&[&own, flags].concat(), |_| {})
    }

    fn client(
        &self,
        shown: Option<&Certificate>,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        speaking(version, &self.ca, shown)
    }

    /// A connection of a client that shows this, or nothing.
    fn connect(
        &self,
        proxy: &Proxy,
        shown: Option<&Certificate>,
        version: &'static SupportedProtocolVersion,
    ) -> Tls {
        connect(proxy, &self.client(shown, version), "localhost")
    }
}

/// The answer to a GET with these fields.
fn got(tls: &mut Tls, path: &str, fields: &str) -> io::Result<Response> {
    asked(tls, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"))
}

const FORGED: &str = "Client-Cert: :AAAA:\r\nclient_cert: :AAAA:\r\nClient-Cert-Chain: :AAAA:\r\n\
    X-Client-Subject: CN=root\r\nX_Client_Subject: CN=root\r\n\
    Connection: Client-Cert, X-Client-Subject\r\n";

#[test]
fn zi01_a_certificate_is_demanded_told_to_the_upstream_and_never_forged() {
    let (origin, case) = (mirror(), Case::new());
    let proxy = case.proxy(
        &origin,
        "[[route]]\nhost = 'open'\n[[route]]\nclient-cert = true\nrole = 'DNS:worker.internal'\n",
    );
    let worker = case.worker();
    let field = format!(":{}:", data_encoding::BASE64.encode(&worker.der));
    for version in [&TLS12, &TLS13] {
        let config = case.client(Some(&worker), version);
        for n in 0..2 {
            let mut tls = connect(&proxy, &config, "localhost");
            for _ in 0..2 {
                let answer = got(&mut tls, "/", FORGED).unwrap();
                let text = answer.text();
                assert_eq!(answer.status, 200, "{text}");
                assert_eq!(text.matches("lient").count(), 2, "{text}");
                assert_eq!(seen(&text, "Client-Cert"), Some(&*field), "{text}");
                assert_eq!(seen(&text, "X-Client-Subject"), Some("CN=worker"), "{text}");
            }
            let resumed = tls.conn.handshake_kind() == Some(HandshakeKind::Resumed);
            assert_eq!(resumed, n == 1);
        }
        // Another name, and none at all.
        let other = case.ca.issue(|params| params.distinguished_name.push(DnType::CommonName, "b"));
        for (shown, reason) in
            [(Some(&other), "role_missing"), (None, "client_certificate_required")]
        {
            let answer = got(&mut case.connect(&proxy, shown, version), "/", FORGED).unwrap();
            assert_eq!(verdict(&answer), (403, reason.to_owned()), "{answer:?}");
        }
    }
    assert!(origin.requests().len() == 8, "{}", origin.requests().len());
}

#[test]
fn zi02_what_a_handshake_refuses_comes_no_further() {
    use AlertDescription as A;
    let (origin, case) = (mirror(), Case::new());
    let rest = format!("crl = '{}'\n[[route]]\npool = 'default'\n", case.ca.revoke(7));
    let proxy = case.proxy_with(&origin, &rest, &["--log", "debug"]);
    let day = |year| date_time_ymd(year, 1, 1);
    let of = |from, until| {
        case.ca.issue(|params| (params.not_before, params.not_after) = (day(from), day(until)))
    };
    let for_servers = case
        .ca
        .issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let revoked = case.ca.issue(|params| params.serial_number = Some(7.into()));
    for (shown, cause, expected) in [
        (of(2020, 2021), "certificate_expired", A::CertificateExpired),
        (of(4000, 4001), "certificate_not_yet_valid", A::CertificateExpired),
        (revoked, "certificate_revoked", A::CertificateRevoked),
        (Authority::new("another").issue(|_| {}), "unknown_ca", A::UnknownCA),
        // Of somebody who has taken the authority's name.
        (Authority::new("CA").issue(|_| {}), "bad_signature", A::DecryptError),
        (for_servers, "wrong_purpose", A::UnsupportedCertificate),
    ] {
        let failed = || proxy.metrics()["tls"]["failed"].clone();
        let mut counted = failed();
        for version in [&TLS12, &TLS13] {
            let told = alert(&mut case.connect(&proxy, Some(&shown), version));
            assert_eq!(told, expected, "{cause}");
        }
        // By its own cause and no other.
        counted[cause] = json!(2);
        eventually(cause, || failed() == counted);
        proxy.wait_for_log(&format!("({cause})"));
    }
    assert_eq!(origin.requests().len(), 0);
    let mut tls = case.connect(&proxy, Some(&case.worker()), &TLS13);
    assert_eq!(got(&mut tls, "/", "").unwrap().status, 200);
}

#[test]
fn zi03_a_certificate_that_ends_meanwhile_counts_as_none() {
    let (origin, case) = (mirror(), Case::new());
    let proxy = case.proxy(&origin, "[[route]]\nhost = 'open'\n[[route]]\nclient-cert = true\n");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let end = Duration::from_secs(now.as_secs() + 2);
    let short = case.ca.issue(|params| params.not_after = date_time_ymd(1970, 1, 1) + end);
    let mut tls = case.connect(&proxy, Some(&short), &TLS13);
    assert_eq!(got(&mut tls, "/", "").unwrap().status, 200);
    eventually("it has ended", || got(&mut tls, "/", "").unwrap().status == 403);
    assert!(SystemTime::now().duration_since(UNIX_EPOCH).unwrap() > end);
}

#[test]
fn zi04_no_client_forges_a_certificate_without_tls_either() {
    let origin = mirror();
    let proxy = Proxy::with(&origin, &[]);
    let mut client = proxy.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{FORGED}\r\n"));
    let text = client.response().text();
    assert_eq!(text.matches("lient").count(), 0, "{text}");
    // Nor do conditions, and counts, see what it says, but of a proxy that has looked in our place.
    let text = format!(
        "listen = '127.0.0.1:0'\nupstream = '{}'\n[limit.l]\nrate = '1/m'\n\
         by = 'header:X-Client-Subject'\n[[route]]\npath = '/c'\n\
         header = {{ X-Client-Subject = 'CN=root' }}\n\
         respond = {{ status = 200, body = 'root' }}\n[[route]]\npath = '/'\nlimit = 'l'\n",
        origin.url()
    );
    for (flags, is_believed) in [(&[][..], false), (&["--trusted-proxy", "127.0.0.0/8"], true)] {
        let case = Configured::new(&text, flags);
        let says = |name: &str, path: &str| {
            ask(&case.proxy, path, &format!("X-Client-Subject: CN={name}\r\n"))
        };
        assert_eq!(says("root", "/c").text() == "root", is_believed, "{flags:?}");
        assert_eq!(says("one", "/").status, 200);
        assert_eq!(says("another", "/").status == 200, is_believed, "{flags:?}");
        assert_eq!(says("another", "/").status, 429, "{flags:?}");
    }
}

#[test]
fn zi05_others_who_decide_are_told_of_the_certificate_and_plain_clients_have_none() {
    let (origin, case) = (mirror(), Case::new());
    let decides = Origin::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let (url, worker) = (decides.url(), case.worker());
    let rest = format!(
        "[auth.asked]\nkind = 'forward'\nurl = '{url}/'\n[[route]]\npath = '/asked'\nauth = 'asked'\n\
         [[route]]\nclient-cert = true\n"
    );
    let proxy = case.proxy(&origin, &rest);
    let mut tls = case.connect(&proxy, Some(&worker), &TLS13);
    write!(tls, "GET /asked HTTP/1.1\r\nHost: a\r\nX-Client-Subject: CN=root\r\n\r\n").unwrap();
    tls.read_exact(&mut [0; 12]).unwrap();
    let asked = decides.request();
    assert_eq!(asked.head.get("X-Client-Subject"), Some("CN=worker"), "{asked:?}");
    assert!(asked.head.get("Client-Cert").is_some_and(|value| value.starts_with(":")), "{asked:?}");
    assert_eq!(proxy.metrics()["reasons"]["client_certificate_required"], 0);
    let answer = got(&mut case.connect(&proxy, None, &TLS12), "/", "").unwrap();
    assert_eq!(verdict(&answer), (403, "client_certificate_required".to_owned()), "{answer:?}");
    eventually("it is counted", || proxy.metrics()["reasons"]["client_certificate_required"] == 1);
}

#[test]
fn zi06_a_subject_is_one_role_whatever_is_in_it() {
    let (origin, case) = (mirror(), Case::new());
    let rest = "[auth.default]\nkind = 'token'\n\
        token = [{ name = 'w', secret = 'of-the-writer-0', role = 'writer' }, \
        { name = 'n', secret = 'of-nobody-at-all' }]\n\
        [[route]]\npath = '/one'\nauth = 'off'\nclient-cert = true\nrole = 'CN=a,O=b'\n\
        [[route]]\npath = '/two'\nclient-cert = true\nrole = ['CN=a,O=b', 'writer']\n";
    let proxy = case.proxy(&origin, rest);
    let named = |parts: &[(DnType, &str)]| {
        case.ca.issue(|params| {
            parts.iter().for_each(|(kind, text)| {
                params.distinguished_name.push(kind.clone(), *text);
            });
        })
    };
    // Names are written from their end (RFC 4514 section 2.1).
    let both = named(&[(DnType::OrganizationName, "b"), (DnType::CommonName, "a")]);
    let only_a = named(&[(DnType::CommonName, "a")]);
    let only_b = named(&[(DnType::OrganizationName, "b")]);
    let other_way = named(&[(DnType::CommonName, "a"), (DnType::OrganizationName, "b")]);
    let (writer, nobody) = ("of-the-writer-0", "of-nobody-at-all");
    let (good, refused) = ((200, String::new()), (403, "role_missing".to_owned()));
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    for (shown, subject, path, token, is_good) in [
        (&both, "CN=a,O=b", "/one", nobody, true),
        (&only_a, "CN=a", "/one", nobody, false),
        (&only_b, "O=b", "/one", nobody, false),
        (&other_way, "O=b,CN=a", "/one", nobody, false),
        (&both, "CN=a,O=b", "/two", nobody, true),
        (&only_a, "CN=a", "/two", nobody, false),
        (&only_b, "O=b", "/two", nobody, false),
        (&only_b, "O=b", "/two", writer, true),
    ] {
        let field = format!("Authorization: Bearer {token}\r\n");
        let answer = got(&mut case.connect(&proxy, Some(shown), &TLS13), path, &field).unwrap();
        if answer.status == 200 {
            assert_eq!(seen(&answer.text(), "X-Client-Subject"), Some(subject));
        }
        found.push((subject, path, token, verdict(&answer)));
        expected.push((subject, path, token, if is_good { &good } else { &refused }.clone()));
    }
    assert_eq!(found, expected);
}

/// A proxy that asks for certificates, and a client that has none, but whose address is trusted.
fn behind_one_that_is_trusted(case: &Case, origin: &Origin, rest: &str) -> (Proxy, Tls) {
    let proxy = case.proxy_with(origin, rest, &["--trusted-proxy", "127.0.0.0/8"]);
    let mut tls = case.connect(&proxy, None, &TLS13);
    // What else it says is believed.
    let fields = "X-Forwarded-For: 192.0.2.7\r\nX-Client-Subject: CN=root\r\n";
    let text = got(&mut tls, "/", fields).unwrap().text();
    assert_eq!(seen(&text, "X-Forwarded-For"), Some("192.0.2.7, 127.0.0.1"), "{text}");
    assert_eq!(seen(&text, "X-Client-Subject"), None, "{text}");
    (proxy, tls)
}

#[test]
fn zi07_no_condition_sees_a_forged_subject_of_a_trusted_proxy_either() {
    let (origin, case) = (mirror(), Case::new());
    let rest = "[[route]]\npath = '/c'\nheader = { X-Client-Subject = 'CN=root' }\n\
        respond = { status = 200, body = 'root' }\n\
        [[route]]\npath = '/any'\nheader = { X-Client-Subject = true }\n\
        respond = { status = 200, body = 'any' }\n[[route]]\npool = 'default'\n";
    let (_proxy, mut tls) = behind_one_that_is_trusted(&case, &origin, rest);
    for (path, field) in [
        ("/c", "X-Client-Subject: CN=root\r\n"),
        ("/c", "x-client-subject: CN=root\r\n"),
        ("/any", "X-Client-Subject: CN=root\r\n"),
    ] {
        let text = got(&mut tls, path, field).unwrap().text();
        assert!(text.starts_with(&format!("GET {path}\n")), "{path} {field}: {text}");
    }
}

#[test]
fn zi08_no_limit_counts_by_a_forged_subject_of_a_trusted_proxy_either() {
    let (origin, case) = (mirror(), Case::new());
    let rest = "[limit.l]\nrate = '1/m'\nby = 'header:X-Client-Subject'\n\
        [[route]]\npath = '/limited'\nlimit = 'l'\n[[route]]\npool = 'default'\n";
    let (_proxy, mut tls) = behind_one_that_is_trusted(&case, &origin, rest);
    let mut ask = |field: &str| got(&mut tls, "/limited", field).unwrap();
    // All count together, as if none had said anything.
    assert_eq!(ask("X-Client-Subject: CN=a\r\n").status, 200);
    for field in ["X-Client-Subject: CN=b\r\n", "", "X_Client_Subject: CN=c\r\n"] {
        assert_eq!(verdict(&ask(field)), (429, "rate_limited".to_owned()), "{field}");
    }
}

#[test]
fn zi09_no_hash_goes_by_a_forged_subject_of_a_trusted_proxy_either() {
    let (origin, case) = (mirror(), Case::new());
    let named = ["one", "two", "three"].map(Origin::named);
    let urls = named.iter().map(|origin| format!("'{}'", origin.url())).collect::<Vec<_>>();
    let rest = format!(
        "[pool.p]\nupstream = [{}]\nbalance = 'hash'\nhash = 'header:X-Client-Subject'\n\
         [[route]]\npath = '/hashed'\npool = 'p'\n[[route]]\npool = 'default'\n",
        urls.join(", ")
    );
    let (_proxy, mut tls) = behind_one_that_is_trusted(&case, &origin, &rest);
    let mut ask = |field: &str| got(&mut tls, "/hashed", field).unwrap().text();
    let expected = ask("");
    let found: Vec<_> = (0..20).map(|n| ask(&format!("X-Client-Subject: CN={n}\r\n"))).collect();
    assert!(found.iter().all(|name| *name == expected), "{expected}: {found:?}");
}
