//! Addresses to listen on, and what is spoken there.

use ipnet::IpNet;
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use super::build::MOST_LISTED;
use super::diagnostics::{Diagnostic, instead, unclear, wrong};
use super::given::{Given, Origin};
use super::places::{
    Scheme, address, bad_port, bracketed, ipv6_and_port, network, socket_path, split_port,
};
use super::plan::Listen;
use super::settings::{Item, Settings, setting};
use crate::base::digits;

/// Where a demo listens unless it is told.
const DEMO_LISTEN: Listen = Listen::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080));

/// Perhaps with a scheme before it, which makes no difference.
impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        client_address(text).map(|(listen, _)| listen).map_err(|wrong| wrong.wrong)
    }
}

/// `:8080` (every address), `127.0.0.1:8080`, `[::]:8080` (every IPv6 address) or `unix:/path`.
pub fn listen(text: &str) -> Result<Listen, Diagnostic> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(Listen::Unix);
    }
    if let Some(rest) = text.strip_prefix("http://") {
        return listen(rest.trim_end_matches('/'));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = [rest.trim_end_matches('/')];
        return Err(match scheme.to_ascii_lowercase().as_str() {
            "https" => instead("TLS is not spoken here", rest).and(" for plain HTTP"),
            "unix" => instead(
                "a Unix socket is written otherwise",
                [format!("unix:/{}", rest[0].trim_start_matches('/'))],
            ),
            _ => instead(format!("an address has no scheme such as {scheme}://"), rest),
        });
    }
    if digits(text).is_some() {
        return Err(instead("a colon is missing", [format!(":{text}")]));
    }
    let Some((host, port)) = split_port(text) else { return Err(no_port(text)) };
    let address = match host {
        "" => None,
        "*" => return Err(instead("* is not an address", [format!(":{port}")])),
        "localhost" => {
            return Err(instead("names are not looked up here", [format!("127.0.0.1:{port}")]));
        }
        host if digits(host).is_some() => {
            return Err(instead("this is not an IP address", [format!(":{port}")]));
        }
        host => match address(host) {
            Some(address) if address.to_canonical() != address => {
                let right = format!("{}:{port}", address.to_canonical());
                return Err(instead("this is an IPv4-mapped IPv6 address", [right]));
            }
            Some(address) => Some(address),
            None => {
                let right = format!("127.0.0.1:{port}");
                return Err(instead("this is not an IP address", [right]));
            }
        },
    };
    match (address, digits(port).and_then(|port| u16::try_from(port).ok())) {
        (Some(address), Some(port)) => Ok(Listen::Tcp(SocketAddr::new(address, port))),
        (None, Some(port)) => Ok(Listen::Any(port)),
        (_, None) => Err(bad_port(0)),
    }
}

/// [`listen`], and the scheme that stands before it, if one does.
pub fn client_address(text: &str) -> Result<(Listen, Option<Scheme>), Diagnostic> {
    let (scheme, rest) = Scheme::split(text)?;
    let Some(scheme) = scheme else { return Ok((listen(rest)?, None)) };
    match listen(rest.trim_end_matches('/')) {
        Ok(listen) => Ok((listen, Some(scheme))),
        Err(mut wrong) => {
            if scheme.is_secure() {
                wrong.offers.iter_mut().for_each(|offer| offer.insert_str(0, scheme.start()));
            }
            Err(wrong)
        }
    }
}

/// Where clients connect, and how they begin.
pub struct Listener {
    /// The address.
    pub at: Listen,
    /// They speak TLS.
    pub secure: bool,
    /// Those in these networks begin with a header of the PROXY protocol.
    pub proxy_protocol: Vec<IpNet>,
}

impl Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { Scheme::Https.start() } else { "" };
        write!(f, "{scheme}{}", self.at)
    }
}

