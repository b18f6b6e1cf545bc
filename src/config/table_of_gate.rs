//! The rows of [`super::table`] that are about the gate.

use super::form::Form::*;
use super::table::DefaultValue::{Nothing, Value};
use super::table::*;

const AUTHS: Scope = TOP | AUTH;
const LIMITS_OF: Scope = TOP | LIMIT;
/// Requests of a limit.
const MOST_REQUESTS: u64 = 1_000_000_000;

/// Who may, and how often.
pub const GATE: &[Setting] = &[
    row("allow", NetworkNames, Nothing, "Lists and networks of clients that are served; else 403")
        .of(TOP | ROUTE),
    row("deny", NetworkNames, Nothing, "Lists and networks of clients that get 403")
        .of(TOP | ROUTE),
    row("content-type", MediaTypes, Nothing, "Media types that bodies may have; others get 415")
        .of(TOP | ROUTE),
    row("limit-rate", Rate, Nothing, "How many requests are let through: 20/s; others get 429")
        .of(LIMITS_OF),
    row("limit-burst", Count, Nothing, "A token bucket of this size; else the window is sliding")
        .range(1, MOST_REQUESTS)
        .of(LIMITS_OF),
    row(
        "limit-by",
        LimitKey,
        Value("client"),
        "By client, token, user, host, route, header:NAME or all",
    )
    .of(LIMITS_OF),
    row("limit-window", Choice("sliding"), Value("sliding"), "How requests are counted")
        .of(LIMITS_OF),
    count("limit-keys", "65536", (64, 1 << 24), "Clients, tokens and so on that are told apart")
        .of(LIMITS_OF),
    switch("limit-dry-run", "Count and log what would be refused, and refuse nothing")
        .of(LIMITS_OF),
    row("rate-limit", Count, Nothing, "Requests a second of all clients together; others get 429")
        .range(1, MOST_REQUESTS)
        .of_no_plan(),
    switch("security-headers", "Set the fields that browsers go by where an answer has none")
        .of(TOP | ROUTE),
    row(
        "cors-origin",
        Origins,
        Nothing,
        "Origins whose scripts may ask, such as `https://app.example.org`",
    )
    .of(TOP | ROUTE),
    row("cors-method", Methods, Nothing, "Methods of theirs besides GET, HEAD and POST")
        .of(TOP | ROUTE),
    row("cors-header", Fields, Nothing, "Fields that their requests may have").of(TOP | ROUTE),
    row("cors-expose", Fields, Nothing, "Fields of answers that they may read").of(TOP | ROUTE),
    switch("cors-credentials", "Let their requests bring cookies and credentials along")
        .of(TOP | ROUTE),
    wait("cors-max-age", "10m", "How long browsers keep what they were told")
        .range(0, DAY)
        .of(TOP | ROUTE),
];

/// Who asks.
pub const CREDENTIALS: &[Setting] = &[
    row(
        "auth-header",
        Fields,
        Value("X-Auth-Token,X-API-Key,Authorization"),
        "Fields that they are in",
    )
    .of(AUTHS),
    switch("auth-pass", "Leave them in the request on its way to the upstream").of(AUTHS),
    row("auth-token", Tokens, Nothing, "Tokens that are good; others get 401")
        .aka(&["api-key"])
        .of(AUTHS),
    row("auth-user", Users, Nothing, "Users with hashes of passwords: name:$argon2id$...")
        .of(AUTHS),
    row("auth-jwks", KeySet, Nothing, "Keys of signed tokens: a URL or a file").of(AUTHS),
    wait("auth-refresh", "5m", "How often they are fetched again").range(500, DAY).of(AUTHS),
    row("auth-key", Key, Nothing, "Or one key: a public key in PEM, or the secret of HS256")
        .of(AUTHS),
    row("auth-algorithm", Algorithms, Nothing, "Algorithms that they are signed with").of(AUTHS),
    row("auth-issuer", Texts, Nothing, "Who issues them: iss").of(AUTHS),
    row("auth-audience", Texts, Nothing, "For whom they are: aud").of(AUTHS),
    wait("auth-leeway", "1m", "How far clocks may differ").range(0, HOUR).of(AUTHS),
    row("auth-role", Name, Nothing, "The claim that has the roles: realm_access.roles").of(AUTHS),
    row("auth-forward", Claims, Nothing, "Claims for the upstream, by field: X-User=sub").of(AUTHS),
    row("auth-url", AskedUrls, Nothing, "A service that says who may: 2xx, or its own answer")
        .of(AUTHS),
    wait("auth-timeout", "5s", "Longest wait for its answer").of(AUTHS),
    row("auth-copy", Fields, Nothing, "Fields of its answer that the upstream gets").of(AUTHS),
    wait("auth-cache", "0s", "How long its answer holds for the same credentials")
        .range(0, HOUR)
        .of(AUTHS),
];
