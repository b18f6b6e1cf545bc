//! Dotenv files: `KEY=VALUE` lines, quotes, comments. Variables are not expanded.

use super::diagnostics::{Diagnostic, wrong};

/// The largest file that is read, in octets.
pub const LARGEST: usize = 64 * 1024;

/// One setting of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name on the left.
    pub key: String,
    /// The value without quotes and escapes.
    pub value: String,
    /// The number of its line, from 1.
    pub line: usize,
    /// Where in `raw` the value begins (behind a quote, if there is one), in octets.
    pub column: usize,
    /// The line as it is.
    pub raw: String,
}

/// A place in a file that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The number of its line, from 1.
    pub line: usize,
    /// Where in `raw` it is, in octets.
    pub column: usize,
    /// The line as it is; empty if it is not text.
    pub raw: String,
    /// What is wrong with it.
    pub wrong: Diagnostic,
}

/// Reads a whole file: what could be read, and every place that could not.
///
/// A line is empty, a comment (`# ...`), or `KEY=VALUE`, where `export ` may come first. Values:
///
/// - bare: up to the end of the line or ` #`, without the blanks around it;
/// - `'single'`: as it is, over several lines too;
/// - `"double"`: the same, with `\n`, `\r`, `\t`, `\"`, `\\`, `\$` and `` \` ``; any other
///   backslash stays.
pub fn parse(file: &[u8]) -> (Vec<Entry>, Vec<BadLine>) {
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    let text = match std::str::from_utf8(file) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let line = 1 + file[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count();
            let wrong = wrong("the file is not UTF-8 text", "save it as UTF-8");
            faults.push(BadLine { line, column: 0, raw: String::new(), wrong });
            return (entries, faults);
        }
    };
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let raw = rest.lines().next().unwrap_or_default();
        let fault = |column, wrong| BadLine { line, column, raw: raw.to_owned(), wrong };
        let taken = match assignment(raw) {
            Ok(None) => raw.len(),
            Err((column, wrong)) => {
                faults.push(fault(column, wrong));
                raw.len()
            }
            Ok(Some((key, start))) => match value(&rest[start..]) {
                Ok((value, skip, taken)) => {
                    let (key, raw, column) = (key.to_owned(), raw.to_owned(), start + skip);
                    entries.push(Entry { key, value, line, column, raw });
                    start + taken
                }
                Err(wrong) => {
                    faults.push(fault(start, wrong));
                    raw.len()
                }
            },
        };
        // A value in quotes may have gone on for lines; what is left of the last one is blank.
        let next = rest[taken..].find('\n').map_or(rest.len(), |at| taken + at + 1);
        line += rest[..next].matches('\n').count();
        rest = &rest[next..];
    }
    (entries, faults)
}

