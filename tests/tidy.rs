//! Our own lint: what the compiler and clippy do not look at.
//!
//! Each rule is a function from a [`Source`] to findings; the table [`BANS`] says which words have
//! no place where. Every rule is shown a case that must fail, at the bottom, so that none sleeps.

#[path = "../examples/settings.rs"]
#[expect(dead_code, reason = "its main is run by hand")]
mod settings;

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Columns of code, and of a line with a comment or a text that cannot be broken.
const CODE_COLUMNS: usize = 100;
const TEXT_COLUMNS: usize = 120;
/// Lines of a function in `src`.
const FUNCTION_LINES: usize = 70;
/// Lines of a file in `src`, its tests not counted.
const FILE_LINES: usize = 500;

/// Words that have no place in a part of the tree: where, the word, why. Tests are free.
const BANS: &[(&str, &str, &str)] = &[
    ("src/http/", "std::time", "http is pure: time comes in as a value, if at all"),
    ("src/http/", "std::io", "http is pure: it does no I/O"),
    // An `IpAddr` is a value; what has a socket or a descriptor behind it is not.
    ("src/http/", "TcpStream", "http is pure: it knows no sockets"),
    ("src/http/", "TcpListener", "http is pure: it knows no sockets"),
    ("src/http/", "UdpSocket", "http is pure: it knows no sockets"),
    ("src/http/", "ToSocketAddrs", "http is pure: it resolves no names"),
    ("src/http/", "std::os", "http is pure: it knows no sockets"),
    ("src/http/", "async", "http is pure: it never waits"),
    ("src/http/", "await", "http is pure: it never waits"),
    ("src/io/", "crate::http", "io moves bytes and knows no HTTP"),
    ("src/stats/", "std::io", "stats only counts"),
    ("src/stats/", "Instant", "stats knows no clock: durations come in as values"),
    ("src/config/", "std::env", "config gets the environment as a value"),
    ("src/config/", "ToSocketAddrs", "config resolves no names"),
    ("src/", "u16::from_str", "takes `+5`: write a digits-only function"),
    ("src/", "u32::from_str", "takes `+5`: write a digits-only function"),
    ("src/", "u64::from_str", "takes `+5`: write a digits-only function"),
    ("src/", "usize::from_str", "takes `+5`: write a digits-only function"),
    ("", "todo!", "unfinished work is not committed"),
    ("", "unimplemented!", "unfinished work is not committed"),
    ("", "dbg!", "left behind from debugging"),
];

/// Paths of somebody's machine.
const MACHINE_PATHS: &[&str] = &["/work/", "/tmp/", "/home/", "/root/"];

#[test]
fn the_tree_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = sources(root);
    assert!(sources.len() > 10, "only {} files were found", sources.len());
    let mut findings: Vec<Finding> = sources.iter().flat_map(lint).collect();
    let manifests = ["Cargo.toml", "fuzz/Cargo.toml", "benches/pingora/Cargo.toml"]
        .map(|name| (name, read(&root.join(name))));
    findings.extend(dead_files(&sources, &manifests));
    let told: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    assert!(findings.is_empty(), "\n{told}{} findings", findings.len());
}

/// The manual shows the settings as they are: `<!-- settings -->` to `<!-- /settings -->`.
#[test]
fn the_manual_shows_the_settings_as_they_are() {
    let page = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual/settings.md"));
    let wanted = settings::with_table(&page, &tidegate::config::markdown());
    // To the octet: whoever runs the example on a page that is right must not change it.
    let right = wanted.expect("the page has the two marks") == page;
    assert!(right, "out of date: cargo run --example settings src/manual/settings.md");
}

#[test]
fn the_manual_names_every_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual");
    let pages = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let manual: String = pages.map(|path| read(&path)).collect();
    let labels = tidegate::http::Reason::ALL.iter().map(|reason| reason.label());
    let missing: Vec<_> = labels.filter(|label| !manual.contains(&format!("`{label}`"))).collect();
    assert!(missing.is_empty(), "the manual says nothing of {missing:?}");
}

// ---- what is looked at ----

/// One Rust file, its lines taken apart.
struct Source {
    /// Relative to the root, with `/`.
    path: String,
    lines: Vec<Line>,
}

