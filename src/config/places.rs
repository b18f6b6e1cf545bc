//! Addresses to listen on, upstream URLs and networks. No name is resolved here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::mistake::{Wrong, wrong};
use super::plan::{Listen, Network, Place, Upstream};
use super::values::digits;

/// The longest path a Unix socket can have: `sun_path` less the final NUL.
const LONGEST_SOCKET_PATH: usize = 107;

/// `:8080` (every address), `127.0.0.1:8080`, `[::]:8080` (every IPv6 address) or `unix:/path`.
pub fn listen(text: &str) -> Result<Listen, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(Listen::Unix);
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let right = format!("write {}", rest.trim_end_matches('/'));
        return Err(wrong(format!("an address has no scheme such as {scheme}://"), right));
    }
    if digits(text).is_some() {
        return Err(wrong("a colon is missing", format!("write :{text}")));
    }
    let Some((host, port)) = split_port(text) else {
        let host = address(&bracketed(text)).map_or("127.0.0.1".to_owned(), |_| bracketed(text));
        return Err(wrong("the port is missing", format!("write {host}:8080")));
    };
    let address = match host {
        "" => None,
        "*" => return Err(wrong("* is not an address", format!("write :{port}"))),
        "localhost" => {
            return Err(wrong("names are not looked up here", format!("write 127.0.0.1:{port}")));
        }
        host => match address(host) {
            Some(address) if address.to_canonical() != address => {
                let right = format!("write {}:{port}", address.to_canonical());
                return Err(wrong("this is an IPv4 address in IPv6 clothes", right));
            }
            Some(address) => Some(address),
            None => {
                let right = format!("write 127.0.0.1:{port}");
                return Err(wrong("this is not an IP address", right));
            }
        },
    };
    match (address, digits(port).and_then(|port| u16::try_from(port).ok())) {
        (Some(address), Some(port)) => Ok(Listen::Tcp(SocketAddr::new(address, port))),
        (None, Some(port)) => Ok(Listen::Any(port)),
        (_, None) => Err(bad_port(0)),
    }
}

/// `http://host[:port]`, `http://unix:/path`, or either without `http://`.
///
/// The name is canonical: lower case, IPv6 in its shortest form, port 80 left out.
pub fn upstream(text: &str) -> Result<Upstream, Wrong> {
    let (explicit, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (plain_http(scheme, rest).map(|()| true)?, rest),
        None => (false, text),
    };
    if let Some(path) = rest.strip_prefix("unix:") {
        return unix_upstream(path);
    }
    let authority = authority(rest)?;
    if !explicit && digits(authority.strip_prefix(':').unwrap_or(authority)).is_some() {
        let port = authority.trim_start_matches(':');
        return Err(wrong("the host is missing", format!("write http://127.0.0.1:{port}")));
    }
    let (host, port) = match split_port(authority) {
        Some((host, port)) => (host, Some(port)),
        None if explicit => (authority, None),
        None => {
            let right = format!("write http://{}", bracketed(&host_name(authority)?));
            return Err(wrong("the port is missing", right));
        }
    };
    let host = host_name(host)?;
    let port = match port.map(|port| digits(port).and_then(|port| u16::try_from(port).ok())) {
        None => 80,
        Some(None | Some(0)) => return Err(bad_port(1)),
        Some(Some(port)) => port,
    };
    let authority = match port {
        80 => bracketed(&host),
        port => format!("{}:{port}", bracketed(&host)),
    };
    Ok(Upstream {
        name: format!("http://{authority}"),
        authority,
        place: Place::Tcp { host, port },
    })
}

/// `10.0.0.0/8`, `2001:db8::/32`, or one address.
pub fn network(text: &str) -> Result<Network, Wrong> {
    let (host, prefix) = match text.split_once('/') {
        Some((host, prefix)) => (host, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = IpAddr::from_str(host) else {
        return Err(wrong("this is not a network", "write 10.0.0.0/8, fd00::/8 or an address"));
    };
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix.map(digits) {
        None => widest,
        Some(Some(prefix)) if prefix <= widest => prefix,
        Some(_) => {
            let right = format!("write {host}/{widest} for this address alone");
            return Err(wrong(format!("the prefix goes from 0 to {widest}"), right));
        }
    } as u8;
    if let IpAddr::V6(v6) = address
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        let right = format!("write {v4}/{}", prefix.saturating_sub(96).min(32));
        return Err(wrong("an IPv4 network in IPv6 clothes would never match", right));
    }
    let masked = masked(address, prefix);
    if masked != address {
        let right = format!("write {masked}/{prefix}, or {address} for the address alone");
        return Err(wrong("bits are set beyond the prefix", right));
    }
    Ok(Network { address, prefix })
}

/// A file's name: anything but nothing, control characters and a folder's.
pub fn file(text: &str) -> Result<PathBuf, Wrong> {
    if text.is_empty() {
        return Err(wrong("a file needs a name", "write a path"));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong("control characters are not allowed in a path", "rename the file"));
    }
    if text.ends_with('/') {
        return Err(wrong("this names a folder", "write the path of a file"));
    }
    Ok(PathBuf::from(text))
}

