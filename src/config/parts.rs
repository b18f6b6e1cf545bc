//! Parts of requests and connections that settings of pools name: hash keys, cookies, targets, hosts, addresses.

use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use super::diagnostics::{Diagnostic, instead, unclear, wrong};
use super::pool::{Balance, HashKey, ProbeMethod, Resolve};
use super::table::{self, Form, TOP};
use super::values;
use crate::http::{Name, grammar};

/// Octets of a name, of a target or a text that is looked for, and of a host with its port.
const LONGEST_NAME: usize = 64;
const LONGEST: usize = 1024;
const LONGEST_HOST: usize = 260;
/// Octets of a secret: fewer are guessed.
const SECRET: (usize, usize) = (16, 1024);

pub fn balance(text: &str) -> Result<Balance, Diagnostic> {
    use Balance::{Hash, LeastRequests, RoundRobin, TwoChoices};
    let choices = [RoundRobin, LeastRequests, TwoChoices, Hash(HashKey::Client)];
    let choices = choices.map(|balance| (balance.name(), balance));
    let meant = match text.to_ascii_lowercase().replace('_', "-").as_str() {
        "rr" | "roundrobin" | "round-robin" | "wrr" => "round-robin",
        "leastconn" | "least-conn" | "least-connections" | "least-request" => "least-requests",
        "p2c" | "ewma" | "random" | "two-random-choices" | "power-of-two" => "two-choices",
        "ip-hash" | "uri-hash" | "source" | "maglev" | "ring-hash" | "ringhash" => "hash",
        _ => return values::choice(&choices, text),
    };
    match meant == text {
        true => values::choice(&choices, text),
        false => Err(instead("this is called otherwise here", [meant])),
    }
}

/// `client`, `path`, `uri`, `header:NAME`, `cookie:NAME`.
pub fn hash_key(text: &str) -> Result<HashKey, Diagnostic> {
    let name = |name: &str, what: &str| match is_name(name) {
        true => Ok(name.to_owned()),
        false => Err(unclear(format!("this has no name of a {what} behind the colon"))),
    };
    match text.split_once(':') {
        Some(("header", field)) => match Name::of(field.as_bytes()) {
            Name::Host => {
                let what = "all requests for a host would go to one upstream";
                Err(instead(what, ["uri", "path"]).and(" to spread them"))
            }
            _ => name(field, "field").map(HashKey::Header),
        },
        Some(("cookie", cookie)) => name(cookie, "cookie").map(HashKey::Cookie),
        _ => match text {
            "client" => Ok(HashKey::Client),
            "path" => Ok(HashKey::Path),
            "uri" => Ok(HashKey::Uri),
            "ip" | "source" | "client-ip" | "remote-addr" | "$remote_addr" => {
                Err(instead("this is called otherwise here", ["client"]))
            }
            "url" | "request-uri" | "$request_uri" => {
                Err(instead("this is called otherwise here", ["uri"]))
            }
            _ if is_name(text) && text.starts_with(['X', 'x']) => Err(instead(
                "the name of a field stands behind header:",
                [format!("header:{text}")],
            )),
            _ => Err(unclear("this is no part of a request that can be hashed")),
        },
    }
}

/// As it would be written.
impl Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HashKey::Client => f.write_str("client"),
            HashKey::Path => f.write_str("path"),
            HashKey::Uri => f.write_str("uri"),
            HashKey::Header(name) => write!(f, "header:{name}"),
            HashKey::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

fn is_name(text: &str) -> bool {
    grammar::is_token(text.as_bytes()) && text.len() <= LONGEST_NAME
}

/// The name of a cookie (RFC 6265 section 4.1.1), or `off`.
pub fn cookie(text: &str) -> Result<Option<String>, Diagnostic> {
    match text {
        "off" => Ok(None),
        "on" | "true" | "yes" => Err(instead("the name of a cookie is wanted", ["tg"])),
        text if values::is_off(text) => {
            Err(instead("this is not the name of a cookie", ["off"]).and(" for none"))
        }
        text if is_name(text) => Ok(Some(text.to_owned())),
        _ => Err(unclear("this is not the name of a cookie")),
    }
}

