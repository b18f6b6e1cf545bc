//! What the texts of a route come to for one request: header rules, redirects, answers.

use std::net::IpAddr;

use super::input::MatchInput;
use crate::config::{
    HeaderLine, HeaderRules, LINES_MOST, Placeholder, Redirect, Respond, TEXT_MOST, Template,
};
use crate::http::Reply;

/// What placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The request.
    pub input: MatchInput<'a>,
    /// The client came over TLS.
    pub secure: bool,
    /// The identity the request goes by.
    pub id: &'a [u8],
    /// Who asks; empty where nobody says.
    pub user: &'a str,
    /// The name of its route.
    pub route: &'a str,
    /// The URL of its upstream; empty where there is none.
    pub upstream: &'a str,
}

impl Values<'_> {
    /// Writes what a placeholder stands for.
    pub fn write(&self, placeholder: Placeholder, out: &mut Vec<u8>) {
        let (path, query) = self.input.path_and_query();
        // `OPTIONS *` is about no path.
        let path = if path == b"*" { b"/" } else { path };
        match placeholder {
            Placeholder::Host => {
                let host = self.input.host();
                out.extend(host.iter().map(u8::to_ascii_lowercase));
            }
            Placeholder::Path => out.extend_from_slice(path),
            Placeholder::Query => out.extend_from_slice(query.unwrap_or_default()),
            Placeholder::Uri => {
                out.extend_from_slice(path);
                if let Some(query) = query {
                    out.push(b'?');
                    out.extend_from_slice(query);
                }
            }
            Placeholder::Method => {
                out.extend_from_slice(self.input.head.method_text.of(self.input.bytes));
            }
            Placeholder::Scheme => {
                out.extend_from_slice(if self.secure { b"https" } else { b"http" });
            }
            Placeholder::Client => match self.input.client() {
                Some(IpAddr::V4(ip)) => out.extend_from_slice(ip.to_string().as_bytes()),
                Some(IpAddr::V6(ip)) => out.extend_from_slice(ip.to_string().as_bytes()),
                None => out.extend_from_slice(b"unix"),
            },
            Placeholder::User => out.extend_from_slice(self.user.as_bytes()),
            Placeholder::RequestId => out.extend_from_slice(self.id),
            Placeholder::Route => out.extend_from_slice(self.route.as_bytes()),
            Placeholder::Upstream => out.extend_from_slice(self.upstream.as_bytes()),
        }
    }

    /// How many octets a placeholder stands for at most.
    fn longest(&self, placeholder: Placeholder) -> usize {
        match placeholder {
            Placeholder::Host => self.input.host().len(),
            Placeholder::Path | Placeholder::Query | Placeholder::Uri => {
                self.input.head.path.of(self.input.bytes).len() + 1
            }
            Placeholder::Method => self.input.head.method_text.of(self.input.bytes).len(),
            Placeholder::Scheme => "https".len(),
            Placeholder::Client => LONGEST_ADDRESS,
            Placeholder::User => self.user.len(),
            Placeholder::RequestId => self.id.len(),
            Placeholder::Route => self.route.len(),
            Placeholder::Upstream => LONGEST_URL,
        }
    }

    /// The text of a template; `None`: it would have more than so many octets.
    fn text(&self, template: &Template, quoting: Quoting, most: usize) -> Option<String> {
        let longest = |placeholder| self.longest(placeholder) * quoting.factor();
        if template.longest(longest) > most {
            return None;
        }
        let mut out = Vec::new();
        template.render(&mut out, |placeholder, out| {
            let start = out.len();
            self.write(placeholder, out);
            quoting.apply(out, start);
        });
        Some(String::from_utf8_lossy(&out).into_owned())
    }
}

/// Octets of the longest IPv6 address, with an IPv4 address at its end.
const LONGEST_ADDRESS: usize = 45;
/// Octets of the longest URL of an upstream that is reckoned with.
const LONGEST_URL: usize = 256;

/// Whether the field lines that `rules` put in stay within their bound, whatever the client made long.
pub fn fits(rules: &HeaderRules, values: &Values<'_>) -> bool {
    rules.longest(|placeholder| values.longest(placeholder)) <= LINES_MOST
}

