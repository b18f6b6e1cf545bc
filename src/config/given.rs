//! A value as it was given, and where. Texts are shared: a list has thousands of items that stand in one line.

use std::sync::Arc;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line as a whole.
    CommandLine,
    /// A flag, as it was spelled.
    Flag(String),
    /// A variable of the environment.
    Env(String),
    /// A line of the dotenv file.
    Dotenv(Line),
    /// A line of the configuration file.
    File(Line),
    /// The default.
    Default,
}

/// A place in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The file as it was asked for.
    pub file: Arc<str>,
    /// The name of the setting; empty where the line is not one.
    pub key: String,
    /// Line number, from 1.
    pub line: usize,
    /// Where in `raw` the value starts, in octets.
    pub column: usize,
    /// The line as it is.
    pub raw: Arc<str>,
}

impl Origin {
    /// The place in a file, if it is one.
    pub fn line(&self) -> Option<&Line> {
        match self {
            Origin::Dotenv(line) | Origin::File(line) => Some(line),
            Origin::CommandLine | Origin::Flag(_) | Origin::Env(_) | Origin::Default => None,
        }
    }
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The text, not empty unless it came as a flag.
    pub text: Arc<str>,
    /// Where it stood.
    pub origin: Origin,
    /// What to show in its place, where it was read from the environment or a file.
    pub shown: Option<Arc<str>>,
    /// It stood alone in a list or a table of a file: a comma in it is a part of it.
    pub is_item: bool,
}

impl Given {
    /// A value that is no secret.
    pub fn new(text: impl Into<Arc<str>>, origin: Origin) -> Given {
        Given { text: text.into(), origin, shown: None, is_item: false }
    }

    /// The text, unless it is a secret: then what stands in the file.
    pub fn shown(&self) -> &str {
        self.shown.as_ref().unwrap_or(&self.text)
    }
}