fn plain_http(scheme: &str, rest: &str) -> Result<(), Wrong> {
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Ok(()),
        "https" => {
            Err(wrong("TLS to upstreams is not possible yet", format!("write http://{rest}")))
        }
        "ws" | "wss" => Err(wrong("WebSockets travel over http", format!("write http://{rest}"))),
        "h2c" | "grpc" => Err(wrong("HTTP/2 is not spoken", format!("write http://{rest}"))),
        "tcp" => Err(wrong("only HTTP is spoken", format!("write http://{rest}"))),
        "unix" => {
            Err(wrong("a Unix socket is written otherwise", format!("write http://unix:{rest}")))
        }
        _ => Err(wrong("this scheme is not known", format!("write http://{rest}"))),
    }
}

/// What is left of a URL behind its scheme: an authority, and nothing with it.
fn authority(rest: &str) -> Result<&str, Wrong> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if let Some((_, host)) = authority.rsplit_once('@') {
        return Err(wrong("user names have no place here", format!("write http://{host}")));
    }
    match tail {
        "" | "/" => Ok(authority),
        tail if tail.starts_with('/') => {
            let right = format!("write http://{authority}; the client's path is sent on as it is");
            Err(wrong("an upstream has no path", right))
        }
        _ => {
            let what = "an upstream has no query and no fragment";
            Err(wrong(what, format!("write http://{authority}")))
        }
    }
}

fn unix_upstream(path: &str) -> Result<Upstream, Wrong> {
    if let Some((socket, _)) = path.split_once(":/") {
        return Err(wrong("an upstream has no path", format!("write http://unix:{socket}")));
    }
    if path.bytes().any(|byte| !byte.is_ascii_graphic()) {
        // The name becomes the value of `X-Backend-Server`.
        return Err(wrong("only visible ASCII is possible here", "rename the socket"));
    }
    let place = socket_path(path)?;
    let name = format!("http://unix:{path}");
    Ok(Upstream { name, authority: "localhost".to_owned(), place: Place::Unix(place) })
}

fn socket_path(path: &str) -> Result<PathBuf, Wrong> {
    if path.is_empty() {
        return Err(wrong("the path of the socket is missing", "write unix:/run/tidegate.sock"));
    }
    if !path.starts_with('/') {
        let right = format!("write unix:/run/{}", path.trim_start_matches("./"));
        return Err(wrong("the path of a socket is absolute", right));
    }
    if path.len() > LONGEST_SOCKET_PATH {
        let what = format!("a socket's path has at most {LONGEST_SOCKET_PATH} octets");
        return Err(wrong(what, "write a shorter path"));
    }
    file(path)
}

