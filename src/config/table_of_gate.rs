//! The rows of [`super::table`] that are about the gate.

use super::form::Form::*;
use super::table::DefaultValue::{Nothing, Value};
use super::table::*;

const AUTHS: Scope = TOP | AUTH;
const LIMITS_OF: Scope = TOP | LIMIT;
/// Requests of a limit.
const MOST_REQUESTS: u64 = 1_000_000_000;

/// Which requests are let through, and how often.
pub const GATE: &[Setting] = &[
    row(
        "allow",
        NetworkNames,
        Nothing,
        "Clients that are let in, as networks or lists; others get 403",
    )
    .of(TOP | ROUTE),
    row("deny", NetworkNames, Nothing, "Clients that are kept out with 403, as networks or lists")
        .of(TOP | ROUTE),
    row(
        "content-type",
        MediaTypes,
        Nothing,
        "Media types of request bodies that are accepted; else 415",
    )
    .of(TOP | ROUTE),
    row("limit-rate", Rate, Nothing, "Requests that are let through, such as 20/s; more get 429")
        .of(LIMITS_OF),
    row("limit-burst", Count, Nothing, "Size of a token bucket; without it the window slides")
        .range(1, MOST_REQUESTS)
        .of(LIMITS_OF),
    row(
        "limit-by",
        LimitKey,
        Value("client"),
        "By client, user, token, host, route, header:NAME or all",
    )
    .of(LIMITS_OF),
    row(
        "limit-window",
        Choice("sliding"),
        Value("sliding"),
        "How requests are counted where there is no burst",
    )
    .of(LIMITS_OF),
    count(
        "limit-keys",
        "65536",
        (64, 1 << 24),
        "Most clients, users and so on that are counted apart",
    )
    .of(LIMITS_OF),
    switch("limit-dry-run", "Count and log what would be refused, but refuse nothing")
        .of(LIMITS_OF),
    row("rate-limit", Count, Nothing, "Requests a second from all clients together; more get 429")
        .range(1, MOST_REQUESTS)
        .of_no_plan(),
    switch("security-headers", "Add fields that protect browsers to answers that lack them")
        .of(TOP | ROUTE),
    row(
        "cors-origin",
        Origins,
        Nothing,
        "Origins whose scripts may call: `https://app.example.org`",
    )
    .of(TOP | ROUTE),
    row("cors-method", Methods, Nothing, "Methods that they may use besides GET, HEAD and POST")
        .of(TOP | ROUTE),
    row("cors-header", Fields, Nothing, "Request fields that they may set").of(TOP | ROUTE),
    row("cors-expose", Fields, Nothing, "Answer fields that they may read").of(TOP | ROUTE),
    switch("cors-credentials", "Let their requests carry cookies and credentials").of(TOP | ROUTE),
    wait("cors-max-age", "10m", "How long browsers may keep the answer to a preflight")
        .range(0, DAY)
        .of(TOP | ROUTE),
];

/// How users prove who they are.
pub const CREDENTIALS: &[Setting] = &[
    row(
        "auth-header",
        Fields,
        Value("X-Auth-Token,X-API-Key,Authorization"),
        "Fields that hold a token",
    )
    .of(AUTHS),
    switch("auth-pass", "Forward credentials to the upstream").of(AUTHS),
    row("auth-token", Tokens, Nothing, "Tokens that are accepted; others get 401")
        .aka(&["api-key"])
        .of(AUTHS),
    row("auth-user", Users, Nothing, "Users and hashes of their passwords: name:$argon2id$...")
        .of(AUTHS),
    row("auth-jwks", KeySet, Nothing, "Key set for signed tokens (JWT): a URL or a file").of(AUTHS),
    wait("auth-refresh", "5m", "How often a key set from a URL is fetched again")
        .range(500, DAY)
        .of(AUTHS),
    row("auth-key", Key, Nothing, "One key for signed tokens: PEM, or the secret of HS256")
        .of(AUTHS),
    row("auth-algorithm", Algorithms, Nothing, "Signature algorithms that are accepted").of(AUTHS),
    row("auth-issuer", Texts, Nothing, "Issuers that are accepted (iss)").of(AUTHS),
    row("auth-audience", Texts, Nothing, "Audiences that are accepted (aud)").of(AUTHS),
    wait("auth-leeway", "1m", "How far the clock of the issuer may differ from ours")
        .range(0, HOUR)
        .of(AUTHS),
    row("auth-role", Name, Nothing, "Claim that holds the roles, such as realm_access.roles")
        .of(AUTHS),
    row("auth-forward", Claims, Nothing, "Claims that the upstream gets, by field: X-User=sub")
        .of(AUTHS),
    row("auth-url", AskedUrls, Nothing, "Service that decides: its 2xx lets a request pass")
        .of(AUTHS),
    wait("auth-timeout", "5s", "Longest wait for the answer of that service").of(AUTHS),
    row("auth-copy", Fields, Nothing, "Fields of its answer that the upstream gets").of(AUTHS),
    wait("auth-cache", "0s", "How long its answer holds for the same request")
        .range(0, HOUR)
        .of(AUTHS),
];
