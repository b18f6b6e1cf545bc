//! The table of settings, as the manual shows it.
//!
//! ```text
//! cargo run --example settings              prints it
//! cargo run --example settings FILE         puts it between the two marks of that file, and shows what differed
//! ```

use std::{env, fs, io};

const BEGIN: &str = "<!-- settings -->\n";
const END: &str = "<!-- /settings -->";

fn main() -> io::Result<()> {
    let table = tidegate::config::markdown();
    let Some(path) = env::args_os().nth(1) else {
        print!("{table}");
        return Ok(());
    };
    let path = std::path::PathBuf::from(path);
    let text = fs::read_to_string(&path)?;
    let missing = || io::Error::other(format!("no line {} ... {END} in it", BEGIN.trim_end()));
    let updated = with_table(&text, &table).ok_or_else(missing)?;
    if updated == text {
        println!("{}: up to date", path.display());
        return Ok(());
    }
    for line in missing_in(&updated, &text) {
        println!("- {line}");
    }
    for line in missing_in(&text, &updated) {
        println!("+ {line}");
    }
    fs::write(&path, updated)
}

/// The text with the table between its marks; `None` if it has none.
pub fn with_table(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{}\n{END}{after}", table.trim()))
}

/// The lines of `other` that `text` does not have.
fn missing_in<'a>(text: &str, other: &'a str) -> impl Iterator<Item = &'a str> {
    let known: std::collections::HashSet<String> = text.lines().map(str::to_owned).collect();
    other.lines().filter(move |line| !known.contains(*line))
}
