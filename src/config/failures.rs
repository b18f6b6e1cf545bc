//! Statuses and failures of upstreams, as they are written: `502-504`, `5xx`, `connect`.

use std::fmt::{self, Display};

use super::diagnostics::{Diagnostic, instead, nearest, unclear, wrong};
use super::pool::Failures;
use super::values;
use crate::base::digits;

/// Failures that have a name.
const NAMED: [&str; 3] = ["connect", "timeout", "closed"];
/// What other programs call them.
const COUSINS: [(&str, &str); 12] = [
    ("error", "connect closed"),
    ("conn-failure", "connect"),
    ("response-timeout", "timeout"),
    ("junk-response", "closed"),
    ("invalid_header", "closed"),
    ("refused", "connect"),
    ("connect-failure", "connect"),
    ("reset", "closed"),
    ("disconnect", "closed"),
    ("empty-response", "closed"),
    ("gateway-error", "502-504"),
    ("non_2xx", "5xx"),
];

/// One failure; of several, [`Failures::with`] makes one.
pub fn failure(text: &str) -> Result<Failures, Diagnostic> {
    let mut failures = Failures::default();
    match text {
        "connect" => failures.connect = true,
        "timeout" => failures.timeout = true,
        "closed" => failures.closed = true,
        text => failures.status.push(statuses((400, 599), text).map_err(|wrong| {
            let text = text.to_ascii_lowercase();
            let cousin = COUSINS.iter().find(|(other, _)| *other == text).map(|(_, own)| *own);
            let cousin = cousin.or_else(|| text.strip_prefix("http_"));
            match cousin.or_else(|| nearest(&text, NAMED)) {
                Some(meant) => instead("this is not a failure of an upstream", meant.split(' ')),
                None if wrong.offers.is_empty() => unclear("this is not a failure of an upstream"),
                None => wrong,
            }
        })?),
    }
    Ok(failures)
}

/// The same for what is tried again, where other programs take `off`.
pub fn retried(text: &str) -> Result<Failures, Diagnostic> {
    if values::is_off(text) && !values::is_unlimited(text) {
        let right = "set max-retries to 0 to send nothing again";
        return Err(wrong("connect is always tried again", right));
    }
    failure(text)
}

impl Failures {
    /// These and those.
    pub(super) fn with(mut self, other: Failures) -> Failures {
        self.connect |= other.connect;
        self.timeout |= other.timeout;
        self.closed |= other.closed;
        let own = self.status.clone();
        self.status.extend(other.status.into_iter().filter(|status| !own.contains(status)));
        self
    }
}

/// As they would be written, separated by commas.
impl Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failures { connect, timeout, closed, status } = self;
        let named = NAMED.into_iter().zip([connect, timeout, closed]);
        let named = named.filter(|(_, is_one)| **is_one).map(|(name, _)| name.to_owned());
        let all: Vec<String> = named.chain(status.iter().map(written)).collect();
        f.write_str(&all.join(","))
    }
}

/// `502`, `502-504` or `5xx`, within bounds: the first and the last.
pub fn statuses((least, most): (u16, u16), text: &str) -> Result<(u16, u16), Diagnostic> {
    let status = |text: &str| digits(text).and_then(|status| u16::try_from(status).ok());
    let range = match (text.strip_suffix("xx"), text.split_once('-')) {
        (Some(class), _) => status(class).filter(|class| *class < 10).map(|class| {
            let first = class * 100;
            (first, first + 99)
        }),
        (None, Some((first, last))) => status(first).zip(status(last)),
        (None, None) => status(text).map(|only| (only, only)),
    };
    match range {
        None => Err(unclear("this is not a status")),
        Some((first, last)) if first > last => {
            let right = [format!("{last}-{first}")];
            Err(instead("these statuses stand the wrong way round", right))
        }
        Some((first, last)) if first < least || last > most => {
            let what = format!("statuses go from {least} to {most} here");
            Err(instead(what, [format!("{least}-{most}")]).and(", or a status of those"))
        }
        Some(range) => Ok(range),
    }
}

/// Statuses as they would be written.
pub fn written((first, last): &(u16, u16)) -> String {
    match (first, last) {
        (first, last) if first == last => first.to_string(),
        (first, last) if first % 100 == 0 && *last == first + 99 => format!("{}xx", first / 100),
        (first, last) => format!("{first}-{last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::advice;
    use super::super::table::Form;
    use super::*;

    #[test]
    fn failures_are_read_and_written() {
        for text in ["connect", "timeout", "closed", "5xx", "429", "502-504"] {
            assert_eq!(failure(text).map(|one| one.to_string()), Ok(text.to_owned()), "{text}");
        }
        let both = failure("502").unwrap().with(failure("connect").unwrap());
        assert_eq!(both.clone().with(failure("502").unwrap()), both);
        assert_eq!(both.to_string(), "connect,502");
        for (text, right) in [
            ("error", "write connect or closed"),
            ("conn-failure", "write connect"),
            ("response-timeout", "write timeout"),
            ("conect", "write connect"),
            ("CLOSED", "write closed"),
            ("http_502", "write 502"),
            ("504-502", "write 502-504"),
            ("200", "write 400-599, or a status of those"),
            ("6xx", "write 400-599, or a status of those"),
            ("x", "write a failure such as connect, timeout, closed, 5xx or 502-504"),
        ] {
            let refusal = advice::read(Form::Failures, text, failure).expect_err(text);
            assert_eq!(refusal.right(), right, "{text}");
        }
        for off in ["off", "none", "Never", "0"] {
            let refusal = advice::read(Form::Failures, off, retried).expect_err(off);
            assert_eq!(refusal.right(), "set max-retries to 0 to send nothing again", "{off}");
        }
    }
}
