//! YAML 1.2, and JSON (RFC 8259), to a [tree](super::tree).
//!
//! JSON is read twice: `serde_json` says whether it is JSON, and the parser of YAML, which takes it too, where
//! everything is. Of YAML only what JSON can say as well: no anchors, aliases, tags or second documents.

use std::collections::HashSet;
use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};

use super::tree::{Key, Node, SyntaxError, Value};

/// Tables and lists within each other at most.
const DEEPEST: usize = 32;

/// As [`yaml`], of a text that has to be JSON.
pub fn json(text: &str) -> (Node, Vec<SyntaxError>) {
    if let Err(error) = serde_json::from_str::<serde_json::Value>(text) {
        let line = error.line().saturating_sub(1);
        let begin = text.split_inclusive('\n').take(line).map(str::len).sum::<usize>();
        let at = (begin + error.column().saturating_sub(1)).min(text.len());
        let told = error.to_string();
        let what = told.rsplit_once(" at line").map_or(&*told, |(what, _)| what).to_owned();
        return (empty(), vec![SyntaxError { span: at..at, what }]);
    }
    yaml(text)
}

/// The tree of `text`; or where it is not YAML, or says what is not possible here.
pub fn yaml(text: &str) -> (Node, Vec<SyntaxError>) {
    match Builder::new(text).build() {
        Ok(root) => (root, Vec::new()),
        Err(error) => (empty(), vec![error]),
    }
}

fn empty() -> Node {
    Node { span: 0..0, value: Value::Table(Vec::new()) }
}

/// Makes a tree of events.
struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    /// Where each character begins, for the parser counts those; empty where all of them are octets.
    begins: Vec<usize>,
}

type Build<T> = Result<T, SyntaxError>;