/// [`client_address`], and behind it perhaps `proxy-protocol=` with a network.
pub fn listener(text: &str) -> Result<Listener, Diagnostic> {
    let mut words = text.split_whitespace();
    let (at, scheme) = client_address(words.next().unwrap_or_default())?;
    let network = |option: &str| match option.split_once('=') {
        Some(("proxy-protocol", text)) => network(text),
        _ => Err(instead(
            "a listener has no such option",
            [text.split(' ').next().unwrap_or_default()],
        )),
    };
    let proxy_protocol: Vec<IpNet> = words.map(network).collect::<Result<_, _>>()?;
    let listener = Listener { at, secure: scheme.is_some_and(Scheme::is_secure), proxy_protocol };
    match &listener.at {
        Listen::Unix(_) if !listener.proxy_protocol.is_empty() => {
            let what = "who connects over a Unix socket has no address";
            Err(instead(what, [listener.to_string()]))
        }
        _ => Ok(listener),
    }
}

/// [`listen`], or `off`.
pub fn admin(text: &str) -> Result<Option<Listen>, Diagnostic> {
    match text {
        "off" => Ok(None),
        // Not on every address, as it would be for clients.
        text if digits(text).is_some() => {
            Err(instead("this is only a port", [format!("127.0.0.1:{text}")]))
        }
        text => listen(text).map(Some),
    }
}

/// An address that names no port, so nothing can listen there.
fn no_port(text: &str) -> Diagnostic {
    const WHAT: &str = "the port is missing";
    match text {
        text if text.starts_with(['/', '.']) => {
            instead("the path of a socket begins with unix:", [format!("unix:{text}")])
        }
        "*" => instead(WHAT, [":8080"]),
        "localhost" => instead(WHAT, ["127.0.0.1:8080"]),
        text if text.contains('%') => unclear("zones are not understood"),
        text => match ipv6_and_port(text) {
            Some((host, port)) => {
                instead("an IPv6 address goes in brackets", [format!("[{host}]:{port}")])
            }
            None if address(&bracketed(text)).is_some() => {
                instead(WHAT, [format!("{}:8080", bracketed(text))])
            }
            None => unclear("this is not an address"),
        },
    }
}

/// Where clients connect.
#[derive(Default)]
pub struct Listening {
    pub addresses: Vec<Listen>,
    /// Those where TLS is spoken, and where the first of them was given.
    pub secure: Vec<Listen>,
    pub secured: Option<Given>,
    pub proxy_protocol: Vec<(Option<Listen>, IpNet)>,
}

impl Settings<'_> {
    /// Without those that others cover: the kernel would refuse them.
    pub(super) fn listen(&mut self, demo: bool) -> Listening {
        let is_default = |given: &Given| given.origin == Origin::Default;
        if demo && self.layers.of(setting("listen")).iter().all(is_default) {
            // A demonstration must not be open to other machines.
            return Listening { addresses: vec![DEMO_LISTEN], ..Listening::default() };
        }
        let admin = self.layers.of(setting("admin")).into_iter().next();
        let by_default = admin.filter(is_default);
        let by_default = by_default.and_then(|given| listen(&given.text).ok());
        let read = |text: &str| match listener(text)? {
            Listener { at, .. } if by_default.as_ref().is_some_and(|one| collide(&at, one)) => {
                let what = "clients and admin cannot have the same address";
                Err(wrong(what, "take another port, or give the admin one with --admin"))
            }
            listener => Ok(listener),
        };
        let items = self.all("listen", MOST_LISTED, read);
        self.refuse_both_with_and_without_tls(&items);
        let all: Vec<(Listen, bool)> =
            items.iter().map(|item| (item.value.at.clone(), item.value.secure)).collect();
        let mut listening = Listening::default();
        for (at, Item { value: listener, given, .. }) in items.into_iter().enumerate() {
            let Listener { at: value, secure, proxy_protocol } = listener;
            let is_wider = |other: usize| {
                let (wider, is_secure) = &all[other];
                let is_first = other < at || !value.covers(wider);
                *is_secure == secure && wider.covers(&value) && is_first
            };
            match (0..all.len()).find(|other| *other != at && is_wider(*other)) {
                Some(other) => {
                    let what = match &all[other].0 {
                        same if *same == value => "the same is given twice and used once".into(),
                        wider => format!("{wider} takes in {value} as well"),
                    };
                    self.diagnostics.warning_in(
                        &given.origin,
                        &given.text,
                        wrong(what, format!("leave {value} out")),
                    );
                }
                None => {
                    let of_it = proxy_protocol.into_iter();
                    let of_it = of_it.map(|network| (Some(value.clone()), network));
                    listening.proxy_protocol.extend(of_it);
                    if secure {
                        listening.secure.push(value.clone());
                        listening.secured.get_or_insert(given);
                    }
                    listening.addresses.push(value);
                }
            }
        }
        listening
    }

    /// An address where TLS is spoken, and which another takes in where it is not.
    fn refuse_both_with_and_without_tls(&mut self, items: &[Item<Listener>]) {
        for (at, Item { value, given }) in items.iter().enumerate() {
            let is_other = |one: &&Item<Listener>| {
                one.value.secure != value.secure && collide(&one.value.at, &value.at)
            };
            if let Some(other) = items[..at].iter().find(is_other) {
                let what = format!(
                    "{} and {value} are one address, and TLS is spoken at one of them",
                    other.value
                );
                let right = "put https:// before both or none, or take another port";
                self.refuse_one(given, wrong(what, right));
            }
        }
    }
}

