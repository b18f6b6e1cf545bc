//! How long a body is (RFC 9112 section 6.3), decided in one function for each direction.

use super::close::Reason;
use super::fields::Field;
use super::grammar;
use super::head::{Method, Version};
use super::names::Name;
use crate::base::digits;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body, or it is empty.
    #[default]
    None,
    /// This many octets, never 0.
    Length(u64),
    /// The chunked coding tells.
    Chunked,
    /// Everything until the connection closes; only in responses.
    UntilClose,
}

/// The framing a body gets on its way out to a peer that speaks `to`.
pub fn outward(framing: Framing, to: Version) -> Framing {
    match (framing, to) {
        (Framing::Chunked, Version::Http10) => Framing::UntilClose,
        (Framing::UntilClose, Version::Http11) => Framing::Chunked,
        (same, _) => same,
    }
}

/// The most octets that a body may announce: many an origin counts them in 64 bits with a sign, and
/// takes more for less than nothing.
pub(super) const COUNTABLE: u64 = i64::MAX as u64;

/// What a head claims about the length of its body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claims<'b> {
    lengths: usize,
    length: &'b [u8],
    codings: usize,
    coding: &'b [u8],
}

impl<'b> Claims<'b> {
    /// Collects the claims of `fields`, whose octets are in `bytes`.
    pub(super) fn of(fields: &[Field], bytes: &'b [u8]) -> Self {
        let mut claims = Claims::default();
        for field in fields {
            match field.id {
                Name::ContentLength => {
                    claims.lengths += 1;
                    claims.length = field.value.of(bytes);
                }
                Name::TransferEncoding => {
                    claims.codings += 1;
                    claims.coding = field.value.of(bytes);
                }
                _ => {}
            }
        }
        claims
    }

    /// Whether there is a `Transfer-Encoding`.
    pub(super) fn coded(&self) -> bool {
        self.codings > 0
    }

    /// The one `Content-Length`. A list, or a second line that says the same, could be mended (RFC
    /// 9110 section 8.6); nobody sends it by honest mistake, so it is refused.
    pub(super) fn length(&self) -> Result<Option<u64>, Reason> {
        match self.lengths {
            0 => Ok(None),
            1 => {
                let length = digits(self.length).filter(|length| *length <= COUNTABLE);
                length.map(Some).ok_or(Reason::BadLength)
            }
            _ => Err(Reason::ConflictingLength),
        }
    }

    /// Checks that the transfer codings are a single `chunked`.
    fn chunked(&self) -> Result<Framing, Reason> {
        if self.codings == 1 && self.coding.eq_ignore_ascii_case(b"chunked") {
            return Ok(Framing::Chunked);
        }
        // `gzip, chunked` is a sound message that is not implemented; anything else is not sound.
        let mut codings = grammar::list(self.coding);
        let first = codings.next().unwrap_or_default();
        let sound = self.codings == 1
            && !first.eq_ignore_ascii_case(b"chunked")
            && grammar::list(self.coding).all(grammar::is_token)
            && codings.last().unwrap_or_default().eq_ignore_ascii_case(b"chunked");
        Err(if sound { Reason::UnsupportedTransferCoding } else { Reason::BadTransferEncoding })
    }
}

/// The framing of a request. The numbers are those of RFC 9112 section 6.3.
pub(super) fn of_request(version: Version, claims: &Claims) -> Result<Framing, Reason> {
    if claims.coded() {
        if claims.lengths > 0 {
            return Err(Reason::LengthAndTransferEncoding); // 3
        }
        if version == Version::Http10 {
            return Err(Reason::TransferEncodingInHttp10); // 6.1: faulty framing
        }
        return claims.chunked(); // 4
    }
    match claims.length()? {
        // 5: errors
        Some(0) | None => Ok(Framing::None),         // 6 and 7
        Some(length) => Ok(Framing::Length(length)), // 6
    }
}

