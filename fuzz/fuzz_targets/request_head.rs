//! A request head means the same however it arrives, and what was accepted is sane.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::http::{Fault, Field, Framing, Limits, Name, Progress, Request, grammar};
use tidegate_fuzz::{countable, every_way, splits};

/// Everything a head says.
type Meaning = (usize, Vec<Field>, [Vec<u8>; 4], Framing, bool, bool);

fuzz_target!(|data: &[u8]| {
    let (ends, bytes) = splits(data);
    let limits = Limits { head: 700, fields: 20, target: 200 };
    let read = every_way(bytes, &ends, || {
        let mut head = Request::default();
        move |bytes: &[u8]| match head.read(bytes, &limits) {
            Ok(Progress::Partial) => None,
            Ok(Progress::Complete) => Some(Ok(meaning(&head, bytes))),
            Err(reason) => Some(Err(reason)),
        }
    });
    match read {
        None => assert!(bytes.len() < limits.head),
        Some(Err(reason)) => assert_eq!(reason.fault(), Fault::Client),
        Some(Ok(meaning)) => check(&meaning, bytes, &limits),
    }
});

fn meaning(head: &Request, bytes: &[u8]) -> Meaning {
    let spans = [head.method_text, head.target, head.host, head.path];
    let texts = spans.map(|span| span.of(bytes).to_vec());
    (head.len, head.fields.clone(), texts, head.framing, head.persistent, head.expects_continue)
}

fn check(
    (len, fields, [method, target, host, path], framing, ..): &Meaning,
    bytes: &[u8],
    limits: &Limits,
) {
    assert!(*len <= limits.head && *len <= bytes.len() && fields.len() <= limits.fields);
    assert!(bytes[..*len].ends_with(b"\r\n\r\n"));
    assert!(grammar::is_token(method) && grammar::is_target(target));
    assert!(host.is_empty() || grammar::is_authority(host));
    assert!(matches!(path.first(), None | Some(b'/' | b'?')) || path == b"*");
    assert!(!matches!(framing, Framing::Length(0) | Framing::UntilClose));
    assert!(countable(fields, bytes));
    for field in fields {
        let (name, value) = (field.name.of(bytes), field.value.of(bytes));
        assert!(grammar::is_token(name) && value.iter().all(|b| grammar::is_value(*b)));
        assert_eq!(grammar::trim(value), value);
        assert_eq!(Name::of(name), field.id);
    }
    // Counted without the parser: one line each, and the request line.
    let lines =
        bytes[..*len].split(|b| *b == b'\n').filter(|line| *line != b"\r" && !line.is_empty());
    assert_eq!(lines.count(), fields.len() + 1);
}
