//! The rows of [`super::table`] that are about TLS.

use super::form::Form::*;
use super::table::DefaultValue::{Nothing, Value};
use super::table::*;

const OF_POOLS: Scope = TOP | POOL;

/// TLS towards clients, and towards upstreams.
pub const TLS: &[Setting] = &[
    row(
        "tls-cert",
        Certificates,
        Nothing,
        "Certificate with its chain, in PEM; the first for any name",
    ),
    row("tls-key", FileNames, Nothing, "Key of each certificate, in the same order"),
    row(
        "tls-self-signed",
        ServerNames,
        Nothing,
        "Make a certificate for these names, for development",
    ),
    row(
        "tls-acme",
        HostNames,
        Nothing,
        "Order a certificate for each of these names from an ACME server",
    ),
    row(
        "tls-acme-directory",
        SecureUrl,
        Value("https://acme-v02.api.letsencrypt.org/directory"),
        "Directory URL",
    ),
    row("tls-acme-contact", Mail, Nothing, "Email address of the ACME account"),
    row(
        "tls-acme-challenge",
        Choice("tls-alpn-01|http-01"),
        Value("tls-alpn-01"),
        "Challenge that validates each name",
    ),
    row("tls-acme-ca", File, Nothing, "CA that signs the ACME server's own certificate"),
    row(
        "tls-acme-eab-kid",
        Literal,
        Nothing,
        "Key ID for external account binding (EAB), from the CA",
    ),
    row(
        "tls-acme-eab-key",
        Secret,
        Value("off"),
        "HMAC key for external account binding, in base64url",
    ),
    row("tls-min-version", Choice("1.2|1.3"), Value("1.2"), "Oldest version of TLS for clients"),
    row(
        "tls-client-ca",
        File,
        Nothing,
        "Who signs certificates of clients, which are asked for then",
    ),
    row("tls-crl", File, Nothing, "Certificates of clients that were revoked"),
    switch("client-cert", "Require a certificate of the client; else 403").of(TOP | ROUTE),
    row(
        "upstream-tls-ca",
        FileOrOff,
        Value("off"),
        "Who signs certificates of upstreams; off: the system's list",
    )
    .of(OF_POOLS),
    row(
        "upstream-tls-server-name",
        ServerName,
        Value("off"),
        "Name that upstreams have to prove; off: the host of the URL",
    )
    .of(OF_POOLS),
    row(
        "upstream-tls-cert",
        FileOrOff,
        Value("off"),
        "Certificate that upstreams get who ask for one",
    )
    .of(OF_POOLS),
    row("upstream-tls-key", FileOrOff, Value("off"), "Its key").of(OF_POOLS),
    row(
        "upstream-tls-verify",
        Choice("full|off"),
        Value("full"),
        "Whether certificates of upstreams are verified",
    )
    .of(OF_POOLS),
];
