//! TLS as it would be written: what [`super::securing`] reads. Of files their names are shown.

use super::plan::Plan;
use super::sections::DEFAULT;
use super::securing::CertificateFiles;
use super::tls::*;
use super::written::or_off;
use super::written_gate::Row;

/// TLS towards clients.
pub fn clients(spec: &TlsSpec) -> Vec<Row> {
    let TlsSpec { certificates, self_signed, acme, min_version, client_ca, crl } = spec;
    let certificates: Vec<String> = certificates.iter().map(certificate).collect();
    let mut rows = vec![
        ("tls-cert", certificates.join(",")),
        ("tls-self-signed", self_signed.join(",")),
        ("tls-min-version", min_version.name().to_owned()),
        ("tls-client-ca", client_ca.as_ref().map(path).unwrap_or_default()),
        ("tls-crl", crl.as_ref().map(path).unwrap_or_default()),
    ];
    rows.extend(acme.iter().flat_map(|acme| ordered(acme)));
    rows
}

/// Certificates from an ACME server.
fn ordered(spec: &AcmeSpec) -> [Row; 7] {
    let AcmeSpec { names, directory, contact, challenge, ca, binding } = spec;
    [
        ("tls-acme", names.join(",")),
        ("tls-acme-directory", directory.text.clone()),
        ("tls-acme-contact", contact.clone().unwrap_or_default()),
        ("tls-acme-challenge", challenge.name().to_owned()),
        ("tls-acme-ca", ca.as_ref().map(path).unwrap_or_default()),
        ("tls-acme-eab-kid", binding.as_ref().map(|one| one.id.clone()).unwrap_or_default()),
        ("tls-acme-eab-key", or_off(binding.as_ref().map(|one| &one.key))),
    ]
}

/// TLS towards upstreams.
pub fn upstreams(spec: &UpstreamTlsSpec) -> [Row; 5] {
    let UpstreamTlsSpec { ca, server_name, certificate, verify } = spec;
    let own = certificate.as_ref();
    [
        ("upstream-tls-ca", or_off(ca.as_ref().map(path))),
        ("upstream-tls-server-name", or_off(server_name.as_ref())),
        ("upstream-tls-cert", or_off(own.map(|own| path(&own.chain)))),
        ("upstream-tls-key", or_off(own.map(|own| &own.key))),
        ("upstream-tls-verify", verify.name().to_owned()),
    ]
}

fn text(file: Option<&PemFile>) -> Vec<&[u8]> {
    file.map(|file| file.text.as_bytes()).into_iter().collect()
}

/// What stands in the files that settings of the top name, by setting: the same name may stand for another text.
pub fn contents(plan: &Plan) -> Vec<(&'static str, Vec<&[u8]>)> {
    let pool = plan.pool(DEFAULT).map(|pool| &*pool.tls);
    let of_pool = pool.and_then(|tls| tls.certificate.as_ref());
    let clients = plan.listener.tls.as_deref();
    let of_clients = clients.map_or(&[][..], |tls| &tls.certificates);
    let of_each = of_clients.iter().flat_map(|one| {
        let CertificateSpec { chain, key, ocsp } = one;
        [chain.text.as_bytes(), key.as_bytes()].into_iter().chain(ocsp.as_deref())
    });
    vec![
        ("tls-cert", of_each.collect()),
        (
            "tls-acme-ca",
            text(clients.and_then(|tls| tls.acme.as_ref()).and_then(|acme| acme.ca.as_ref())),
        ),
        ("tls-client-ca", text(clients.and_then(|tls| tls.client_ca.as_ref()))),
        ("tls-crl", text(clients.and_then(|tls| tls.crl.as_ref()))),
        ("upstream-tls-ca", text(pool.and_then(|tls| tls.ca.as_ref()))),
        ("upstream-tls-cert", text(of_pool.map(|own| &own.chain))),
        ("upstream-tls-key", of_pool.map(|own| own.key.as_bytes()).into_iter().collect()),
    ]
}

fn certificate(spec: &CertificateSpec) -> String {
    let CertificateSpec { chain, key, ocsp } = spec;
    let files = CertificateFiles {
        cert: path(chain),
        key: Some(key.to_string()),
        ocsp: ocsp.as_ref().map(|ocsp| ocsp.path.display().to_string()),
    };
    files.to_string()
}

fn path(file: &PemFile) -> String {
    file.path.display().to_string()
}
