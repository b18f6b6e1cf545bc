//! Where requests go: `http://host[:port][/path][?query]`, or `https://`.

use tidegate::base;
use tidegate::http::grammar;

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetUrl {
    /// Over TLS.
    pub secure: bool,
    /// The authority, as it goes into `Host`.
    pub authority: String,
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    /// The port: 80, or 443 over TLS, unless another one is given.
    pub port: u16,
    /// Path and query, as they go into the request line.
    pub path: String,
}

impl TargetUrl {
    /// Takes `url` apart; an error says what is wrong. The scheme may be left out; `ws` is the same as `http`, and
    /// `wss` as `https`.
    pub fn of(url: &str) -> Result<TargetUrl, String> {
        let (secure, rest) = match url.split_once("://") {
            Some(("http" | "ws", rest)) => (false, rest),
            Some(("https" | "wss", _)) if !cfg!(feature = "tls") => {
                return Err("this build has no TLS: add --features tls, or use http".to_owned());
            }
            Some(("https" | "wss", rest)) => (true, rest),
            Some((scheme, _)) => return Err(format!("the scheme {scheme} is not supported")),
            None => (false, url),
        };
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = match path.as_bytes().first() {
            Some(b'/') => path.to_owned(),
            _ => format!("/{path}"),
        };
        if authority.is_empty() || !grammar::is_authority(authority.as_bytes()) {
            return Err(format!("{authority:?} is not a host"));
        }
        if !grammar::is_target(path.as_bytes()) {
            return Err(format!("{path:?} is not a path: write %XX for what is not allowed"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let port = match port.filter(|port| !port.is_empty()) {
            None if secure => 443,
            None => 80,
            Some(port) => base::digits(port.as_bytes())
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port > 0)
                .ok_or_else(|| format!("{port} is not a port"))?,
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host).to_owned();
        Ok(TargetUrl { secure, authority: authority.to_owned(), host, port, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (String, u16, String) {
        let target = TargetUrl::of(url).unwrap();
        (target.host, target.port, target.path)
    }

    #[test]
    fn urls_are_taken_apart() {
        let parts_of = |host: &str, port, path: &str| (host.to_owned(), port, path.to_owned());
        assert_eq!(parts("http://a.example"), parts_of("a.example", 80, "/"));
        assert_eq!(parts("http://a:81/b/c?d=e#f"), parts_of("a", 81, "/b/c?d=e"));
        assert_eq!(parts("ws://[::1]:9001/echo"), parts_of("::1", 9001, "/echo"));
        assert_eq!(parts("http://[::1]?q"), parts_of("::1", 80, "/?q"));
        assert_eq!(parts("127.0.0.1:8080"), parts_of("127.0.0.1", 8080, "/"));
        assert_eq!(TargetUrl::of("http://[::1]:9/").unwrap().authority, "[::1]:9");
    }

    #[test]
    fn tls_takes_a_build_with_it() {
        for url in ["https://a/b", "wss://a/b"] {
            let target = TargetUrl::of(url);
            assert_eq!(target.is_ok(), cfg!(feature = "tls"));
            assert!(
                target.is_err() || target.is_ok_and(|target| target.secure && target.port == 443)
            );
        }
        assert!(!TargetUrl::of("http://a").unwrap().secure);
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for bad in ["", "ftp://a", "http://", "http:///a", "http://a:+80", "http://a:0"] {
            assert!(TargetUrl::of(bad).is_err(), "{bad}");
        }
        for bad in
            ["http://a:99999", "http://a b", "http://a/b c", "http://u@h/", "http://a/\u{e9}"]
        {
            assert!(TargetUrl::of(bad).is_err(), "{bad}");
        }
    }
}
