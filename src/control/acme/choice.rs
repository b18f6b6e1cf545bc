//! Which certificates are served, and which are taken. Times are seconds after the epoch.

use crate::base::CertificateFacts;

/// Of the certificates of a name that are stored, the one that is served: that of the server which is asked now, or,
/// until it has issued one, that of another. At a reload one that does not hold takes no other's place: `is_served`
/// says which one is served already. At a start, which has `None` there, an expired one is better than none.
pub fn servable<T>(
    own: Option<(T, CertificateFacts)>,
    others: impl FnOnce() -> Vec<(T, CertificateFacts)>,
    is_served: Option<&dyn Fn(&CertificateFacts) -> bool>,
    now: u64,
) -> Option<T> {
    let counts = |facts: &CertificateFacts| {
        facts.holds(now) || is_served.is_none_or(|is_served| is_served(facts))
    };
    if let Some((own, _)) = own.filter(|(_, facts)| counts(facts)) {
        return Some(own);
    }
    let others = others().into_iter().filter(|(_, facts)| counts(facts));
    let newest = others.max_by_key(|(_, facts)| {
        (is_served.is_some_and(|is_served| is_served(facts)), facts.holds(now), facts.not_before)
    });
    newest.map(|(other, _)| other)
}

/// Whether what was issued is taken in place of what is `stored`.
///
/// # Errors
/// Why it is not.
pub fn verdict(
    issued: &CertificateFacts,
    stored: Option<&CertificateFacts>,
    now: u64,
) -> Result<(), String> {
    if issued.not_after < now {
        return Err("what was issued has expired already: is our clock right?".to_owned());
    }
    match stored.is_some_and(|stored| stored.holds(now) && stored.not_after >= issued.not_after) {
        true => Err("what was issued ends no later than what is stored".to_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(not_before: u64, not_after: u64) -> CertificateFacts {
        CertificateFacts {
            names: Vec::new(),
            issuer: String::new(),
            not_before,
            not_after,
            fingerprint_sha256: format!("{not_before}-{not_after}"),
        }
    }

    #[test]
    fn what_holds_is_served_and_what_was_served_before_goes_on() {
        const NOW: u64 = 100;
        let (good, newer, old, early) = ((50, 150), (60, 160), (0, 90), (110, 190));
        // At a start, or what is served.
        let start = None;
        let reload = |served| Some(served);
        let none = (0, 0);
        for (own, others, served, expected) in [
            (Some(good), &[][..], start, Some(good)),
            (Some(good), &[newer], start, Some(good)),
            (Some(old), &[], start, Some(old)),
            (Some(early), &[], start, Some(early)),
            (None, &[], start, None),
            (None, &[good, newer], start, Some(newer)),
            (None, &[old, good], start, Some(good)),
            (None, &[old], start, Some(old)),
            (Some(good), &[], reload(none), Some(good)),
            (Some(old), &[], reload(none), None),
            (Some(early), &[], reload(none), None),
            (Some(old), &[], reload(old), Some(old)),
            (Some(old), &[good], reload(none), Some(good)),
            (None, &[good, newer], reload(good), Some(good)),
            (None, &[good, newer], reload(none), Some(newer)),
            (None, &[old], reload(none), None),
            (None, &[old], reload(old), Some(old)),
        ] {
            let with_facts = |(from, to)| ((from, to), facts(from, to));
            let is_served =
                served.map(|(from, to)| move |one: &CertificateFacts| *one == facts(from, to));
            let is_served = is_served.as_ref().map(|is_served| is_served as &dyn Fn(&_) -> bool);
            let others_of_name = || others.iter().copied().map(with_facts).collect();
            let found = servable(own.map(with_facts), others_of_name, is_served, NOW);
            assert_eq!(found, expected, "{own:?} {others:?} {served:?}");
        }
    }

    #[test]
    fn what_is_issued_is_taken_unless_there_is_as_good_a_one() {
        for (issued, stored, now, is_taken) in [
            ((0, 90), None, 10, true),
            ((20, 90), None, 10, true), // our clock is slow
            ((0, 90), None, 91, false),
            ((0, 90), None, 89, true), // better than none
            ((10, 100), Some((0, 90)), 60, true),
            ((10, 90), Some((0, 90)), 60, false),
            ((10, 80), Some((0, 90)), 60, false),
            ((90, 99), Some((0, 90)), 95, true),
        ] {
            let stored = stored.map(|(from, to)| facts(from, to));
            let verdict = verdict(&facts(issued.0, issued.1), stored.as_ref(), now);
            assert_eq!(verdict.is_ok(), is_taken, "{issued:?} {stored:?} {now}");
        }
    }
}