impl<'a> Builder<'a> {
    fn new(text: &'a str) -> Builder<'a> {
        let begins = match text.is_ascii() {
            true => Vec::new(),
            false => text.char_indices().map(|(at, _)| at).collect(),
        };
        Builder { parser: Parser::new_from_str(text), text, begins }
    }

    fn build(&mut self) -> Build<Node> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root.unwrap_or_else(empty)),
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(self.refuse(&span, "a second document is not possible here"));
                }
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, span, 0)?),
            }
        }
    }

    /// The value that `event` begins.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Build<Node> {
        if depth == DEEPEST {
            return Err(self.refuse(&span, "tables and lists lie too deep in each other"));
        }
        let start = self.octet(&span.start);
        let (value, end) = match event {
            // YAML 1.2.2 section 10.3.2.
            Event::Scalar(text, ScalarStyle::Plain, 0, None) => match &*text {
                "" | "~" | "null" | "Null" | "NULL" => (Value::Null, span.end),
                _ => (Value::Plain(text.into_owned()), span.end),
            },
            Event::Scalar(text, _, 0, None) => (Value::Text(text.into_owned()), span.end),
            Event::SequenceStart(0, None) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, span) => break (Value::List(items), span.end),
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(0, None) => {
                let (mut entries, mut names) = (Vec::new(), HashSet::new());
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::MappingEnd {
                        break (Value::Table(entries), span.end);
                    }
                    let key = self.key(event, &span)?;
                    if !names.insert(key.name.clone()) {
                        return Err(self.refuse(&span, "this key stands twice in its table"));
                    }
                    let (event, span) = self.next()?;
                    entries.push((key, self.node(event, span, depth + 1)?));
                }
            }
            _ => return Err(self.refuse(&span, "anchors, aliases and tags are not possible here")),
        };
        let span = start..self.octet(&end).max(start);
        Ok(Node { span, value })
    }

    fn key(&self, event: Event<'a>, span: &Span) -> Build<Key> {
        match event {
            Event::Scalar(name, _, 0, None) if name != "<<" => {
                Ok(Key { name: name.into_owned(), span: self.octets(span) })
            }
            _ => Err(self.refuse(span, "a key is a plain word here")),
        }
    }

    fn next(&mut self) -> Build<(Event<'a>, Span)> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let at = self.octet(error.marker());
                Err(SyntaxError { span: at..at, what: error.info().to_owned() })
            }
            None => Err(SyntaxError { span: 0..0, what: "the text ends too soon".to_owned() }),
        }
    }

    fn refuse(&self, span: &Span, what: &str) -> SyntaxError {
        SyntaxError { span: self.octets(span), what: what.to_owned() }
    }

    fn octets(&self, span: &Span) -> Range<usize> {
        let start = self.octet(&span.start);
        start..self.octet(&span.end).max(start)
    }

    fn octet(&self, marker: &Marker) -> usize {
        match self.begins.is_empty() {
            true => marker.index().min(self.text.len()),
            false => self.begins.get(marker.index()).copied().unwrap_or(self.text.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys and values with the text that their spans say.
    fn told(text: &str) -> Vec<(String, String, Value)> {
        let (root, errors) = yaml(text);
        assert_eq!(errors, [], "{text}");
        let Value::Table(entries) = root.value else { panic!("{root:?}") };
        let told = |(key, node): (Key, Node)| {
            (text[key.span].to_owned(), text[node.span].to_owned(), node.value)
        };
        entries.into_iter().map(told).collect()
    }

    #[test]
    fn values_know_where_they_are() {
        let entries = told("a: 5s # ü\nü: \"x\"\nc: [http://a:1, 2]\n");
        assert_eq!(entries[0], ("a".into(), "5s".into(), Value::Plain("5s".into())));
        assert_eq!(entries[1], ("ü".into(), "\"x\"".into(), Value::Text("x".into())));
        let Value::List(items) = &entries[2].2 else { panic!("{entries:?}") };
        assert_eq!(items[0].value, Value::Plain("http://a:1".into()));
        assert_eq!(items.len(), 2);
    }

    #[test]
    fn json_is_read_by_its_own_rules() {
        let text =
            "{\n\t\"upstream\": [\"http:\\/\\/a:1\"],\n\t\"log\": {\"level\": \"info\"}\n}\n";
        let (root, errors) = json(text);
        assert_eq!(errors, [], "{text}");
        let Value::Table(entries) = root.value else { panic!() };
        let Value::List(items) = &entries[0].1.value else { panic!() };
        assert_eq!(items[0].value, Value::Text("http://a:1".into()));
        for (text, value) in
            [("[true]", Value::Plain("true".into())), ("[\"true\"]", Value::Text("true".into()))]
        {
            let Value::List(items) = json(text).0.value else { panic!() };
            assert_eq!(items[0].value, value, "{text}");
        }
        for (text, line) in [("{\n'a': 1}", 1), ("{\"a\": 1,\n\n}", 2), ("a: 1", 0), ("", 0)] {
            let (_, errors) = json(text);
            assert_eq!(errors.len(), 1, "{text}");
            assert_eq!(
                text[..errors[0].span.start].matches('\n').count(),
                line,
                "{text} {errors:?}"
            );
        }
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        let deep = "[".repeat(DEEPEST + 1) + &"]".repeat(DEEPEST + 1);
        let block = (0..500).map(|depth| " ".repeat(depth) + "a:\n").collect::<String>();
        for (text, what) in [
            ("a: &x 1", "anchors"),
            ("a: *x", ""),
            ("a: !!str 1", "tags"),
            ("a: 1\n---\nb: 2", "second document"),
            ("a: 1\na: 2", "twice"),
            ("? [a]\n: 1", "plain word"),
            ("<<: {a: 1}", "plain word"),
            (&format!("a: {deep}"), "too deep"),
            (&block, "too deep"),
            ("a: [1", ""),
            ("a: \"x", ""),
            ("\tb: 1\na", ""),
        ] {
            let (_, errors) = yaml(text);
            assert_eq!(errors.len(), 1, "{text}");
            assert!(errors[0].what.contains(what), "{text}: {errors:?}");
        }
    }
}