/// The key of a line and where its value starts; `None` for a line without a setting.
fn assignment(raw: &str) -> Result<Option<(&str, usize)>, (usize, Diagnostic)> {
    let blank = |c: char| c == ' ' || c == '\t';
    let start = raw.len() - raw.trim_start_matches(blank).len();
    if raw[start..].is_empty() || raw[start..].starts_with('#') {
        return Ok(None);
    }
    let Some(equals) = raw.find('=') else {
        return Err((
            start,
            wrong("there is no = in this line", "write KEY=VALUE, or # before it"),
        ));
    };
    let named = &raw[start..equals];
    let key = match named.strip_prefix("export") {
        Some(rest) if rest.starts_with(blank) => rest.trim_start_matches(blank),
        _ => named,
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let what = match key {
        "" => "the name is missing",
        key if key.ends_with(blank) => "there is a blank before the =",
        key if !key.bytes().all(legal) => "this is not the name of a setting",
        key => return Ok(Some((key, equals + 1))),
    };
    Err((start, wrong(what, "write KEY=VALUE, the name in letters, digits and _")))
}

/// A value at the start of `text`: itself, the octets before it, and those it takes in all.
fn value(text: &str) -> Result<(String, usize, usize), Diagnostic> {
    let line = text.lines().next().unwrap_or_default();
    let lead = line.len() - line.trim_start_matches([' ', '\t']).len();
    let (quote, inner) = match line[lead..].chars().next() {
        Some(quote @ ('"' | '\'')) => (quote, &text[lead + 1..]),
        _ => {
            let bare = bare(&line[lead..]);
            return Ok((bare.to_owned(), lead, line.len()));
        }
    };
    let Some((value, length)) = quoted(inner, quote) else {
        return Err(wrong("this quote is never closed", format!("end the value with {quote}")));
    };
    let taken = lead + 1 + length + 1;
    let after = text[taken..].lines().next().unwrap_or_default();
    let blank = after.trim_start_matches([' ', '\t']);
    if blank.is_empty() || (blank.starts_with('#') && blank.len() < after.len()) {
        Ok((value, lead + 1, taken))
    } else {
        let right = format!("put all of the value between {quote} and {quote}");
        Err(wrong("something follows the closing quote", right))
    }
}

/// A bare value: what comes before the end of the line or ` #`.
fn bare(text: &str) -> &str {
    let comment = |(at, _): &(usize, &str)| *at == 0 || text[..*at].ends_with([' ', '\t']);
    let end = text.match_indices('#').find(comment).map_or(text.len(), |(at, _)| at);
    text[..end].trim_end_matches([' ', '\t'])
}

/// A value up to its closing quote, and how many octets it takes without that quote.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((value, at)),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                c @ ('"' | '\\' | '$' | '`') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let (entries, faults) = parse(text.as_bytes());
        assert_eq!(faults, [], "{text:?}");
        entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
    }

    fn value_of(text: &str) -> String {
        pairs(text).remove(0).1
    }

    #[test]
    fn lines_comments_and_export() {
        let text = "\u{feff}# head\n\nA=1\r\n  export B=x # tail\n";
        let both = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "x".to_owned())];
        assert_eq!(pairs(text), both);
        assert_eq!(pairs("exported=1")[0].0, "exported");
        assert_eq!(pairs("# only a comment"), []);
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn values_bare_and_quoted() {
        let cases = [
            ("A=", ""),
            ("A=   ", ""),
            ("A= b c \t", "b c"),
            ("A=b#c", "b#c"),
            ("A=b #c", "b"),
            ("A=#c", ""),
            ("A=b=c", "b=c"),
            ("A=$HOME/${X}", "$HOME/${X}"),
            ("A='b #c' # d", "b #c"),
            (r"A='b\n'", r"b\n"),
            (r#"A="b\n\t\"\\\$\q""#, "b\n\t\"\\$\\q"),
            ("A=\"b\nc\"\nB=1", "b\nc"),
            ("A=it's", "it's"),
        ];
        for (text, value) in cases {
            assert_eq!(value_of(text), value, "{text}");
        }
    }

    #[test]
    fn lines_and_columns_are_kept() {
        let (entries, _) = parse(b"# one\nA='x\ny'\n export B=\"v\"");
        assert_eq!((entries[0].line, entries[1].line), (2, 4));
        assert_eq!(&entries[1].raw[entries[1].column..], "v\"");
    }

    #[test]
    fn every_fault_is_told_and_the_rest_is_read() {
        let text = "A\n=1\nB =1\nC-?=1\nE=\"x\" y\nF='a'#b\nG=ok\nH='x\n";
        let (entries, faults) = parse(text.as_bytes());
        let told: Vec<(usize, &str)> =
            faults.iter().map(|fault| (fault.line, fault.wrong.wrong.as_str())).collect();
        let all = [
            (1, "there is no = in this line"),
            (2, "the name is missing"),
            (3, "there is a blank before the ="),
            (4, "this is not the name of a setting"),
            (5, "something follows the closing quote"),
            (6, "something follows the closing quote"),
            (8, "this quote is never closed"),
        ];
        assert_eq!(told, all);
        assert_eq!((entries.len(), entries[0].key.as_str(), entries[0].line), (1, "G", 7));
    }

    #[test]
    fn size_and_encoding_are_bounded() {
        assert_eq!(parse(b"A=1\nB=\xff").1[0].line, 2);
    }
}
