//! Wrong configuration files and command lines, and word for word what tidegate tells about each.
//!
//! `mistakes.txt` holds a block for each of them. When a message has changed for the better,
//! `cargo test --test mistakes -- --ignored` writes the file anew, and the difference is to be read; what is told by
//! builds with `--features full` alone takes that once more.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use tidegate::config::{self, Surroundings};

/// Blocks that there are at least.
const LEAST: usize = 80;

/// One wrong thing.
#[derive(Default)]
struct Block {
    name: String,
    /// Features that a build has to have for it, or, behind a hyphen, must not have.
    features: Option<String>,
    /// Words of the command line; blanks within single quotes are part of a word.
    flags: Option<String>,
    /// Variables, `NAME=value`, written as the flags are.
    env: Option<String>,
    /// Files by name; the first is the one that `--config` names, unless a flag does.
    files: Vec<(String, String)>,
    told: String,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes.txt")
}

/// The text above the first block, and the blocks.
fn read(text: &str) -> (String, Vec<Block>) {
    let (mut top, mut blocks, mut into_file) = (String::new(), Vec::<Block>::new(), false);
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end_matches('\n');
        if let Some(name) = bare.strip_prefix("=== ") {
            blocks.push(Block { name: name.to_owned(), ..Block::default() });
            continue;
        }
        let Some(block) = blocks.last_mut() else {
            top.push_str(line);
            continue;
        };
        if let Some(features) = bare.strip_prefix("--- features: ") {
            block.features = Some(features.to_owned());
        } else if let Some(flags) = bare.strip_prefix("--- flags: ") {
            block.flags = Some(flags.to_owned());
        } else if let Some(env) = bare.strip_prefix("--- env: ") {
            block.env = Some(env.to_owned());
        } else if let Some(file) = bare.strip_prefix("--- file") {
            let name = file.strip_suffix(':').expect("a colon ends the head of a file").trim();
            let name = if name.is_empty() { "t.toml" } else { name };
            block.files.push((name.to_owned(), String::new()));
            into_file = true;
        } else if bare == "--- told:" {
            into_file = false;
        } else if into_file {
            let (_, text) = block.files.last_mut().expect("a file has begun");
            text.push_str(line);
        } else {
            block.told.push_str(line);
        }
    }
    (top, blocks)
}

/// Words between blanks, but for those in single quotes.
fn words(line: &str) -> Vec<OsString> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take().map(OsString::from)),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word.map(OsString::from));
    words
}

/// This build has the features that `block` needs, and none of those it must not have.
fn is_of_this_build(block: &Block) -> bool {
    let has = |name: &str| match name {
        "acme" => cfg!(feature = "acme"),
        "dns" => cfg!(feature = "dns"),
        "jwt" => cfg!(feature = "jwt"),
        "passwords" => cfg!(feature = "passwords"),
        "tls" => cfg!(feature = "tls"),
        other => panic!("{}: no feature is called {other}", block.name),
    };
    let mut words = block.features.as_deref().unwrap_or_default().split_whitespace();
    words.all(|word| word.strip_prefix('-').map_or_else(|| has(word), |name| !has(name)))
}

