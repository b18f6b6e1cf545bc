//! Upstream URLs, networks, names of servers and files. No name is resolved here.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use super::conditions;
use super::diagnostics::{Diagnostic, instead, not_in_this_build, unclear, wrong};
use super::pool::{Place, UpstreamSpec};
use crate::base::digits;

/// The longest path a Unix socket can have: `sun_path` less the final NUL.
pub(super) const LONGEST_SOCKET_PATH: usize = 107;

/// What is spoken at a place: HTTP, or HTTP over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http://`.
    Http,
    /// `https://`.
    Https,
}

impl Scheme {
    /// `https` if it is `secure`.
    pub fn of(secure: bool) -> Scheme {
        if secure { Scheme::Https } else { Scheme::Http }
    }

    /// TLS is spoken.
    pub fn is_secure(self) -> bool {
        self == Scheme::Https
    }

    /// How a URL begins.
    pub fn start(self) -> &'static str {
        if self.is_secure() { "https://" } else { "http://" }
    }

    /// The port of a URL that names none.
    fn port(self) -> u16 {
        if self.is_secure() { 443 } else { 80 }
    }

    /// What `text` begins with, if it is one of the two, and what is behind it. Not every build has TLS.
    pub fn split(text: &str) -> Result<(Option<Scheme>, &str), Diagnostic> {
        match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
                Ok((Some(Scheme::Http), rest))
            }
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => {
                let secure = Ok((Some(Scheme::Https), rest));
                if cfg!(feature = "tls") { secure } else { Err(not_in_this_build("TLS", "tls")) }
            }
            _ => Ok((None, text)),
        }
    }
}

/// `::1:9001`: an IPv6 address that lacks its brackets, and a port. Read whole it may be an address, too, but who
/// writes that means a port.
pub(super) fn ipv6_and_port(text: &str) -> Option<(Ipv6Addr, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = digits(port).and_then(|port| u16::try_from(port).ok())?;
    Ipv6Addr::from_str(host).ok().map(|host| (host, port))
}

/// The greatest weight of an upstream, or of a pool in a route.
pub const HEAVIEST: u64 = 256;

/// A URL as [`url`] reads it, perhaps with options behind it: `http://host:port weight=3`.
pub fn upstream(text: &str) -> Result<UpstreamSpec, Diagnostic> {
    let Some((start, options)) = text.split_once([' ', '\t']) else { return url(text) };
    let is_option = |word: &str| word.contains('=') && !word.contains("://");
    if !options.split_whitespace().all(is_option) {
        return url(text);
    }
    let mut upstream = url(start)?;
    for option in options.split_whitespace() {
        match option.split_once('=') {
            Some(("weight", weight)) => upstream.weight = self::weight(weight)?,
            Some(("backup", "true")) => upstream.backup = true,
            Some(("backup", "false")) => upstream.backup = false,
            Some(("backup", _)) => {
                let wrong = instead("an upstream is a backup or none", [start]);
                return Err(wrong.and(", or backup=true behind it"));
            }
            _ => {
                let what = format!("an upstream has no option such as {option}");
                return Err(instead(what, [start, &format!("{start} weight=3")]));
            }
        }
    }
    Ok(upstream)
}

/// A share, in proportion to others.
pub fn weight(text: &str) -> Result<u32, Diagnostic> {
    match digits(text) {
        Some(weight @ 1..=HEAVIEST) => Ok(weight as u32),
        Some(0) => Err(wrong("a weight of 0 is none", "leave it out of the list, or drain it")),
        _ => Err(wrong("this is not a weight", format!("write a number from 1 to {HEAVIEST}"))),
    }
}

