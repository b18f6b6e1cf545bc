//! Standard output and standard error, either of which may be closed or full: the macros of the standard library
//! would panic.

use std::io::{self, Write};

/// Writes what was asked for to standard output.
///
/// # Errors
/// When the reader has left, or the disk is full: what to tell the user.
pub fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| format!("cannot write to standard output: {error}"))
}

/// Says on standard error what is wrong; if that fails too, the exit code has to say it.
pub fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
