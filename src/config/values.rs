//! Numbers, durations, sizes, switches and choices, as people write them.

use crate::base::digits;
use crate::http::{CLAIM, Name, OURS, grammar};
use std::fmt::Display;
use std::time::Duration;

use super::diagnostics::{Diagnostic, instead, nearest, unclear, wrong};
use super::table::Form;

/// A number in the form's smallest unit (one, millisecond, octet), within `least..=greatest`.
pub fn number(form: Form, range: (u64, u64), text: &str) -> Result<u64, Diagnostic> {
    let form = form.of_number();
    match exact(form, text) {
        Some(number) => within(form, range, number),
        None => Err(no_number(form, range, text)),
    }
}

/// Digits and one of the form's units, of a time also several from large to small (`1m30s`); `u64::MAX` stands for all
/// that is larger.
fn exact(form: Form, text: &str) -> Option<u64> {
    let (mut sum, mut rest, mut smallest) = (0_u64, text, u64::MAX);
    loop {
        let (number, behind) = figures(rest);
        let end = behind.bytes().position(|octet| octet.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, factor) = units(form).iter().find(|(known, _)| *known == unit)?;
        let number = (!number.is_empty()).then(|| digits(number))?;
        let product = number.and_then(|number| number.checked_mul(*factor)).unwrap_or(u64::MAX);
        sum = sum.saturating_add(product);
        let is_time = matches!(form, Form::Time | Form::Seconds) && !unit.is_empty();
        match behind {
            "" if rest == text || (is_time && *factor < smallest) => return Some(sum),
            _ if is_time && *factor < smallest => (rest, smallest) = (behind, *factor),
            _ => return None,
        }
    }
}

/// The digits at the start of a text, and what follows.
fn figures(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len()))
}

fn within(form: Form, (least, greatest): (u64, u64), number: u64) -> Result<u64, Diagnostic> {
    let [lower, upper] = [least, greatest].map(|bound| show(form, bound));
    match number {
        number if number < u64::MAX && (least..=greatest).contains(&number) => Ok(number),
        0 if form == Form::SizeOrOff => {
            Err(instead("a limit of 0 would let nothing through", ["off"]).and(" for no limit"))
        }
        // Elsewhere 0 often means that there is no limit, so the upper one is told as well.
        0 => {
            let rest = format!(" or more, up to {upper}");
            Err(instead(format!("at least {lower} is needed"), [lower]).and(rest))
        }
        number if number < least => {
            Err(instead(format!("at least {lower} is needed"), [lower]).and(" or more"))
        }
        _ => Err(instead(format!("more than {upper} is not possible"), [upper]).and(" or less")),
    }
}

/// The text is a word for "not at all" or "without a limit".
pub fn is_off(text: &str) -> bool {
    OFF.contains(&text.to_ascii_lowercase().as_str()) || is_unlimited(text)
}

/// The text is a word for "without a limit".
pub fn is_unlimited(text: &str) -> bool {
    UNLIMITED.contains(&text.to_ascii_lowercase().as_str())
}

const OFF: [&str; 9] = ["off", "no", "none", "never", "false", "disable", "disabled", "null", "0"];
const UNLIMITED: [&str; 6] = ["unlimited", "infinite", "infinity", "inf", "max", "-1"];

/// `on` and `off`, with the words other programs use for them.
pub fn switch(text: &str) -> Result<bool, Diagnostic> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(instead("this is a switch", ["on", "off"])),
    }
}

/// The name of a protocol to upgrade to (RFC 9110 section 7.8). HTTP/2 is none: its octets would hide
/// requests from the proxy.
pub fn protocol(text: &str) -> Result<String, Diagnostic> {
    if !grammar::is_token(text.as_bytes()) || text.len() > 64 {
        return Err(wrong("this is not the name of a protocol", "write a token such as tcp"));
    }
    if ["h2c", "h2", "http", "tls"].iter().any(|never| text.eq_ignore_ascii_case(never)) {
        let what = "this protocol would carry requests past all that tidegate checks";
        return Err(wrong(what, "leave it out"));
    }
    Ok(text.to_owned())
}

