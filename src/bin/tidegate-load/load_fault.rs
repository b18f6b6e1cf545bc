//! Why a request failed.

use rustix::io::Errno;
use tidegate::io::Error;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadFault {
    /// Nobody listens there.
    ConnectRefused,
    /// Connecting took longer than a request may.
    ConnectTimeout,
    /// The connection was reset.
    Reset,
    /// The server closed before its answer was whole.
    ClosedEarly,
    /// The answer took longer than a request may.
    Timeout,
    /// What came is not HTTP, or no WebSocket, or more than was asked for.
    Malformed,
    /// The answer is whole, but its status is of this class (1 to 5) and was not expected.
    Status(u8),
    /// The answer is whole, but its body is not the expected one.
    BodyMismatch,
    /// Something else, such as too few descriptors or ports.
    Other,
    /// The handshake of TLS failed.
    #[cfg_attr(not(any(feature = "tls", test)), expect(dead_code, reason = "TLS alone has one"))]
    Handshake,
}

const LABELS: [&str; LoadFault::COUNT] = [
    "connect_refused",
    "connect_timeout",
    "reset",
    "closed_early",
    "timeout",
    "malformed",
    "body_mismatch",
    "other",
    "tls_handshake",
    "status_1xx",
    "status_2xx",
    "status_3xx",
    "status_4xx",
    "status_5xx",
];

impl LoadFault {
    /// How many kinds there are.
    pub const COUNT: usize = 14;

    /// What they are called, in the order of [`LoadFault::index`].
    pub fn labels() -> &'static [&'static str; LoadFault::COUNT] {
        &LABELS
    }

    /// The place of this kind, below [`LoadFault::COUNT`].
    pub fn index(self) -> usize {
        match self {
            LoadFault::ConnectRefused => 0,
            LoadFault::ConnectTimeout => 1,
            LoadFault::Reset => 2,
            LoadFault::ClosedEarly => 3,
            LoadFault::Timeout => 4,
            LoadFault::Malformed => 5,
            LoadFault::BodyMismatch => 6,
            LoadFault::Other => 7,
            LoadFault::Handshake => 8,
            LoadFault::Status(class) => 8 + usize::from(class.clamp(1, 5)),
        }
    }

    /// No connection came about.
    pub fn is_of_connecting(self) -> bool {
        matches!(
            self,
            LoadFault::ConnectRefused
                | LoadFault::ConnectTimeout
                | LoadFault::Handshake
                | LoadFault::Other
        )
    }

    /// What an error means while connecting.
    pub fn connecting(error: Error) -> LoadFault {
        match error {
            Error::Os(Errno::CONNREFUSED) => LoadFault::ConnectRefused,
            Error::Deadline => LoadFault::ConnectTimeout,
            _ => LoadFault::exchanging(error),
        }
    }

    /// What an error means in the handshake of TLS.
    #[cfg(feature = "tls")]
    pub fn securing(error: Error) -> LoadFault {
        match error {
            Error::Deadline => LoadFault::ConnectTimeout,
            _ => LoadFault::Handshake,
        }
    }

    /// What an error means on a connection that stands.
    pub fn exchanging(error: Error) -> LoadFault {
        match error {
            Error::Deadline => LoadFault::Timeout,
            Error::Os(Errno::CONNRESET | Errno::PIPE) => LoadFault::Reset,
            _ => LoadFault::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place_and_a_name_of_its_own() {
        let plain = [
            LoadFault::ConnectRefused,
            LoadFault::ConnectTimeout,
            LoadFault::Reset,
            LoadFault::ClosedEarly,
            LoadFault::Timeout,
            LoadFault::Malformed,
            LoadFault::BodyMismatch,
            LoadFault::Other,
            LoadFault::Handshake,
        ];
        let all = plain.into_iter().chain((1..=5).map(LoadFault::Status));
        let places: Vec<_> = all.map(LoadFault::index).collect();
        assert_eq!(places, (0..LoadFault::COUNT).collect::<Vec<_>>());
        assert_eq!(LABELS[LoadFault::Status(5).index()], "status_5xx");
    }
}