/// The framing of the response with `status` to a request with method `asked`.
pub(super) fn of_response(
    status: u16,
    asked: Method,
    version: Version,
    claims: &Claims,
) -> Result<Framing, Reason> {
    if claims.coded() && claims.lengths > 0 {
        // 3, before all else: do not even relay the claim.
        return Err(Reason::LengthAndTransferEncoding);
    }
    if claims.coded() && version == Version::Http10 {
        return Err(Reason::TransferEncodingInHttp10); // 6.1
    }
    let length = claims.length()?; // 5
    if status < 200 && (claims.coded() || length.is_some_and(|length| length > 0)) {
        return Err(Reason::BadResponseFraming); // an interim response that claims a body
    }
    if asked == Method::Head || status < 200 || status == 204 || status == 304 {
        return Ok(Framing::None); // 1; 2 is for CONNECT, which never gets here
    }
    if claims.coded() {
        return claims.chunked(); // 4
    }
    match length {
        Some(0) => Ok(Framing::None),                // 6
        Some(length) => Ok(Framing::Length(length)), // 6
        None => Ok(Framing::UntilClose),             // 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims<'b>(lengths: &[&'b str], codings: &[&'b str]) -> Claims<'b> {
        Claims {
            lengths: lengths.len(),
            length: lengths.last().map_or(b"", |text| text.as_bytes()),
            codings: codings.len(),
            coding: codings.last().map_or(b"", |text| text.as_bytes()),
        }
    }

    #[test]
    fn requests_in_the_order_of_the_rfc() {
        use Version::{Http10, Http11};
        type Case =
            (Version, &'static [&'static str], &'static [&'static str], Result<Framing, Reason>);
        let cases: [Case; 21] = [
            (Http11, &[], &[], Ok(Framing::None)),
            (Http11, &["0"], &[], Ok(Framing::None)),
            (Http11, &["5"], &[], Ok(Framing::Length(5))),
            (Http10, &["005"], &[], Ok(Framing::Length(5))),
            (Http11, &["+5"], &[], Err(Reason::BadLength)),
            (Http11, &[""], &[], Err(Reason::BadLength)),
            (Http11, &["5, 5"], &[], Err(Reason::BadLength)),
            (Http11, &["009223372036854775807"], &[], Ok(Framing::Length(COUNTABLE))),
            (Http11, &["9223372036854775808"], &[], Err(Reason::BadLength)),
            (Http11, &["18446744073709551616"], &[], Err(Reason::BadLength)),
            (Http11, &["5", "5"], &[], Err(Reason::ConflictingLength)),
            (Http11, &[], &["chunked"], Ok(Framing::Chunked)),
            (Http11, &[], &["CHUNKED"], Ok(Framing::Chunked)),
            (Http10, &[], &["chunked"], Err(Reason::TransferEncodingInHttp10)),
            (Http11, &["0"], &["chunked"], Err(Reason::LengthAndTransferEncoding)),
            (Http11, &[], &["gzip, chunked"], Err(Reason::UnsupportedTransferCoding)),
            (Http11, &[], &["chunked, chunked"], Err(Reason::BadTransferEncoding)),
            (Http11, &[], &["chunked", "chunked"], Err(Reason::BadTransferEncoding)),
            (Http11, &[], &["identity"], Err(Reason::BadTransferEncoding)),
            (Http11, &[], &[""], Err(Reason::BadTransferEncoding)),
            (Http11, &[], &["xchunked"], Err(Reason::BadTransferEncoding)),
        ];
        for (version, lengths, codings, framing) in cases {
            let found = of_request(version, &claims(lengths, codings));
            assert_eq!(found, framing, "{version:?} {lengths:?} {codings:?}");
        }
    }

    #[test]
    fn responses_in_the_order_of_the_rfc() {
        use Version::{Http10, Http11};
        let response = |status, asked, version, lengths, codings| {
            of_response(status, asked, version, &claims(lengths, codings))
        };
        let get =
            |status, lengths, codings| response(status, Method::Get, Http11, lengths, codings);
        assert_eq!(get(200, &[], &[]), Ok(Framing::UntilClose));
        assert_eq!(get(200, &["0"], &[]), Ok(Framing::None));
        assert_eq!(get(200, &["7"], &[]), Ok(Framing::Length(7)));
        assert_eq!(get(200, &[], &["Chunked"]), Ok(Framing::Chunked));
        assert_eq!(get(204, &[], &[]), Ok(Framing::None));
        assert_eq!(get(304, &["7"], &[]), Ok(Framing::None));
        assert_eq!(get(103, &[], &[]), Ok(Framing::None));
        assert_eq!(response(200, Method::Head, Http11, &["7"], &[]), Ok(Framing::None));
        assert_eq!(response(200, Method::Head, Http11, &[], &["chunked"]), Ok(Framing::None));
        assert_eq!(response(200, Method::Get, Http10, &["7"], &[]), Ok(Framing::Length(7)));

        assert_eq!(get(200, &["7"], &["chunked"]), Err(Reason::LengthAndTransferEncoding));
        assert_eq!(get(304, &["7"], &["chunked"]), Err(Reason::LengthAndTransferEncoding));
        assert_eq!(get(304, &["x"], &[]), Err(Reason::BadLength));
        assert_eq!(get(304, &["9223372036854775808"], &[]), Err(Reason::BadLength));
        assert_eq!(get(200, &["7", "7"], &[]), Err(Reason::ConflictingLength));
        assert_eq!(get(200, &[], &["gzip"]), Err(Reason::BadTransferEncoding));
        assert_eq!(get(103, &["7"], &[]), Err(Reason::BadResponseFraming));
        assert_eq!(get(100, &[], &["chunked"]), Err(Reason::BadResponseFraming));
        assert_eq!(
            response(200, Method::Get, Http10, &[], &["chunked"]),
            Err(Reason::TransferEncodingInHttp10)
        );
    }

    #[test]
    fn what_the_other_side_does_not_know_is_framed_anew() {
        use Version::{Http10, Http11};
        assert_eq!(outward(Framing::Chunked, Http10), Framing::UntilClose);
        assert_eq!(outward(Framing::UntilClose, Http11), Framing::Chunked);
        assert_eq!(outward(Framing::UntilClose, Http10), Framing::UntilClose);
        for same in [Framing::None, Framing::Length(1)] {
            assert_eq!((outward(same, Http10), outward(same, Http11)), (same, same));
        }
    }
}
