//! The table of settings, as the README shows it.
//!
//! ```text
//! cargo run --example settings              prints it
//! cargo run --example settings README.md    puts it between the two marks of that file
//! ```

use std::{env, fs, io};

const BEGIN: &str = "<!-- settings -->";
const END: &str = "<!-- /settings -->";

fn main() -> io::Result<()> {
    let table = tidegate::config::markdown();
    let Some(path) = env::args_os().nth(1) else {
        print!("{table}");
        return Ok(());
    };
    let text = fs::read_to_string(&path)?;
    let marks = text
        .split_once(BEGIN)
        .and_then(|(before, rest)| rest.split_once(END).map(|(_, after)| (before, after)));
    let missing = || io::Error::other(format!("there is no {BEGIN} ... {END} in it"));
    let (before, after) = marks.ok_or_else(missing)?;
    fs::write(&path, format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}
