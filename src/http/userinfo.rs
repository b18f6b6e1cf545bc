//! User and password in a URL (RFC 3986 section 3.2.1): refused wherever they come, and written down nowhere.

use std::borrow::Cow;

/// Stands for them.
const MARK: &str = "***";

/// `text` with `***` in place of what stands before the `@` of a URL's authority. It may be a URL, any form of a
/// request target, a request line that could not be read, or a sentence.
pub fn hide(text: &str) -> Cow<'_, str> {
    if !text.contains('@') {
        return text.into();
    }
    text.split(' ').map(hide_in_word).collect::<Vec<_>>().join(" ").into()
}

fn hide_in_word(word: &str) -> Cow<'_, str> {
    let (start, ends): (usize, &[char]) = match word.find("://") {
        _ if word.starts_with('/') => return word.into(),
        Some(scheme) => (scheme + "://".len(), &['/', '?', '#']),
        // The authority that CONNECT has, or a URL that is broken: what its parts are is not known.
        None => (0, &['?', '#']),
    };
    let end = word[start..].find(ends).map_or(word.len(), |length| start + length);
    match word[start..end].rfind('@') {
        Some(at @ 1..) => [&word[..start], MARK, &word[start + at..]].concat().into(),
        _ => word.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_passwords_are_hidden_and_all_else_stays() {
        for (text, shown) in [
            ("http://user:secret@a/b?c", "http://***@a/b?c"),
            ("HTTPS://secret@a:1", "HTTPS://***@a:1"),
            ("http://a@secret@b/", "http://***@b/"),
            ("http://secret\\@b/", "http://***@b/"),
            ("http://@a/", "http://@a/"),
            ("user:secret@a:443", "***@a:443"),
            ("http:/user:secret@a/", "***@a/"),
            ("GET http://user:secret@a/ HTTP/1.1", "GET http://***@a/ HTTP/1.1"),
            ("GET  http://user:secret@a/", "GET  http://***@a/"),
            ("add http://user:secret@a:1", "add http://***@a:1"),
            ("http://a/b@c", "http://a/b@c"),
            ("http://a?b@c", "http://a?b@c"),
            ("/b@c", "/b@c"),
            ("/http://b@c/", "/http://b@c/"),
            ("a:443", "a:443"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(hide(text), shown, "{text}");
        }
    }
}
