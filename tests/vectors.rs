//! Runs `tests/vectors/*.md`: what the bytes mean, by section of the RFCs. How to write one is told
//! in `tests/vectors/README.md`.

mod feed;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use feed::every_way;
use tidegate::http::chunked::Decoder;
use tidegate::http::forward::{self, RequestEdits, ResponseEdits};
use tidegate::http::websocket::Follower;
use tidegate::http::write::Writer;
use tidegate::http::{
    Asked, Framing, Limits, Method, Offer, Progress, Reason, Request, Response, Upgrade, Version,
    outward, upgrade,
};

/// What was offered where a vector says so: the handshake of RFC 6455 section 1.3, and the one other
/// protocol that is allowed here.
const WEBSOCKET: Offer = Offer::WebSocket { key: *b"dGhlIHNhbXBsZSBub25jZQ==" };
const OTHER: Offer = Offer::Other(ALLOWED[0]);
const ALLOWED: &[&[u8]] = &[b"other"];

/// One case: a title and its code blocks, each with its info string.
#[derive(Default)]
struct Case {
    place: String,
    title: String,
    blocks: Vec<(String, Vec<String>)>,
}

#[test]
fn all_vectors_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut count, mut wrong) = (0, String::new());
    for file in files.iter().filter(|file| !file.ends_with("README.md")) {
        for case in cases(file) {
            count += 1;
            if let Err(why) = case.run() {
                writeln!(wrong, "{} {}\n{why}", case.place, case.title).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(count >= 60, "only {count} vectors were found");
}

/// The cases of a file: everything between one `###` title and the next.
fn cases(file: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut cases: Vec<Case> = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        if inside && line != "```" {
            let block = cases.last_mut().and_then(|case| case.blocks.last_mut());
            block.expect("a block belongs to a title").1.push(line.to_owned());
        } else if inside {
            inside = false;
        } else if let Some(info) = line.strip_prefix("```") {
            inside = true;
            let case = cases.last_mut().expect("a block belongs to a title");
            case.blocks.push((info.to_owned(), Vec::new()));
        } else if let Some(title) = line.strip_prefix("### ") {
            let place = format!("{}:{}", file.display(), index + 1);
            cases.push(Case { place, title: title.to_owned(), ..Case::default() });
        }
    }
    cases
}

impl Case {
    fn run(&self) -> Result<(), String> {
        let [(kind, lines), (outcome, expected), rest @ ..] = self.blocks.as_slice() else {
            return Err("needs a block with octets and one with the outcome".into());
        };
        assert_eq!(outcome, "outcome", "{}", self.place);
        let bytes = octets(lines);
        let kind: Vec<&str> = kind.split(' ').collect();
        let (said, leaves) = match kind[..] {
            ["http", "request"] => request(&bytes),
            ["http", "response", asked] => response(&bytes, asked, None),
            ["http", "response", asked, "websocket"] => response(&bytes, asked, Some(WEBSOCKET)),
            ["http", "response", asked, "other"] => response(&bytes, asked, Some(OTHER)),
            ["http", "chunked"] => (chunked(&bytes), Vec::new()),
            ["websocket", "frames"] => (frames(&bytes), Vec::new()),
            _ => return Err(format!("unknown kind {kind:?}")),
        };
        same("outcome", &expected.join(" "), &said)?;
        match rest {
            [] => Ok(()),
            [(kind, lines)] if kind == "http leaves" => {
                same("leaves", &shown(&octets(lines)), &shown(&leaves))
            }
            _ => Err("the third block must be `http leaves`".into()),
        }
    }
}

fn same(what: &str, expected: &str, found: &str) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    Err(format!("  {what}\n    expected: {expected}\n    found:    {found}\n"))
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The octets of a block: its lines joined without line ends, which have to be written as escapes.
fn octets(lines: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        let mut rest = line.chars();
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
                    repeat(&mut bytes, &inside);
                }
                other => panic!("unknown escape {other:?} in {line}"),
            }
        }
    }
    bytes
}

/// `\{text*count}`
fn repeat(bytes: &mut Vec<u8>, inside: &str) {
    let (text, count) = inside.rsplit_once('*').expect("\\{text*count}");
    let count = tidegate::http::grammar::digits(count.as_bytes()).expect("a count");
    bytes.extend_from_slice(text.repeat(count as usize).as_bytes());
}

fn refused(reason: Reason) -> String {
    match reason.status() {
        Some(status) => format!("refused: {} {status}", reason.label()),
        None => format!("refused: {}", reason.label()),
    }
}

fn body(framing: Framing) -> String {
    match framing {
        Framing::None => "no body".into(),
        Framing::Length(length) => format!("body of {length}"),
        Framing::Chunked => "chunked body".into(),
        Framing::UntilClose => "body until close".into(),
    }
}

fn goes_on(persistent: bool) -> &'static str {
    if persistent { "keeps" } else { "closes" }
}

