//! Texts with placeholders that stand for something of the request: `https://{host}{uri}`.

use std::fmt::{self, Display, Write};

use super::diagnostics::{Diagnostic, nearest, wrong};

/// A row for each placeholder: `Variant "word"`.
macro_rules! placeholders {
    ($($variant:ident $word:literal $about:literal;)*) => {
        /// What a placeholder stands for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Placeholder {
            $(#[doc = $about] $variant,)*
        }

        impl Placeholder {
            /// Every placeholder with its word, and what it stands for.
            pub const ALL: &'static [(Placeholder, &'static str, &'static str)] =
                &[$((Placeholder::$variant, $word, $about),)*];
        }
    };
}

placeholders! {
    Host "host" "The host the request is for, without a port, in lower case.";
    Path "path" "The path as it came.";
    Query "query" "The query as it came, without its question mark.";
    Uri "uri" "Path and query as they came.";
    Method "method" "The method.";
    Scheme "scheme" "`http` or `https`.";
    Client "client" "The address of the client.";
    User "user" "Who asks: the name of the token or user; nothing where nobody says.";
    RequestId "request-id" "The identity of the request.";
    Route "route" "The name of the route.";
    Upstream "upstream" "The URL of the upstream; nothing where there is none.";
}

/// A text with placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    /// As it is shown: what was read from the environment or a file is masked.
    shown: String,
    masked: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder(Placeholder),
}

impl Template {
    /// Reads a text in which `{word}` is a placeholder, and `{{word}}` is `{word}`. Other braces stand for themselves.
    ///
    /// # Errors
    /// When a word is no placeholder.
    pub fn read(text: &str) -> Result<Template, Diagnostic> {
        let (mut pieces, mut literal) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            let (before, behind) = rest.split_at(at);
            literal.push_str(before);
            if let Some(word) = behind.strip_prefix('{').and_then(word)
                && behind[word.len() + 2..].starts_with('}')
                && let Some(inner) = word.strip_prefix('{')
            {
                let _ = write!(literal, "{{{inner}}}");
                rest = &behind[word.len() + 3..];
            } else if let Some(word) = word(behind).map(|word| &word[1..]) {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Placeholder(placeholder(word)?));
                rest = &behind[word.len() + 2..];
            } else {
                literal.push('{');
                rest = &behind[1..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Template { pieces, shown: text.to_owned(), masked: false })
    }

    /// A text that is read as `value` itself, whatever is in it.
    pub fn quoted(value: &str) -> String {
        let (mut out, mut rest) = (String::new(), value);
        while let Some(at) = rest.find('{') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            match word(rest) {
                Some(word) => {
                    let _ = write!(out, "{{{word}}}}}");
                    rest = &rest[word.len() + 1..];
                }
                None => {
                    out.push('{');
                    rest = &rest[1..];
                }
            }
        }
        out + rest
    }

    /// The same, shown as `text`.
    pub fn shown_as(self, text: &str) -> Template {
        Template { shown: text.to_owned(), masked: true, ..self }
    }

    /// It is shown otherwise than it is.
    pub fn is_masked(&self) -> bool {
        self.masked
    }

    /// Every octet that stands in it is one of those.
    pub fn fits(&self, is_one: impl Fn(u8) -> bool) -> bool {
        self.pieces.iter().all(|piece| match piece {
            Piece::Text(text) => text.bytes().all(&is_one),
            Piece::Placeholder(_) => true,
        })
    }

    /// How long it is in octets, but for what its placeholders stand for.
    pub fn literal_len(&self) -> usize {
        self.longest(|_| 0)
    }

    /// How long it is at most, where `of` says that of a placeholder.
    pub fn longest(&self, of: impl Fn(Placeholder) -> usize) -> usize {
        let len = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Placeholder(placeholder) => of(*placeholder),
        };
        self.pieces.iter().map(len).sum()
    }

    /// It is the same for every request.
    pub fn is_fixed(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// It begins with the path of the request.
    pub fn begins_with_path(&self) -> bool {
        let first = self.pieces.first();
        [Placeholder::Path, Placeholder::Uri]
            .iter()
            .any(|one| first == Some(&Piece::Placeholder(*one)))
    }

    /// It has this placeholder.
    pub fn has(&self, placeholder: Placeholder) -> bool {
        self.pieces.contains(&Piece::Placeholder(placeholder))
    }

    /// Writes it to the end of `out`; `value` writes what a placeholder stands for. No control octet gets through,
    /// whatever `value` writes: none of them can end a line.
    pub fn render(&self, out: &mut Vec<u8>, value: impl Fn(Placeholder, &mut Vec<u8>)) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Placeholder(placeholder) => {
                    let start = out.len();
                    value(*placeholder, out);
                    let mut kept = start;
                    for at in start..out.len() {
                        if !out[at].is_ascii_control() {
                            out[kept] = out[at];
                            kept += 1;
                        }
                    }
                    out.truncate(kept);
                }
            }
        }
    }
}

/// `{word` at the beginning of a text that goes on with a brace.
fn word(text: &str) -> Option<&str> {
    let (start, _) = text.split_once('}')?;
    let word = start.strip_prefix('{')?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_begun = word.starts_with(|c: char| c.is_ascii_alphabetic());
    (is_begun && word.chars().all(is_word)).then_some(start)
}

fn placeholder(word: &str) -> Result<Placeholder, Diagnostic> {
    let words = || Placeholder::ALL.iter().map(|(_, word, _)| *word);
    if let Some((found, ..)) = Placeholder::ALL.iter().find(|(_, known, _)| *known == word) {
        return Ok(*found);
    }
    let right = match nearest(word, words()) {
        Some(near) => format!("did you mean {{{near}}}?"),
        None => format!(
            "write {{{{{word}}}}} for the word in braces; placeholders are: {}",
            words().collect::<Vec<_>>().join(", ")
        ),
    };
    Err(wrong(format!("{{{word}}} stands for nothing"), right))
}

/// As it was written.
impl Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Result<String, String> {
        let template = Template::read(text).map_err(|wrong| wrong.wrong)?;
        let mut out = Vec::new();
        template.render(&mut out, |placeholder, out| match placeholder {
            Placeholder::Host => out.extend_from_slice(b"h"),
            Placeholder::Uri => out.extend_from_slice(b"/a\r\nX: b\0"),
            _ => out.push(b'?'),
        });
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn placeholders_are_filled_in_and_nothing_ends_a_line() {
        for (text, expected) in [
            ("", Ok("")),
            ("plain", Ok("plain")),
            ("https://{host}{uri}", Ok("https://h/aX: b")),
            ("{{host}}", Ok("{host}")),
            ("{request-id}{client}", Ok("??")),
            ("{", Ok("{")),
            ("a}", Ok("a}")),
            ("{{{host}}}", Ok("{{host}}")),
            ("{\"a\":{\"b\":\"{host}\"}}", Ok("{\"a\":{\"b\":\"h\"}}")),
            ("{ host }", Ok("{ host }")),
            ("{hots}", Err("{hots} stands for nothing")),
            ("{user}", Ok("?")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(rendered(text), expected, "{text}");
        }
    }

    #[test]
    fn a_text_that_was_quoted_is_read_as_it_was() {
        for text in ["", "{host}", "{{host}}", "a{b}c}{", "{\"a\":{host}}", "}}{{"] {
            assert_eq!(rendered(&Template::quoted(text)).as_deref(), Ok(text), "{text}");
        }
    }
}
