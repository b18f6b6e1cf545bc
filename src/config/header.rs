//! Rules for the fields of messages that go through: what is taken away, and what is put in.

use super::diagnostics::{Diagnostic, instead, unclear, wrong};
use super::template::{Placeholder, Template};
use crate::http::{Name, OURS, grammar};

/// Rules for the fields of one direction. They hold in this order: what is to go goes, then the lines are added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// Names of fields that do not pass, those that are set among them.
    pub removed: Vec<String>,
    /// Lines that are put in.
    pub lines: Vec<HeaderLine>,
}

/// A field line that is put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderLine {
    /// The name.
    pub name: String,
    /// The value.
    pub value: Template,
}

impl HeaderRules {
    /// Nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.lines.is_empty()
    }

    /// Takes away every field of this name, and every rule about it that was made before.
    pub fn remove(&mut self, name: &str) {
        self.lines.retain(|line| !line.name.eq_ignore_ascii_case(name));
        if !self.removed.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            self.removed.push(name.to_owned());
        }
    }

    /// Octets of the lines at most, where `of` says that of a placeholder.
    pub fn longest(&self, of: impl Fn(Placeholder) -> usize) -> usize {
        let line = |line: &HeaderLine| line.name.len() + ": \r\n".len() + line.value.longest(&of);
        self.lines.iter().map(line).sum()
    }

    /// Puts in a line beside those that are there.
    pub fn add(&mut self, line: HeaderLine) {
        self.lines.push(line);
    }
}

/// Octets of the value of a line, as it is written.
const LONGEST: usize = 4096;
/// Octets of all lines that are put into one head.
pub const LINES_MOST: usize = 16 * 1024;

/// `Name: value`, for a field that may be put in.
pub fn line(text: &str) -> Result<HeaderLine, Diagnostic> {
    let Some((name, value)) = text.split_once(':') else {
        let what = "a line has a name, a colon and a value";
        return Err(instead(what, ["X-Frame-Options: DENY"]).and(", for example"));
    };
    let name = self::name(name.trim_end())?;
    let value = Template::read(value.trim())?;
    if value.literal_len() > LONGEST {
        return Err(wrong("this value is too long", format!("write at most {LONGEST} octets")));
    }
    if !value.fits(grammar::is_value) {
        return Err(wrong("this is not the value of a field", "write one line"));
    }
    Ok(HeaderLine { name, value })
}

/// The name of a field that rules may be about: none by which a message is framed, routed or followed.
pub fn name(text: &str) -> Result<String, Diagnostic> {
    if !grammar::is_token(text.as_bytes()) || text.len() > 64 {
        return Err(unclear("this is not the name of a field"));
    }
    if text.contains('*') {
        return Err(wrong("a star stands for nothing here", "name every field in full"));
    }
    match Name::of(text.as_bytes()) {
        Name::Host => Err(wrong(
            "the Host that an upstream sees is another setting",
            "write host-header = \"upstream\", or leave it out",
        )),
        Name::Lookalike => Err(wrong(
            "some origins take this for a field of another name",
            "write it with hyphens",
        )),
        // What the peer says of itself is nothing that we live by.
        Name::UserAgent | Name::Referer | Name::Server | Name::XForwardedOther => {
            Ok(text.to_owned())
        }
        kind if kind.is(OURS) => Err(wrong("tidegate handles this field itself", "leave it out")),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_change_fields_that_are_not_ours() {
        for (text, fine) in [
            ("X-A: b", true),
            ("X-A:b", true),
            ("X-A:", true),
            ("Server: x", true),
            ("X-Forwarded-Prefix: /v1", true),
            ("X-A: {client} {uri}", true),
            ("X-A", false),
            (": b", false),
            ("X A: b", false),
            ("X-A: b\r\nX-B: c", false),
            ("Host: b", false),
            ("Content-Length: 1", false),
            ("Transfer-Encoding: chunked", false),
            ("Connection: close", false),
            ("X_Request_Id: b", false),
            ("X-A: {nothing}", false),
        ] {
            assert_eq!(line(text).is_ok(), fine, "{text:?}");
        }
    }

    #[test]
    fn a_later_rule_about_a_name_replaces_the_earlier() {
        let mut rules = HeaderRules::default();
        for text in ["A: 1", "B: 2", "a: 3"] {
            let line = line(text).unwrap();
            rules.remove(&line.name);
            rules.add(line);
        }
        let lines: Vec<_> =
            rules.lines.iter().map(|line| format!("{}={}", line.name, line.value)).collect();
        assert_eq!(lines.join(" "), "B=2 a=3");
        assert_eq!(rules.removed, ["A", "B"]);
    }
}
