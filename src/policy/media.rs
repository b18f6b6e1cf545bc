//! Whether a body is of a kind that a route takes: `Content-Type` (RFC 9110 section 8.3) against
//! [`Gate::content_type`](crate::config::Gate).

use crate::http::media;

/// Whether a request may have this body.
///
/// - `list`: ranges, as [`media::is_range`] has them; none: anything fits.
/// - `content_type`: the value of the one `Content-Type`; a request with several of them is to be refused before.
/// - `has_body`: without a body anything fits; with one its type has to be told, well-formed and in a range.
pub fn fits(list: &[String], content_type: Option<&[u8]>, has_body: bool) -> bool {
    if list.is_empty() || !has_body {
        return true;
    }
    let told = content_type.and_then(media::media_type);
    told.is_some_and(|told| list.iter().any(|range| media::is_in(told, range)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_to_be_of_a_kind_that_is_listed() {
        let text: &[&str] = &["text/*", "application/json"];
        for (list, content_type, has_body, expected) in [
            (text, Some("text/plain"), true, true),
            (text, Some("TEXT/Html; charset=utf-8"), true, true),
            (text, Some("Application/JSON"), true, true),
            (text, Some("application/json5"), true, false),
            (text, Some("application/json, text/plain"), true, false),
            (text, Some("application/json; charset"), true, false),
            (text, Some("image/png"), true, false),
            (text, Some("image/png"), false, true),
            (text, Some("text/*"), true, false),
            (text, Some("*/*"), true, false),
            (text, Some("text"), true, false),
            (text, Some(""), true, false),
            (text, None, true, false),
            (text, None, false, true),
            (&["*/*"], Some("a/b"), true, true),
            (&["*/*"], Some("nonsense"), true, false),
            (&["*/*"], None, true, false),
            (&["nonsense"], Some("nonsense"), true, false),
            (&[], Some("nonsense"), true, true),
            (&[], None, true, true),
        ] {
            let list: Vec<String> = list.iter().map(|range| (*range).to_owned()).collect();
            let told = content_type.map(str::as_bytes);
            let case = format!("{list:?} {content_type:?} {has_body}");
            assert_eq!(fits(&list, told, has_body), expected, "{case}");
        }
    }
}