/// `http://host[:port][/path]`, the same with `https://`, `http://unix:/path`, or `http` without its `http://`.
///
/// The name is canonical: lower case, IPv6 in its shortest form, the default port and a slash at the end left out.
fn url(text: &str) -> Result<UpstreamSpec, Diagnostic> {
    if let Some((scheme, right)) = mistyped_scheme(text) {
        return Err(instead(format!("{} is mistyped", scheme.start()), [right]));
    }
    let (scheme, rest) = match Scheme::split(text)? {
        (None, text) => match text.split_once("://") {
            Some((scheme, rest)) => return Err(other_scheme(scheme, rest)),
            None => (None, text),
        },
        known => known,
    };
    let (explicit, scheme) = (scheme.is_some(), scheme.unwrap_or(Scheme::Http));
    if let Some(path) = rest.strip_prefix("unix:") {
        if scheme.is_secure() {
            let plain = format!("http://unix:{path}");
            return Err(instead("TLS is not spoken over a Unix socket", [plain]));
        }
        return unix_upstream(path);
    }
    if rest.starts_with('/') {
        let socket = format!("http://unix:/{}", rest.trim_start_matches('/'));
        return Err(instead("a Unix socket is written otherwise", [socket]));
    }
    let (authority, base) = authority(scheme, rest)?;
    if !explicit && digits(authority.strip_prefix(':').unwrap_or(authority)).is_some() {
        let port = authority.trim_start_matches(':');
        return Err(instead("the host is missing", [format!("http://127.0.0.1:{port}")]));
    }
    let (host, port) = match split_port(authority) {
        Some((host, port)) => (host, Some(port)),
        None if explicit => (authority, None),
        None => {
            let host = format!("http://{}", bracketed(&host_name(scheme, authority)?));
            return Err(instead("the port is missing", [host]).and(" for port 80, or add :PORT"));
        }
    };
    let host = host_name(scheme, host)?;
    let port = match port.map(|port| digits(port).and_then(|port| u16::try_from(port).ok())) {
        None => scheme.port(),
        Some(None | Some(0)) => return Err(bad_port(1)),
        Some(Some(port)) => port,
    };
    let authority = host_and_port(scheme, &host, port);
    Ok(UpstreamSpec {
        name: format!("{}{authority}{base}", scheme.start()),
        authority,
        place: Place::Tcp { host, port },
        secure: scheme.is_secure(),
        base: base.to_owned(),
        weight: 1,
        backup: false,
        draining: false,
        resolved_from: None,
    })
}

/// `10.0.0.0/8`, `2001:db8::/32`, or one address.
pub fn network(text: &str) -> Result<IpNet, Diagnostic> {
    let (host, prefix) = match text.split_once('/') {
        Some((host, prefix)) => (host, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = IpAddr::from_str(host) else {
        return Err(match host {
            "localhost" => instead("names are not looked up here", ["127.0.0.1", "::1"]),
            _ => match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
                Some(inner) => instead("brackets are for ports", [text.replacen(host, inner, 1)]),
                None => unclear("this is not a network"),
            },
        });
    };
    let widest = if address.is_ipv4() { 32 } else { 128 };
    if let Some(length) = prefix.and_then(mask_length) {
        return Err(instead("a mask is written as its length", [format!("{host}/{length}")]));
    }
    let prefix = match prefix.map(digits) {
        None => widest,
        Some(Some(prefix)) if prefix <= widest => prefix,
        Some(_) => {
            let what = format!("the prefix goes from 0 to {widest}");
            return Err(instead(what, [format!("{host}/{widest}")]).and(" for this address alone"));
        }
    } as u8;
    if let IpAddr::V6(v6) = address
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        let what = "an IPv4-mapped network would never match";
        return Err(match prefix.checked_sub(96) {
            Some(prefix) => instead(what, [format!("{v4}/{prefix}")]),
            None => unclear(what),
        });
    }
    let Ok(network) = IpNet::new(address, prefix) else {
        return Err(unclear("this is not a network"));
    };
    if network.trunc() != network {
        let what = "bits are set beyond the prefix";
        let offers = [network.trunc().to_string(), address.to_string()];
        return Err(instead(what, offers).and(" for the address alone"));
    }
    Ok(network)
}

