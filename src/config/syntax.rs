//! What is told where a text is not of its format: the words of parsers in plain English, with what to write.

use super::tree::SyntaxError;

/// How the words of a parser begin, what is wrong, and what would be right.
const WORDS: [(&str, &str, &str); 25] = [
    // TOML
    ("duplicate key", "this name stands twice in its table", "leave one out"),
    ("string values must be quoted", "a text stands in quotes", "write quotes around it"),
    (
        "invalid literal string, expected `'`",
        "the quote at the end of this text is missing",
        "write \' there",
    ),
    (
        "invalid basic string, expected `\"`",
        "the quote at the end of this text is missing",
        "write \" there",
    ),
    ("key with no value", "there is no value behind this name", "write name = value"),
    (
        "invalid unquoted key",
        "a name has letters, digits, - and _",
        "write name = value, or # before a comment",
    ),
    ("unclosed array table", "the head of this table has no end", "write ]] there"),
    ("unclosed array", "the list above has no end", "write ] behind its last value"),
    ("unclosed table", "the head of this table has no end", "write ] there"),
    ("unclosed inline table", "the table above has no end", "write } behind its last value"),
    ("missing comma", "a comma is missing", "write a comma between two values"),
    (
        "missing escaped value",
        "a backslash has no meaning before this",
        "write \\\\ for a backslash, or single quotes around the text",
    ),
    // YAML
    ("tabs disallowed", "a tab stands where blanks have to be", "write blanks in its place"),
    ("this key stands twice", "this name stands twice in its table", "leave one out"),
    (
        "while parsing node, found unknown anchor",
        "a star at the beginning means an alias",
        "write quotes around the text",
    ),
    (
        "anchors, aliases and tags",
        "anchors, aliases and tags are not possible here",
        "write the value itself, in quotes if it begins with &, * or !",
    ),
    ("a second document", "a second document is not possible here", "write all in one"),
    (
        "illegal placement of ':'",
        "a colon has no meaning here",
        "write ] or } if a list or a table ends before it, or quotes around the text",
    ),
    // JSON
    ("trailing comma", "a comma stands before the end", "take the comma before this away"),
    (
        "key must be a string",
        "a name in double quotes has to stand here",
        "write \"name\": value; JSON has no comments",
    ),
    ("EOF while parsing an object", "the text ends too soon", "write } at its end"),
    ("EOF while parsing a list", "the text ends too soon", "write ] at its end"),
    ("EOF while parsing a string", "the text ends too soon", "write \" at its end"),
    ("expected `,` or `}`", "a comma is missing", "write a comma between two entries"),
    ("expected `:`", "a colon is missing", "write \"name\": value"),
];

/// What is wrong and what would be right, where a parser said `what` of something or, `is_empty`, of nothing.
pub fn plain(what: &str, is_empty: bool) -> Option<(&'static str, &'static str)> {
    let found = WORDS.iter().find(|(begin, ..)| what.starts_with(begin));
    match found.map(|(_, what, right)| (*what, *right)) {
        Some((_, right)) if is_empty && right == "write quotes around it" => {
            Some(("the value is missing", "write one behind the ="))
        }
        found => found,
    }
}

/// The errors that are worth telling: of each line the first, and of a list without an end only that.
pub fn told(errors: Vec<SyntaxError>, line: impl Fn(&SyntaxError) -> usize) -> Vec<SyntaxError> {
    let is_open = |error: &SyntaxError| error.what.starts_with("unclosed array,");
    let has_open = errors.iter().any(is_open);
    let mut last = 0;
    let mut is_first = |error: &SyntaxError| std::mem::replace(&mut last, line(error)) != last;
    errors
        .into_iter()
        .filter(|error| if has_open { is_open(error) } else { is_first(error) })
        .collect()
}
