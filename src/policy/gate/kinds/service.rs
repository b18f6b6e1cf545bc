//! Another service says who may: it is asked with the request's fields.

use std::sync::Arc;

use super::super::super::MatchInput;
use super::super::authenticator::{Authentication, Authenticator};
use super::super::judge::JudgedAt;
use super::super::question::{Asked, AuthQuestion, Holds};
use crate::config::ForwardAuthSpec;
use crate::http::write::field_line;
use crate::http::{Field, Name, OURS, Reason, forward, looks_like};

/// Octets of the fields that a service is asked with.
const ASKED_WITH: usize = 16 * 1024;

/// The service.
pub struct Service(ForwardAuthSpec);

impl Service {
    pub fn new(spec: &ForwardAuthSpec) -> Service {
        Service(spec.clone())
    }

    pub fn authenticate(
        &self,
        auth: &Arc<Authenticator>,
        input: &MatchInput<'_>,
        JudgedAt { now, unix_s }: JudgedAt,
    ) -> Authentication {
        let mut lines = asked_with(input, &self.0.fields);
        if let Some(shown) = input.certificate_at(unix_s) {
            lines.extend_from_slice(&shown.lines);
            lines.shrink_to_fit(); // it may wait for a while
        }
        if lines.len() > ASKED_WITH {
            return Authentication::Rejected(Reason::AuthFieldsTooLarge.into());
        }
        // Nobody knows by what the service tells people apart, so the answer to one question holds for no other.
        let key = auth.key(&[&lines]);
        if !self.0.cache.is_zero()
            && let Some(known) = auth.remembered(key, now)
        {
            return known;
        }
        let asked = Asked::Service(lines);
        let holds = Holds { good: self.0.cache, bad: self.0.cache };
        Authentication::Ask(Arc::new(AuthQuestion { auth: Arc::clone(auth), key, holds, asked }))
    }
}

/// The field lines that the service is asked with: those that would go on to an upstream, but for those about the body,
/// the resource or the connection, and where the request would go.
fn asked_with(input: &MatchInput<'_>, copied: &[String]) -> Vec<u8> {
    let MatchInput { head, bytes, .. } = *input;
    let mut lines = Vec::new();
    let mut put = |name: &[u8], value: &[u8]| field_line(&mut lines, name, value);
    let passing = forward::passing(head, bytes, input.is_trusted(), input.withheld);
    for field in passing.filter(|field| is_for_service(field, bytes, copied)) {
        put(field.name.of(bytes), field.value.of(bytes));
    }
    // Its answer may be relayed to a client, or read by us.
    put(b"Accept-Encoding", b"identity");
    let proto = input.field("X-Forwarded-Proto").filter(|_| input.is_trusted());
    put(b"X-Forwarded-Proto", proto.unwrap_or(if input.secure { b"https" } else { b"http" }));
    put(b"X-Forwarded-Method", head.method_text.of(bytes));
    put(b"X-Forwarded-Host", head.host.of(bytes));
    put(b"X-Forwarded-Uri", head.path.of(bytes));
    if let Some(client) = input.client() {
        put(b"X-Forwarded-For", client.to_string().as_bytes());
    }
    lines.shrink_to_fit(); // it may wait for a while
    lines
}

/// Fields about a body, or that compare with the resource (RFC 9110 section 13.1): an answer of the service is none of
/// it.
const NOT_ASKED: [&str; 11] = [
    "Content-Type",
    "Content-Encoding",
    "Content-Language",
    "Content-Range",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "If-Range",
    "Range",
    "Accept-Encoding",
];
/// Fields that have credentials, also where the service says what goes on in them.
const CREDENTIALS: [&str; 2] = ["Authorization", "Cookie"];