/// The name of a field that only trusted peers may send. None that tidegate has a hand in: without
/// it a message would be another one.
pub fn field(text: &str) -> Result<String, Diagnostic> {
    if !grammar::is_token(text.as_bytes()) || text.len() > 64 {
        return Err(unclear("this is not the name of a field"));
    }
    if text.contains('*') {
        return Err(wrong("a star stands for nothing here", "name every field in full"));
    }
    match Name::of(text.as_bytes()) {
        name if !name.is(OURS) => Ok(text.to_owned()),
        name if name.is(CLAIM) || matches!(name, Name::Proxy | Name::Lookalike) => {
            Err(wrong("this is taken away anyway", "leave it out"))
        }
        _ => Err(wrong("tidegate handles this field itself", "leave it out")),
    }
}

/// The name of any field.
pub fn any_field(text: &str) -> Result<String, Diagnostic> {
    match grammar::is_token(text.as_bytes()) && text.len() <= 64 && !text.contains('*') {
        true => Ok(text.to_owned()),
        false => Err(unclear("this is not the name of a field")),
    }
}

/// The name of a field that a service's answer has for an upstream: none that frames a message or says where it goes.
pub fn copied_field(text: &str) -> Result<String, Diagnostic> {
    match Name::of(text.as_bytes()) {
        Name::XForwardedOther => any_field(text),
        _ => field(text),
    }
}

/// The name of a field that credentials are in: `Authorization`, or one that tidegate has no hand in.
pub fn field_of_credentials(text: &str) -> Result<String, Diagnostic> {
    match text.eq_ignore_ascii_case("Authorization") {
        true => Ok("Authorization".to_owned()),
        false => field(text),
    }
}

/// One of a few words.
pub fn choice<T: Clone>(choices: &[(&str, T)], text: &str) -> Result<T, Diagnostic> {
    let found = choices.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| value.clone()).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let lower = text.to_ascii_lowercase();
        let begins = || words.iter().copied().find(|word| lower.starts_with(word));
        let near = nearest(text, words.iter().copied()).or_else(begins);
        let hint = near.map_or_else(String::new, |word| format!("; did you mean {word}?"));
        instead(format!("this is none of the choices{hint}"), words)
    })
}

/// A number as a user would write it; [`number`] reads it back.
pub fn show(form: Form, number: u64) -> String {
    let form = form.of_number();
    let fits = |(_, factor): &&(&str, u64)| number.is_multiple_of(*factor) && *factor <= number;
    let largest = units(form).iter().filter(|(unit, _)| form == Form::Count || !unit.is_empty());
    let zero = if form == Form::Count { "" } else { units(form)[0].0 };
    match largest.filter(fits).max_by_key(|(_, factor)| *factor) {
        Some((unit, factor)) => format!("{}{unit}", number / factor),
        None => format!("{number}{zero}"),
    }
}

/// A duration as a user would write it.
pub fn show_duration(duration: Duration) -> impl Display {
    show(Form::Time, duration.as_millis() as u64)
}

/// The units of a form and what they stand for.
fn units(form: Form) -> &'static [(&'static str, u64)] {
    const TIME: [(&str, u64); 6] =
        [("s", 1000), ("ms", 1), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("", 1000)];
    const SIZE: [(&str, u64); 9] = [
        ("B", 1),
        ("KB", 1000),
        ("KiB", 1 << 10),
        ("MB", 1_000_000),
        ("MiB", 1 << 20),
        ("GB", 1_000_000_000),
        ("GiB", 1 << 30),
        ("TB", 1_000_000_000_000),
        ("TiB", 1 << 40),
    ];
    match form {
        Form::Time => &TIME[..5],
        Form::Seconds => &TIME,
        Form::Size | Form::SizeOrOff => &SIZE,
        Form::Percent => &[("%", 1)],
        _ => &[("", 1)],
    }
}