/// A name or an address that a certificate has, an IPv6 address without brackets.
pub fn server_name(text: &str) -> Result<String, Diagnostic> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = IpAddr::from_str(bare) {
        return match ip.to_string() {
            shown if shown == text => Ok(shown),
            shown => Err(instead("an address is written so", [shown])),
        };
    }
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return Err(instead("a name has no scheme", [host]));
    }
    if let Some((host, port)) = split_port(text)
        && digits(port).is_some()
    {
        return Err(instead("a name has no port", [host]));
    }
    if text.contains([':', '*']) {
        return Err(unclear("this is not the name of a server"));
    }
    host_name(Scheme::Https, text)
}

/// A file's name: anything but nothing, control characters and a folder's.
pub fn file(text: &str) -> Result<PathBuf, Diagnostic> {
    match text {
        "" => Err(wrong("a file needs a name", "write a path")),
        text if text.ends_with('/') => {
            Err(wrong("this names a folder", "write the path of a file"))
        }
        text => folder(text),
    }
}

/// A folder's name.
pub fn folder(text: &str) -> Result<PathBuf, Diagnostic> {
    if text.is_empty() {
        return Err(wrong("a folder needs a name", "write a path"));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong("control characters are not allowed in a path", "rename the file"));
    }
    Ok(PathBuf::from(text))
}

/// What is said of a URL that begins with another scheme.
fn other_scheme(scheme: &str, rest: &str) -> Diagnostic {
    let plain = [format!("http://{rest}")];
    match scheme.to_ascii_lowercase().as_str() {
        "ws" => instead("WebSockets travel over http", plain),
        "wss" => instead("WebSockets travel over https", [format!("https://{rest}")]),
        "h2c" | "grpc" => instead("HTTP/2 is not spoken", plain),
        "tcp" => instead("only HTTP is spoken", plain),
        "unix" => {
            let socket = format!("http://unix:/{}", rest.trim_start_matches('/'));
            instead("a Unix socket is written otherwise", [socket])
        }
        _ => instead("this scheme is not known", plain),
    }
}

/// `http:/a`, `https//a` and the like: the URL that was meant.
fn mistyped_scheme(text: &str) -> Option<(Scheme, String)> {
    let behind = |scheme: Scheme| {
        let name = scheme.start().trim_end_matches("://");
        let start = text.get(..name.len())?;
        start.eq_ignore_ascii_case(name).then(|| (scheme, &text[name.len()..]))
    };
    let (scheme, behind) = behind(Scheme::Https).or_else(|| behind(Scheme::Http))?;
    let rest = behind.trim_start_matches([':', '/', ';', '.']);
    let port = digits(rest.split('/').next()?).is_some();
    let mark = behind.starts_with([':', '/', ';']);
    (mark && !behind.starts_with("://") && !rest.is_empty() && !port)
        .then(|| (scheme, format!("{}{rest}", scheme.start())))
}

/// What is left of a URL behind its scheme: an authority, and perhaps the path that is put before those of requests.
fn authority(scheme: Scheme, rest: &str) -> Result<(&str, &str), Diagnostic> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if let Some((_, host)) = authority.rsplit_once('@') {
        let right = format!("{}{host}", scheme.start());
        return Err(instead("user names have no place here", [right]));
    }
    match tail {
        "" | "/" => Ok((authority, "")),
        tail if tail.starts_with('/') && !tail.contains(['?', '#']) => {
            Ok((authority, conditions::prefix(tail)?.0))
        }
        _ => {
            let what = "an upstream has no query and no fragment";
            Err(instead(what, [format!("{}{authority}", scheme.start())]))
        }
    }
}

