//! Certificates of ours that end soon: the log says so once a day, for each.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;

use super::clock::since_epoch;
use super::current::Current;
use super::served_certificates;
use crate::admin::ServedCertificate;
use crate::base::CertificateFacts;

/// A certificate that holds for fewer days than this is told of: whoever renews them in time does so before.
const SOON: i64 = 14;
/// The same as a part of the time that it is made for, where that is less: there are some for a day.
const SOON_PART: u64 = 6;
/// How often is looked.
const LOOK: Duration = Duration::from_secs(10 * 60);

/// Looks at the certificates in force again and again, for as long as nobody ends it.
pub async fn watch(current: Rc<Current>) {
    // By fingerprint: the days that were told last.
    let mut told: HashMap<String, i64> = HashMap::new();
    loop {
        let now = since_epoch().as_secs();
        let all = served_certificates(&current.get().tls);
        let mut soon = HashMap::new();
        for one in &all {
            if let Some(days) = to_tell(one, now) {
                soon.insert(one.facts.fingerprint_sha256.clone(), days);
                if told.get(&one.facts.fingerprint_sha256) != Some(&days) {
                    tell(one, days);
                }
            }
        }
        told = soon;
        Timer::after(LOOK).await;
    }
}

/// The days that a certificate still holds, where they are few.
fn to_tell(one: &ServedCertificate, now: u64) -> Option<i64> {
    let CertificateFacts { not_before, not_after, .. } = one.facts;
    let part = not_after.saturating_sub(not_before) / SOON_PART;
    let is_soon = now.saturating_add(part) > not_after;
    Some(one.facts.days_left(now)).filter(|days| *days < SOON && is_soon)
}

fn tell(one: &ServedCertificate, days: i64) {
    let (name, shown_to) = (one.facts.name(), &*one.shown_to);
    if days < 0 {
        tracing::error!(name, shown_to, "a certificate has expired");
    } else {
        tracing::warn!(name, shown_to, days_left = days, "a certificate expires soon");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_days_are_told_and_not_those_of_certificates_that_have_few() {
        const DAY: u64 = 86_400;
        for (days, left, told) in [
            (90, 14, None),
            (90, 13, Some(13)),
            (365, 13, Some(13)),
            (365, 20, None),
            (6, 2, None),
            (6, 0, Some(0)),
            (30, 6, None),
            (30, 4, Some(4)),
        ] {
            let facts = CertificateFacts {
                names: Vec::new(),
                issuer: String::new(),
                not_before: DAY,
                not_after: (days + 1) * DAY,
                fingerprint_sha256: String::new(),
            };
            let one = ServedCertificate { shown_to: "clients".to_owned(), facts };
            let now = (days + 1 - left) * DAY - 1;
            assert_eq!(to_tell(&one, now), told, "{left} of {days}");
        }
        let facts = CertificateFacts {
            names: Vec::new(),
            issuer: String::new(),
            not_before: 0,
            not_after: DAY,
            fingerprint_sha256: String::new(),
        };
        let one = ServedCertificate { shown_to: "clients".to_owned(), facts };
        assert_eq!(to_tell(&one, DAY + 1), Some(-1));
    }
}