/// A secret, or `off`. What is said of one never quotes it.
pub fn secret(text: &str) -> Result<Option<String>, Diagnostic> {
    let (least, most) = SECRET;
    match text.len() {
        3 if text == "off" => Ok(None),
        length if length < least => {
            let what = format!("a secret of {length} octets is soon guessed");
            Err(wrong(what, format!("it has at least {least}; openssl rand -hex 32 makes one")))
        }
        length if length > most => {
            Err(wrong("this is too long", format!("it has at most {most} octets")))
        }
        _ if text.chars().any(char::is_control) => {
            Err(wrong("there are control characters in it", "leave them out"))
        }
        _ => Ok(Some(text.to_owned())),
    }
}

/// A path, and perhaps a query.
pub fn target(text: &str) -> Result<String, Diagnostic> {
    if let Some((_, rest)) = text.split_once("://") {
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        return Err(instead("this is a URL, and its path is wanted", [path]));
    }
    if !text.starts_with('/') {
        return Err(instead("a path begins with a slash", [format!("/{text}")]));
    }
    if let Some((path, _)) = text.split_once('#') {
        return Err(instead("a request has no fragment", [path]));
    }
    match grammar::is_target(text.as_bytes()) && text.len() <= LONGEST {
        true => Ok(text.to_owned()),
        false => Err(unclear("this is not the path of a request")),
    }
}

/// A host, perhaps with a port, or `off`.
pub fn authority(text: &str) -> Result<Option<String>, Diagnostic> {
    if text == "off" {
        return Ok(None);
    }
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split('/').next().unwrap_or_default();
        return Err(instead("a host has no scheme", [host]));
    }
    match grammar::is_authority(text.as_bytes()) && text.len() <= LONGEST_HOST {
        true => Ok(Some(text.to_owned())),
        false => Err(unclear("this is not a host")),
    }
}

/// A text that is looked for in a body; empty: none is.
pub fn body(text: &str) -> Result<String, Diagnostic> {
    match text.len() {
        length if length > LONGEST => {
            Err(wrong("this is too long", format!("it has at most {LONGEST} octets")))
        }
        _ => Ok(text.to_owned()),
    }
}

/// An IP address, or `off`.
pub fn address(text: &str) -> Result<Option<IpAddr>, Diagnostic> {
    if text == "off" {
        return Ok(None);
    }
    if text == "localhost" {
        return Err(instead("names are not looked up here", ["127.0.0.1", "::1"]));
    }
    match IpAddr::from_str(text) {
        Ok(ip) if ip.to_canonical() != ip => {
            Err(instead("this is an IPv4-mapped IPv6 address", [ip.to_canonical().to_string()]))
        }
        Ok(ip) if ip.is_unspecified() => {
            Err(instead("the kernel chooses an address anyway", ["off"]))
        }
        Ok(ip) if ip.is_multicast() => {
            Err(wrong("no connection comes from there", "name an address of this machine"))
        }
        Ok(ip) => Ok(Some(ip)),
        Err(_) => {
            let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']');
            match IpAddr::from_str(host).is_ok() {
                true => Err(instead("an address alone is wanted, without a port", [host])),
                false => Err(unclear("this is not an IP address")),
            }
        }
    }
}

/// A duration, `once` or `srv`.
pub fn resolve(text: &str) -> Result<Resolve, Diagnostic> {
    let row = table::find_in(TOP, "resolve");
    let range = row.map_or((0, u64::MAX), |row| row.range);
    match text {
        "once" => Ok(Resolve::AtStart),
        "srv" if !cfg!(feature = "dns") => {
            let right = "build tidegate with --features dns, or write a duration such as 10s";
            Err(wrong("this build knows no SRV records", right))
        }
        "srv" => Ok(Resolve::Srv),
        text if values::is_off(text) => Err(instead("names are looked up once at least", ["once"])),
        text => {
            let time = values::number(Form::Resolve, range, text).map_err(|wrong| {
                match wrong.offers.is_empty() {
                    true => unclear("this is neither a duration nor once nor srv"),
                    false => wrong,
                }
            });
            time.map(|ms| Resolve::Every(Duration::from_millis(ms)))
        }
    }
}