/// A host name or IP literal in canonical form, IPv6 without brackets.
fn host_name(host: &str) -> Result<String, Wrong> {
    if host.is_empty() {
        return Err(wrong("the host is missing", "write http://127.0.0.1:9001"));
    }
    if host.starts_with('[') || host.contains(':') {
        return match address(host) {
            Some(address) => Ok(address.to_string()),
            None if host.contains('%') => {
                Err(wrong("zones are not understood", "write the address without %..."))
            }
            None if Ipv6Addr::from_str(host).is_ok() => Err(wrong(
                "an IPv6 address goes in brackets",
                format!("write http://[{host}]:9001"),
            )),
            None => Err(wrong("this is not an IPv6 address", "write http://[::1]:9001")),
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

/// `host:port`; the colons of an IPv6 address only count outside of brackets.
fn split_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let inside = port.contains(']') || (host.contains(':') && !host.ends_with(']'));
    (!inside).then_some((host, port))
}

/// An IPv4 address, or an IPv6 address in brackets.
fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => Ipv6Addr::from_str(host).ok().map(IpAddr::V6),
        None => Ipv4Addr::from_str(host).ok().map(IpAddr::V4),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

fn bad_port(least: u16) -> Wrong {
    wrong("this is not a port", format!("write a number from {least} to 65535"))
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on() {
        let cases = [
            (":8080", ":8080"),
            ("0.0.0.0:8080", "0.0.0.0:8080"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::]:8080", "[::]:8080"),
            ("[0:0:0:0:0:0:0:1]:65535", "[::1]:65535"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ];
        for (text, shown) in cases {
            let read = listen(text).unwrap();
            assert_eq!(read.to_string(), shown);
            assert_eq!(listen(shown), Ok(read));
        }
    }

    #[test]
    fn what_is_no_address_is_told_with_advice() {
        let cases = [
            ("8080", "write :8080"),
            ("", "write 127.0.0.1:8080"),
            ("127.0.0.1", "write 127.0.0.1:8080"),
            ("::1", "write [::1]:8080"),
            ("::1:80", "write [::1:80]:8080"),
            ("8080\"", "write 127.0.0.1:8080"),
            ("*:80", "write :80"),
            ("localhost:80", "write 127.0.0.1:80"),
            ("example.com:80", "write 127.0.0.1:80"),
            ("[::ffff:10.0.0.1]:80", "write 10.0.0.1:80"),
            ("http://127.0.0.1:80/", "write 127.0.0.1:80"),
            (":+80", "write a number from 0 to 65535"),
            (":65536", "write a number from 0 to 65535"),
            (":", "write a number from 0 to 65535"),
            ("unix:", "write unix:/run/tidegate.sock"),
            ("unix:a.sock", "write unix:/run/a.sock"),
            ("unix:/run/", "write the path of a file"),
            ("unix:/a\0b", "rename the file"),
        ];
        for (text, right) in cases {
            assert_eq!(listen(text).unwrap_err().right, right, "{text}");
        }
        let long = format!("unix:/{}", "a".repeat(LONGEST_SOCKET_PATH));
        assert_eq!(listen(&long).unwrap_err().right, "write a shorter path");
    }

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
    fn what_is_no_upstream_is_told_with_advice() {
        let cases = [
            ("https://a:1", "write http://a:1"),
            ("ws://a:1", "write http://a:1"),
            ("h2c://a:1", "write http://a:1"),
            ("unix:///run/a", "write http://unix:/run/a"),
            ("http://a/b", "write http://a; the client's path is sent on as it is"),
            ("http://a?b", "write http://a"),
            ("http://a/#b", "write http://a; the client's path is sent on as it is"),
            ("http://me:secret@a:1", "write http://a:1"),
            ("9001", "write http://127.0.0.1:9001"),
            (":9001", "write http://127.0.0.1:9001"),
            ("backend", "write http://backend"),
            ("[::1]", "write http://[::1]"),
            ("http://", "write http://127.0.0.1:9001"),
            ("http://:80", "write http://127.0.0.1:9001"),
            ("http://a:", "write a number from 1 to 65535"),
            ("http://a:0", "write a number from 1 to 65535"),
            ("http://a:+1", "write a number from 1 to 65535"),
            ("http://::1", "write http://[::1]:9001"),
            ("http://[::1%eth0]:1", "write the address without %..."),
            ("http://[::g]:1", "write http://[::1]:9001"),
            ("http://1.2.3:1", "write four numbers from 0 to 255, such as 127.0.0.1"),
            ("http://0x7f.1:1", "write four numbers from 0 to 255, such as 127.0.0.1"),
            ("http://bücher.example:1", "write it in its xn-- form"),
            ("http://unix:/run/a:/path", "write http://unix:/run/a"),
            ("http://unix:", "write unix:/run/tidegate.sock"),
            ("http://unix:/run/a b", "rename the socket"),
        ];
        for (text, right) in cases {
            assert_eq!(upstream(text).unwrap_err().right, right, "{text}");
        }
        for odd in ["http://a..b", "http://a b", "http://a\r\nb", "http://.", "http://a%20b"] {
            assert!(upstream(odd).unwrap_err().right.starts_with("write letters"), "{odd:?}");
        }
    }

    #[test]
    fn networks_have_no_bits_beyond_their_prefix() {
        let ten = Network { address: IpAddr::from([10, 0, 0, 0]), prefix: 8 };
        assert_eq!(network("10.0.0.0/8"), Ok(ten));
        assert_eq!(network("::1").unwrap().prefix, 128);
        assert_eq!(network("0.0.0.0/0").unwrap().prefix, 0);
        assert_eq!(network("::/0").unwrap().prefix, 0);
        let cases = [
            ("10.1.0.0/8", "write 10.0.0.0/8, or 10.1.0.0 for the address alone"),
            ("10.0.0.0/33", "write 10.0.0.0/32 for this address alone"),
            ("10.0.0.0/+8", "write 10.0.0.0/32 for this address alone"),
            ("fd00::1/8", "write fd00::/8, or fd00::1 for the address alone"),
            ("::ffff:10.0.0.0/104", "write 10.0.0.0/8"),
            ("private", "write 10.0.0.0/8, fd00::/8 or an address"),
        ];
        for (text, right) in cases {
            assert_eq!(network(text).unwrap_err().right, right, "{text}");
        }
    }

    #[test]
    fn files_have_names() {
        assert_eq!(file("a b.log"), Ok(PathBuf::from("a b.log")));
        for odd in ["", "logs/", "a\nb"] {
            assert!(file(odd).is_err(), "{odd:?}");
        }
    }
}
