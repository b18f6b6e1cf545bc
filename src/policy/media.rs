//! Whether a body is of a kind that a route takes: `Content-Type` (RFC 9110 section 8.3) against
//! [`Gate::content_type`](crate::config::Gate).

use crate::http::{Framing, Request, media};

const NAME: &str = "Content-Type";

/// Whether the request may have its body, if it has one: then its type has to be told by one field, well-formed and in
/// a range. `list`: ranges, as [`media::is_range`] has them; none: anything fits.
///
/// The type has to be told to the upstream as well: a field that `Connection` takes away tells nothing, and beside one
/// that some take for it (`Content_Type`) nobody knows which of the two counts.
pub fn fits(list: &[String], head: &Request, bytes: &[u8]) -> bool {
    if list.is_empty() || head.framing == Framing::None {
        return true;
    }
    let field = head.sole(NAME, bytes);
    let told = field.and_then(|field| media::media_type(field.value.of(bytes)));
    told.is_some_and(|told| list.iter().any(|range| media::is_in(told, range)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Limits;

    #[test]
    fn a_body_has_to_be_of_a_kind_that_is_listed() {
        let text: &[&str] = &["text/*", "application/json"];
        let is = |value: &str| format!("Content-Type: {value}\r\n");
        for (list, fields, has_body, expected) in [
            (text, is("text/plain"), true, true),
            (text, is("TEXT/Html; charset=utf-8"), true, true),
            (text, is("Application/JSON"), true, true),
            (text, is("application/json5"), true, false),
            (text, is("application/json, text/plain"), true, false),
            (text, is("application/json; charset"), true, false),
            (text, is("image/png"), true, false),
            (text, is("image/png"), false, true),
            (text, is("text/*"), true, false),
            (text, is("*/*"), true, false),
            (text, is("text"), true, false),
            (text, is(""), true, false),
            (text, String::new(), true, false),
            (text, String::new(), false, true),
            (text, is("text/plain").to_lowercase(), true, true),
            (text, is("text/plain") + &is("text/plain"), true, false),
            (text, is("text/plain") + "Content_Type: text/plain\r\n", true, false),
            (text, "Content_Type: text/plain\r\n".to_owned(), true, false),
            (text, is("text/plain") + "Content.Type: image/png\r\n", true, false),
            (text, is("text/plain") + "Content_Type: image/png\r\n", false, true),
            (text, is("text/plain") + "Connection: content-type\r\n", true, false),
            (text, is("text/plain") + "Connection: close, x-a\r\n", true, true),
            (&["*/*"], is("a/b"), true, true),
            (&["*/*"], is("nonsense"), true, false),
            (&["*/*"], String::new(), true, false),
            (&["nonsense"], is("nonsense"), true, false),
            (&[], is("nonsense"), true, true),
            (&[], String::new(), true, true),
        ] {
            let list: Vec<String> = list.iter().map(|range| (*range).to_owned()).collect();
            let length = if has_body { "Content-Length: 1\r\n" } else { "" };
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{length}{fields}\r\n");
            let mut head = Request::default();
            head.read(text.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(fits(&list, &head, text.as_bytes()), expected, "{list:?} {text}");
        }
    }
}
