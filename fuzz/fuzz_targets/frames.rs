//! Any split of a stream of frames, and any payload that is skipped unseen, gives the same
//! boundaries as a reader that is too simple to be wrong; and a Close fits in every one of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::http::websocket::{Follower, GOING_AWAY, close_frame};
use tidegate_fuzz::splits;

/// At a boundary, octets left, in a message, saw a Close, broken.
type Stand = (bool, u64, bool, bool, bool);

fuzz_target!(|data: &[u8]| {
    let (ends, bytes) = splits(data);
    let mut whole = Follower::default();
    whole.follow(bytes);

    let (mut parts, mut from) = (Follower::default(), 0);
    for end in ends.into_iter().chain([bytes.len()]) {
        parts.follow(&bytes[from..end]);
        from = end;
        assert_eq!(stand(&parts), naive(&bytes[..end]), "behind {end}");
    }
    assert_eq!(stand(&parts), stand(&whole));

    let mut spliced = Follower::default();
    let mut at = 0;
    while at < bytes.len() {
        let unseen = spliced.left().min((bytes.len() - at) as u64);
        if unseen > 0 {
            spliced.skip(unseen);
            at += unseen as usize;
        } else {
            spliced.follow(&bytes[at..=at]);
            at += 1;
        }
    }
    assert_eq!(stand(&spliced), stand(&whole));

    if whole.takes_close() {
        for mask in [None, Some([1, 2, 3, 4])] {
            let (frame, length) = close_frame(GOING_AWAY, mask);
            let mut closed = whole;
            closed.follow(&frame[..length]);
            assert!(closed.at_boundary() && closed.saw_close() && !closed.takes_close());
            assert_eq!(closed.in_message(), whole.in_message());
        }
    }
});

fn stand(follower: &Follower) -> Stand {
    let (boundary, left) = (follower.at_boundary(), follower.left());
    (boundary, left, follower.in_message(), follower.saw_close(), follower.is_broken())
}

/// Reads all from the beginning, a frame at a time.
fn naive(bytes: &[u8]) -> Stand {
    let (mut at, mut message, mut close) = (0_usize, false, false);
    loop {
        let rest = &bytes[at..];
        if rest.is_empty() {
            return (true, 0, message, close, false);
        }
        let header = (false, 0, message, close, false);
        if rest.len() < 2 {
            return header;
        }
        let extended = [0, 2, 8][(rest[1] & 0x7f).saturating_sub(125) as usize];
        let Some(length) = rest.get(2..2 + extended) else { return header };
        let long = length.iter().fold(0_u64, |sum, b| sum << 8 | u64::from(*b));
        let payload = if extended == 0 { u64::from(rest[1] & 0x7f) } else { long };
        let (fin, opcode) = (rest[0] >> 7 == 1, rest[0] & 15);
        let control = opcode >= 8;
        let known = matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10);
        let in_order = control || (opcode == 0) == message;
        let modest = !control || (fin && payload < 126);
        if !known || !in_order || !modest || payload >> 63 == 1 {
            return (false, 0, message, close, true);
        }
        message = if control { message } else { !fin };
        close |= opcode == 8;
        let masked = if rest[1] >= 0x80 { 4 } else { 0 };
        let size = payload + masked;
        let there = (rest.len() - 2 - extended) as u64;
        if there < size {
            return (false, size - there, message, close, false);
        }
        at += 2 + extended + size as usize;
    }
}
