//! WHAT WOULD BE RIGHT? What a refusal offers is read by the reader that refused, before anyone is told to write it.
//!
//! Readers see one text and say what they think was meant. Here that is tried: an offer that is refused in turn
//! gives way to what its own refusal offers, and, if there is nothing left, to what stands against it or to examples.

use super::diagnostics::{Diagnostic, escape, instead, wrong};
use super::table::Form;
use super::values;

/// How often an offer may lead to another.
const STEPS: u8 = 3;

/// An offer is told word for word, so it has to fit.
const LONGEST_OFFER: usize = 120;

/// Reads a value. If it is refused, whatever the refusal offers has been read as well.
pub fn read<T>(
    form: Form,
    text: &str,
    reader: impl Fn(&str) -> Result<T, Diagnostic>,
) -> Result<T, Diagnostic> {
    reader(text).map_err(|refusal| tried(form, text, refusal, |offer| reader(offer).map(drop)))
}

/// A refusal of `text` with offers that the reader takes.
fn tried(
    form: Form,
    text: &str,
    mut refusal: Diagnostic,
    reader: impl Fn(&str) -> Result<(), Diagnostic>,
) -> Diagnostic {
    let has_examples = !matches!(form, Form::Switch | Form::Choice(_) | Form::File | Form::Folder);
    if text.trim().is_empty() && has_examples {
        return empty(form);
    }
    if form.is_secret() {
        return refusal; // whatever is offered would tell some of it
    }
    if let Some(bare) = bare(text).and_then(|bare| taken(bare, &reader)) {
        return instead("blanks, quotes and commas around it are no part of a value", [bare]);
    }
    let lower = text.to_ascii_lowercase();
    if reader(&lower).is_ok() {
        return instead("this is written in lower case", [lower]);
    }
    if values::is_off(text) && refusal.offers != ["off"] && reader("off").is_ok() {
        let more = if form == Form::Admin { ", or an address such as 127.0.0.1:8082" } else { "" };
        return instead(refusal.wrong, ["off"]).and(more);
    }
    if refusal.offers.is_empty() && refusal.rest.is_empty() {
        return wrong(refusal.wrong, form.example());
    }
    let mut offers: Vec<String> = Vec::new();
    for offer in refusal.offers.iter().filter_map(|offer| taken(offer, &reader)) {
        if !offers.contains(&offer) {
            offers.push(offer);
        }
    }
    if let (true, Some(first)) = (offers.is_empty(), refusal.offers.first()) {
        // The objection to the offer is the message.
        return match reader(first) {
            Err(why) if why.offers.is_empty() && !why.rest.is_empty() => why,
            _ => wrong(refusal.wrong, form.example()),
        };
    }
    refusal.offers = offers;
    refusal
}

/// Nothing stands where a value has to be.
pub fn empty(form: Form) -> Diagnostic {
    wrong("the value is empty; perhaps a variable is not set", form.example())
}

/// The offer, or what is offered for it in turn, if the reader takes that.
fn taken(offer: &str, reader: &impl Fn(&str) -> Result<(), Diagnostic>) -> Option<String> {
    let mut offer = offer.to_owned();
    for _ in 0..STEPS {
        let fits = offer.chars().count() <= LONGEST_OFFER && escape(&offer) == offer;
        match reader(&offer) {
            Ok(()) => return fits.then_some(offer),
            Err(refusal) => offer = refusal.offers.into_iter().next()?,
        }
    }
    None
}

/// The text without what slips in around a value, if there is any such thing.
fn bare(text: &str) -> Option<&str> {
    let around = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '"' | '\'' | '`');
    let bare = text.trim_matches(around);
    (!bare.is_empty() && bare != text).then_some(bare)
}

/// Several values in one item of a list, separated by anything but commas.
pub fn several<T>(
    form: Form,
    text: &str,
    reader: impl Fn(&str) -> Result<T, Diagnostic>,
) -> Option<Diagnostic> {
    let pieces: Vec<&str> =
        text.split([' ', '\t', ';', '|']).filter(|piece| !piece.is_empty()).collect();
    use Form::{Failures, Fields, Listens, Networks, Protocols, Servers, Statuses, Urls};
    let each = matches!(
        form,
        Urls | Listens | Networks | Servers | Protocols | Fields | Statuses | Failures
    );
    if !each || pieces.len() < 2 || text.len() > LONGEST_OFFER {
        return None;
    }
    let all_taken = pieces.iter().all(|piece| reader(piece).is_ok());
    let what = "these are several values: a comma goes between them";
    all_taken.then(|| instead(what, [pieces.join(",")]).and(", or give the setting once for each"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digits;

    /// Takes even numbers, offers the next one, and `off`.
    fn even(text: &str) -> Result<u64, Diagnostic> {
        match digits(text) {
            Some(number) if number % 2 == 0 => Ok(number),
            Some(number) => Err(instead("odd", [(number + 1).to_string()])),
            None if text == "off" => Ok(0),
            None => Err(instead("no number", ["3", "5", "x", "4"])),
        }
    }

    #[test]
    fn only_what_the_reader_takes_is_offered() {
        let cases = [
            ("7", "write 8"),
            // What is offered for an offer counts; what nobody takes, or comes twice, does not.
            ("x", "write 4 or 6"),
            (" 8 ", "write 8"),
            ("\"8\",", "write 8"),
            ("'9'", "write 10"),
            ("OFF", "write off"),
            ("unlimited", "write off"),
            ("", "write digits only, such as 100"),
        ];
        for (text, right) in cases {
            assert_eq!(read(Form::Count, text, even).unwrap_err().right(), right, "{text:?}");
        }
        assert_eq!(read(Form::Count, "8", even), Ok(8));
    }

    #[test]
    fn without_an_offer_that_is_taken_there_are_examples() {
        let refuse = |_: &str| -> Result<(), Diagnostic> { Err(instead("no", ["this"])) };
        let right = read(Form::Networks, "x", refuse).unwrap_err().right();
        assert_eq!(right, "write a network such as 10.0.0.0/8, fd00::/8 or 192.0.2.7");
        let long = |text: &str| match text.len() {
            0..100 => Err(instead("short", ["x".repeat(LONGEST_OFFER + 1)])),
            _ => Ok(()),
        };
        assert!(read(Form::Count, "x", long).unwrap_err().offers.is_empty());
    }

    #[test]
    fn several_values_in_one_are_told_apart() {
        for text in ["2 4", "2;4", "2 | 4", "2\t4"] {
            assert_eq!(several(Form::Urls, text, even).unwrap().offers, ["2,4"], "{text}");
        }
        for text in ["2", "2 5", " 2"] {
            assert_eq!(several(Form::Urls, text, even), None, "{text}");
        }
        assert_eq!(several(Form::Count, "2 4", even), None);
    }
}
