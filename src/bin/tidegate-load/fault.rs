//! Why a request failed.

use rustix::io::Errno;
use tidegate::io::Error;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
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
}

const LABELS: [&str; Fault::COUNT] = [
    "connect_refused",
    "connect_timeout",
    "reset",
    "closed_early",
    "timeout",
    "malformed",
    "body_mismatch",
    "other",
    "status_1xx",
    "status_2xx",
    "status_3xx",
    "status_4xx",
    "status_5xx",
];

impl Fault {
    /// How many kinds there are.
    pub const COUNT: usize = 13;

    /// What they are called, in the order of [`Fault::index`].
    pub fn labels() -> &'static [&'static str; Fault::COUNT] {
        &LABELS
    }

    /// The place of this kind, below [`Fault::COUNT`].
    pub fn index(self) -> usize {
        match self {
            Fault::ConnectRefused => 0,
            Fault::ConnectTimeout => 1,
            Fault::Reset => 2,
            Fault::ClosedEarly => 3,
            Fault::Timeout => 4,
            Fault::Malformed => 5,
            Fault::BodyMismatch => 6,
            Fault::Other => 7,
            Fault::Status(class) => 7 + usize::from(class.clamp(1, 5)),
        }
    }

    /// No connection came about.
    pub fn is_of_connecting(self) -> bool {
        matches!(self, Fault::ConnectRefused | Fault::ConnectTimeout | Fault::Other)
    }

    /// What an error means while connecting.
    pub fn connecting(error: Error) -> Fault {
        match error {
            Error::Os(Errno::CONNREFUSED) => Fault::ConnectRefused,
            Error::Deadline => Fault::ConnectTimeout,
            _ => Fault::exchanging(error),
        }
    }

    /// What an error means on a connection that stands.
    pub fn exchanging(error: Error) -> Fault {
        match error {
            Error::Deadline => Fault::Timeout,
            Error::Os(Errno::CONNRESET | Errno::PIPE) => Fault::Reset,
            _ => Fault::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place_and_a_name_of_its_own() {
        let plain = [
            Fault::ConnectRefused,
            Fault::ConnectTimeout,
            Fault::Reset,
            Fault::ClosedEarly,
            Fault::Timeout,
            Fault::Malformed,
            Fault::BodyMismatch,
            Fault::Other,
        ];
        let all = plain.into_iter().chain((1..=5).map(Fault::Status));
        let places: Vec<_> = all.map(Fault::index).collect();
        assert_eq!(places, (0..Fault::COUNT).collect::<Vec<_>>());
        assert_eq!(LABELS[Fault::Status(5).index()], "status_5xx");
    }
}
