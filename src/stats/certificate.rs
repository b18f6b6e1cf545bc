//! A certificate of ours, as the admin, the metrics and the log tell of it.

/// What is told of a certificate of ours. Nothing of it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCertificate {
    /// Whom it is shown to: `clients`, or a pool.
    pub shown_to: String,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// Its issuer, as RFC 4514 writes names.
    pub issuer: String,
    /// From when on it holds, in seconds after the epoch.
    pub not_before: u64,
    /// Until when it holds, in seconds after the epoch.
    pub not_after: u64,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub fingerprint_sha256: String,
}

impl OwnCertificate {
    /// Whole days that it still holds, at so many seconds after the epoch; below 0: it does not.
    pub fn days_left(&self, now: u64) -> i64 {
        const DAY: i128 = 24 * 60 * 60;
        let seconds = i128::from(self.not_after) - i128::from(now);
        i64::try_from(seconds.div_euclid(DAY)).unwrap_or(i64::MAX)
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
        let certificate = OwnCertificate {
            shown_to: "clients".to_owned(),
            names: vec![],
            issuer: String::new(),
            not_before: 0,
            not_after: 10 * 86_400,
            fingerprint_sha256: "ab".to_owned(),
        };
        assert_eq!(certificate.name(), "ab");
        for (now, days) in [(0, 10), (1, 9), (864_000, 0), (864_001, -1), (u64::MAX, i64::MIN)] {
            let left = certificate.days_left(now);
            assert!(left == days || now == u64::MAX && left < -1_000_000, "{now}: {left}");
        }
    }
}
