//! Who may, what, and how often, as it was asked for: credentials, limits, and what a route demands of a request.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::pool::{Place, Secret, host_of};

/// A way to tell who asks: `[auth.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSpec {
    /// Its name.
    pub name: Arc<str>,
    /// How.
    pub kind: AuthKind,
    /// Fields that the credentials are looked for in, in this order; `Authorization` holds them behind `Bearer`.
    pub fields: Vec<String>,
    /// The credentials go on to the upstream.
    pub pass: bool,
}

/// What credentials are, and who knows whether they are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// One of these tokens.
    Token(Vec<Token>),
    /// Name and password of one of these users (RFC 7617).
    Basic(Vec<User>),
    /// A signed token (RFC 7519).
    Jwt(JwtSpec),
    /// Another service says.
    Forward(ForwardAuthSpec),
}

impl AuthSpec {
    /// The service that is asked about requests, or for keys.
    pub fn url(&self) -> Option<&AskedUrl> {
        match &self.kind {
            AuthKind::Jwt(JwtSpec { keys: JwtKeys::Url { url, .. }, .. })
            | AuthKind::Forward(ForwardAuthSpec { url, .. }) => Some(url),
            _ => None,
        }
    }
}

impl AuthKind {
    /// The word for it in settings.
    pub fn name(&self) -> &'static str {
        match self {
            AuthKind::Token(_) => "token",
            AuthKind::Basic(_) => "basic",
            AuthKind::Jwt(_) => "jwt",
            AuthKind::Forward(_) => "forward",
        }
    }
}

/// A token. Itself it is kept nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is called in logs.
    pub name: Arc<str>,
    /// Its SHA-256.
    pub digest: [u8; 32],
    /// What is shown in its place.
    pub shown: Arc<str>,
    /// What its bearer may.
    pub roles: Vec<Arc<str>>,
}

/// A user, by a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: Arc<str>,
    /// The hash of the password: `$argon2id$...` or `$2b$...`; shown is the user as a whole.
    pub hash: Secret,
    /// What the user may.
    pub roles: Vec<Arc<str>>,
}

/// Which signed tokens are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSpec {
    /// By which keys they are signed.
    pub keys: JwtKeys,
    /// With which algorithms; never as the token says.
    pub algorithms: Vec<JwtAlgorithm>,
    /// `iss` is one of these; none: anything.
    pub issuer: Vec<String>,
    /// `aud` has one of these; none: anything.
    pub audience: Vec<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// The claim that has the roles: `realm_access.roles`.
    pub role: Option<String>,
    /// Fields that the upstream gets, and the claims in them.
    pub forward: Vec<(String, String)>,
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKeys {
    /// A public key in PEM, or the secret of HS256.
    Key(Secret),
    /// A key set (RFC 7517), as it stood in a file.
    Set(Secret),
    /// A key set that is fetched, and again this often.
    Url {
        /// From where.
        url: AskedUrl,
        /// How often.
        refresh: Duration,
    },
}

/// What a signature is made with (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl JwtAlgorithm {
    /// All of them, with their names.
    pub const ALL: [(&'static str, JwtAlgorithm); 12] = [
        ("HS256", JwtAlgorithm::Hs256),
        ("HS384", JwtAlgorithm::Hs384),
        ("HS512", JwtAlgorithm::Hs512),
        ("RS256", JwtAlgorithm::Rs256),
        ("RS384", JwtAlgorithm::Rs384),
        ("RS512", JwtAlgorithm::Rs512),
        ("PS256", JwtAlgorithm::Ps256),
        ("PS384", JwtAlgorithm::Ps384),
        ("PS512", JwtAlgorithm::Ps512),
        ("ES256", JwtAlgorithm::Es256),
        ("ES384", JwtAlgorithm::Es384),
        ("EdDSA", JwtAlgorithm::EdDsa),
    ];

    /// The key is a secret that both sides know.
    pub fn is_symmetric(self) -> bool {
        matches!(self, JwtAlgorithm::Hs256 | JwtAlgorithm::Hs384 | JwtAlgorithm::Hs512)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        JwtAlgorithm::ALL.iter().find(|(_, one)| *one == self).map_or("", |(name, _)| name)
    }
}

/// A service that says who may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuthSpec {
    /// What is asked.
    pub url: AskedUrl,
    /// How long it may take.
    pub timeout: Duration,
    /// Fields of its answer that the upstream gets.
    pub fields: Vec<String>,
    /// How long the same credentials are not asked about again.
    pub cache: Duration,
}

/// A URL that is asked: where, and the target there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedUrl {
    /// As it was written.
    pub text: String,
    /// Who is asked.
    pub place: Place,
    /// Over TLS.
    pub secure: bool,
    /// Its `Host`.
    pub authority: String,
    /// Path and query.
    pub target: String,
}

impl AskedUrl {
    /// The URL that stands in `text`; `None`: it is none, or none that is asked.
    pub fn read(text: &str) -> Option<AskedUrl> {
        super::credential::asked_url(text).ok()
    }

    /// Its host, without a port.
    pub fn host(&self) -> &str {
        host_of(&self.authority)
    }

    /// The URL as logs have it: without a query, which may have a secret in it.
    pub fn shown(&self) -> &str {
        self.text.split('?').next().unwrap_or_default()
    }
}

