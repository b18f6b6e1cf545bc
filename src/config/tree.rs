//! A configuration file as a tree: values under their keys, and where each of them is in the text. The formats differ
//! only in how they get here.

use std::ops::Range;

/// A value, or a table of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its octets in the text.
    pub span: Range<usize>,
    /// What it holds.
    pub value: Value,
}

/// What a [`Node`] holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text, without its quotes.
    Text(String),
    /// A number, a date or a truth value, as it is written.
    Plain(String),
    /// Nothing: `null`.
    Null,
    /// Several, in order.
    List(Vec<Node>),
    /// Named ones.
    Table(Vec<(Key, Node)>),
}

/// A name in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The name, without its quotes.
    pub name: String,
    /// Its octets in the text.
    pub span: Range<usize>,
}

/// A place in a text that is not of its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The octets at fault.
    pub span: Range<usize>,
    /// What is wrong with them.
    pub what: String,
}