/// A text that is no number of this form: what may have been meant, as far as that is in the range.
fn no_number(form: Form, range: (u64, u64), text: &str) -> Diagnostic {
    let (least, greatest) = range;
    // A bare 0 is a number that lacks its unit.
    if is_off(text) && text != "0" {
        let shown = |number| [show(form, number)];
        return match form {
            Form::SizeOrOff => instead("this is not a size", ["off"]).and(" for no limit"),
            _ if is_unlimited(text) || least > 0 => {
                instead("there is always a limit", shown(greatest)).and(" or less")
            }
            _ => instead("this is not a number", shown(0)).and(" for none"),
        };
    }
    let (what, meant) = respelled(form, text);
    let fits =
        |meant: &&String| exact(form, meant).is_some_and(|n| (least..=greatest).contains(&n));
    let fitting: Vec<&String> = meant.iter().filter(fits).collect();
    if !fitting.is_empty() {
        return instead(what, fitting);
    }
    let out_of_range = meant.first().and_then(|meant| exact(form, meant));
    match out_of_range.map(|number| within(form, range, number)) {
        Some(Err(refusal)) => refusal,
        _ => wrong(what, form.example()),
    }
}

/// What is wrong with a number, and how it would be written.
fn respelled(form: Form, text: &str) -> (&'static str, Vec<String>) {
    let time = matches!(form, Form::Time | Form::Seconds);
    let (figures, unit) = figures(text);
    let with = |units: [&str; 2]| units.map(|unit| format!("{figures}{unit}")).to_vec();
    let all = |number: Option<u64>| number.map(|n| show(form, n)).into_iter().collect();
    if text.starts_with('+') {
        return ("a sign makes no sense here", reading(form, text.trim_start_matches('+')));
    }
    if text.starts_with('-') {
        return ("a sign makes no sense here", Vec::new());
    }
    if let Some(plain) = ungrouped(text) {
        return ("digits are not put in groups here", reading(form, &plain));
    }
    if let Some(plain) = without_exponent(text) {
        return ("exponents are not understood", reading(form, &plain));
    }
    if let Some(parts) = fraction(form, text) {
        return ("fractions are not understood", parts);
    }
    match (figures, unit) {
        ("", _) => ("this is not a number", Vec::new()),
        (_, "") if form == Form::Time => ("a duration needs a unit", with(["s", "ms"])),
        (_, "") if form == Form::Percent => {
            ("a percent sign is missing", vec![format!("{figures}%")])
        }
        (_, "") if !time && form != Form::Count => ("a size needs a unit", with(["B", "KiB"])),
        _ if time && unit.contains(|c: char| c.is_ascii_digit()) => match sum(form, text) {
            Some(sum) => ("the units of a duration go from large to small", all(Some(sum))),
            None => ("this is not a duration", Vec::new()),
        },
        _ if form == Form::Count => {
            ("this is not a whole number", all(scaled(form, figures, unit)))
        }
        _ => ("this unit is not known", named(form, figures, unit)),
    }
}

/// How a text is written that may still not be a number of this form.
fn reading(form: Form, text: &str) -> Vec<String> {
    match exact(form, text) {
        Some(_) => vec![text.to_owned()],
        None => respelled(form, text).1,
    }
}

/// The same figures with the unit that was meant.
fn named(form: Form, figures: &str, unit: &str) -> Vec<String> {
    match meant_unit(form, unit) {
        Some((known, _)) if !known.is_empty() => vec![format!("{figures}{known}")],
        _ => scaled(form, figures, unit).map(|number| show(form, number)).into_iter().collect(),
    }
}

