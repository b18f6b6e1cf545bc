//! A public key as text (RFC 7468).

use data_encoding::BASE64;

/// The `SubjectPublicKeyInfo` (RFC 5280 section 4.1) of a text with one public key, and nothing else, in it.
pub fn public_key(text: &str) -> Result<Vec<u8>, String> {
    const SHAPE: &str =
        "a public key is `-----BEGIN PUBLIC KEY-----`, base64, `-----END PUBLIC KEY-----`";
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let label = first.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----"));
    let hint = match label {
        Some("PUBLIC KEY") => None,
        Some("CERTIFICATE") => Some("this is a certificate: `openssl x509 -pubkey -noout`"),
        Some("RSA PUBLIC KEY") => Some("this is PKCS #1: `openssl rsa -RSAPublicKey_in -pubout`"),
        Some(label) if label.ends_with("PRIVATE KEY") => {
            Some("this is a private key, which belongs to the issuer alone: `openssl pkey -pubout`")
        }
        _ => Some(SHAPE),
    };
    if let Some(hint) = hint {
        return Err(hint.to_owned());
    }
    let mut base64 = String::new();
    for line in lines.by_ref() {
        if line == "-----END PUBLIC KEY-----" {
            if lines.next().is_some() {
                return Err("something stands behind the public key".to_owned());
            }
            // A sequence (X.690 section 8.9), and no point of a curve by itself.
            let der =
                BASE64.decode(base64.as_bytes()).ok().filter(|der| der.first() == Some(&0x30));
            return der.ok_or_else(|| SHAPE.to_owned());
        }
        base64.push_str(line);
    }
    Err(SHAPE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_public_key_and_nothing_else() {
        let key =
            |body: &str| format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
        for good in
            [key("MAA="), key("MA\nA="), format!("\r\n{}\n", key("MAA=").replace('\n', "\r\n"))]
        {
            assert_eq!(public_key(&good), Ok(vec![0x30, 0]), "{good:?}");
        }
        for (bad, why) in [
            (String::new(), "a public key is"),
            ("secret".to_owned(), "a public key is"),
            (key("MAA"), "a public key is"),
            (key("M A="), "a public key is"),
            (key(""), "a public key is"),
            (key("BAA="), "a public key is"),
            (key("MAA=").replace("-----END", "----END"), "a public key is"),
            (format!("x\n{}", key("MAA=")), "a public key is"),
            (format!("{}x", key("MAA=")), "behind"),
            (format!("{0}{0}", key("MAA=")), "behind"),
            (key("MAA=").replace("PUBLIC", "RSA PUBLIC"), "PKCS #1"),
            (key("MAA=").replace("PUBLIC", "PRIVATE"), "private"),
            (key("MAA=").replace("PUBLIC", "EC PRIVATE"), "private"),
            (key("MAA=").replace("PUBLIC KEY", "CERTIFICATE"), "certificate"),
        ] {
            let told = public_key(&bad).expect_err(&bad);
            assert!(told.contains(why), "{bad:?}: {told}");
        }
    }
}
