//! The conditions of a route, one by one. The router finds host and path by its tables, and asks for the rest here.

use std::net::IpAddr;

use super::input::MatchInput;
use crate::config::{Conditions, FieldCondition, HostPattern, Listen, PathPattern};
use crate::http::grammar::percent_encoded;
use crate::http::{host, path};
use ConditionKind::{Client, Header, Host, Method, Path, Query};

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionKind {
    /// The host a request is for.
    Host,
    /// Its path.
    Path,
    /// Where the request came in.
    Listen,
    /// Where it comes from.
    Client,
    /// Its fields.
    Header,
    /// Its query.
    Query,
    /// Its method. Last: a request that fails here alone is told which methods there are.
    Method,
}

/// All of them, in the order in which they are looked at.
pub const KINDS: [ConditionKind; 7] =
    [Host, Path, ConditionKind::Listen, Client, Header, Query, Method];
/// Those that the router's tables say nothing of.
const REST: &[ConditionKind] = KINDS.split_at(2).1;

/// Whether the conditions of this kind hold.
pub fn holds(kind: ConditionKind, conditions: &Conditions, input: &MatchInput<'_>) -> bool {
    match kind {
        Host => is_in(&conditions.host, |pattern| is_host(pattern, input)),
        Path => is_in(&conditions.path, |pattern| is_path(pattern, input)),
        ConditionKind::Listen => is_in(&conditions.listen, |listen| is_at(listen, input.listen)),
        Method => {
            let method = input.method;
            // Some origins take `get` for GET: whoever is to be kept from one is kept from the other.
            is_in(&conditions.method, |own| own.as_bytes().eq_ignore_ascii_case(method))
        }
        Client if conditions.client.is_empty() => true,
        Client => input.client().is_some_and(|client: IpAddr| {
            conditions.client.iter().any(|network| network.contains(&client))
        }),
        Header => conditions.header.iter().all(|condition| has_field(condition, input)),
        Query if conditions.query.is_empty() => true,
        Query => {
            let query = input.path_and_query().1.unwrap_or_default();
            conditions.query.iter().all(|condition| has_parameter(condition, query))
        }
    }
}

/// All conditions but host and path hold, and perhaps not the last.
pub fn all_but_method(conditions: &Conditions, input: &MatchInput<'_>) -> bool {
    REST[..REST.len() - 1].iter().all(|kind| holds(*kind, conditions, input))
}

/// All conditions but host and path hold.
pub fn all(conditions: &Conditions, input: &MatchInput<'_>) -> bool {
    REST.iter().all(|kind| holds(*kind, conditions, input))
}

/// There are no conditions but on host and path.
pub fn is_plain(conditions: &Conditions) -> bool {
    let Conditions { listen, host: _, path: _, method, header, query, client } = conditions;
    listen.is_empty()
        && method.is_empty()
        && header.is_empty()
        && query.is_empty()
        && client.is_empty()
}

/// A list that is empty always holds.
fn is_in<T>(list: &[T], is_it: impl Fn(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(is_it)
}

/// Whether `condition` is about what listens at `listen`.
pub fn is_at(condition: &Listen, listen: &Listen) -> bool {
    condition == listen || condition.covers(listen)
}

fn is_host(pattern: &HostPattern, input: &MatchInput<'_>) -> bool {
    let mut buffer = [0; host::LONGEST];
    let host = host::normal(input.host(), &mut buffer);
    match pattern {
        HostPattern::Exact(name) => host == name.as_bytes(),
        HostPattern::Below(domain) => {
            let labels = host.strip_suffix(domain.as_bytes());
            labels.is_some_and(|labels| labels.ends_with(b"."))
        }
    }
}

fn is_path(pattern: &PathPattern, input: &MatchInput<'_>) -> bool {
    let mut scratch = Vec::new();
    let Ok(path) = path::normal(input.path_and_query().0, &mut scratch) else { return false };
    match path.strip_prefix(pattern.normal.as_slice()) {
        Some(rest) => rest.is_empty() || (pattern.below && rest[0] == b'/'),
        None => false,
    }
}

fn has_field(condition: &FieldCondition, input: &MatchInput<'_>) -> bool {
    let FieldCondition { name, values, .. } = condition;
    input.head.fields.iter().any(|field| {
        field.name.of(input.bytes).eq_ignore_ascii_case(name.as_bytes())
            && !input.head.stays_behind(field, input.bytes)
            && input.may_say(field)
            && is_in(values, |value| value.as_bytes() == field.value.of(input.bytes))
    })
}

fn has_parameter(condition: &FieldCondition, query: &[u8]) -> bool {
    let FieldCondition { name, values, .. } = condition;
    query.split(|octet| *octet == b'&').any(|pair| {
        let at = pair.iter().position(|octet| *octet == b'=');
        let (own, value) = match at {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        decoded(own).eq(name.bytes()) && is_in(values, |wanted| decoded(value).eq(wanted.bytes()))
    })
}

/// The octets of a name or value of a query, as forms write them.
pub fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (octet, behind) = rest.split_first()?;
        let (octet, behind) = match octet {
            b'+' => (b' ', behind),
            b'%' => percent_encoded(behind).unwrap_or((b'%', behind)),
            octet => (*octet, behind),
        };
        rest = behind;
        Some(octet)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_compared_decoded() {
        let condition = |name: &str, values: &[&str]| FieldCondition {
            name: name.to_owned(),
            values: values.iter().map(|value| value.to_string()).collect(),
            shown: None,
        };
        for (name, values, query, expected) in [
            ("a", &[][..], "a", true),
            ("a", &[], "b&a=1", true),
            ("a", &[], "ab=1", false),
            ("a", &["1"], "a=1", true),
            ("a", &["1"], "a=2&a=1", true),
            ("a", &["1", "2"], "a=2", true),
            ("a", &["x y"], "%61=x+y", true),
            ("a", &["x y"], "a=x%20y", true),
            ("a", &[""], "a", true),
            ("a", &["1"], "", false),
            ("a", &["%"], "a=%", true),
        ] {
            let found = has_parameter(&condition(name, values), query.as_bytes());
            assert_eq!(found, expected, "{name} {values:?} {query}");
        }
    }
}