/// What tidegate tells.
fn told(block: &Block, number: usize) -> String {
    let name = format!("tidegate-mistakes-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(&name);
    fs::create_dir(&folder).expect("the folder is fresh");
    for (name, text) in &block.files {
        fs::write(folder.join(name), text).expect("a file can be written");
    }
    let flags = words(block.flags.as_deref().unwrap_or_default());
    let mut args = Vec::new();
    let names_one = flags.iter().any(|flag| flag == "--config");
    let first = block.files.first().filter(|(file, _)| !names_one && file.starts_with("t."));
    if let Some((file, _)) = first {
        args.extend(["--config".into(), OsString::from(file)]);
    }
    args.extend(flags);
    let env = words(block.env.as_deref().unwrap_or_default());
    let env = env.iter().map(|pair| {
        let (name, value) = pair.to_str().and_then(|pair| pair.split_once('=')).expect("a pair");
        (OsString::from(name), OsString::from(value))
    });
    let around =
        Surroundings { cwd: &folder, cores: 4, descriptors: 100_000, stdout_is_terminal: false };
    let told = match config::load(args, env, &around) {
        Ok(_) => "nothing is wrong\n".to_owned(),
        Err(rejected) => rejected.text(),
    };
    fs::remove_dir_all(&folder).expect("the folder can be removed");
    let is_shown = told.contains(&name);
    assert!(!is_shown, "{}: the folder shows in {told}", block.name);
    told
}

/// A message says where, what, and what to write instead.
fn check(block: &Block) {
    let Block { name, told, .. } = block;
    let mut lines = told.lines().peekable();
    let mut count = 0;
    while let Some(line) = lines.next() {
        let Some(head) = line.strip_prefix("error: ") else { continue };
        count += 1;
        let words: Vec<&str> = head.split(' ').collect();
        let origin = words[0].strip_suffix(':');
        let is_place = |origin: &str| {
            let parts: Vec<&str> = origin.rsplitn(3, ':').collect();
            parts.len() == 3
                && parts[..2].iter().all(|part| part.bytes().all(|octet| octet.is_ascii_digit()))
        };
        let is_named = |word: &str| {
            word.starts_with('-') || word.starts_with("TIDEGATE_") || word.starts_with("HTTP")
        };
        let is_origin = origin.is_some_and(|origin| is_place(origin) || is_named(origin));
        // Of the command line as a whole the words themselves are told.
        let is_quoted = head.contains(" -") || head.contains('"') || words[0].starts_with('-');
        let is_whole = head.starts_with("no upstream is given");
        assert!(is_origin || is_quoted || is_whole, "{name}: no origin in {line}");
        let cause = match is_origin {
            true => words[1..].join(" "),
            false => head.to_owned(),
        };
        assert!(cause.split(' ').count() >= 3, "{name}: no cause in {line}");
        let mut right = String::new();
        while let Some(more) = lines.next_if(|line| line.starts_with("    ")) {
            right = more.trim_start_matches([' ', '^']).to_owned();
        }
        assert!(!right.is_empty(), "{name}: no remedy behind {line}");
    }
    assert!(count > 0, "{name}: {told}");
}

#[test]
fn every_mistake_is_told_word_for_word() {
    let (_, blocks) = read(&fs::read_to_string(corpus()).expect("the corpus is there"));
    assert!(blocks.len() >= LEAST, "there are only {} blocks", blocks.len());
    let mut wrong = String::new();
    let of_this_build = blocks.iter().filter(|block| is_of_this_build(block));
    for (number, block) in of_this_build.enumerate() {
        let told = told(block, number);
        if told != block.told {
            let _ = writeln!(wrong, "=== {}\n{told}--- and not:\n{}", block.name, block.told);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    let mut names: Vec<&str> = blocks.iter().map(|block| &*block.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), blocks.len(), "two blocks have one name");
    blocks.iter().for_each(check);
}

#[test]
#[ignore = "writes the file that the other test reads"]
fn tell_anew() {
    let (mut text, blocks) = read(&fs::read_to_string(corpus()).expect("the corpus is there"));
    for (number, block) in blocks.iter().enumerate() {
        let Block { name, features, flags, env, files, told: before } = block;
        let _ = writeln!(text, "=== {name}");
        for (head, line) in [("features", features), ("flags", flags), ("env", env)] {
            if let Some(line) = line {
                let _ = writeln!(text, "--- {head}: {line}");
            }
        }
        for (name, lines) in files {
            let name = if name == "t.toml" { String::new() } else { format!(" {name}") };
            let _ = write!(text, "--- file{name}:\n{lines}");
        }
        let told = match is_of_this_build(block) {
            true => told(block, blocks.len() + number),
            false => before.clone(),
        };
        let _ = write!(text, "--- told:\n{told}");
    }
    fs::write(corpus(), text).expect("the corpus can be written");
}