fn unix_upstream(path: &str) -> Result<UpstreamSpec, Diagnostic> {
    if let Some((socket, _)) = path.split_once(":/") {
        return Err(instead("an upstream has no path", [format!("http://unix:{socket}")]));
    }
    if path.bytes().any(|byte| !byte.is_ascii_graphic()) {
        // The name becomes the value of `X-Backend-Server`.
        return Err(wrong("only visible ASCII is possible here", "rename the socket"));
    }
    let place = socket_path(path)?;
    let name = format!("http://unix:{path}");
    let (authority, place) = ("localhost".to_owned(), Place::Unix(place));
    Ok(UpstreamSpec {
        name,
        authority,
        place,
        secure: false,
        base: String::new(),
        weight: 1,
        backup: false,
        draining: false,
        resolved_from: None,
    })
}

pub(super) fn socket_path(path: &str) -> Result<PathBuf, Diagnostic> {
    if path.is_empty() {
        let right = "write the whole path, such as unix:/run/tidegate.sock";
        return Err(wrong("the path of the socket is missing", right));
    }
    if !path.starts_with('/') {
        // Relative to what, nobody can say: a service has no working directory worth the name.
        let right = "write the whole path, such as unix:/run/tidegate.sock";
        return Err(wrong("the path of a socket is absolute", right));
    }
    if path.len() > LONGEST_SOCKET_PATH {
        let what = format!("a socket's path has at most {LONGEST_SOCKET_PATH} octets");
        return Err(wrong(what, "write a shorter path"));
    }
    file(path)
}

/// A host name or IP literal in canonical form, IPv6 without brackets.
fn host_name(scheme: Scheme, host: &str) -> Result<String, Diagnostic> {
    if host.is_empty() {
        return Err(unclear("the host is missing"));
    }
    if host.starts_with('[') || host.contains(':') {
        return match address(host) {
            Some(address) => Ok(address.to_string()),
            None if host.contains('%') => {
                Err(wrong("zones are not understood", "write the address without %..."))
            }
            None => Err(no_brackets(scheme, host)),
        };
    }
    if !host.is_ascii() {
        return Err(wrong("a host name is ASCII", "write it in its xn-- form"));
    }
    let name = host.to_ascii_lowercase();
    let labels: Vec<&str> = name.strip_suffix('.').unwrap_or(&name).split('.').collect();
    let fine = |label: &&str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(known)
    };
    if name.len() > 253 || !labels.iter().all(fine) {
        let right = "write letters, digits, - and _ in labels of 1 to 63, separated by dots";
        return Err(wrong("this is not a host name", right));
    }
    let last = labels.last().copied().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    if numeric && Ipv4Addr::from_str(&name).is_err() {
        let right = "write four numbers from 0 to 255, such as 127.0.0.1";
        return Err(wrong("this is not an IPv4 address", right));
    }
    Ok(name)
}

/// A host with colons that is no IPv6 address in brackets.
fn no_brackets(scheme: Scheme, host: &str) -> Diagnostic {
    const WHAT: &str = "an IPv6 address goes in brackets";
    let start = scheme.start();
    match ipv6_and_port(host) {
        Some((address, port)) => instead(WHAT, [format!("{start}[{address}]:{port}")]),
        None if Ipv6Addr::from_str(host).is_ok() => instead(WHAT, [format!("{start}[{host}]")]),
        None => {
            let right = "write an IPv6 address in brackets, such as http://[::1]:9001";
            wrong("this is not an IPv6 address", right)
        }
    }
}

/// The length of a mask such as 255.255.0.0.
fn mask_length(text: &str) -> Option<u32> {
    let mask = Ipv4Addr::from_str(text).ok()?.to_bits();
    (mask.leading_ones() == mask.count_ones()).then(|| mask.leading_ones())
}

/// `host:port`; the colons of an IPv6 address only count outside of brackets.
pub(super) fn split_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let inside = port.contains(']') || (host.contains(':') && !host.ends_with(']'));
    (!inside).then_some((host, port))
}

/// An IPv4 address, or an IPv6 address in brackets.
pub(super) fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => Ipv6Addr::from_str(host).ok().map(IpAddr::V6),
        None => Ipv4Addr::from_str(host).ok().map(IpAddr::V4),
    }
}

