//! What a running tidegate can be told to do.

/// An order: from the admin or a command, to the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Read the settings anew, and go by them.
    Reload,
    /// Change the upstream with this URL.
    Upstream(Verb, String),
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
}

impl Verb {
    /// Every verb with its word, which is a command and a path of the admin.
    pub const ALL: [(Verb, &str); 4] = [
        (Verb::Add, "add"),
        (Verb::Remove, "remove"),
        (Verb::Drain, "drain"),
        (Verb::Undrain, "undrain"),
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