/// One line: as it is, without comments and the inside of texts, and its comment.
#[derive(Debug, Default, PartialEq, Eq)]
struct Line {
    raw: String,
    code: String,
    comment: String,
}

/// What is wrong, where, and why that matters.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    why: String,
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.why)
    }
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), lines: take_apart(text) }
    }

    fn is_in(&self, part: &str) -> bool {
        self.path.starts_with(part)
    }

    /// The lines before the tests at the bottom; nothing of a file outside `src` is a test. What the tests of a room
    /// share is a file `testing.rs`.
    fn product(&self) -> &[Line] {
        if self.is_in("src/") && self.path.ends_with("/testing.rs") {
            return &[];
        }
        let tests = self.lines.windows(2).position(|pair| {
            pair[0].code.trim() == "#[cfg(test)]"
                && pair[1].code.trim_start_matches("pub ").starts_with("mod test")
        });
        &self.lines[..tests.unwrap_or(self.lines.len())]
    }

    /// A finding at a line counted from 0.
    fn at(&self, line: usize, rule: &'static str, why: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line: line + 1, rule, why: why.into() }
    }
}

fn sources(root: &Path) -> Vec<Source> {
    let mut folders: Vec<PathBuf> =
        ["src", "tests", "fuzz", "benches"].iter().map(|part| root.join(part)).collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                sources.push(Source::new(&name, &read(&path)));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

// ---- the rules ----

fn lint(source: &Source) -> Vec<Finding> {
    let rules = [line_lengths, trailing_space, bans, unsafes, unwraps, sizes, laws, machine_paths];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

fn line_lengths(source: &Source) -> Vec<Finding> {
    let too_long = |(number, line): (usize, &Line)| {
        // rustfmt breaks code, but neither comments nor texts.
        let most = if line.code == line.raw { CODE_COLUMNS } else { TEXT_COLUMNS };
        let columns = line.raw.chars().count();
        let why = format!("{columns} columns, {most} are allowed");
        (columns > most).then(|| source.at(number, "line length", why))
    };
    source.lines.iter().enumerate().filter_map(too_long).collect()
}

fn trailing_space(source: &Source) -> Vec<Finding> {
    let found = |(number, line): (usize, &Line)| {
        let odd = line.raw.ends_with([' ', '\t', '\r']);
        odd.then(|| source.at(number, "trailing space", "it makes noise in every diff"))
    };
    source.lines.iter().enumerate().filter_map(found).collect()
}

fn bans(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in source.product().iter().enumerate() {
        for (part, word, why) in BANS {
            if source.is_in(part) && has_word(&line.code, word) {
                findings.push(source.at(number, "ban", format!("{word}: {why}")));
            }
        }
    }
    findings
}

fn unsafes(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in source.lines.iter().enumerate() {
        if !has_word(&line.code, "unsafe") {
            continue;
        }
        if source.is_in("src/") && !source.is_in("src/io/") {
            findings.push(source.at(number, "unsafe", "only io may use it"));
        }
        let above = source.lines[..number].iter().rev();
        let comments = above.take_while(|line| {
            let code = line.code.trim();
            code.is_empty() && !line.comment.is_empty() || code.starts_with("#[")
        });
        let said =
            |line: &Line| line.comment.contains("SAFETY:") || line.comment.contains("# Safety");
        if !comments.chain([line]).any(said) {
            findings.push(source.at(number, "unsafe", "a SAFETY: comment says why it is sound"));
        }
    }
    findings
}

fn unwraps(source: &Source) -> Vec<Finding> {
    let product = if source.is_in("src/") { source.product() } else { &[] };
    let silent = |(number, line): &(usize, &Line)| {
        let above = number.checked_sub(1).and_then(|above| product.get(above));
        let said = !line.comment.is_empty() || above.is_some_and(|above| !above.comment.is_empty());
        line.code.contains(".unwrap()") && !said
    };
    let why = "a comment says why it cannot fail, or the error is handled";
    let found = product.iter().enumerate().filter(silent);
    found.map(|(number, _)| source.at(number, "unwrap", why)).collect()
}

fn sizes(source: &Source) -> Vec<Finding> {
    if !source.is_in("src/") {
        return Vec::new();
    }
    let product = source.product();
    let mut findings = Vec::new();
    if product.len() > FILE_LINES {
        let why = format!("{} lines without tests, {FILE_LINES} are allowed", product.len());
        findings.push(source.at(0, "file length", why));
    }
    for (number, line) in product.iter().enumerate() {
        if let Some(column) = function_in(&line.code) {
            let length = body_lines(&product[number..], column);
            if length > FUNCTION_LINES {
                let why = format!("{length} lines, {FUNCTION_LINES} are allowed");
                findings.push(source.at(number, "function length", why));
            }
        }
    }
    findings
}

fn laws(source: &Source) -> Vec<Finding> {
    let parts: Vec<&str> = source.path.split('/').collect();
    let ["src", _, "mod.rs"] = parts[..] else { return Vec::new() };
    let head = source.lines.iter().take_while(|line| line.raw.starts_with("//!"));
    let told = head.into_iter().any(|line| line.comment.starts_with("//! Laws:"));
    let why = "`//! Laws:` at the top of a room: what it knows, may use, never does";
    if told { Vec::new() } else { vec![source.at(0, "laws", why)] }
}

fn machine_paths(source: &Source) -> Vec<Finding> {
    let found = |(number, line): (usize, &Line)| {
        let path = MACHINE_PATHS.iter().find(|path| line.raw.contains(**path))?;
        Some(source.at(number, "machine path", format!("{path} is nobody else's")))
    };
    let lines = if source.is_in("src/") { &source.lines[..] } else { &[] };
    lines.iter().enumerate().filter_map(found).collect()
}

/// Files that no target of a manifest reaches through `mod`.
fn dead_files(sources: &[Source], manifests: &[(&str, String)]) -> Vec<Finding> {
    let mut left: Vec<String> = vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned()];
    for (name, text) in manifests {
        let folder = Path::new(name).parent().unwrap_or(Path::new(""));
        let paths = text.lines().filter_map(|line| line.trim().strip_prefix("path = \""));
        let targets = paths.filter_map(|rest| rest.split('"').next());
        left.extend(targets.map(|target| resolve(&folder.join(target))));
    }
    // Where Cargo finds binaries by itself: a file of their own, or a folder with a `main.rs`.
    let own = |source: &&Source| match source.path.strip_prefix("src/bin/") {
        Some(rest) => rest.split_once('/').is_none_or(|(_, file)| file == "main.rs"),
        None => false,
    };
    left.extend(sources.iter().filter(own).map(|source| source.path.clone()));
    let roots: BTreeSet<String> = left.iter().cloned().collect();
    let mut reached = BTreeSet::new();
    while let Some(path) = left.pop() {
        let Some(source) = sources.iter().find(|source| source.path == path) else { continue };
        if reached.insert(path.clone()) {
            left.extend(children(source, roots.contains(&path)));
        }
    }
    let dead = sources.iter().filter(|source| !reached.contains(&source.path));
    dead.map(|source| source.at(0, "dead file", "no target reaches it through `mod`")).collect()
}

/// Where the modules that a file declares may lie.
fn children(source: &Source, is_root: bool) -> Vec<String> {
    let path = Path::new(&source.path);
    let parent = path.parent().unwrap_or(Path::new(""));
    let own = is_root || path.ends_with("mod.rs");
    let folder = if own { parent.to_owned() } else { path.with_extension("") };
    let mut found = Vec::new();
    for (number, line) in source.lines.iter().enumerate() {
        let words: Vec<&str> = line.code.split_whitespace().collect();
        let name = words.iter().position(|word| *word == "mod").and_then(|at| words.get(at + 1));
        let Some(name) = name.and_then(|name| name.strip_suffix(';')) else { continue };
        let above = number.checked_sub(1).map(|above| source.lines[above].raw.trim());
        let given = above.and_then(|above| above.strip_prefix("#[path = \"")?.strip_suffix("\"]"));
        match given {
            Some(given) => found.push(resolve(&parent.join(given))),
            None => {
                found.push(resolve(&folder.join(format!("{name}.rs"))));
                found.push(resolve(&folder.join(name).join("mod.rs")));
            }
        }
    }
    found
}

/// A path without `.` and `..`.
fn resolve(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str().unwrap_or_default()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.join("/")
}

// ---- just enough of a lexer ----

/// Where the name of a function that is defined in this line begins.
fn function_in(code: &str) -> Option<usize> {
    let is_name = |at: &usize| code[at + 3..].starts_with(|c: char| c.is_alphabetic() || c == '_');
    let starts_word = |at: &usize| !code[..*at].ends_with(is_word);
    let found = code.match_indices("fn ").map(|(at, _)| at);
    found.filter(starts_word).find(is_name)
}

/// How many lines a function takes from its first line to its closing brace.
fn body_lines(lines: &[Line], column: usize) -> usize {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (number, line) in lines.iter().enumerate() {
        for c in line.code.chars().skip(if number == 0 { column } else { 0 }) {
            match c {
                '[' | '(' => brackets += 1,
                ']' | ')' => brackets = brackets.saturating_sub(1),
                ';' if braces == 0 && brackets == 0 => return number + 1,
                '{' => braces += 1,
                '}' if braces <= 1 => return number + 1,
                '}' => braces -= 1,
                _ => {}
            }
        }
    }
    lines.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The word stands in the code, not as a part of a longer one.
fn has_word(code: &str, word: &str) -> bool {
    let whole = |(at, _): (usize, &str)| {
        let end = at + word.len();
        let open = word.ends_with('!') || !code[end..].starts_with(is_word);
        !code[..at].ends_with(is_word) && open
    };
    code.match_indices(word).any(whole)
}

/// Where a reader of Rust is, between two characters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    LineComment,
    /// Depth.
    BlockComment(usize),
    Text,
    /// Number of `#`.
    RawText(usize),
}

/// Splits every line into code and comment; texts and characters lose their inside.
fn take_apart(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut state = State::Code;
    for raw in text.split_terminator('\n') {
        let mut line = Line { raw: raw.to_owned(), ..Line::default() };
        let mut rest = raw;
        while let Some(first) = rest.chars().next() {
            let (next, taken) = step(state, rest, &line.code);
            let taken = taken.max(first.len_utf8());
            let piece = &rest[..taken];
            match (state, next) {
                (State::LineComment | State::BlockComment(_), _)
                | (_, State::LineComment | State::BlockComment(_)) => line.comment.push_str(piece),
                (State::Code, State::Code) if taken == first.len_utf8() => {
                    line.code.push_str(piece)
                }
                // Only blanks where a text was, so that columns stay.
                _ => line.code.extend(piece.chars().map(|_| ' ')),
            }
            state = next;
            rest = &rest[taken..];
        }
        if state == State::LineComment {
            state = State::Code;
        }
        lines.push(line);
    }
    lines
}

/// One step: the state behind the next piece of `rest`, and how many octets that piece takes.
fn step(state: State, rest: &str, before: &str) -> (State, usize) {
    match state {
        State::Code => code_step(rest, before),
        State::LineComment => (state, rest.len()),
        State::BlockComment(depth) if rest.starts_with("/*") => (State::BlockComment(depth + 1), 2),
        State::BlockComment(1) if rest.starts_with("*/") => (State::Code, 2),
        State::BlockComment(depth) if rest.starts_with("*/") => (State::BlockComment(depth - 1), 2),
        State::Text if rest.starts_with('\\') => {
            (state, 1 + rest[1..].chars().next().map_or(0, char::len_utf8))
        }
        State::Text if rest.starts_with('"') => (State::Code, 1),
        State::RawText(hashes) if rest.starts_with(&format!("\"{}", "#".repeat(hashes))) => {
            (State::Code, 1 + hashes)
        }
        State::BlockComment(_) | State::Text | State::RawText(_) => (state, 0),
    }
}

fn code_step(rest: &str, before: &str) -> (State, usize) {
    if rest.starts_with("//") {
        return (State::LineComment, rest.len());
    }
    if rest.starts_with("/*") {
        return (State::BlockComment(1), 2);
    }
    if rest.starts_with('"') {
        return (State::Text, 1);
    }
    let raw = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r');
    if let Some(raw) = raw.filter(|_| !before.ends_with(is_word)) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return (State::RawText(hashes), rest.len() - raw.len() + hashes + 1);
        }
    }
    (State::Code, rest.strip_prefix('\'').map_or(0, character))
}

