//! PEM (RFC 7468): certificates, keys and revocation lists out of texts, and certificates and keys into them.

use data_encoding::BASE64;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::config::PemFile;

/// Certificates or lists that a file may have.
const SECTIONS_MOST: usize = 512;
/// Octets of base64 in a line (RFC 7468 section 2).
const LINE: usize = 64;

/// The certificates of a file: one and more.
pub fn certificates(file: &PemFile) -> Result<Vec<CertificateDer<'static>>, String> {
    sections(file, SectionKind::Certificate, "certificate")
}

/// The revocation lists of a file: one and more.
pub fn lists(file: &PemFile) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    sections(file, SectionKind::Crl, "revocation list (X509 CRL)")
}

fn sections<T: From<Vec<u8>>>(
    file: &PemFile,
    wanted: SectionKind,
    what: &str,
) -> Result<Vec<T>, String> {
    let path = file.path.display();
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(file.text.as_bytes()) {
        let (kind, der) = section.map_err(|_| format!("{path} is cut short, or not PEM"))?;
        if kind == wanted {
            found.push(T::from(der));
        }
        if found.len() > SECTIONS_MOST {
            return Err(format!("{path} has more than {SECTIONS_MOST} of a kind"));
        }
    }
    match found.is_empty() {
        true => Err(format!("{path} has no {what} in PEM")),
        false => Ok(found),
    }
}

/// The private key of a text, which is one alone; `shown` is the text's name.
pub fn key(text: &str, shown: &str) -> Result<PrivateKeyDer<'static>, String> {
    // What the reader says of a fault may have octets of the key in it.
    let keys: Result<Vec<_>, _> = PrivateKeyDer::pem_slice_iter(text.as_bytes()).take(2).collect();
    let mut keys = keys.map_err(|_| format!("the key {shown} is cut short, or not PEM"))?;
    match (keys.pop(), keys.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(_), false) => Err(format!("{shown} has several keys, and one is wanted")),
        (None, _) => Err(format!("{shown} has no private key in PEM")),
    }
}

/// A section of PEM.
pub fn write(label: &str, der: &[u8]) -> String {
    let base64 = BASE64.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{Authority, Made, file};

    #[test]
    fn what_is_wrong_with_a_key_is_told() {
        let made = Authority::new("CA").server(&["a.test"]);
        let Made { key_pem, .. } = &made;
        for (text, expected) in [
            (key_pem.clone(), ""),
            (format!("{}\n{key_pem}", made.chain_pem), ""),
            (String::new(), "k.pem has no private key in PEM"),
            (made.chain_pem.clone(), "k.pem has no private key in PEM"),
            (format!("{key_pem}{key_pem}"), "k.pem has several keys, and one is wanted"),
            (key_pem.replace("-----END", "-----DEN"), "the key k.pem is cut short, or not PEM"),
        ] {
            let told = key(&text, "k.pem").err().unwrap_or_default();
            assert!(told.starts_with(expected), "{told}");
            assert_eq!(told.is_empty(), expected.is_empty(), "{told}");
        }
    }

    #[test]
    fn what_is_wrong_with_certificates_is_told() {
        let made = Authority::new("CA").server(&["a.test"]);
        let chain = &made.chain_pem;
        for (text, expected) in [
            (chain.clone(), Ok(1)),
            (format!("{}{chain}{chain}", made.key_pem), Ok(2)),
            (String::new(), Err("x.pem has no certificate in PEM".to_owned())),
            (made.key_pem.clone(), Err("x.pem has no certificate in PEM".to_owned())),
            (chain[..90].to_owned(), Err("x.pem is cut short, or not PEM".to_owned())),
            (chain.repeat(513), Err("x.pem has more than 512 of a kind".to_owned())),
        ] {
            assert_eq!(certificates(&file("x.pem", &text)).map(|found| found.len()), expected);
        }
    }

    #[test]
    fn what_was_written_is_read() {
        for length in [1, 47, 48, 49, 200] {
            let der: Vec<u8> = (0..length).collect();
            let text = write("CERTIFICATE", &der);
            assert!(text.lines().all(|line| line.len() <= LINE), "{text}");
            assert_eq!(certificates(&file("x.pem", &text)).unwrap()[0].as_ref(), der);
        }
    }
}
