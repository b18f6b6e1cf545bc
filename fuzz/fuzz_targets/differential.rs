//! Parsers of other descent agree about every message that leaves: it is one, with the same start, fields,
//! body and trailers, to its last octet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::connection::{Answers, Message, Requests, sides};
use tidegate_fuzz::http::Method;
use tidegate_fuzz::opinions::{Kind, Opinion, http_parser, naive, picohttpparser};

fuzz_target!(|data: &[u8]| {
    let (client, origin) = sides(data);
    let mut requests = Requests::default();
    requests.feed(client);
    for request in &requests.whole {
        agree(request, Kind::Request);
    }
    let mut answers = Answers::to(&requests.whole);
    answers.feed(origin);
    answers.finish();
    for answer in &answers.whole {
        let none = answer.method == Method::Head
            || answer.start.starts_with(b"1")
            || matches!(answer.start.as_slice(), b"204" | b"304");
        agree(answer, if none { Kind::Bodiless } else { Kind::Answer });
    }
});

fn agree(message: &Message, kind: Kind) {
    let sent = message.sent.as_slice();
    let naive = naive(sent, kind).expect("canonical");
    assert_eq!(naive.used, sent.len(), "naive: not one message");
    assert_eq!((&naive.start, &naive.payload), (&message.start, &message.payload));
    let trailers: Vec<u8> = naive
        .trailers
        .iter()
        .flat_map(|(name, value)| [name, &b": "[..], value, b"\r\n"].concat())
        .collect();
    assert_eq!(trailers, message.trailers);
    same(&naive, picohttpparser(sent, kind), "picohttpparser", sent);
    // http-parser knows its own list of methods only.
    if kind != Kind::Request || message.method != Method::Other {
        same(&naive, http_parser(sent, kind), "http-parser", sent);
    }
}

fn same(ours: &Opinion, theirs: Option<Opinion>, who: &str, sent: &[u8]) {
    let shown = sent.escape_ascii();
    let theirs = theirs.unwrap_or_else(|| panic!("{who} refuses: {shown}"));
    assert_eq!(&theirs, ours, "{who} reads another message: {shown}");
}
