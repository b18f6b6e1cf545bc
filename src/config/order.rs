//! What a running tidegate can be told to do.

use std::fmt::{self, Display};
use std::net::IpAddr;

use super::plan::Listen;

/// An order: from the admin or a command, to the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Read the settings anew, and go by them.
    Reload,
    /// Change an upstream.
    Upstream(UpstreamOrder),
    /// Hand over to a new process.
    Upgrade,
}

/// What is done, as the audit log has it: `reload`, `upgrade`, `add http://a:1`.
impl Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Reload => f.write_str("reload"),
            Order::Upstream(UpstreamOrder { verb, url, .. }) => write!(f, "{} {url}", verb.word()),
            Order::Upgrade => f.write_str("upgrade"),
        }
    }
}

/// What a running tidegate is asked to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The process and its upstreams.
    Status,
    /// The same, again and again.
    Top,
    /// Whether it is ready: an exit code, for containers.
    Health,
}

/// A request of which somebody wants to know what would become of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// `GET http://example.org/path`, or a path alone.
    pub request: String,
    /// Field lines: `Name: value`.
    pub fields: Vec<String>,
    /// Who asks; 127.0.0.1 if nobody says.
    pub client: Option<IpAddr>,
    /// Where it comes in; the first address of the plan if nobody says.
    pub listen: Option<Listen>,
}

/// Which upstream is changed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamOrder {
    /// How.
    pub verb: Verb,
    /// Its URL.
    pub url: String,
    /// The name of its pool; `None`: the only one there is, or `default`.
    pub pool: Option<String>,
    /// Its weight, where that is to be another one.
    pub weight: Option<u32>,
}

/// A change of one upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It gets requests from now on.
    Add,
    /// It is an upstream no longer.
    Remove,
    /// It gets no new requests, and stays.
    Drain,
    /// It gets requests again.
    Undrain,
    /// It gets another share of the requests.
    Weight,
}

impl Verb {
    /// Every verb with its word, which is a command and a path of the admin.
    pub const ALL: [(Verb, &str); 5] = [
        (Verb::Add, "add"),
        (Verb::Remove, "remove"),
        (Verb::Drain, "drain"),
        (Verb::Undrain, "undrain"),
        (Verb::Weight, "weight"),
    ];

    /// There is a verb with this word.
    pub fn is_word(word: &str) -> bool {
        Verb::ALL.iter().any(|(_, known)| *known == word)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        Verb::ALL[self as usize].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_has_its_own_word() {
        assert!(Verb::ALL.iter().all(|(verb, word)| verb.word() == *word));
    }
}
