//! What a certificate says of itself (RFC 5280), as logs, metrics and the admin tell it.

/// What is told of a certificate of ours. Nothing of it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// DNS names in lower case, and addresses.
    pub names: Vec<String>,
    /// From when on it holds, in seconds after the epoch.
    pub not_before: u64,
    /// Until when it holds, in seconds after the epoch.
    pub not_after: u64,
    /// Its issuer, as RFC 4514 writes names.
    pub issuer: String,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub fingerprint_sha256: String,
}

impl CertificateFacts {
    /// Whole days that it still holds, at so many seconds after the epoch; below 0: it does not.
    pub fn days_left(&self, now: u64) -> i64 {
        const DAY: i128 = 24 * 60 * 60;
        let seconds = i128::from(self.not_after) - i128::from(now);
        i64::try_from(seconds.div_euclid(DAY)).unwrap_or(i64::MAX)
    }

    /// It holds at so many seconds after the epoch.
    pub fn holds(&self, now: u64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Its first name, or its fingerprint where it has none.
    pub fn name(&self) -> &str {
        self.names.first().unwrap_or(&self.fingerprint_sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_end_below_zero() {
        const MAX: u64 = u64::MAX;
        for (not_after, now, days) in [
            (864_000, 0, 10),
            (864_000, 1, 9),
            (864_000, 864_000, 0),
            (864_000, 864_001, -1),
            (MAX, 0, (MAX / 86_400) as i64),
            (0, MAX, -((MAX / 86_400) as i64) - 1),
        ] {
            let certificate = CertificateFacts {
                names: vec![],
                issuer: String::new(),
                not_before: 0,
                not_after,
                fingerprint_sha256: "ab".to_owned(),
            };
            assert_eq!(certificate.name(), "ab");
            assert_eq!(certificate.days_left(now), days, "{not_after} {now}");
        }
    }
}