/// How often: `[limit.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSpec {
    /// Its name.
    pub name: Arc<str>,
    /// So many requests ...
    pub requests: u32,
    /// ... in so long a time.
    pub window: Duration,
    /// A token bucket of this size; `None`: the window is sliding.
    pub burst: Option<u32>,
    /// Which requests are counted together.
    pub by: LimitKey,
    /// Keys that are told apart at most.
    pub keys: usize,
    /// It is counted and logged, and nobody is refused.
    pub dry_run: bool,
}

impl LimitSpec {
    /// Octets that its table takes at most: for each key 35, and 4 for each mark of a sliding window, which has as many
    /// as requests, and 128 at most. Of the 35 a key's hash takes 8, its numbers 16, its share of what holds eight of
    /// them 3, and its share of what the allocator adds 8. Keys are rounded up to whole sets in each part of the table.
    pub fn octets_most(&self) -> u64 {
        let marks = if self.burst.is_some() { 0 } else { u64::from(self.requests.clamp(1, 128)) };
        let keys = self.keys as u64;
        (keys + keys / 32 + 16) * (35 + 4 * marks)
    }
}

/// What requests that are counted together have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitKey {
    /// The client's address; of IPv6 the first 64 bits.
    Client,
    /// The same as [`LimitKey::User`], by another word.
    Token,
    /// The name of the user or of the token; without credentials the client.
    User,
    /// The host that they are for.
    Host,
    /// The route.
    Route,
    /// The value of this field.
    Header(String),
    /// Nothing: all requests are counted together.
    All,
}

/// What a route demands of a request, and what it does for the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Networks that clients have to be in; `None`: anywhere.
    pub allow: Option<Arc<NetworkList>>,
    /// Networks that clients must not be in.
    pub deny: Option<Arc<NetworkList>>,
    /// Media types that a body may have; none: any.
    pub content_type: Vec<String>,
    /// One of these says who asks; none: nobody is asked.
    pub auth: Vec<Arc<AuthSpec>>,
    /// One of these roles is needed; none: any.
    pub roles: Vec<Arc<str>>,
    /// How often.
    pub limits: Vec<Arc<LimitSpec>>,
    /// Answers get the fields that browsers go by where they have none.
    pub security_headers: bool,
    /// What pages of other origins may.
    pub cors: Option<Arc<CorsSpec>>,
    /// The client has shown a certificate that is good.
    pub client_cert: bool,
}

impl Gate {
    /// Nothing is demanded, so nothing is looked at.
    pub fn is_open(&self) -> bool {
        *self == Gate::default()
    }
}

/// Networks, and how they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkList {
    /// Names of lists, networks and addresses.
    pub written: Vec<String>,
    /// All of them.
    pub networks: Vec<IpNet>,
}

impl NetworkList {
    /// One more network, and how it is shown.
    pub fn push(&mut self, network: IpNet, shown: &str) {
        self.networks.push(network);
        self.write(shown);
    }

    /// What is written; a list that was read from elsewhere stands there once.
    pub fn write(&mut self, shown: &str) {
        if self.written.last().is_none_or(|last| last != shown) {
            self.written.push(shown.to_owned());
        }
    }
}

/// What scripts of other origins may (the Fetch standard, "CORS protocol").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsSpec {
    /// `https://app.example.org`, `https://*.example.org`, or `*` alone: all.
    pub origin: Vec<String>,
    /// Methods besides GET, HEAD and POST.
    pub method: Vec<String>,
    /// Fields of requests.
    pub header: Vec<String>,
    /// Fields of answers that scripts may read.
    pub expose: Vec<String>,
    /// Cookies and credentials may come along.
    pub credentials: bool,
    /// How long browsers keep the answer.
    pub max_age: Duration,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LimitKey::Client => f.write_str("client"),
            LimitKey::Token => f.write_str("token"),
            LimitKey::User => f.write_str("user"),
            LimitKey::Host => f.write_str("host"),
            LimitKey::Route => f.write_str("route"),
            LimitKey::Header(name) => write!(f, "header:{name}"),
            LimitKey::All => f.write_str("all"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::plan;

    #[test]
    fn the_manual_tells_the_formula_and_what_comes_of_it() {
        for (text, about) in [
            (include_str!("../manual/gate.md"), "So 20/s takes at most {} MB by default."),
            (include_str!("../manual/limits.md"), "at most {} MB for 20/s by default"),
        ] {
            let plan = plan("upstream = 'http://a:1'\n[limit.a]\nrate = '20/s'\n");
            let megabytes = plan.limits[0].octets_most().div_ceil(1_000_000);
            let about = about.replace("{}", &megabytes.to_string());
            assert!(text.contains("keys × (35 + 4 × marks)") && text.contains(&about), "{about}");
        }
    }

    #[test]
    fn a_mark_is_counted_for_each_request_of_a_sliding_window() {
        for (limit, each) in [
            ("rate = '1/s'", 39),
            ("rate = '20/s'", 115),
            ("rate = '128/s'", 547),
            ("rate = '1000/s'", 547),
            ("rate = '20/s'\nburst = 9", 35),
        ] {
            let text = format!("upstream = 'http://a:1'\n[limit.a]\n{limit}\nkeys = 3200\n");
            assert_eq!(plan(&text).limits[0].octets_most(), 3316 * each, "{limit}");
        }
    }
}
