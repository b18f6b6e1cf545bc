//! How long a body is (RFC 9112 section 6.3), decided in one function for each direction.

use super::close::Reason;
use super::fields::{Field, Name};
use super::grammar;
use super::head::{Method, Version};

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body, or it is empty.
    #[default]
    None,
    /// So many octets, never 0.
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

    /// The one `Content-Length`. A list, or a second line that says the same, could be mended (RFC 9110 section
    /// 8.6); nobody sends it by honest mistake, so it is refused.
    pub(super) fn length(&self) -> Result<Option<u64>, Reason> {
        match self.lengths {
            0 => Ok(None),
            1 => grammar::digits(self.length).map(Some).ok_or(Reason::BadLength),
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
        return Err(Reason::LengthAndTransferEncoding); // 3, before all else: do not even relay the claim
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
