//! A value as it was given, and where.

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line as a whole.
    CommandLine,
    /// A flag, as it was spelled.
    Flag(String),
    /// A variable of the environment.
    Env(String),
    /// A line of the dotenv file; an empty key: of a line that makes no sense.
    Dotenv {
        /// The file as it was asked for.
        file: String,
        /// The name on the left.
        key: String,
        /// Line number, from 1.
        line: usize,
        /// Where in `raw` the value starts, in octets.
        column: usize,
        /// The line as it is.
        raw: String,
    },
    /// The default.
    Default,
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The text, not empty unless it came as a flag.
    pub text: String,
    /// Where it stood.
    pub origin: Origin,
}
