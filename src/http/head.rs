//! The parts that request and response heads share: version, method, limits.
//!
//! Both are read the same way:
//! ```text
//!   start line incomplete -> field lines incomplete -> judged: Complete
//!           |                        |                   |
//!           +------------------------+-------------------+--> refused: a Reason
//! ```
//! A start line is judged as soon as it is there, the field lines when all of them are. So garbage
//! is refused early, and the verdict is the same however the octets arrive.

use super::close::Reason;
use super::fields;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

impl Version {
    pub(super) fn of(text: &[u8]) -> Result<Version, Reason> {
        match text {
            b"HTTP/1.1" => Ok(Version::Http11),
            b"HTTP/1.0" => Ok(Version::Http10),
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                Err(Reason::VersionNotSupported)
            }
            _ => Err(Reason::BadRequestLine),
        }
    }
}

/// A row for each method that means something here: `Variant "TOKEN"`.
macro_rules! methods {
    ($first:ident $first_token:literal $($method:ident $token:literal)*) => {
        /// A request method.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Method {
            #[doc = $first_token]
            #[default]
            $first,
            $(#[doc = $token] $method,)*
            /// Any other token.
            Other,
        }

        impl Method {
            /// The token of each method in the order of [`Method::index`]; `_OTHER` for what is none of these.
            pub const LABELS: &'static [&'static str] = &[$first_token, $($token,)* "_OTHER"];

            /// Looks `text` up; methods are case-sensitive.
            pub fn of(text: &[u8]) -> Method {
                match text {
                    text if text == $first_token.as_bytes() => Method::$first,
                    $(text if text == $token.as_bytes() => Method::$method,)*
                    _ => Method::Other,
                }
            }
        }
    };
}

methods! {
    Get "GET"
    Head "HEAD"
    Post "POST"
    Put "PUT"
    Delete "DELETE"
    Connect "CONNECT"
    Options "OPTIONS"
    Trace "TRACE"
    Patch "PATCH"
}

impl Method {
    /// Its place in [`Method::LABELS`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// It only reads (RFC 9110 section 9.2.1).
    pub const fn is_safe(self) -> bool {
        matches!(self, Method::Get | Method::Head | Method::Options | Method::Trace)
    }

    /// Twice is as good as once (RFC 9110 section 9.2.2).
    pub const fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Method::Put | Method::Delete)
    }
}

/// Whether a head is all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More octets are needed; call `read` again with the same ones and more.
    Partial,
    /// The head is complete and good.
    Complete,
}

/// Bounds of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of the whole head, at most 65536.
    pub head: usize,
    /// Field lines, at most 256.
    pub fields: usize,
    /// Octets of a request target.
    pub target: usize,
}

impl Default for Limits {
    /// 16 KiB and 100 fields; a target of 8 KiB.
    fn default() -> Self {
        Limits { head: 16 * 1024, fields: fields::USUAL, target: 8192 }
    }
}

impl Limits {
    /// The part of `bytes` a head may lie in, and whether more could be added to it.
    pub(super) fn window<'b>(&self, bytes: &'b [u8]) -> (&'b [u8], bool) {
        // A head ends in an empty line, so no span of one reaches beyond 65535.
        let most = self.head.min(1 << 16);
        (&bytes[..bytes.len().min(most)], bytes.len() < most)
    }
}
