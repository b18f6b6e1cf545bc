//! One helper: a parser must say the same however its octets arrive.

use std::fmt::Debug;

/// Gives `bytes` to readers fresh from `make`: whole; octet by octet; in two parts, for every place
/// to cut; and with more behind them. Each reader sees a growing prefix and says `None` until it
/// has decided. All must decide the same, which is returned.
pub fn every_way<T: Debug + PartialEq, R: FnMut(&[u8]) -> Option<T>>(
    bytes: &[u8],
    mut make: impl FnMut() -> R,
) -> Option<T> {
    let shown = || bytes.escape_ascii().to_string();
    let whole = make()(bytes);

    let mut reader = make();
    let slowly = (0..=bytes.len()).find_map(|end| reader(&bytes[..end]));
    assert_eq!(slowly, whole, "octet by octet: {}", shown());

    // Every cut of a small message, some of a large one.
    for cut in (1..bytes.len()).step_by(1 + bytes.len() / 256) {
        let mut reader = make();
        let parts = reader(&bytes[..cut]).or_else(|| reader(bytes));
        assert_eq!(parts, whole, "cut at {cut}: {}", shown());
    }

    if whole.is_some() {
        for tail in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\r\n", b"\0\n", b"a: b\r\n\r\n"] {
            let longer = make()(&[bytes, tail].concat());
            assert_eq!(longer, whole, "with a tail: {}", shown());
        }
    }
    whole
}
