//! What a route may look at: a request, and where it comes from.

use std::net::IpAddr;

use ipnet::IpNet;

use super::gate::ShownCertificate;
use crate::config::Listen;
use crate::http::{CLAIM, Field, Method, Name, Request, names};

/// A request whose head was judged good.
#[derive(Clone, Copy, Debug)]
pub struct MatchInput<'a> {
    /// Its head.
    pub head: &'a Request,
    /// The octets of that.
    pub bytes: &'a [u8],
    /// Its method; of a preflight that of the request that it is about.
    pub method: &'a [u8],
    /// Where it came in.
    pub listen: &'a Listen,
    /// Who connected to us; `None`: over a Unix socket.
    pub peer: Option<IpAddr>,
    /// It came over TLS.
    pub secure: bool,
    /// Whom `X-Forwarded-For` is believed; nobody where the peer is not among them.
    pub trusted: &'a [IpNet],
    /// Names of further fields that this client may not send.
    pub withheld: &'a [String],
    /// The certificate that the client has shown, which may not hold any more.
    pub certificate: Option<&'a ShownCertificate>,
}

impl<'a> MatchInput<'a> {
    /// The host that it is for, as it came: without a port, in any case, perhaps with a dot at the end.
    pub fn host(&self) -> &'a [u8] {
        crate::http::host::without_port(self.head.host.of(self.bytes))
    }

    /// What the client says of those before it is believed.
    pub fn is_trusted(&self) -> bool {
        !self.trusted.is_empty()
    }

    /// The certificate of the client, as far as it holds at so many seconds after the epoch.
    pub fn certificate_at(&self, unix_s: u64) -> Option<&'a ShownCertificate> {
        self.certificate.filter(|shown| shown.holds(unix_s))
    }

    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields(name).next()
    }

    /// The client may send this field, so that an upstream gets it, too. Only trusted proxies speak of other clients:
    /// of their addresses, and of their certificates where we ask for none.
    pub fn may_say(&self, field: &Field) -> bool {
        let name = field.name.of(self.bytes);
        !names::is_among(name, self.withheld) && (self.is_trusted() || !field.id.is(CLAIM))
    }

    /// Every field of this name that the client may send.
    pub fn fields(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let input @ Self { head, bytes, .. } = *self;
        let is_it = move |field: &&Field| {
            field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes()) && input.may_say(field)
        };
        head.fields.iter().filter(is_it).map(move |field| field.value.of(bytes))
    }

    /// The request as one that is asked about: of a preflight (Fetch, "CORS-preflight request") as the request that
    /// would follow it.
    pub fn asked_about(&self) -> Option<MatchInput<'a>> {
        let is_preflight = self.head.method == Method::Options && self.field("Origin").is_some();
        let method = self.field("Access-Control-Request-Method").filter(|_| is_preflight)?;
        Some(MatchInput { method, ..*self })
    }

    /// Path and query; the path of `OPTIONS *` is `*`.
    pub fn path_and_query(&self) -> (&'a [u8], Option<&'a [u8]>) {
        crate::http::path::split(self.head.path.of(self.bytes))
    }

    /// The client: who connected to us, or, behind proxies that are trusted, the last address in `X-Forwarded-For` that
    /// is none of theirs.
    pub fn client(&self) -> Option<IpAddr> {
        let is_trusted = |address: &IpAddr| self.trusted.iter().any(|one| one.contains(address));
        let mut client = self.peer?.to_canonical();
        if self.trusted.is_empty() {
            return Some(client);
        }
        let claims = self.head.fields.iter().filter(|field| field.id == Name::XForwardedFor);
        let claims: Vec<&[u8]> =
            claims.flat_map(|field| field.value.of(self.bytes).split(|b| *b == b',')).collect();
        for claim in claims.iter().rev() {
            if !is_trusted(&client) {
                break;
            }
            let text = std::str::from_utf8(claim).unwrap_or_default().trim();
            let Some(address) = address(text) else { break };
            client = address;
        }
        Some(client)
    }
}

/// An address, perhaps with a port, as proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    use std::str::FromStr;
    let bare = text.strip_prefix('[').and_then(|text| text.split_once(']')).map(|(ip, _)| ip);
    let ip = IpAddr::from_str(bare.unwrap_or(text)).ok();
    let with_port = || std::net::SocketAddrV4::from_str(text).ok().map(|at| IpAddr::V4(*at.ip()));
    ip.or_else(with_port).map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Limits;
    use std::net::Ipv4Addr;

    #[test]
    fn a_client_says_what_it_may_send() {
        let fields = "Host: a\r\nX-Client-Subject: CN=a\r\nX-Forwarded-Host: d\r\n\
                      True-Client-IP: b\r\nX-A: c\r\n";
        let withheld = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        for (is_trusted, withheld, expected) in [
            (true, withheld(&[]), [true, true, true, true]),
            (true, withheld(&["x-client-subject"]), [false, true, true, true]),
            (false, withheld(&[]), [false, false, true, true]),
            (false, withheld(&["True-Client-IP"]), [false, false, false, true]),
        ] {
            let withheld: Vec<String> = withheld;
            let said = input(fields, |input| {
                let trusted = if is_trusted { input.trusted } else { &[] };
                let input = MatchInput { trusted, withheld: &withheld, ..input };
                ["X-Client-Subject", "X-Forwarded-Host", "true-client-ip", "X-A"]
                    .map(|name| input.field(name).is_some())
            });
            assert_eq!(said, expected, "{is_trusted} {withheld:?}");
        }
    }

    /// What `look` says of a GET with these fields from 10.0.0.1, where 10.0.0.0/8 is trusted.
    fn input<T>(fields: &str, look: impl Fn(MatchInput<'_>) -> T) -> T {
        let text = format!("GET /a?b HTTP/1.1\r\n{fields}\r\n");
        let mut head = Request::default();
        head.read(text.as_bytes(), &Limits::default()).unwrap();
        let trusted = [IpNet::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8).unwrap()];
        look(MatchInput {
            head: &head,
            bytes: text.as_bytes(),
            method: b"GET",
            listen: &Listen::Any(80),
            peer: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))),
            secure: false,
            trusted: &trusted,
            withheld: &[],
            certificate: None,
        })
    }

    #[test]
    fn the_client_is_the_last_that_no_trusted_proxy_is() {
        for (claims, client) in [
            ("", "10.0.0.1"),
            ("X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
            ("X-Forwarded-For: 192.0.2.9, 192.0.2.1\r\n", "192.0.2.1"),
            ("X-Forwarded-For: 192.0.2.1, 10.1.1.1\r\n", "192.0.2.1"),
            ("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 10.1.1.1\r\n", "192.0.2.1"),
            ("X-Forwarded-For: 192.0.2.1, junk\r\n", "10.0.0.1"),
            ("X-Forwarded-For: 192.0.2.1, junk, 10.2.2.2\r\n", "10.2.2.2"),
            ("X-Forwarded-For: 192.0.2.1:80\r\n", "192.0.2.1"),
            ("X-Forwarded-For: [2001:db8::1]:80\r\n", "2001:db8::1"),
            ("X-Forwarded-For: ::ffff:192.0.2.1\r\n", "192.0.2.1"),
        ] {
            let found = input(&format!("Host: a\r\n{claims}"), |input| input.client());
            assert_eq!(found.unwrap().to_string(), client, "{claims}");
        }
    }
}
