//! User and password in a URL (RFC 3986 section 3.2.1): refused wherever they come, and written down nowhere.

use std::borrow::Cow;

/// Stands for them.
const MARK: &str = "***";

/// `text` with `***` in place of what stands before the `@` of a URL's authority. It may be a URL, a reference
/// (RFC 3986 section 4.1), any form of a request target, a request line that could not be read, or a sentence.
pub fn hide(text: &str) -> Cow<'_, str> {
    if !text.contains('@') {
        return text.into();
    }
    let hidden = text.split(' ').map(hide_in_word).collect::<Vec<_>>().join(" ");
    // A space inside of it: what the parts of such a text are is not known.
    match (hidden.find("://"), hidden.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at && is_split(&hidden[scheme..at]) => {
            [&hidden[..scheme + "://".len()], MARK, &hidden[at..]].concat().into()
        }
        _ => hidden.into(),
    }
}

/// Whether this may be userinfo with a space in it: what ends an authority does not come before the space.
fn is_split(behind_scheme: &str) -> bool {
    let rest = behind_scheme["://".len()..].trim_start_matches('/');
    rest.find([' ', '/', '?', '#']).is_some_and(|end| rest[end..].starts_with(' '))
}

fn hide_in_word(word: &str) -> Cow<'_, str> {
    let (start, ends): (usize, &[char]) = match word.find("://") {
        _ if word.starts_with("//") => (2, &['/', '?', '#']),
        _ if word.starts_with('/') => return word.into(),
        Some(scheme) => {
            let slashes = word[scheme + 1..].bytes().take_while(|octet| *octet == b'/').count();
            (scheme + 1 + slashes, &['/', '?', '#'])
        }
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
            ("http:///user:secret@a/", "http:///***@a/"),
            ("//user:secret@a/", "//***@a/"),
            ("GET http://user:se cret@a/ HTTP/1.1", "GET http://***@a/ HTTP/1.1"),
            ("see http://a or b@c", "see http://***@c"),
            ("http://a/ of b@c", "http://a/ of ***@c"),
            ("a@b=http://c", "a@b=http://c"),
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

    #[test]
    fn any_text_can_be_shown_and_shows_the_same_again() {
        const PARTS: [&str; 8] = ["secret", "@", "://", ":", "/", "?", " ", "\u{e9}"];
        for number in 0..PARTS.len().pow(6) {
            let part = |place: u32| PARTS[number / PARTS.len().pow(place) % PARTS.len()];
            let text = (0..6).map(part).collect::<String>();
            let hidden = hide(&text);
            assert_eq!(hide(&hidden), hidden, "{text}");
        }
    }
}
