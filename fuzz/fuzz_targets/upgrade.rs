//! What is offered leaves as the same offer and nothing else; what is not leaves no trace; and of
//! all the answers only the one with the proof is believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::http::forward::{self, FieldEdits, PathEdits, RequestEdits, ResponseEdits};
use tidegate_fuzz::http::write::Writer;
use tidegate_fuzz::http::{
    Asked, Field, Framing, Limits, Name, Offer, Progress, Reason, Request, Response, Upgrade,
    Version, upgrade,
};

const LIMITS: Limits = Limits { head: 40_000, fields: 100, target: 10_000 };
const ALLOWED: &[&[u8]] = &[b"other/1", b"websocket", b"tcp"];

fuzz_target!(|data: &[u8]| {
    let cut = data.windows(4).position(|end| end == b"\r\n\r\n").map_or(data.len(), |at| at + 4);
    let (bytes, answer) = data.split_at(cut);
    let mut head = Request::default();
    match head.read(bytes, &Limits::default()) {
        Ok(Progress::Complete) => {}
        Ok(Progress::Partial) | Err(_) => return assert_eq!(head.upgrade, Upgrade::None),
    }
    let offer = head.offer(bytes, ALLOWED);
    leaves(&head, bytes, offer);
    if let Some(offer) = &offer {
        assert_eq!((head.version, head.framing), (Version::Http11, Framing::None));
        sound_answer(offer);
    }
    any_answer(answer, offer);
});

/// The request that leaves is understood as the very same offer.
fn leaves(head: &Request, bytes: &[u8], offer: Option<Offer>) {
    let edits = RequestEdits {
        peer: None,
        trusted: false,
        withheld: &[],
        fields: FieldEdits::default(),
        path: PathEdits::default(),
        secure: false,
        host: Some(b"upstream:1"),
        request_id: b"id",
        upgrade: offer,
    };
    let mut buffer = vec![0; 40_000];
    let mut out = Writer::new(&mut buffer);
    forward::request(&mut out, head, bytes, &edits).expect("room");
    let sent = out.written();
    let mut again = Request::default();
    match again.read(sent, &LIMITS) {
        Err(Reason::TooManyFields) if head.fields.len() > 90 => return,
        Err(Reason::MaxForwardsSpent) => return,
        read => assert_eq!(read, Ok(Progress::Complete)),
    }
    assert_eq!(again.len, sent.len(), "one request and no octet more");
    assert_eq!(again.offer(sent, ALLOWED), offer);
    let wanted = usize::from(offer.is_some());
    assert_eq!(count(&again.fields, Name::Upgrade), wanted);
    assert_eq!(count(&again.fields, Name::Connection), wanted);
    if let Some(offer) = offer {
        assert_eq!(again.upgrade, head.upgrade);
        assert_eq!(again.get(Name::Upgrade).unwrap().of(sent), offer.protocol());
        assert_eq!(count(&again.fields, Name::ContentLength), 0);
    }
    for name in [Name::SecWebSocketKey, Name::SecWebSocketProtocol, Name::SecWebSocketExtensions] {
        assert_eq!(count(&again.fields, name), count(&head.fields, name));
    }
}

fn count(fields: &[Field], name: Name) -> usize {
    fields.iter().filter(|field| field.id == name).count()
}

/// The answer an honest upstream gives is believed, but not by those who offered something else.
fn sound_answer(offer: &Offer) {
    let mut text = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n".to_vec();
    text.extend_from_slice(&[b"Upgrade: ", offer.protocol(), b"\r\n"].concat());
    if let Offer::WebSocket { key } = offer {
        let proof = upgrade::accept(key);
        text.extend_from_slice(&[b"Sec-WebSocket-Accept: ", &proof[..], b"\r\n"].concat());
        let mut other = *key;
        other[0] = if key[0] == b'A' { b'B' } else { b'A' };
        let other = Offer::WebSocket { key: other };
        text.extend_from_slice(b"\r\n");
        assert_eq!(read(&text, Some(other)).1, Err(Reason::BadUpgradeProof));
    } else {
        text.extend_from_slice(b"\r\n");
    }
    assert_eq!(read(&text, Some(*offer)).1, Ok(Progress::Complete));
    assert_eq!(read(&text, Some(Offer::Other(b"xyz"))).1, Err(Reason::UnaskedUpgrade));
    assert_eq!(read(&text, None).1, Err(Reason::UnaskedUpgrade));
    any_answer(&text, Some(*offer));
}

/// A 101 that is believed has one meaning, for the client as well.
fn any_answer(bytes: &[u8], offer: Option<Offer>) {
    let (head, outcome) = read(bytes, offer);
    if outcome != Ok(Progress::Complete) || head.status != 101 {
        return;
    }
    let offered = offer.expect("no 101 without an offer");
    assert_eq!((head.framing, head.persistent, head.is_interim()), (Framing::None, false, false));
    let protocol = head.get(Name::Upgrade).unwrap().of(bytes);
    assert!(protocol.eq_ignore_ascii_case(offered.protocol()));
    let mut buffer = vec![0; 70_000];
    let mut out = Writer::new(&mut buffer);
    let edits = ResponseEdits {
        fields: FieldEdits::default(),
        to: Version::Http11,
        persistent: false,
        framing: Framing::None,
        date: b"now",
        backend: Some(b"b"),
        request_id: Some(b"id"),
    };
    forward::switching(&mut out, &head, bytes, &edits).expect("room");
    let sent = out.written();
    let (again, outcome) = read(sent, offer);
    match outcome {
        Err(Reason::ResponseHeadTooLarge) if head.fields.len() > 90 => {}
        outcome => {
            assert_eq!((outcome, again.status), (Ok(Progress::Complete), 101));
            assert_eq!(again.len, sent.len(), "one answer and no octet more");
        }
    }
}

fn read(bytes: &[u8], offer: Option<Offer>) -> (Response, Result<Progress, Reason>) {
    let mut head = Response::default();
    let asked = Asked { offer, ..Asked::default() };
    let outcome = head.read(bytes, &LIMITS, asked);
    (head, outcome)
}
