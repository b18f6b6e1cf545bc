//! Another service says who may: it is asked with the request's fields.

use std::sync::Arc;

use super::super::super::MatchInput;
use super::super::authenticator::{Authenticator, Look};
use super::super::judge::Inquiry;
use super::super::question::{Asked, AuthQuestion};
use crate::config::ForwardAuthSpec;
use crate::http::{HOP_BY_HOP, Name, OURS, Reason};

/// Octets of the fields that a service is asked with.
const ASKED_WITH: usize = 16 * 1024;

/// The service.
pub struct Service(ForwardAuthSpec);

impl Service {
    pub fn new(spec: &ForwardAuthSpec) -> Service {
        Service(spec.clone())
    }

    pub fn look(
        &self,
        auth: &Arc<Authenticator>,
        input: &MatchInput<'_>,
        Inquiry { now, .. }: Inquiry,
    ) -> Look {
        let lines = asked_with(input);
        if lines.len() > ASKED_WITH {
            return Look::Bad(Reason::AmbiguousCredentials.into());
        }
        // Nobody knows by what the service tells people apart, so the answer to one question holds for no other.
        let key = auth.key(&[&lines]);
        if !self.0.cache.is_zero()
            && let Some(known) = auth.remembered(key, now)
        {
            return known;
        }
        let asked = Asked::Service(lines);
        Look::Ask(Arc::new(AuthQuestion { auth: Arc::clone(auth), key, asked }))
    }
}

/// The field lines that the service is asked with: those of the request that are about it and not about its body or the
/// connection, and where it would go.
fn asked_with(input: &MatchInput<'_>) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut put = |name: &[u8], value: &[u8]| {
        lines.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
    };
    for field in &input.head.fields {
        let is_plain = !field.id.is(OURS) || matches!(field.id, Name::UserAgent | Name::Referer);
        let of_body = matches!(
            field.id,
            Name::ContentType | Name::ContentEncoding | Name::ContentLanguage | Name::ContentRange
        );
        if is_plain && !field.id.is(HOP_BY_HOP) && !of_body {
            put(field.name.of(input.bytes), field.value.of(input.bytes));
        }
    }
    put(b"X-Forwarded-Method", input.head.method_text.of(input.bytes));
    put(b"X-Forwarded-Host", input.head.host.of(input.bytes));
    put(b"X-Forwarded-Uri", input.head.path.of(input.bytes));
    if let Some(client) = input.client() {
        put(b"X-Forwarded-For", client.to_string().as_bytes());
    }
    lines
}
