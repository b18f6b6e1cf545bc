//! Runs `tests/vectors/*.md`: what the bytes mean, by section of the RFCs. How to write one is told
//! in `tests/vectors/README.md`.

mod cases;
mod feed;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use cases::Case;
use feed::every_way;
use tidegate::http::body::Encoder;
use tidegate::http::chunked::ChunkedDecoder;
use tidegate::http::forward::{self, FieldEdits, PathEdits, RequestEdits, ResponseEdits};
use tidegate::http::websocket::Follower;
use tidegate::http::write::Writer;
use tidegate::http::{
    Asked, Framing, Limits, Method, Offer, Progress, Reason, Request, Response, Upgrade, Version,
    outward,
};

/// What was offered where a vector says so: the handshake of RFC 6455 section 1.3, and the one other
/// protocol that is allowed here.
const WEBSOCKET: Offer = Offer::WebSocket { key: *b"dGhlIHNhbXBsZSBub25jZQ==" };
const OTHER: Offer = Offer::Other(ALLOWED[0]);
const ALLOWED: &[&[u8]] = &[b"other"];
/// What requests may not have: their peer is not trusted.
static WITHHELD: LazyLock<Vec<String>> = LazyLock::new(|| vec!["True-Client-IP".to_owned()]);

#[test]
fn all_vectors_hold() {
    let cases = cases::all();
    let mut wrong = String::new();
    for case in &cases {
        if let Err(why) = run(case) {
            writeln!(wrong, "{} {}\n{why}", case.place, case.title).unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(cases.len() >= 400, "only {} vectors were found", cases.len());
}

/// What a message means, what leaves for it, and how many octets it has.
#[derive(Debug, Default, PartialEq)]
struct Told {
    said: String,
    leaves: Vec<u8>,
    used: Option<usize>,
}

fn run(case: &Case) -> Result<(), String> {
    let kind: Vec<&str> = case.kind.split(' ').collect();
    let (kind, with_body) = match kind[..] {
        [.., "and", "body"] => (&kind[..kind.len() - 2], true),
        _ => (&kind[..], false),
    };
    let bytes = &case.bytes;
    let mut told = match *kind {
        ["http", "request"] => message(bytes, with_body, request),
        ["http", "response", asked] => answer(bytes, with_body, asked, None),
        ["http", "response", asked, "websocket"] => {
            answer(bytes, with_body, asked, Some(WEBSOCKET))
        }
        ["http", "response", asked, "other"] => answer(bytes, with_body, asked, Some(OTHER)),
        ["http", "chunked"] => Told { said: chunked_body(bytes), ..Told::default() },
        ["websocket", "frames"] => Told { said: frames(bytes), ..Told::default() },
        _ => return Err(format!("unknown kind {kind:?}")),
    };
    if let Some(behind) = told.used.map(|used| &bytes[used..]).filter(|behind| !behind.is_empty()) {
        write!(told.said, " then \"{}\"", shown(behind)).unwrap();
    }
    same("outcome", &case.outcome.join(" "), &told.said)?;
    case.leaves
        .as_ref()
        .map_or(Ok(()), |leaves| same("leaves", &shown(leaves), &shown(&told.leaves)))
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

/// A head that was read.
struct Head {
    said: String,
    framing: Framing,
    len: usize,
    leaves: Vec<u8>,
}

/// What is said about a message, in parts as in one piece; the octets behind its head are its body
/// if the case is about that.
fn message<R>(bytes: &[u8], with_body: bool, reader: impl Fn() -> R) -> Told
where
    R: FnMut(&[u8]) -> Option<Result<Head, Reason>>,
{
    let told = every_way(bytes, || {
        let (mut read, mut head, mut content) = (reader(), None, Content::default());
        move |bytes: &[u8]| {
            if head.is_none() {
                head = Some(read(bytes)?);
            }
            match head.as_ref()? {
                Err(reason) => Some(Told { said: refused(*reason), ..Told::default() }),
                Ok(head) if with_body => content.read(head, bytes),
                Ok(Head { said, leaves, .. }) => {
                    Some(Told { said: said.clone(), leaves: leaves.clone(), used: None })
                }
            }
        }
    });
    told.unwrap_or_else(|| {
        let said = match reader()(bytes) {
            Some(Ok(head)) => head.said + " cut short",
            _ => "partial".into(),
        };
        Told { said, ..Told::default() }
    })
}

/// A body as it comes.
#[derive(Default)]
struct Content {
    decoder: ChunkedDecoder,
    fed: usize,
    payload: Vec<u8>,
    trailers: Vec<u8>,
}

impl Content {
    fn read(&mut self, head: &Head, bytes: &[u8]) -> Option<Told> {
        let rest = &bytes[head.len..];
        let (said, leaves, used) = match head.framing {
            Framing::None => ("\"\"".to_owned(), Vec::new(), 0),
            Framing::UntilClose => return None,
            Framing::Length(length) => {
                let payload = rest.get(..usize::try_from(length).ok()?)?;
                (format!("\"{}\"", shown(payload)), payload.to_vec(), payload.len())
            }
            // About whom it is only the head knows: those of answers begin with a status.
            Framing::Chunked => match self.decode(rest, head.said.starts_with(char::is_numeric))? {
                Err(reason) => (refused(reason), Vec::new(), rest.len()),
                Ok(said) => (said, self.encoded(), self.fed),
            },
        };
        let refused = said.starts_with("refused");
        Some(Told {
            said: format!("{} {said}", head.said),
            leaves: if refused { Vec::new() } else { [&head.leaves[..], &leaves].concat() },
            used: (!refused).then_some(head.len + used),
        })
    }

    /// Takes what is new of a chunked body; what was in it, once it is whole.
    fn decode(&mut self, bytes: &[u8], of_answer: bool) -> Option<Result<String, Reason>> {
        let mut news = bytes[self.fed..].to_vec();
        let decoded = match self.decoder.decode(&mut news) {
            Ok(decoded) => decoded,
            Err(reason) => return Some(Err(if of_answer { reason.by_upstream() } else { reason })),
        };
        self.payload.extend_from_slice(&news[..decoded.payload]);
        self.fed += decoded.consumed;
        let withheld: &[String] = if of_answer { &[] } else { &WITHHELD };
        self.trailers = self.decoder.trailers_without(&[withheld]);
        let trailers = shown(&self.trailers);
        decoded.done.then(|| Ok(format!("\"{}\" \"{trailers}\"", shown(&self.payload))))
    }

    /// The chunked body as it leaves, having come in one piece.
    fn encoded(&self) -> Vec<u8> {
        Encoder::Chunked.whole(&self.payload, &self.trailers)
    }
}

fn request() -> impl FnMut(&[u8]) -> Option<Result<Head, Reason>> {
    let mut head = Request::default();
    move |bytes| match head.read(bytes, &Limits::default()) {
        Ok(Progress::Partial) => None,
        Ok(Progress::Complete) => Some(Ok(accepted(&head, bytes))),
        Err(reason) => Some(Err(reason)),
    }
}

fn accepted(head: &Request, bytes: &[u8]) -> Head {
    let said = format!(
        "{} {} at \"{}\", {}, {}{}{}",
        String::from_utf8_lossy(head.method_text.of(bytes)),
        String::from_utf8_lossy(head.path.of(bytes)),
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
        withheld: &WITHHELD,
        fields: FieldEdits::default(),
        path: PathEdits::default(),
        secure: false,
        host: None,
        request_id: b"id",
        upgrade: head.offer(bytes, ALLOWED),
    };
    let mut buffer = [0; 20_000];
    let mut out = Writer::new(&mut buffer);
    forward::request(&mut out, head, bytes, &edits).unwrap();
    Head { said, framing: head.framing, len: head.len, leaves: out.written().to_vec() }
}

/// What is said about an answer, and what leaves to an HTTP/1.1 client.
fn answer(bytes: &[u8], with_body: bool, asked: &str, offer: Option<Offer>) -> Told {
    let asked = Asked { method: Method::of(asked.as_bytes()), offer };
    message(bytes, with_body, || {
        let mut head = Response::default();
        move |bytes: &[u8]| match head.read(bytes, &Limits::default(), asked) {
            Ok(Progress::Partial) => None,
            Ok(Progress::Complete) => Some(Ok(answered(&head, bytes))),
            Err(reason) => Some(Err(reason)),
        }
    })
}

fn answered(head: &Response, bytes: &[u8]) -> Head {
    let said = format!("{}, {}, {}", head.status, body(head.framing), goes_on(head.persistent));
    let mut buffer = [0; 20_000];
    let mut out = Writer::new(&mut buffer);
    if head.is_interim() {
        forward::interim(&mut out, head, bytes, &[]).unwrap();
    } else {
        let edits = ResponseEdits {
            fields: FieldEdits::default(),
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
    Head { said, framing: head.framing, len: head.len, leaves: out.written().to_vec() }
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
fn chunked_body(bytes: &[u8]) -> String {
    let decoded = every_way(bytes, || {
        let mut content = Content::default();
        move |bytes: &[u8]| Some(content.decode(bytes, false)?.unwrap_or_else(refused))
    });
    decoded.unwrap_or_else(|| "partial".into())
}
