//! Fields that browsers go by, for answers that say nothing about it: HTML ("X-Frame-Options"), Fetch
//! ("X-Content-Type-Options"), Referrer Policy section 4.1, RFC 6797 section 6.1.

/// Name, value, and whether it is for answers over TLS only: RFC 6797 section 7.2 wants it nowhere else.
const LINES: [(&str, &str, bool); 4] = [
    ("X-Content-Type-Options", "nosniff", false),
    ("Referrer-Policy", "strict-origin-when-cross-origin", false),
    ("X-Frame-Options", "SAMEORIGIN", false),
    ("Strict-Transport-Security", "max-age=31536000", true),
];

/// Appends the field lines, each with its line end, that an answer has not: `present` tells whether it has a field of
/// this name, whatever its value. `secure`: the client came over TLS.
pub fn security_lines(present: impl Fn(&str) -> bool, secure: bool, out: &mut Vec<u8>) {
    for (name, value, over_tls) in LINES {
        if (secure || !over_tls) && !present(name) {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_added() {
        let lines = |there: &[&str], secure| {
            let mut out = b"A: b\r\n".to_vec();
            let present = |name: &str| there.iter().any(|other| other.eq_ignore_ascii_case(name));
            security_lines(present, secure, &mut out);
            String::from_utf8(out).unwrap()
        };
        let open = "A: b\r\nX-Content-Type-Options: nosniff\r\n\
                    Referrer-Policy: strict-origin-when-cross-origin\r\n\
                    X-Frame-Options: SAMEORIGIN\r\n";
        let transport = "Strict-Transport-Security: max-age=31536000\r\n";
        assert_eq!(lines(&[], false), open);
        assert_eq!(lines(&[], true), format!("{open}{transport}"));
        assert_eq!(lines(&["strict-transport-security"], true), open);
        let three = ["x-content-type-options", "REFERRER-POLICY", "X-Frame-Options"];
        assert_eq!(lines(&three, false), "A: b\r\n");
        assert_eq!(lines(&three, true), format!("A: b\r\n{transport}"));
        let one = lines(&["Referrer-Policy", "X-Frame-Options"], false);
        assert_eq!(one, "A: b\r\nX-Content-Type-Options: nosniff\r\n");
    }
}
