//! Numbers, durations, sizes, switches and choices, as people write them.

use crate::http::{Name, grammar};
use std::fmt::Display;
use std::time::Duration;

use super::mistake::{Wrong, nearest, wrong};
use super::table::Form;

/// A whole number of digits only; `None` also if it is too large.
/// (The parser of the standard library takes `+5`, and so is not used.)
pub fn digits(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0_u64, |sum, byte| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// A number in the form's smallest unit (one, millisecond, octet), within `least..=greatest`.
pub fn number(form: Form, (least, greatest): (u64, u64), text: &str) -> Result<u64, Wrong> {
    let units = units(form);
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (figures, unit) = text.split_at(end);
    if figures.is_empty() {
        return Err(not_a_number(form, text));
    }
    let Some((_, factor)) = units.iter().find(|(known, _)| *known == unit) else {
        return Err(bad_unit(form, figures, unit));
    };
    match digits(figures).and_then(|number| number.checked_mul(*factor)) {
        Some(number) if (least..=greatest).contains(&number) => Ok(number),
        Some(number) if number < least => Err(wrong(
            format!("at least {} is needed", show(form, least)),
            format!("write {} or more", show(form, least)),
        )),
        _ => Err(wrong(
            format!("more than {} is not possible", show(form, greatest)),
            format!("write {} or less", show(form, greatest)),
        )),
    }
}

/// `on` and `off`, with the words other programs use for them.
pub fn switch(text: &str) -> Result<bool, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(wrong("this is a switch", "write on or off")),
    }
}

/// The name of a protocol to upgrade to (RFC 9110 section 7.8). HTTP/2 is none: its octets would hide
/// requests from the proxy.
pub fn protocol(text: &str) -> Result<String, Wrong> {
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
pub fn field(text: &str) -> Result<String, Wrong> {
    if !grammar::is_token(text.as_bytes()) || text.len() > 64 {
        return Err(wrong("this is not the name of a field", "write one such as True-Client-IP"));
    }
    if text.contains('*') {
        return Err(wrong("a star stands for nothing here", "write every name in full"));
    }
    match Name::of(text.as_bytes()) {
        Name::Other => Ok(text.to_owned()),
        Name::Proxy
        | Name::Lookalike
        | Name::Forwarded
        | Name::XRealIp
        | Name::XForwardedFor
        | Name::XForwardedProto
        | Name::XForwardedHost
        | Name::XForwardedOther => Err(wrong("this is taken away anyway", "leave it out")),
        _ => Err(wrong("tidegate handles this field itself", "leave it out")),
    }
}

/// One of a few words.
pub fn choice<T: Copy>(choices: &[(&str, T)], text: &str) -> Result<T, Wrong> {
    let found = choices.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let near = nearest(text, words.iter().copied());
        let hint = near.map_or_else(String::new, |word| format!("; did you mean {word}?"));
        wrong(format!("this is none of the choices{hint}"), format!("write {}", words.join(" or ")))
    })
}

/// A number as a user would write it; [`number`] reads it back.
pub fn show(form: Form, number: u64) -> String {
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
    const TIME: [(&str, u64); 5] =
        [("s", 1000), ("ms", 1), ("m", 60_000), ("h", 3_600_000), ("", 1000)];
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
        Form::Time => &TIME[..4],
        Form::Seconds => &TIME,
        Form::Size | Form::SizeOrOff => &SIZE,
        _ => &[("", 1)],
    }
}

fn not_a_number(form: Form, text: &str) -> Wrong {
    let signed = text.starts_with(['-', '+']);
    let what = if signed { "a sign makes no sense here" } else { "this is not a number" };
    match form {
        Form::Time | Form::Seconds => wrong(what, "write a duration such as 500ms, 30s, 5m or 1h"),
        Form::SizeOrOff => wrong(what, "write a size such as 64KiB, 10MB or 1GiB, or off"),
        Form::Size => wrong(what, "write a size such as 8KiB or 16KiB"),
        _ => wrong(what, "write digits only, such as 4"),
    }
}