/// The field lines that are the same for every request: what is left of [`lines`] where they do not fit.
pub fn fixed_lines(rules: &HeaderRules) -> Vec<u8> {
    let fixed = rules.lines.iter().filter(|line| line.value.is_fixed());
    let mut out = Vec::new();
    for line in fixed {
        out.extend_from_slice(format!("{}: ", line.name).as_bytes());
        line.value.render(&mut out, |_, _| {});
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The field lines that `rules` put in, each with its line end; none: nothing. `masked`: for people, who do not see
/// what was read from elsewhere.
pub fn lines(rules: &HeaderRules, values: &Values<'_>, masked: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for line in &rules.lines {
        if masked && line.value.is_masked() {
            out.extend_from_slice(format!("{}: {}\r\n", line.name, line.value).as_bytes());
            continue;
        }
        out.extend_from_slice(line.name.as_bytes());
        out.extend_from_slice(b": ");
        line.value.render(&mut out, |placeholder, out| values.write(placeholder, out));
        while out.ends_with(b" ") && !out.ends_with(b": ") {
            out.pop();
        }
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The redirect that `redirect` comes to; `None`: what the client asks for makes it too long.
pub fn redirect(redirect: &Redirect, values: &Values<'_>) -> Option<Reply> {
    let to = values.text(&redirect.to, Quoting::None, LINES_MOST)?;
    let mut reply = Reply::new(redirect.status, "text/plain; charset=utf-8", format!("See {to}\n"));
    // Of the statuses here 301 and 308 could be kept by default (RFC 9110 section 15.1): let them.
    reply.fields.retain(|(name, _)| *name != "Cache-Control");
    reply.push("Location", to);
    Some(reply)
}

/// The answer that `respond` comes to; `None`: what the client asks for makes it too long.
pub fn respond(respond: &Respond, rules: &HeaderRules, values: &Values<'_>) -> Option<Reply> {
    // A rule may say that it is something else.
    let is_kind = |line: &&HeaderLine| line.name.eq_ignore_ascii_case("Content-Type");
    let kinds = rules.lines.iter().filter(is_kind).map(|line| line.value.to_string());
    let quoting =
        kinds.map(|kind| Quoting::of(&kind)).fold(Quoting::of(&respond.kind), Quoting::or);
    let body = values.text(&respond.body, quoting, TEXT_MOST)?;
    let mut reply = Reply::new(respond.status, "", body);
    reply.fields.clear();
    reply.push("Content-Type", respond.kind.clone());
    Some(reply)
}

/// How a text of the client's is put into another one, so that it stays a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quoting {
    None,
    /// For HTML and XML: a client must not write markup.
    Markup,
    /// Within the quotes of JSON.
    Json,
}

impl Quoting {
    fn of(kind: &str) -> Quoting {
        match kind.to_ascii_lowercase() {
            kind if kind.contains("html") || kind.contains("xml") => Quoting::Markup,
            kind if kind.contains("json") => Quoting::Json,
            _ => Quoting::None,
        }
    }

    /// What an octet becomes at most.
    fn factor(self) -> usize {
        match self {
            Quoting::None => 1,
            Quoting::Markup => "&quot;".len(),
            Quoting::Json => 2,
        }
    }

    /// The one that quotes at all, of two.
    fn or(self, other: Quoting) -> Quoting {
        if other == Quoting::None { self } else { other }
    }

    /// Quotes what stands in `out` from `start` on.
    fn apply(self, out: &mut Vec<u8>, start: usize) {
        if self == Quoting::None {
            return;
        }
        for octet in out.split_off(start) {
            match (self, octet) {
                (Quoting::Markup, b'<') => out.extend_from_slice(b"&lt;"),
                (Quoting::Markup, b'>') => out.extend_from_slice(b"&gt;"),
                (Quoting::Markup, b'&') => out.extend_from_slice(b"&amp;"),
                (Quoting::Markup, b'"') => out.extend_from_slice(b"&quot;"),
                (Quoting::Markup, b'\'') => out.extend_from_slice(b"&#39;"),
                (Quoting::Json, b'"' | b'\\') => out.extend_from_slice(&[b'\\', octet]),
                _ => out.push(octet),
            }
        }
    }
}