/// `127.0.0.1:53`: a DNS server.
pub fn server(text: &str) -> Result<SocketAddr, Diagnostic> {
    if !cfg!(feature = "dns") {
        let right = "build tidegate with --features dns, or leave resolver out";
        return Err(wrong("this build asks the system for names, and no server", right));
    }
    match SocketAddr::from_str(text) {
        Ok(server) if server.port() == 0 => Err(unclear("no server has the port 0")),
        Ok(server) => Ok(server),
        Err(_) => match IpAddr::from_str(text.trim_start_matches('[').trim_end_matches(']')) {
            Ok(ip) => Err(instead("the port is missing", [SocketAddr::new(ip, 53).to_string()])),
            Err(_) => Err(unclear("this is no IP address with a port")),
        },
    }
}

/// What a check does.
pub fn probe(text: &str) -> Result<ProbeMethod, Diagnostic> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Err(instead("this is called otherwise here", ["connect"])),
        "http" => Err(instead("this is called otherwise here", ["get"])),
        _ => {
            let all = [ProbeMethod::Get, ProbeMethod::Head, ProbeMethod::Connect];
            values::choice(&all.map(|method| (method.name(), method)), text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::advice;
    use super::*;

    #[test]
    fn parts_are_read_or_told_what_would_be_right() {
        let right = |form, text: &str| -> String {
            let read = |text: &str| match form {
                Form::HashKey => hash_key(text).map(|key| key.to_string()),
                Form::Cookie => cookie(text).map(|name| name.unwrap_or_default()),
                Form::Target => target(text),
                Form::Authority => authority(text).map(|host| host.unwrap_or_default()),
                Form::Address => address(text).map(|ip| format!("{ip:?}")),
                Form::Resolve => resolve(text).map(|when| format!("{when:?}")),
                Form::Secret => secret(text).map(|text| text.unwrap_or_default()),
                _ => balance(text).map(|balance| format!("{balance:?}")),
            };
            advice::read(form, text, read).unwrap_or_else(|wrong| wrong.right())
        };
        const WORDS: Form = Form::Choice("");
        for (form, text, expected) in [
            (Form::HashKey, "header:X-T", "header:X-T"),
            (Form::HashKey, "cookie:a", "cookie:a"),
            (Form::HashKey, "ip", "write client"),
            (Form::HashKey, "X-Tenant", "write header:X-Tenant"),
            (Form::HashKey, "CLIENT", "write client"),
            (Form::HashKey, "header:Host", "write uri or path to spread them"),
            (
                Form::HashKey,
                "header:",
                "write a key such as client, path, uri, header:X-Tenant or cookie:session",
            ),
            (Form::Cookie, "tg", "tg"),
            (Form::Cookie, "off", ""),
            (Form::Cookie, "none", "write off for none"),
            (Form::Cookie, "a b", "write the name of a cookie such as tg or off"),
            (Form::Target, "/a?b=c", "/a?b=c"),
            (Form::Target, "healthz", "write /healthz"),
            (Form::Target, "http://a:1/x", "write /x"),
            (Form::Authority, "a:80", "a:80"),
            (Form::Authority, "http://a:80/x", "write a:80"),
            (Form::Address, "off", "None"),
            (Form::Address, "192.0.2.7:80", "write 192.0.2.7"),
            (Form::Address, "0.0.0.0", "write off"),
            (Form::Resolve, "once", "AtStart"),
            (Form::Resolve, "10s", "Every(10s)"),
            (Form::Resolve, "off", "write once"),
            (Form::Resolve, "10", "write 10s"),
            (Form::Secret, "0123456789abcdef", "0123456789abcdef"),
            (Form::Secret, "short", "it has at least 16; openssl rand -hex 32 makes one"),
            (WORDS, "hash", "Hash(Client)"),
            (WORDS, "leastconn", "write least-requests"),
            (WORDS, "Round_Robin", "write round-robin"),
        ] {
            assert_eq!(right(form, text), expected, "{text}");
        }
    }
}
