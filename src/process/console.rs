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

/// Prints what was asked for, or says on standard error why there is nothing; gives the exit code.
pub fn tell(outcome: Result<String, String>) -> u8 {
    let written =
        outcome.and_then(|text| print(&text).map_err(|error| format!("tidegate: {error}\n")));
    u8::from(written.inspect_err(|text| complain(text)).is_err())
}

/// Says on standard error what is wrong; if that fails too, the exit code has to say it.
pub fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
