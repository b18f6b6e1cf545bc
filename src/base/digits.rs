//! Whole numbers.

/// A whole number of decimal digits only; `None` for anything else, and above `u64::MAX`. (The parser of the standard
/// library takes `+5`, which in a protocol is another number to each reader.)
pub fn digits(text: impl AsRef<[u8]>) -> Option<u64> {
    let text = text.as_ref();
    let digit = |octet: u8| octet.is_ascii_digit().then(|| u64::from(octet - b'0'));
    let add = |value: u64, octet: &u8| value.checked_mul(10)?.checked_add(digit(*octet)?);
    (!text.is_empty()).then(|| text.iter().try_fold(0, add)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_are_a_number() {
        for (text, number) in [
            ("0", Some(0)),
            ("0042", Some(42)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            (" 1", None),
            ("1 ", None),
            ("0x1", None),
            ("1_0", None),
            ("1,0", None),
            ("\u{661}", None),
        ] {
            assert_eq!(digits(text), number, "{text:?}");
        }
    }
}