/// What tells who asks may be in any field but those above, ours, and those that only the service may say.
fn is_for_service(field: &Field, bytes: &[u8], copied: &[String]) -> bool {
    let name = field.name.of(bytes);
    let is_like = |other: &str| looks_like(name, other.as_bytes());
    let is_ours = field.id.is(OURS) && !matches!(field.id, Name::UserAgent | Name::Referer);
    let is_said = copied.iter().any(|other| is_like(other));
    let has_credentials = CREDENTIALS.iter().any(|other| is_like(other));
    !is_ours && !NOT_ASKED.iter().any(|other| is_like(other)) && (!is_said || has_credentials)
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::input;
    use super::*;
    use std::net::IpAddr;

    use ipnet::IpNet;

    /// The field lines of the question about a request with these fields, but for ours.
    fn asked(fields: &str, trusted: bool, withheld: &[&str]) -> String {
        let networks = [IpNet::from(IpAddr::from([192, 0, 2, 1]))];
        let withheld: Vec<String> = withheld.iter().map(|name| (*name).to_owned()).collect();
        let lines = input(&format!("GET /a?b HTTP/1.1\r\nHost: h{fields}"), |input| {
            let trusted = if trusted { &networks[..] } else { &[] };
            let copied = ["X-User", "Authorization"].map(str::to_owned);
            asked_with(&MatchInput { trusted, withheld: &withheld, ..*input }, &copied)
        });
        let text = String::from_utf8(lines).unwrap();
        let ours = "Accept-Encoding: identity\r\nX-Forwarded-Proto: http\r\n\
                    X-Forwarded-Method: GET\r\nX-Forwarded-Host: h\r\nX-Forwarded-Uri: /a?b\r\n\
                    X-Forwarded-For: 192.0.2.1\r\n";
        text.replace(ours, "").replace("\r\n", "|")
    }

    #[test]
    fn a_question_has_the_fields_that_would_go_on() {
        for (fields, asked_with) in [
            ("", ""),
            (
                "\r\nCookie: a\r\nX-B: c\r\nUser-Agent: d\r\nReferer: e",
                "Cookie: a|X-B: c|User-Agent: d|Referer: e|",
            ),
            ("\r\nConnection: X-B, close\r\nX-B: c\r\nTE: trailers\r\nUpgrade: h2c", ""),
            ("\r\nContent-Type: a/b\r\nContent-Length: 0\r\nExpect: 100-continue", ""),
            ("\r\nIf-Match: a\r\nIf-None-Match: a\r\nIf-Modified-Since: a", ""),
            ("\r\nIf-Unmodified-Since: a\r\nIf-Range: a\r\nRange: bytes=0-1", ""),
            ("\r\naccept-encoding: br\r\nAccept: a/b", "Accept: a/b|"),
            ("\r\nX-Forwarded-Method: PUT\r\nX-Forwarded-Uri: /\r\nX_Forwarded_Host: a", ""),
            ("\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 10.0.0.1\r\nForwarded: for=a", ""),
            ("\r\nX-Admin: 1\r\nx_admin: 1\r\nX-Admins: 1", "X-Admins: 1|"),
            ("\r\nX-User: root\r\nx_user: root\r\nAuthorization: a", "Authorization: a|"),
            ("\r\nContent_Type: a/b\r\nIf_Match: a", ""),
            ("\r\nVia: 1.1 a\r\nX-Request-Id: a\r\nMax-Forwards: 1", ""),
        ] {
            assert_eq!(asked(fields, false, &["X-Admin"]), asked_with, "{fields:?}");
        }
    }

    #[test]
    fn a_trusted_peer_says_whether_the_client_came_over_tls() {
        let text =
            asked("\r\nX-Forwarded-Proto: https\r\nX-Admin: 1\r\nX-Forwarded-Uri: /", true, &[]);
        assert!(text.starts_with("X-Admin: 1|Accept-Encoding"), "{text}");
        assert!(text.contains("|X-Forwarded-Proto: https|"), "{text}");
        assert_eq!(text.matches("X-Forwarded").count(), 5, "{text}");
    }
}
