//! TOML 1.1 to a [tree](super::tree).

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::tree::{Key, Node, SyntaxError, Value};

/// The tree of `text`, as far as it can be read, and every place that cannot.
pub fn parse(text: &str) -> (Node, Vec<SyntaxError>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let span = table.span();
    let root = Node { span, value: table_of(table.get_ref(), text) };
    let error = |error: toml::de::Error| SyntaxError {
        span: error.span().unwrap_or(0..0),
        what: error.message().to_owned(),
    };
    let mut errors: Vec<SyntaxError> = errors.into_iter().map(error).collect();
    errors.sort_by_key(|error| error.span.start);
    (root, errors)
}

fn table_of(table: &DeTable<'_>, text: &str) -> Value {
    let mut entries: Vec<(Key, Node)> = table
        .iter()
        .map(|(key, value)| {
            let name = key.get_ref().to_string();
            (Key { name, span: key.span() }, node(value, text))
        })
        .collect();
    entries.sort_by_key(|(key, _)| key.span.start);
    Value::Table(entries)
}

fn node(value: &Spanned<DeValue<'_>>, text: &str) -> Node {
    let span = value.span();
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(item, text)).collect()),
        DeValue::Table(table) => table_of(table, text),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            Value::Plain(text.get(span.clone()).unwrap_or_default().replace('_', ""))
        }
    };
    Node { span, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_where_they_are() {
        let text = "a = 'x'\n[b]\nc = [1_000, true]\n";
        let (root, errors) = parse(text);
        assert_eq!(errors, []);
        let Value::Table(entries) = root.value else { panic!("{root:?}") };
        let told = |key: &Key, node: &Node| {
            (
                key.name.clone(),
                text[key.span.clone()].to_owned(),
                text[node.span.clone()].to_owned(),
            )
        };
        assert_eq!(told(&entries[0].0, &entries[0].1), ("a".into(), "a".into(), "'x'".into()));
        assert_eq!(entries[0].1.value, Value::Text("x".into()));
        let Value::Table(inner) = &entries[1].1.value else { panic!("{entries:?}") };
        assert_eq!(told(&inner[0].0, &inner[0].1).2, "[1_000, true]");
        let Value::List(items) = &inner[0].1.value else { panic!("{inner:?}") };
        let items: Vec<_> = items.iter().map(|item| item.value.clone()).collect();
        assert_eq!(items, [Value::Plain("1000".into()), Value::Plain("true".into())]);
    }

    #[test]
    fn every_error_is_found_in_one_go() {
        let (_, errors) = parse("a = \nb = 1\nb = 2\nc ! d\n");
        let lines: Vec<usize> = errors
            .iter()
            .map(|error| "a = \nb = 1\nb = 2\nc ! d\n"[..error.span.start].matches('\n').count())
            .collect();
        assert_eq!(lines, [0, 2, 3], "{errors:?}");
    }
}