/// A number is followed by something that is not one of the form's units.
fn bad_unit(form: Form, figures: &str, unit: &str) -> Wrong {
    let known = units(form).iter().map(|(known, _)| *known);
    match form {
        _ if unit.starts_with('.') => {
            wrong("fractions are not understood", "write a whole number of a smaller unit")
        }
        Form::Time if unit.is_empty() => {
            wrong("a duration needs a unit", format!("write {figures}s"))
        }
        Form::Size | Form::SizeOrOff if unit.is_empty() => {
            wrong("a size needs a unit", format!("write {figures}B or {figures}KiB"))
        }
        Form::Time | Form::Seconds if unit.contains(|c: char| c.is_ascii_digit()) => {
            wrong("a duration has one number and one unit", "write 90s rather than 1m30s")
        }
        Form::Time | Form::Seconds | Form::Size | Form::SizeOrOff => {
            let same = known.clone().find(|known| known.eq_ignore_ascii_case(unit.trim()));
            let long = same.or_else(|| long_unit(form, unit.trim()));
            let right = match long {
                Some(known) => format!("write {figures}{known}"),
                None => format!("units are {}", known.collect::<Vec<_>>().join(", ")),
            };
            wrong("this unit is not known", right.trim_end_matches(", "))
        }
        _ => wrong("this is not a whole number", format!("write {figures}, digits only")),
    }
}

/// What other programs call a unit.
fn long_unit(form: Form, unit: &str) -> Option<&'static str> {
    let unit = unit.to_ascii_lowercase();
    let time = matches!(form, Form::Time | Form::Seconds);
    Some(match (unit.as_str(), time) {
        ("sec" | "secs" | "second" | "seconds", true) => "s",
        ("min" | "mins" | "minute" | "minutes", true) => "m",
        ("hr" | "hrs" | "hour" | "hours", true) => "h",
        ("msec" | "millis" | "milliseconds", true) => "ms",
        ("b" | "byte" | "bytes", false) => "B",
        ("k" | "ki", false) => "KiB",
        ("m" | "mi", false) => "MiB",
        ("g" | "gi", false) => "GiB",
        ("t" | "ti", false) => "TiB",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: (u64, u64) = (0, u64::MAX);

    fn advice(form: Form, text: &str) -> String {
        number(form, ANY, text).unwrap_err().right
    }

    #[test]
    fn only_digits_are_a_number() {
        assert_eq!(digits("007"), Some(7));
        assert_eq!(digits("18446744073709551615"), Some(u64::MAX));
        for odd in ["", "+5", "-5", " 5", "5 ", "1_000", "18446744073709551616", "٣", "0x1"] {
            assert_eq!(digits(odd), None, "{odd}");
        }
    }

    #[test]
    fn units_are_read() {
        let cases = [
            (Form::Time, "500ms", 500),
            (Form::Time, "5s", 5_000),
            (Form::Time, "1m", 60_000),
            (Form::Time, "1h", 3_600_000),
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
            (Form::Time, "30", "write 30s"),
            (Form::Time, "1m30s", "write 90s rather than 1m30s"),
            (Form::Time, "1.5s", "write a whole number of a smaller unit"),
            (Form::Time, "30S", "write 30s"),
            (Form::Time, "30 sec", "write 30s"),
            (Form::Time, "30d", "units are s, ms, m, h"),
            (Form::Seconds, "3x", "units are s, ms, m, h"),
            (Form::Time, "", "write a duration such as 500ms, 30s, 5m or 1h"),
            (Form::Time, "-5s", "write a duration such as 500ms, 30s, 5m or 1h"),
            (Form::Size, "64", "write 64B or 64KiB"),
            (Form::Size, "64k", "write 64KiB"),
            (Form::Size, "64mb", "write 64MB"),
            (Form::SizeOrOff, "none", "write a size such as 64KiB, 10MB or 1GiB, or off"),
            (Form::Count, "5k", "write 5, digits only"),
            (Form::Count, "+5", "write digits only, such as 4"),
        ];
        for (form, text, right) in cases {
            assert_eq!(advice(form, text), right, "{text}");
        }
    }

    #[test]
    fn nothing_overflows_and_ranges_hold() {
        let huge = "18446744073709551615h";
        let range = (1000, 86_400_000);
        assert_eq!(number(Form::Time, range, huge).unwrap_err().right, "write 24h or less");
        assert_eq!(number(Form::Time, range, "24h"), Ok(86_400_000));
        assert_eq!(number(Form::Time, range, "86400001ms").unwrap_err().right, "write 24h or less");
        assert_eq!(number(Form::Time, range, "999ms").unwrap_err().right, "write 1s or more");
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
        assert_eq!(refusal.right, "write human or json");
        assert!(refusal.wrong.ends_with("did you mean json?"));
    }
}