/// `1_000` and `1,000`: the digits together.
fn ungrouped(text: &str) -> Option<String> {
    let end = text.rfind(['_', ',', '\''])?;
    let mark = text[end..].chars().next()?;
    let (digits, unit) = figures(&text[end + 1..]);
    let groups: Vec<&str> = text[..end].split(mark).chain([digits]).collect();
    let (first, others) = groups.split_first()?;
    let plain = |group: &&str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    let grouped = plain(first) && others.iter().all(|group| group.len() == 3 && plain(group));
    grouped.then(|| format!("{}{unit}", groups.concat()))
}

/// `1e6`: the number it stands for, with the unit behind it.
fn without_exponent(text: &str) -> Option<String> {
    let (number, rest) = figures(text);
    let (exponent, unit) = figures(rest.strip_prefix(['e', 'E'])?);
    if unit.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let power =
        u32::try_from(digits(exponent)?).ok().and_then(|power| 10_u64.checked_pow(power))?;
    Some(format!("{}{unit}", digits(number)?.checked_mul(power)?))
}

/// `1.5s`: the same in a smaller unit, or for what has none the numbers around it. `None`: no fraction.
fn fraction(form: Form, text: &str) -> Option<Vec<String>> {
    let (whole, rest) = figures(text);
    let (parts, unit) = figures(rest.strip_prefix('.')?);
    let number = || {
        let base = 10_u64.checked_pow(parts.len() as u32)?;
        let number = digits(if whole.is_empty() { "0" } else { whole })?;
        let number = number.checked_mul(base)?.checked_add(digits(parts)?)?;
        let (_, factor) = meant_unit(form, unit)?;
        Some((number.checked_mul(factor)?, base))
    };
    let Some((number, base)) = number() else { return Some(Vec::new()) };
    let exact = number.is_multiple_of(base);
    Some(match form {
        _ if exact => vec![show(form, number / base)],
        Form::Count => vec![show(form, number / base), show(form, number / base + 1)],
        _ => Vec::new(),
    })
}

/// `1m30s`: all of it together.
fn sum(form: Form, text: &str) -> Option<u64> {
    let (mut sum, mut left) = (0_u64, text);
    while !left.is_empty() {
        let (number, rest) = figures(left);
        let end = rest.bytes().position(|b| b.is_ascii_digit()).unwrap_or(rest.len());
        sum = sum.checked_add(scaled(form, number, &rest[..end])?)?;
        left = &rest[end..];
    }
    Some(sum)
}

fn scaled(form: Form, figures: &str, unit: &str) -> Option<u64> {
    let (_, factor) = meant_unit(form, unit)?;
    digits(figures)?.checked_mul(factor)
}