/// How long a character literal is whose quote was taken; 0 if that was a lifetime's.
fn character(inner: &str) -> usize {
    let Some(first) = inner.chars().next() else { return 0 };
    let end = match first {
        '\\' => inner.get(2..).and_then(|rest| rest.find('\'')).map(|at| at + 2),
        _ => Some(first.len_utf8()).filter(|at| inner[*at..].starts_with('\'')),
    };
    end.map_or(0, |end| 1 + end + 1)
}

// ---- the lint linted: every rule must be able to fail ----

/// The rules a file breaks, with the lines.
fn broken(path: &str, text: &str) -> Vec<(&'static str, usize)> {
    lint(&Source::new(path, text)).iter().map(|finding| (finding.rule, finding.line)).collect()
}

#[test]
fn lint_takes_lines_apart() {
    let parts = |text: &str| -> Vec<(String, String)> {
        let lines = take_apart(text).into_iter();
        let squeeze = |code: &str| code.split_whitespace().collect::<Vec<_>>().join(" ");
        lines.map(|line| (squeeze(&line.code), line.comment)).collect()
    };
    let one = |text: &str| parts(text).remove(0);
    let pair = |code: &str, comment: &str| (code.to_owned(), comment.to_owned());
    assert_eq!(one("a // b"), pair("a", "// b"));
    assert_eq!(one("a /* b /* c */ d */ e"), pair("a e", "/* b /* c */ d */"));
    assert_eq!(one(r#"f("unsafe \" // x") + 1"#), pair("f( ) + 1", ""));
    assert_eq!(one(r##"f(r#"a " // b"#)"##), pair("f( )", ""));
    assert_eq!(one(r#"f(b"x", br"\")"#), pair("f(b , )", ""));
    assert_eq!(one(r"f('\'', '{', '\u{7d}')"), pair("f( , , )", ""));
    assert_eq!(one("fn f<'a>(x: &'a str) {"), pair("fn f<'a>(x: &'a str) {", ""));
    assert_eq!(take_apart(r#"f("a") + g"#)[0].code, "f(   ) + g");
    let lines = parts("x = \"a\nunsafe // b\n\"; y");
    assert_eq!(lines[1..], [pair("", ""), pair("; y", "")]);
}

#[test]
fn lint_finds_long_lines_and_trailing_space() {
    let code = format!("let {} = 1;", "x".repeat(CODE_COLUMNS));
    assert_eq!(broken("tests/a.rs", &code), [("line length", 1)]);
    let text = format!("\nlet x = \"{}\";", "x".repeat(CODE_COLUMNS));
    assert_eq!(broken("tests/a.rs", &text), []);
    let comment = format!("// {}", "x".repeat(TEXT_COLUMNS));
    assert_eq!(broken("tests/a.rs", &comment), [("line length", 1)]);
    assert_eq!(broken("tests/a.rs", "a \nb\n"), [("trailing space", 1)]);
}

#[test]
fn lint_finds_every_banned_word_where_it_is_banned() {
    for (part, word, _) in BANS {
        let path = format!("{part}x.rs");
        let (code, comment) = (format!("{word}\n"), format!("// {word}\n\"{word}\"\n"));
        assert!(broken(&path, &code).contains(&("ban", 1)), "{path} {word}");
        assert_eq!(broken(&path, &comment), [], "{path} {word}");
        let test = format!("#[cfg(test)]\nmod tests {{\n{word}\n}}\n");
        assert_eq!(broken(&path, &test), [], "{path} {word}");
    }
    assert_eq!(broken("src/io/x.rs", "async fn f() {}"), []);
    assert_eq!(broken("src/http/x.rs", "let asynchronous = std::iox;"), []);
}

#[test]
fn lint_finds_unsafe() {
    let both = [("unsafe", 1), ("unsafe", 1)];
    assert_eq!(broken("src/http/x.rs", "unsafe { f() }"), both);
    assert_eq!(broken("src/http/x.rs", "// SAFETY: no\nunsafe { f() }"), [("unsafe", 2)]);
    assert_eq!(broken("src/io/x.rs", "unsafe { f() }"), [("unsafe", 1)]);
    assert_eq!(broken("src/io/x.rs", "// SAFETY: f\n// is fine.\nunsafe { f() }"), []);
    assert_eq!(broken("src/io/x.rs", "// SAFETY: f\nlet x = 1;\nunsafe { f() }"), [("unsafe", 3)]);
    assert_eq!(broken("src/io/x.rs", "/// # Safety\n#[inline]\nunsafe fn f() {}"), []);
    assert_eq!(broken("tests/x.rs", "unsafe { f() }"), [("unsafe", 1)]);
    assert_eq!(broken("src/lib.rs", "#![deny(unsafe_code)]"), []);
}

#[test]
fn lint_finds_unwrap_without_a_reason() {
    assert_eq!(broken("src/a.rs", "f().unwrap();"), [("unwrap", 1)]);
    assert_eq!(broken("src/a.rs", "// never empty\nf().unwrap();"), []);
    assert_eq!(broken("src/a.rs", "f().unwrap(); // never empty"), []);
    assert_eq!(broken("src/a.rs", "#[cfg(test)]\nmod tests {\n    f().unwrap();\n}"), []);
    assert_eq!(broken("src/a/testing.rs", "f().unwrap();"), []);
    assert_eq!(broken("tests/a.rs", "f().unwrap();"), []);
}

#[test]
fn lint_finds_long_functions_and_files() {
    let function = |lines: usize| format!("fn f(a: [u8; 2]) {{\n{}}}\n", "{ }\n".repeat(lines - 2));
    assert_eq!(broken("src/a.rs", &function(FUNCTION_LINES)), []);
    assert_eq!(broken("src/a.rs", &function(FUNCTION_LINES + 1)), [("function length", 1)]);
    assert_eq!(broken("tests/a.rs", &function(FUNCTION_LINES + 1)), []);
    let open = format!("trait T {{\nfn f();\n{}}}\n", "fn g() {}\n".repeat(FUNCTION_LINES));
    assert_eq!(broken("src/a.rs", &open), []);
    assert_eq!(broken("src/a.rs", &"\n".repeat(FILE_LINES)), []);
    assert_eq!(broken("src/a.rs", &"\n".repeat(FILE_LINES + 1)), [("file length", 1)]);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(FILE_LINES));
    assert_eq!(broken("src/a.rs", &tests), []);
}

#[test]
fn lint_finds_rooms_without_laws_and_machine_paths() {
    assert_eq!(broken("src/io/mod.rs", "//! HOW?\n\n// Laws: none\n"), [("laws", 1)]);
    assert_eq!(
        broken("src/io/mod.rs", "//! HOW?\n//!\n//! It obeys the laws: none\n"),
        [("laws", 1)]
    );
    assert_eq!(broken("src/io/mod.rs", "//! HOW?\n//!\n//! Laws: none\n"), []);
    assert_eq!(broken("src/io/sys/mod.rs", "mod a;\n"), []);
    for path in MACHINE_PATHS {
        assert_eq!(broken("src/a.rs", &format!("f(\"{path}x\");")), [("machine path", 1)]);
    }
}

#[test]
fn lint_finds_dead_files() {
    let tree = [
        ("src/lib.rs", "pub mod a;\n#[cfg(test)]\nmod b;\n// mod dead;\n"),
        ("src/a/mod.rs", "mod c;\n"),
        ("src/a/c.rs", "pub(crate) mod d;\n"),
        ("src/a/c/d.rs", ""),
        ("src/b.rs", ""),
        ("src/dead.rs", "mod e;\n"),
        ("src/dead/e.rs", ""),
        ("src/bin/tool.rs", ""),
        ("src/bin/tool/part.rs", ""),
        ("src/bin/other/main.rs", "mod part;"),
        ("src/bin/other/part.rs", ""),
        ("tests/one.rs", "mod help;\n#[path = \"../fuzz/shared.rs\"]\nmod shared;\n"),
        ("tests/help.rs", ""),
        ("tests/two.rs", ""),
        ("fuzz/shared.rs", ""),
        ("fuzz/targets/t.rs", ""),
    ];
    let sources: Vec<Source> = tree.iter().map(|(path, text)| Source::new(path, text)).collect();
    let manifests = [
        ("Cargo.toml", "[[test]]\nname = \"one\"\npath = \"tests/one.rs\"\n".to_owned()),
        ("fuzz/Cargo.toml", "path = \"targets/t.rs\"\n".to_owned()),
    ];
    let dead = dead_files(&sources, &manifests);
    let dead: Vec<&str> = dead.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(dead, ["src/dead.rs", "src/dead/e.rs", "src/bin/tool/part.rs", "tests/two.rs"]);
}