/// Host and port as a URL has them: the default port left out.
pub(super) fn host_and_port(scheme: Scheme, host: &str, port: u16) -> String {
    match port {
        port if port == scheme.port() => bracketed(host),
        port => format!("{}:{port}", bracketed(host)),
    }
}

pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

pub(super) fn bad_port(least: u16) -> Diagnostic {
    wrong("this is not a port", format!("write a number from {least} to 65535 behind the colon"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::advice;
    use crate::config::table::Form;

    #[test]
    fn upstreams_get_canonical_names() {
        let cases = [
            ("http://127.0.0.1:9001", "http://127.0.0.1:9001", "127.0.0.1:9001"),
            ("HTTP://Example.COM:80/", "http://example.com", "example.com"),
            ("http://a_b-c.test", "http://a_b-c.test", "a_b-c.test"),
            ("backend:9001", "http://backend:9001", "backend:9001"),
            ("http://[2001:DB8::0:1]:81", "http://[2001:db8::1]:81", "[2001:db8::1]:81"),
            ("http://unix:/run/a.sock", "http://unix:/run/a.sock", "localhost"),
            ("unix:/run/a.sock", "http://unix:/run/a.sock", "localhost"),
        ];
        for (text, name, authority) in cases {
            let read = upstream(text).unwrap();
            assert_eq!((read.name.as_str(), read.authority.as_str()), (name, authority));
            assert_eq!(upstream(name), Ok(read));
        }
        let place = Place::Tcp { host: "2001:db8::1".to_owned(), port: 80 };
        assert_eq!(upstream("http://[2001:db8::1]").unwrap().place, place);
    }

    #[test]
    fn https_is_spoken_in_some_builds_and_has_its_own_port() {
        let read = |text: &str| {
            let one = advice::read(Form::Urls, text, upstream).map_err(|wrong| wrong.right())?;
            Ok::<_, String>((one.secure, one.name, one.authority))
        };
        let is = |name: &str, authority: &str| Ok((true, name.to_owned(), authority.to_owned()));
        let no = |right: &str| Err(right.to_owned());
        for (text, expected) in [
            ("https://A", is("https://a", "a")),
            ("HTTPS://a:443/b/", is("https://a/b", "a")),
            ("https://a:80", is("https://a:80", "a:80")),
            ("https://[::1]:8443", is("https://[::1]:8443", "[::1]:8443")),
            ("https:/a:1", no("write https://a:1")),
            ("wss://a:1", no("write https://a:1")),
            ("https://me:secret@a", no("write https://a")),
            ("https://a?b", no("write https://a")),
            ("https://::1:9001", no("write https://[::1]:9001")),
            ("https://unix:/run/a", no("write http://unix:/run/a")),
        ] {
            match cfg!(feature = "tls") {
                true => assert_eq!(read(text), expected, "{text}"),
                false => assert!(read(text).unwrap_err().ends_with("--features tls"), "{text}"),
            }
        }
        assert_eq!(read("http://a:443").unwrap().1, "http://a:443");
    }

    #[test]
    fn what_is_no_upstream_is_told_with_advice() {
        let cases = [
            ("http:a:1", "write http://a:1"),
            ("http:/a:1", "write http://a:1"),
            ("http//a:1", "write http://a:1"),
            ("http:///run/a", "write http://unix:/run/a"),
            ("/run/a", "write http://unix:/run/a"),
            ("ws://a:1", "write http://a:1"),
            ("h2c://a:1", "write http://a:1"),
            ("unix:///run/a", "write http://unix:/run/a"),
            (
                "http://a/b/../c",
                "write it without dot segments, empty segments, and slashes in disguise",
            ),
            ("http://a?b", "write http://a"),
            ("http://a/#b", "write http://a"),
            ("http://me:secret@a:1", "write http://a:1"),
            ("9001", "write http://127.0.0.1:9001"),
            (":9001", "write http://127.0.0.1:9001"),
            ("backend", "write http://backend for port 80, or add :PORT"),
            ("[::1]", "write http://[::1] for port 80, or add :PORT"),
            ("http://", "write a URL such as http://127.0.0.1:9001 or http://unix:/run/app.sock"),
            (
                "http://:80",
                "write a URL such as http://127.0.0.1:9001 or http://unix:/run/app.sock",
            ),
            ("http://a:", "write a number from 1 to 65535 behind the colon"),
            ("http://a:0", "write a number from 1 to 65535 behind the colon"),
            ("http://a:+1", "write a number from 1 to 65535 behind the colon"),
            ("http://::1", "write http://[::1]"),
            ("http://::1:9001", "write http://[::1]:9001"),
            ("::1:9001", "write http://[::1]:9001"),
            ("http://[::1%eth0]:1", "write the address without %..."),
            ("http://[::g]:1", "write an IPv6 address in brackets, such as http://[::1]:9001"),
            ("http://1.2.3:1", "write four numbers from 0 to 255, such as 127.0.0.1"),
            ("http://0x7f.1:1", "write four numbers from 0 to 255, such as 127.0.0.1"),
            ("http://bücher.example:1", "write it in its xn-- form"),
            ("http://unix:/run/a:/path", "write http://unix:/run/a"),
            ("http://unix:", "write the whole path, such as unix:/run/tidegate.sock"),
            ("http://unix:/run/a b", "rename the socket"),
        ];
        for (text, right) in cases {
            assert_eq!(
                advice::read(Form::Urls, text, upstream).unwrap_err().right(),
                right,
                "{text}"
            );
        }
        for odd in ["http://a..b", "http://a b", "http://a\r\nb", "http://.", "http://a%20b"] {
            assert!(upstream(odd).unwrap_err().right().starts_with("write letters"), "{odd:?}");
        }
    }

    #[test]
    fn networks_have_no_bits_beyond_their_prefix() {
        assert_eq!(network("10.0.0.0/8").unwrap(), IpNet::from_str("10.0.0.0/8").unwrap());
        assert_eq!(network("::1").unwrap().prefix_len(), 128);
        assert_eq!(network("0.0.0.0/0").unwrap().prefix_len(), 0);
        assert_eq!(network("::/0").unwrap().prefix_len(), 0);
        let cases = [
            ("10.1.0.0/8", "write 10.0.0.0/8 or 10.1.0.0 for the address alone"),
            ("10.0.0.0/255.0.0.0", "write 10.0.0.0/8"),
            ("[::1]", "write ::1"),
            ("[fd00::]/8", "write fd00::/8"),
            ("localhost", "write 127.0.0.1 or ::1"),
            ("::ffff:10.0.0.0/90", "write a network such as 10.0.0.0/8, fd00::/8 or 192.0.2.7"),
            ("10.0.0.0/33", "write 10.0.0.0/32 for this address alone"),
            ("10.0.0.0/+8", "write 10.0.0.0/32 for this address alone"),
            ("fd00::1/8", "write fd00::/8 or fd00::1 for the address alone"),
            ("::ffff:10.0.0.0/104", "write 10.0.0.0/8"),
            ("private", "write a network such as 10.0.0.0/8, fd00::/8 or 192.0.2.7"),
        ];
        for (text, right) in cases {
            assert_eq!(
                advice::read(Form::Networks, text, network).unwrap_err().right(),
                right,
                "{text}"
            );
        }
    }

    #[test]
    fn files_have_names() {
        assert_eq!(file("a b.log"), Ok(PathBuf::from("a b.log")));
        for odd in ["", "logs/", "a\nb"] {
            assert!(file(odd).is_err(), "{odd:?}");
            assert_eq!(folder(odd).is_ok(), odd.ends_with('/'), "{odd:?}");
        }
    }
}