/// Two listeners that cannot both be.
pub fn collide(one: &Listen, other: &Listen) -> bool {
    one.covers(other) || other.covers(one)
}

#[cfg(test)]
mod tests {
    use super::super::advice;
    use super::super::table::Form;
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
            ("127.0.0.1", "write 127.0.0.1:8080"),
            ("::1", "write [::1]:8080"),
            ("::1:80", "write [::1]:80"),
            (":::80", "write [::]:80"),
            ("2001:db8::1", "write [2001:db8::1]:8080"),
            ("2001:db8:0:0:0:0:0:1", "write [2001:db8:0:0:0:0:0:1]:8080"),
            ("localhost", "write 127.0.0.1:8080"),
            (
                "off",
                "write an address such as :8080, 127.0.0.1:8080, [::1]:8080 or unix:/run/tidegate.sock",
            ),
            (
                "fe80::1%eth0:80",
                "write an address such as :8080, 127.0.0.1:8080, [::1]:8080 or unix:/run/tidegate.sock",
            ),
            ("/run/a.sock", "write unix:/run/a.sock"),
            ("*", "write :8080"),
            ("*:80", "write :80"),
            ("8080:80", "write :80"),
            ("https://:8443", "write :8443 for plain HTTP"),
            ("localhost:80", "write 127.0.0.1:80"),
            ("example.com:80", "write 127.0.0.1:80"),
            ("[::ffff:10.0.0.1]:80", "write 10.0.0.1:80"),
            ("ftp://127.0.0.1:80/", "write 127.0.0.1:80"),
            (":+80", "write a number from 0 to 65535 behind the colon"),
            (":65536", "write a number from 0 to 65535 behind the colon"),
            (":", "write a number from 0 to 65535 behind the colon"),
            ("unix:", "write the whole path, such as unix:/run/tidegate.sock"),
            ("unix:a.sock", "write the whole path, such as unix:/run/tidegate.sock"),
            ("unix:/run/", "write the path of a file"),
            ("unix:/a\0b", "rename the file"),
        ];
        for (text, right) in cases {
            assert_eq!(
                advice::read(Form::Listens, text, listen).unwrap_err().right(),
                right,
                "{text}"
            );
        }
        let long = format!("unix:/{}", "a".repeat(super::super::places::LONGEST_SOCKET_PATH));
        assert_eq!(listen(&long).unwrap_err().right(), "write a shorter path");
    }

    #[test]
    fn clients_may_speak_tls_where_they_connect() {
        for (text, shown, secure) in [
            ("http://:80", ":80", false),
            ("https://:8443", ":8443", true),
            ("HTTPS://127.0.0.1:1/", "127.0.0.1:1", true),
            ("https://unix:/run/a", "unix:/run/a", true),
        ] {
            let read = listener(text).map(|one| (one.at.to_string(), one.secure));
            match cfg!(feature = "tls") || !secure {
                true => assert_eq!(read, Ok((shown.to_owned(), secure)), "{text}"),
                false => assert!(read.unwrap_err().right().ends_with("--features tls"), "{text}"),
            }
        }
        if cfg!(feature = "tls") {
            let right = |text: &str| client_address(text).unwrap_err().right();
            assert_eq!(right("https://localhost:8443"), "write https://127.0.0.1:8443");
            assert_eq!(right("https://8443"), "write https://:8443");
        }
    }
}
