//! What a target means to an origin.

use std::time::Duration;

use crate::base::digits;

/// Octets a path may ask for: 10 GiB.
const OCTETS_MAX: u64 = 10 << 30;

/// Every path there is, a line each; the body of a 404.
pub const PATHS: &str = "\
/                   the message
/health             ok
/whoami             who this is, as JSON: name, port, pid, requests
/echo               the request head and body as received, as text (body up to 1 MiB)
/echo-body          the request body, streamed back with its content type
/upload             how many octets the request body had
/continue           the same; like every path it says 100 Continue when asked
/early              answers before it reads the request body
/bytes/N            N octets with a Content-Length, up to 10 GiB
/chunked/N          N octets in chunks of 4 KiB; ?trailer=1 adds a trailer field
/until-close/N      N octets that end with the connection
/stream/N           N lines in a chunk each; ?every=MS apart
/delay/MS           the message after MS milliseconds
/status/CODE        that status, 200 to 999
/1xx                103 Early Hints, then 200
/close              the message, then closes
/drop               closes without an answer
/reset              resets the connection without an answer
/garbage            something that is not HTTP, then closes
";

/// What a target names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Message,
    Health,
    Whoami,
    Echo,
    EchoBody,
    /// `/upload` and `/continue`.
    Upload,
    Early,
    Bytes(u64),
    Chunked {
        octets: u64,
        trailer: bool,
    },
    UntilClose(u64),
    Stream {
        lines: u64,
        every: Duration,
    },
    Delay(Duration),
    Status(u16),
    Hints,
    Close,
    Drop,
    Reset,
    Garbage,
    /// A path that means nothing.
    Unknown,
}

impl Resource {
    /// The resource that `path` names: the path of a request target, with its query.
    pub fn of(path: &str) -> Resource {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Resource::plain(path)
            .or_else(|| Resource::numbered(path, query))
            .unwrap_or(Resource::Unknown)
    }

    /// Paths that are one word.
    fn plain(path: &str) -> Option<Resource> {
        Some(match path {
            "" | "/" | "*" => Resource::Message,
            "/health" => Resource::Health,
            "/whoami" => Resource::Whoami,
            "/echo" => Resource::Echo,
            "/echo-body" => Resource::EchoBody,
            "/upload" | "/continue" => Resource::Upload,
            "/early" => Resource::Early,
            "/1xx" => Resource::Hints,
            "/close" => Resource::Close,
            "/drop" => Resource::Drop,
            "/reset" => Resource::Reset,
            "/garbage" => Resource::Garbage,
            _ => return None,
        })
    }

    /// Paths that end with a number.
    fn numbered(path: &str, query: &str) -> Option<Resource> {
        let (word, number) = path.strip_prefix('/')?.split_once('/')?;
        let number = digits(number.as_bytes())?;
        let octets = (number <= OCTETS_MAX).then_some(number);
        Some(match word {
            "bytes" => Resource::Bytes(octets?),
            "chunked" => Resource::Chunked {
                octets: octets?,
                trailer: parameter(query, "trailer") == Some(1),
            },
            "until-close" => Resource::UntilClose(octets?),
            "stream" => {
                let every = Duration::from_millis(parameter(query, "every").unwrap_or(0));
                Resource::Stream { lines: number, every }
            }
            "delay" => Resource::Delay(Duration::from_millis(number.min(3_600_000))),
            "status" if (200..=999).contains(&number) => Resource::Status(number as u16),
            _ => return None,
        })
    }
}

/// The number a query gives `name`.
fn parameter(query: &str, name: &str) -> Option<u64> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).and_then(|(_, value)| digits(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        let every = Duration::from_millis(20);
        for (path, resource) in [
            ("/", Resource::Message),
            ("/?a=b", Resource::Message),
            ("", Resource::Message),
            ("?a=b", Resource::Message),
            ("/bytes/7", Resource::Bytes(7)),
            ("/bytes/10737418240", Resource::Bytes(OCTETS_MAX)),
            ("/bytes/10737418241", Resource::Unknown),
            ("/bytes/+1", Resource::Unknown),
            ("/bytes/", Resource::Unknown),
            ("/chunked/9?trailer=1", Resource::Chunked { octets: 9, trailer: true }),
            ("/stream/3?x=1&every=20", Resource::Stream { lines: 3, every }),
            ("/status/418", Resource::Status(418)),
            ("/status/100", Resource::Unknown),
            ("/nothing", Resource::Unknown),
        ] {
            assert_eq!(Resource::of(path), resource, "{path}");
        }
    }

    #[test]
    fn every_listed_path_is_known() {
        for line in PATHS.lines() {
            let path = line.split(' ').next().unwrap();
            let path = path.replace("/N", "/5").replace("/MS", "/5").replace("CODE", "204");
            assert_ne!(Resource::of(&path), Resource::Unknown, "{path}");
        }
    }
}
