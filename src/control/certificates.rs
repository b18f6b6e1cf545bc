//! Certificates of ours that end soon: the log says so once a day, for each.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;

use super::clock::since_epoch;
use super::current::Current;
use super::served_certificates;
use crate::admin::ServedCertificate;

/// A certificate that holds for fewer days than this is told of: whoever renews them in time does so before.
const SOON: i64 = 14;
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
    Some(one.facts.days_left(now)).filter(|days| *days < SOON)
}

fn tell(one: &ServedCertificate, days: i64) {
    let (name, shown_to) = (one.facts.name(), &*one.shown_to);
    if days < 0 {
        tracing::error!(name, shown_to, "a certificate has expired");
    } else {
        tracing::warn!(name, shown_to, days_left = days, "a certificate expires soon");
    }
}
