//! A response head means the same however it arrives, and so does the head that leaves for it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::http::forward::{self, FieldEdits, ResponseEdits};
use tidegate_fuzz::http::write::Writer;
use tidegate_fuzz::http::{
    Fault, Field, Framing, Limits, Method, Name, Progress, Response, Version, outward,
};
use tidegate_fuzz::{countable, every_way, splits};

/// Everything a head says.
type Meaning = (u16, usize, Vec<u8>, Vec<Field>, Framing, bool);

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let asked = if choice & 1 == 0 { Method::Get } else { Method::Head };
    let to = if choice & 2 == 0 { Version::Http11 } else { Version::Http10 };
    let (ends, bytes) = splits(data);
    let limits = Limits { head: 700, fields: 20, ..Limits::default() };
    let read = every_way(bytes, &ends, || {
        let mut head = Response::default();
        move |bytes: &[u8]| match head.read(bytes, &limits, asked) {
            Ok(Progress::Partial) => None,
            Ok(Progress::Complete) => Some(Ok(meaning(&head, bytes))),
            Err(reason) => Some(Err(reason)),
        }
    });
    match read {
        None => assert!(bytes.len() < limits.head),
        Some(Err(reason)) => assert_eq!(reason.fault(), Fault::Upstream),
        Some(Ok((_, len, _, fields, ..))) => {
            assert!(len <= limits.head && bytes[..len].ends_with(b"\r\n\r\n"));
            assert!(countable(&fields, bytes));
            leaves(bytes, asked, to);
        }
    }
});

fn meaning(head: &Response, bytes: &[u8]) -> Meaning {
    let reason = head.reason.of(bytes).to_vec();
    (head.status, head.len, reason, head.fields.clone(), head.framing, head.persistent)
}

/// The head that leaves is read as the same answer, with the framing it was given.
fn leaves(bytes: &[u8], asked: Method, to: Version) {
    let mut head = Response::default();
    assert_eq!(
        head.read(bytes, &Limits { head: 700, ..Limits::default() }, asked),
        Ok(Progress::Complete)
    );
    let mut buffer = [0; 4096];
    let mut out = Writer::new(&mut buffer);
    let framing = outward(head.framing, to);
    if head.is_interim() {
        forward::interim(&mut out, &head, bytes, &[]).expect("room");
    } else {
        let (date, backend, request_id) = (&b"now"[..], Some(&b"b"[..]), Some(&b"id"[..]));
        let edits = ResponseEdits {
            to,
            persistent: true,
            framing,
            fields: FieldEdits::default(),
            date,
            backend,
            request_id,
        };
        forward::response(&mut out, &head, bytes, &edits).expect("room");
    }
    let sent = out.written();
    let mut again = Response::default();
    assert_eq!(again.read(sent, &Limits::default(), asked), Ok(Progress::Complete));
    assert_eq!(
        (again.status, again.len, again.version),
        (head.status, sent.len(), Version::Http11)
    );
    assert_eq!(again.framing, framing);
    assert!(framing == Framing::UntilClose || again.persistent);
    for gone in [Name::KeepAlive, Name::Upgrade, Name::ProxyConnection, Name::ProxyAuthenticate] {
        assert_eq!(again.get(gone), None);
    }
}
