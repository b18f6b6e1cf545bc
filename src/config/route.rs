//! A route as it was asked for: which requests it matches, and what happens to them.

use std::fmt::{self, Display};
use std::sync::Arc;

use ipnet::IpNet;

use super::gate::Gate;
use super::plan::{ExchangeSpec, Listen};
use super::template::Template;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Which requests it matches.
    pub conditions: Conditions,
    /// What is demanded of those.
    pub gate: Arc<Gate>,
    /// What happens to them then.
    pub action: RouteAction,
    /// How answers leave that no pool has a part in.
    pub exchange: Arc<ExchangeSpec>,
    /// What made it.
    pub source: RouteSource,
}

/// What makes a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteSource {
    /// A `[[route]]`.
    Section,
    /// `--serve-admin`.
    ServeAdmin,
    /// The other settings at the top, which go for the pool `default`.
    Top,
}

/// What must hold of a request: every condition, and of a list one of its items. An empty list always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Where it came in.
    pub listen: Vec<Listen>,
    /// The host it is for.
    pub host: Vec<HostPattern>,
    /// Its path, in normal form.
    pub path: Vec<PathPattern>,
    /// Its method.
    pub method: Vec<String>,
    /// Fields that it has; all of them.
    pub header: Vec<FieldCondition>,
    /// Parameters of its query; all of them.
    pub query: Vec<FieldCondition>,
    /// Where it comes from.
    pub client: Vec<IpNet>,
}

/// Hosts, in lower case and without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This one.
    Exact(String),
    /// Every one below this domain, and not itself: `*.example.org`.
    Below(String),
}

/// Paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// As it was written.
    pub text: String,
    /// The normal form; of `/x/*` that of `/x`, and of `/*` nothing.
    pub normal: Vec<u8>,
    /// All below it as well.
    pub below: bool,
}

/// A name, and the values that it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldCondition {
    /// The name.
    pub name: String,
    /// One of these; none: it is there, whatever its value.
    pub values: Vec<String>,
    /// What is shown in place of the values, where some were read from elsewhere.
    pub shown: Option<Vec<String>>,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteAction {
    /// It goes to an upstream of one of these pools.
    Forward(Forward),
    /// It is answered with a redirect.
    Redirect(Redirect),
    /// It is answered with a text.
    Respond(Respond),
    /// It is answered with what the admin shows under its path: health, readiness, metrics or status.
    Admin,
}

/// Where requests go, and with which path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// At least one.
    pub shares: Vec<Share>,
    /// What the path loses at its beginning: `/v1`, and so many segments.
    pub strip_prefix: Option<(String, usize)>,
    /// What stands before it then: empty, or `/` and more, and no slash at the end.
    pub add_prefix: String,
}

/// A pool, and how many of the requests go there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its name.
    pub pool: Arc<str>,
    /// In proportion to the others.
    pub weight: u32,
    /// How exchanges of this route with this pool go.
    pub exchange: Arc<ExchangeSpec>,
}

/// Where to look instead (RFC 9110 section 15.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `Location`.
    pub to: Template,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// An answer that is always the same, but for its placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// A final status that has a body.
    pub status: u16,
    /// `Content-Type`.
    pub kind: String,
    /// The content.
    pub body: Template,
}

impl FieldCondition {
    /// The values as they are shown.
    pub fn shown(&self) -> &[String] {
        self.shown.as_ref().unwrap_or(&self.values)
    }
}

impl Conditions {
    /// Whether it matches every request.
    pub fn is_empty(&self) -> bool {
        *self == Conditions::default()
    }
}

impl Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(host) => f.write_str(host),
            HostPattern::Below(domain) => write!(f, "*.{domain}"),
        }
    }
}

impl Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `name`, `name=a` or `name=a|b`.
impl Display for FieldCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.values.is_empty() {
            true => Ok(()),
            false => write!(f, "={}", self.shown().join("|")),
        }
    }
}
