//! The gate as it would be written: what [`super::gating`] reads. Secrets are shown as they were written.

use super::gate::*;
use super::rates::rate_of;
use super::show::switch;
use super::values::show_duration;

/// The name of a setting, and its value as a text; of a list with commas, of roles, which may have commas, a line each.
pub type Row = (&'static str, String);

/// What credentials are.
pub fn auth(spec: &AuthSpec) -> Vec<Row> {
    let mut rows = vec![("auth-kind", spec.kind.name().to_owned())];
    if !matches!(spec.kind, AuthKind::Basic(_)) {
        rows.push(("auth-header", spec.fields.join(",")));
    }
    rows.push(("auth-pass", switch(spec.pass)));
    match &spec.kind {
        AuthKind::Token(tokens) => rows.push(("auth-token", shown(tokens))),
        AuthKind::Basic(users) => {
            rows.push(("auth-user", each_once(users.iter().map(|user| user.hash.to_string()))));
        }
        AuthKind::Jwt(jwt) => rows.extend(signed(jwt)),
        AuthKind::Forward(ForwardAuthSpec { url, timeout, fields, cache }) => rows.extend([
            ("auth-url", url.text.clone()),
            ("auth-timeout", show_duration(*timeout).to_string()),
            ("auth-copy", fields.join(",")),
            ("auth-cache", show_duration(*cache).to_string()),
        ]),
    }
    rows
}

/// Tokens, as they were written.
pub fn shown(tokens: &[Token]) -> String {
    each_once(tokens.iter().map(|token| token.shown.to_string()))
}

fn signed(spec: &JwtSpec) -> Vec<Row> {
    let JwtSpec { keys, algorithms, issuer, audience, leeway, role, forward } = spec;
    let mut rows = match keys {
        JwtKeys::Key(key) => vec![("auth-key", key.to_string())],
        JwtKeys::Set(set) => vec![("auth-jwks", set.to_string())],
        JwtKeys::Url { url, refresh } => vec![
            ("auth-jwks", url.text.clone()),
            ("auth-refresh", show_duration(*refresh).to_string()),
        ],
    };
    let names: Vec<&str> = algorithms.iter().map(|one| one.name()).collect();
    let claims: Vec<String> =
        forward.iter().map(|(field, claim)| format!("{field}={claim}")).collect();
    rows.extend([
        ("auth-algorithm", names.join(",")),
        ("auth-issuer", issuer.join(",")),
        ("auth-audience", audience.join(",")),
        ("auth-leeway", show_duration(*leeway).to_string()),
        ("auth-role", role.clone().unwrap_or_default()),
        ("auth-forward", claims.join(",")),
    ]);
    rows
}

/// How often.
pub fn limit(spec: &LimitSpec) -> Vec<Row> {
    let LimitSpec { name: _, requests: _, window: _, burst, by, keys, dry_run } = spec;
    let mut rows = vec![("limit-rate", rate_of(spec))];
    match burst {
        Some(burst) => rows.push(("limit-burst", burst.to_string())),
        None => rows.push(("limit-window", "sliding".to_owned())),
    }
    rows.extend([
        ("limit-by", by.to_string()),
        ("limit-keys", keys.to_string()),
        ("limit-dry-run", switch(*dry_run)),
    ]);
    rows
}

/// What is demanded, and done for the answer, but for what has a name.
pub fn gate(gate: &Gate) -> Vec<Row> {
    let Gate {
        allow,
        deny,
        content_type,
        auth: _,
        roles: _,
        limits: _,
        security_headers,
        cors,
        client_cert,
    } = gate;
    let list = |list: &Option<std::sync::Arc<NetworkList>>| {
        list.as_ref().map_or_else(String::new, |list| list.written.join(","))
    };
    let mut rows = vec![
        ("allow", list(allow)),
        ("deny", list(deny)),
        ("content-type", content_type.join(",")),
        ("security-headers", switch(*security_headers)),
        ("client-cert", switch(*client_cert)),
    ];
    if let Some(cors) = cors {
        let CorsSpec { origin, method, header, expose, credentials, max_age } = &**cors;
        rows.extend([
            ("cors-origin", origin.join(",")),
            ("cors-method", method.join(",")),
            ("cors-header", header.join(",")),
            ("cors-expose", expose.join(",")),
            ("cors-credentials", switch(*credentials)),
            ("cors-max-age", show_duration(*max_age).to_string()),
        ]);
    }
    rows
}

/// What a route demands beyond what stands at the top.
pub fn gate_of_route(plan: &super::Plan, spec: &Gate, is_forward: bool) -> Vec<Row> {
    let above = gate(&plan.gate);
    let mut rows = gate(spec);
    rows.retain(|row| !above.contains(row));
    for (key, gone) in [
        ("allow", spec.allow.is_none() && plan.gate.allow.is_some()),
        ("deny", spec.deny.is_none() && plan.gate.deny.is_some()),
        ("cors-origin", spec.cors.is_none() && plan.gate.cors.is_some()),
    ] {
        if gone {
            rows.retain(|row| row.0 != key);
            rows.push((key, "off".to_owned()));
        }
    }
    let auths: Vec<&str> = spec.auth.iter().map(|one| &*one.name).collect();
    let limits: Vec<&str> = spec.limits.iter().map(|one| &*one.name).collect();
    let has_auth = is_forward && plan.auths.iter().any(|one| &*one.name == DEFAULT);
    let has_limit = is_forward && plan.limits.iter().any(|one| &*one.name == DEFAULT);
    for (key, names, default) in [("auth", auths, has_auth), ("limit", limits, has_limit)] {
        match (&names[..], default) {
            ([], false) | ([DEFAULT], true) => {}
            ([], true) => rows.push((key, "off".to_owned())),
            (names, _) => rows.push((key, names.join(","))),
        }
    }
    let roles: Vec<&str> = spec.roles.iter().map(|role| &**role).collect();
    rows.push(("role", roles.join("\n")));
    rows
}

const DEFAULT: &str = super::sections::DEFAULT;

/// A list that was read from elsewhere stands there once.
fn each_once(texts: impl Iterator<Item = String>) -> String {
    let mut texts: Vec<String> = texts.collect();
    texts.dedup();
    texts.join(",")
}