/// A unit however it is spelled, by other programs as well; without a name where the form has none like it.
fn meant_unit(form: Form, unit: &str) -> Option<(&'static str, u64)> {
    let unit = unit.trim();
    let known = |name: &str| units(form).iter().copied().find(|(known, _)| *known == name);
    let same = |(known, _): &(&str, u64)| known.eq_ignore_ascii_case(unit);
    if let Some(exact) = known(unit).or_else(|| units(form).iter().copied().find(same)) {
        return Some(exact);
    }
    let unit = unit.to_ascii_lowercase();
    let time = matches!(form, Form::Time | Form::Seconds);
    match (unit.as_str(), time) {
        ("k", _) if form == Form::Count => Some(("", 1000)),
        ("m", _) if form == Form::Count => Some(("", 1_000_000)),
        ("", true) => Some(("", 1000)),
        ("percent" | "pct" | "", false) if form == Form::Percent => known("%"),
        ("sec" | "secs" | "second" | "seconds", true) => known("s"),
        ("min" | "mins" | "minute" | "minutes", true) => known("m"),
        ("hr" | "hrs" | "hour" | "hours", true) => known("h"),
        ("msec" | "millis" | "milliseconds", true) => known("ms"),
        ("day" | "days", true) => known("d"),
        ("byte" | "bytes", false) => known("B"),
        ("k" | "ki", false) => known("KiB"),
        ("m" | "mi", false) => known("MiB"),
        ("g" | "gi", false) => known("GiB"),
        ("t" | "ti", false) => known("TiB"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: (u64, u64) = (0, u64::MAX);

    fn advice(form: Form, text: &str) -> String {
        number(form, ANY, text).unwrap_err().right()
    }

    #[test]
    fn units_are_read() {
        let cases = [
            (Form::Time, "500ms", 500),
            (Form::Time, "5s", 5_000),
            (Form::Time, "1m", 60_000),
            (Form::Time, "1h", 3_600_000),
            (Form::Time, "1d", 86_400_000),
            (Form::Time, "1m30s", 90_000),
            (Form::Seconds, "1h1m1s", 3_661_000),
            (Form::Seconds, "20", 20_000),
            (Form::Seconds, "20ms", 20),
            (Form::Size, "64KiB", 65_536),
            (Form::Size, "10MB", 10_000_000),
            (Form::SizeOrOff, "1GiB", 1 << 30),
            (Form::Count, "12", 12),
        ];
        for (form, text, meant) in cases {
            assert_eq!(number(form, ANY, text), Ok(meant), "{text}");
            assert_eq!(number(form, ANY, &show(form, meant)), Ok(meant), "{text}");
        }
    }

    #[test]
    fn every_refusal_says_what_would_be_right() {
        let cases = [
            (Form::Time, "30", "write 30s or 30ms"),
            (Form::Time, "30s1m", "write 90s"),
            (Form::Time, "2h30min", "write 150m"),
            (Form::Time, "1-5-7", "write a duration such as 500ms, 30s, 5m or 1h"),
            (Form::Time, "1.5s", "write 1500ms"),
            (Form::Time, ".5h", "write 30m"),
            (Form::Time, "0.0001s", "write a duration such as 500ms, 30s, 5m or 1h"),
            (Form::Time, "30S", "write 30s"),
            (Form::Time, "30 sec", "write 30s"),
            (Form::Time, "30days", "write 30d"),
            (Form::Time, "1e3", "write 1000s or 1000ms"),
            (Form::Time, "1e3ms", "write 1000ms"),
            (Form::Seconds, "3x", "write a duration such as 500ms, 30s, 5m or 1h"),
            (Form::Seconds, "1e3", "write 1000"),
            (Form::Time, "", "write a duration such as 500ms, 30s, 5m or 1h"),
            (Form::Time, "-5s", "write a duration such as 500ms, 30s, 5m or 1h"),
            (Form::Time, "never", "write 0s for none"),
            (Form::Size, "64", "write 64B or 64KiB"),
            (Form::Size, "64k", "write 64KiB"),
            (Form::Size, "64mb", "write 64MB"),
            (Form::Size, "1,024KiB", "write 1024KiB"),
            (Form::Size, "1.5MiB", "write 1536KiB"),
            (Form::SizeOrOff, "none", "write off for no limit"),
            (Form::SizeOrOff, "-1", "write off for no limit"),
            (Form::SizeOrOff, "1e6", "write 1000000B or 1000000KiB"),
            (Form::Count, "1e6", "write 1000000"),
            (Form::Count, "1_000", "write 1000"),
            (Form::Count, "1,000,000", "write 1000000"),
            (Form::Count, "5k", "write 5000"),
            (Form::Count, "1.5k", "write 1500"),
            (Form::Count, "4.5", "write 4 or 5"),
            (Form::Count, "4.0", "write 4"),
            (Form::Count, "+5", "write 5"),
            (Form::Count, "4x", "write digits only, such as 100"),
            (Form::Count, "1e99", "write digits only, such as 100"),
            (Form::Count, "off", "write 0 for none"),
        ];
        for (form, text, right) in cases {
            assert_eq!(advice(form, text), right, "{text}");
        }
    }

    #[test]
    fn nothing_overflows_and_ranges_hold() {
        let huge = "18446744073709551615h";
        let range = (1000, 86_400_000);
        assert_eq!(number(Form::Time, range, huge).unwrap_err().right(), "write 1d or less");
        assert_eq!(number(Form::Time, range, "24h"), Ok(86_400_000));
        assert_eq!(
            number(Form::Time, range, "86400001ms").unwrap_err().right(),
            "write 1d or less"
        );
        assert_eq!(number(Form::Time, range, "999ms").unwrap_err().right(), "write 1s or more");
        let advice = |form, text| number(form, range, text).unwrap_err().right();
        // What is offered is in the range as well.
        assert_eq!(advice(Form::Time, "0"), "write 1s or more, up to 1d");
        assert_eq!(advice(Form::Time, "off"), "write 1d or less");
        assert_eq!(advice(Form::Time, "30000"), "write 30000s or 30000ms");
        assert_eq!(advice(Form::Time, "100000"), "write 100000ms");
        assert_eq!(advice(Form::Time, "7d"), "write 1d or less");
        let head = |text| number(Form::Size, (1024, 16_384), text).unwrap_err().right();
        assert_eq!((head("8192"), head("16")), ("write 8192B".into(), "write 16KiB".into()));
        assert_eq!(head("unlimited"), "write 16KiB or less");
        let body = |text| number(Form::SizeOrOff, (1, 1 << 50), text).unwrap_err().right();
        assert_eq!((body("0"), body("0KiB")), (body("0B"), "write off for no limit".into()));
        let long = "9".repeat(100_000);
        assert!(number(Form::Count, ANY, &long).is_err());
    }

    #[test]
    fn values_are_shown_as_one_would_write_them() {
        assert_eq!(show(Form::Time, 0), "0s");
        assert_eq!(show(Form::Time, 1500), "1500ms");
        assert_eq!(show(Form::Time, 90_000), "90s");
        assert_eq!(show(Form::Size, 16_384), "16KiB");
        assert_eq!(show(Form::Size, 10_000_000), "10MB");
        assert_eq!(show(Form::Size, 0), "0B");
        assert_eq!(show(Form::Count, 20_000), "20000");
    }

    #[test]
    fn fields_that_may_be_taken_away() {
        let (most, more) = ("x".repeat(64), "x".repeat(65));
        for name in ["True-Client-IP", "x_original_url", "Cookie", "Content-Type", &most] {
            assert_eq!(field(name), Ok(name.to_owned()));
        }
        let cases = [
            ("not the name", &["", "a b", "a:", "h\u{e9}", "\"a\"", &more][..]),
            ("a star", &["*", "X-Internal-*"]),
            ("taken away anyway", &["PROXY", "X-Forwarded", "x-forwarded-user", "X-Real-IP"]),
            ("taken away anyway", &["Forwarded", "X_Forwarded_For", "Content_Length"]),
            ("handles this", &["Host", "content-length", "Transfer-Encoding", "Connection", "TE"]),
            ("handles this", &["Upgrade", "Keep-Alive", "Proxy-Connection", "Trailer", "Expect"]),
            ("handles this", &["Sec-WebSocket-Key", "Via", "Max-Forwards", "X-Request-Id"]),
        ];
        for (what, names) in cases {
            for name in names {
                let wrong = field(name).unwrap_err();
                assert!(wrong.wrong.contains(what), "{name}: {}", wrong.wrong);
            }
        }
    }

    #[test]
    fn switches_and_choices() {
        assert_eq!((switch("on"), switch("FALSE")), (Ok(true), Ok(false)));
        assert!(switch("maybe").is_err());
        let choices = [("human", 1), ("json", 2)];
        assert_eq!(choice(&choices, "json"), Ok(2));
        let refusal = choice(&choices, "jsn").unwrap_err();
        assert_eq!(refusal.right(), "write human or json");
        assert!(refusal.wrong.ends_with("did you mean json?"));
    }
}