/// What is said about a request, and the head that leaves.
fn request(bytes: &[u8]) -> (String, Vec<u8>) {
    let read = every_way(bytes, || {
        let mut head = Request::default();
        move |bytes: &[u8]| match head.read(bytes, &Limits::default()) {
            Ok(Progress::Partial) => None,
            Ok(Progress::Complete) => Some(accepted(&head, bytes)),
            Err(reason) => Some((refused(reason), Vec::new())),
        }
    });
    read.unwrap_or_else(|| ("partial".into(), Vec::new()))
}

fn accepted(head: &Request, bytes: &[u8]) -> (String, Vec<u8>) {
    let said = format!(
        "{} {} at {:?}, {}, {}{}{}",
        shown(head.method_text.of(bytes)),
        shown(head.path.of(bytes)),
        shown(head.host.of(bytes)),
        body(head.framing),
        goes_on(head.persistent),
        if head.expects_continue { ", waits" } else { "" },
        match head.upgrade {
            Upgrade::None => "",
            Upgrade::WebSocket => ", websocket",
            Upgrade::Other => ", upgrade",
        },
    );
    let edits = RequestEdits {
        peer: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        trusted: false,
        secure: false,
        host: None,
        request_id: b"id",
        upgrade: upgrade::offer(head, bytes, ALLOWED),
    };
    let mut buffer = [0; 20_000];
    let mut out = Writer::new(&mut buffer);
    forward::request(&mut out, head, bytes, &edits).unwrap();
    (said, out.written().to_vec())
}

/// What is said about a response, and the head that leaves to an HTTP/1.1 client.
fn response(bytes: &[u8], asked: &str, offer: Option<Offer>) -> (String, Vec<u8>) {
    let asked = Asked { method: Method::of(asked.as_bytes()), offer };
    let read = every_way(bytes, || {
        let mut head = Response::default();
        move |bytes: &[u8]| match head.read(bytes, &Limits::default(), asked) {
            Ok(Progress::Partial) => None,
            Ok(Progress::Complete) => Some(answered(&head, bytes)),
            Err(reason) => Some((refused(reason), Vec::new())),
        }
    });
    read.unwrap_or_else(|| ("partial".into(), Vec::new()))
}

fn answered(head: &Response, bytes: &[u8]) -> (String, Vec<u8>) {
    let said = format!("{}, {}, {}", head.status, body(head.framing), goes_on(head.persistent));
    let mut buffer = [0; 20_000];
    let mut out = Writer::new(&mut buffer);
    if head.is_interim() {
        forward::interim(&mut out, head, bytes).unwrap();
    } else {
        let edits = ResponseEdits {
            to: Version::Http11,
            persistent: true,
            framing: outward(head.framing, Version::Http11),
            date: b"today",
            backend: None,
            request_id: None,
        };
        let write = if head.status == 101 { forward::switching } else { forward::response };
        write(&mut out, head, bytes, &edits).unwrap();
    }
    (said, out.written().to_vec())
}

/// Where a follower of frames stands in the end, the octets having come in any parts.
fn frames(bytes: &[u8]) -> String {
    let stands = |follower: &Follower| {
        let place = match () {
            () if follower.is_broken() => "broken".to_owned(),
            () if follower.at_boundary() => "boundary".to_owned(),
            () if follower.left() == 0 => "header".to_owned(),
            () => format!("{} left", follower.left()),
        };
        let message = if follower.in_message() { ", in message" } else { "" };
        place + message + if follower.saw_close() { ", close" } else { "" }
    };
    let mut whole = Follower::default();
    whole.follow(bytes);
    for cut in 0..=bytes.len() {
        let mut parts = Follower::default();
        parts.follow(&bytes[..cut]);
        parts.follow(&bytes[cut..]);
        assert_eq!(stands(&parts), stands(&whole), "cut at {cut}: {}", shown(bytes));
    }
    let mut slowly = Follower::default();
    bytes.chunks(1).for_each(|octet| slowly.follow(octet));
    assert_eq!(stands(&slowly), stands(&whole), "octet by octet: {}", shown(bytes));
    stands(&whole)
}

/// What a chunked body contains.
fn chunked(bytes: &[u8]) -> String {
    let decoded = every_way(bytes, || {
        let (mut decoder, mut fed, mut payload) = (Decoder::default(), 0, Vec::new());
        move |bytes: &[u8]| {
            let mut news = bytes[fed..].to_vec();
            match decoder.decode(&mut news) {
                Err(reason) => Some(refused(reason)),
                Ok(decoded) => {
                    payload.extend_from_slice(&news[..decoded.payload]);
                    fed += decoded.consumed;
                    let trailers = shown(decoder.trailers());
                    decoded.done.then(|| format!("\"{}\" \"{trailers}\"", shown(&payload)))
                }
            }
        }
    });
    decoded.unwrap_or_else(|| "partial".into())
}
