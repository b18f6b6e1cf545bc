//! Reads `tests/vectors/*.md`, for the tests that run them: see `tests/vectors/README.md`.

use std::path::Path;

/// One case: a title and its code blocks, each with its info string.
#[derive(Default)]
pub struct Case {
    /// File and line.
    pub place: String,
    /// What it claims.
    pub title: String,
    /// What the octets are: `http request`, `http response GET`...
    pub kind: String,
    /// The octets.
    pub bytes: Vec<u8>,
    /// The lines of the outcome.
    pub outcome: Vec<String>,
    /// What is forwarded, if the case tells.
    pub leaves: Option<Vec<u8>>,
}

/// All cases, in the order of files and lines.
pub fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .filter(|file| !file.ends_with("README.md"))
        .flat_map(|file| of_file(file))
        .collect()
}

/// The cases of a file: everything between one `###` title and the next.
fn of_file(file: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(file).unwrap();
    let name = file.file_name().unwrap().to_string_lossy();
    let mut cases: Vec<Case> = Vec::new();
    let mut block: Option<(&str, Vec<&str>)> = None;
    for (index, line) in text.lines().enumerate() {
        if line == "```" {
            let (info, lines) = block.take().expect("a block that ends has begun");
            cases.last_mut().expect("a block belongs to a title").take(info, &lines);
        } else if let Some((_, lines)) = &mut block {
            lines.push(line);
        } else if let Some(info) = line.strip_prefix("```") {
            block = Some((info, Vec::new()));
        } else if let Some(title) = line.strip_prefix("### ") {
            let place = format!("{name}:{}", index + 1);
            cases.push(Case { place, title: title.to_owned(), ..Case::default() });
        }
    }
    for case in &cases {
        let told = !case.kind.is_empty() && !case.outcome.is_empty();
        assert!(told, "{}: a block of octets and an outcome are needed", case.place);
    }
    cases
}

impl Case {
    fn take(&mut self, info: &str, lines: &[&str]) {
        match info {
            "outcome" => self.outcome = lines.iter().map(|line| (*line).to_owned()).collect(),
            "http leaves" => self.leaves = Some(leaves(lines)),
            kind => {
                assert!(self.kind.is_empty(), "{}: two blocks of octets", self.place);
                (self.kind, self.bytes) = (kind.to_owned(), octets(&lines.concat()));
            }
        }
    }
}

/// What is forwarded: `(added)` are the lines that tidegate adds to every request it got in
/// HTTP/1.1 from a stranger.
fn leaves(lines: &[&str]) -> Vec<u8> {
    let host = lines.iter().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
    let added = [
        "X-Forwarded-For: 192.0.2.1\\r\\nX-Forwarded-Proto: http\\r\\nX-Forwarded-Host: ",
        host,
        "X-Request-Id: id\\r\\nVia: 1.1 tidegate\\r\\n",
    ];
    let whole =
        lines.iter().map(|line| if *line == "(added)" { added.concat() } else { (*line).into() });
    octets(&whole.collect::<String>())
}

/// The octets of a text with escapes.
pub fn octets(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match rest.next() {
            Some('r') => bytes.push(b'\r'),
            Some('n') => bytes.push(b'\n'),
            Some('t') => bytes.push(b'\t'),
            Some('\\') => bytes.push(b'\\'),
            Some('x') => {
                let digit = |c: Option<char>| c.and_then(|c| c.to_digit(16)).expect("\\xHH");
                bytes.push((digit(rest.next()) * 16 + digit(rest.next())) as u8);
            }
            Some('{') => {
                let inside: String = rest.by_ref().take_while(|c| *c != '}').collect();
                let (text, count) = inside.rsplit_once('*').expect("\\{text*count}");
                bytes.extend_from_slice(&octets(text).repeat(number(count)));
            }
            other => panic!("unknown escape {other:?} in {text}"),
        }
    }
    bytes
}

/// A decimal number.
pub fn number(text: &str) -> usize {
    let digit = |c: char| c.to_digit(10).unwrap_or_else(|| panic!("{text} is no number"));
    text.chars().fold(0, |sum, c| sum * 10 + digit(c) as usize)
}
