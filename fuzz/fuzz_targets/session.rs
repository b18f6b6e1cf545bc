//! A whole connection, both sides: any split gives the same messages and the same end; and what leaves, read
//! again as one stream, is one message for each that was taken in, with the same meaning; trailers have
//! nothing that heads may not have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::connection::{Answers, End, Message, Requests, sides};
use tidegate_fuzz::http::{Framing, Reason};
use tidegate_fuzz::{is_withheld, splits};

fuzz_target!(|data: &[u8]| {
    let (ends, data) = splits(data);
    let (client, origin) = sides(data);
    let requests = asked(client, &ends);
    let answers = answered(&requests, origin, &ends);
    one_for_each(&requests);
    one_answer_for_each(&requests, &answers);
});

/// The parts of `bytes` between the places to split at; the last of them may lie behind its end.
fn parts<'b>(bytes: &'b [u8], ends: &[usize]) -> Vec<&'b [u8]> {
    let mut at = 0;
    let ends = ends.iter().map(|end| (*end).min(bytes.len())).chain([bytes.len()]);
    ends.map(|end| &bytes[std::mem::replace(&mut at, end)..end]).collect()
}

fn asked(bytes: &[u8], ends: &[usize]) -> Vec<Message> {
    let read = |parts: &mut dyn Iterator<Item = &[u8]>| {
        let mut requests = Requests::default();
        parts.for_each(|part| requests.feed(part));
        (requests.whole, requests.end)
    };
    let whole = read(&mut [bytes].into_iter());
    assert_eq!(read(&mut parts(bytes, ends).into_iter()), whole, "split at {ends:?}");
    if bytes.len() < 1024 {
        assert_eq!(read(&mut bytes.chunks(1)), whole, "octet by octet");
    }
    whole.0
}

fn answered(requests: &[Message], bytes: &[u8], ends: &[usize]) -> Vec<Message> {
    let read = |parts: &mut dyn Iterator<Item = &[u8]>| {
        let mut answers = Answers::to(requests);
        parts.for_each(|part| answers.feed(part));
        answers.finish();
        (answers.whole, answers.end)
    };
    let whole = read(&mut [bytes].into_iter());
    assert_eq!(read(&mut parts(bytes, ends).into_iter()), whole, "split at {ends:?}");
    if bytes.len() < 1024 {
        assert_eq!(read(&mut bytes.chunks(1)), whole, "octet by octet");
    }
    whole.0
}

fn one_for_each(requests: &[Message]) {
    for line in requests.iter().flat_map(|request| request.trailers.split(|b| *b == b'\n')) {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        assert!(!is_withheld(name), "in a trailer");
    }
    let mut again = Requests::sent();
    requests.iter().for_each(|request| again.feed(&request.sent));
    // The fields that are added may be too many for the same limit; the last hop may be done.
    if let Some(End::Refused(reason)) = again.end {
        assert!(matches!(reason, Reason::TooManyFields | Reason::MaxForwardsSpent), "{reason:?}");
        return;
    }
    assert!(again.is_clean(), "octets behind the last request");
    let meanings = requests.iter().map(Message::meaning);
    assert!(again.whole.iter().map(Message::meaning).eq(meanings));
    assert!(again.whole.iter().zip(requests).all(|(again, first)| again.framing == first.framing));
}

fn one_answer_for_each(requests: &[Message], answers: &[Message]) {
    let is_final = |answer: &&Message| answer.start == b"101" || !answer.start.starts_with(b"1");
    assert!(answers.iter().filter(is_final).count() <= requests.len());
    let mut again = Answers::to(requests);
    for answer in answers {
        again.feed(&answer.sent);
        if answer.framing == Framing::UntilClose {
            again.finish();
        }
    }
    if again.end == Some(End::Refused(Reason::ResponseHeadTooLarge)) {
        return;
    }
    // A client that is to close reads no further; but nothing may come behind that either.
    assert!(again.is_clean() || again.end == Some(End::Closes), "octets behind the last answer");
    let count = again.whole.len();
    assert!(count == answers.len() || again.end == Some(End::Closes));
    let meanings = answers[..count].iter().map(Message::meaning);
    assert!(again.whole.iter().map(Message::meaning).eq(meanings));
}
