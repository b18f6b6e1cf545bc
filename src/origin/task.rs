//! What a target asks an origin to do.

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

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
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

impl Task {
    /// What `target` (origin-form or absolute-form) asks for.
    pub fn of(target: &str) -> Task {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = match path.split_once("://") {
            Some((_, rest)) if !path.starts_with('/') => {
                rest.find('/').map_or("/", |at| &rest[at..])
            }
            _ => path,
        };
        Task::plain(path).or_else(|| Task::numbered(path, query)).unwrap_or(Task::Unknown)
    }

    /// Paths that are one word.
    fn plain(path: &str) -> Option<Task> {
        Some(match path {
            "/" | "*" => Task::Message,
            "/health" => Task::Health,
            "/whoami" => Task::Whoami,
            "/echo" => Task::Echo,
            "/echo-body" => Task::EchoBody,
            "/upload" | "/continue" => Task::Upload,
            "/early" => Task::Early,
            "/1xx" => Task::Hints,
            "/close" => Task::Close,
            "/drop" => Task::Drop,
            "/reset" => Task::Reset,
            "/garbage" => Task::Garbage,
            _ => return None,
        })
    }

    /// Paths that end with a number.
    fn numbered(path: &str, query: &str) -> Option<Task> {
        let (word, number) = path.strip_prefix('/')?.split_once('/')?;
        let number = digits(number.as_bytes())?;
        let octets = (number <= OCTETS_MAX).then_some(number);
        Some(match word {
            "bytes" => Task::Bytes(octets?),
            "chunked" => {
                Task::Chunked { octets: octets?, trailer: parameter(query, "trailer") == Some(1) }
            }
            "until-close" => Task::UntilClose(octets?),
            "stream" => {
                let every = Duration::from_millis(parameter(query, "every").unwrap_or(0));
                Task::Stream { lines: number, every }
            }
            "delay" => Task::Delay(Duration::from_millis(number.min(3_600_000))),
            "status" if (200..=999).contains(&number) => Task::Status(number as u16),
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
    fn targets_ask_for_tasks() {
        let every = Duration::from_millis(20);
        for (target, task) in [
            ("/", Task::Message),
            ("/?a=b", Task::Message),
            ("http://a:1/bytes/7", Task::Bytes(7)),
            ("http://a", Task::Message),
            ("/bytes/10737418240", Task::Bytes(OCTETS_MAX)),
            ("/bytes/10737418241", Task::Unknown),
            ("/bytes/+1", Task::Unknown),
            ("/bytes/", Task::Unknown),
            ("/chunked/9?trailer=1", Task::Chunked { octets: 9, trailer: true }),
            ("/stream/3?x=1&every=20", Task::Stream { lines: 3, every }),
            ("/status/418", Task::Status(418)),
            ("/status/100", Task::Unknown),
            ("/nothing", Task::Unknown),
        ] {
            assert_eq!(Task::of(target), task, "{target}");
        }
    }

    #[test]
    fn every_listed_path_is_known() {
        for line in PATHS.lines() {
            let path = line.split(' ').next().unwrap();
            let path = path.replace("/N", "/5").replace("/MS", "/5").replace("CODE", "204");
            assert_ne!(Task::of(&path), Task::Unknown, "{path}");
        }
    }
}
