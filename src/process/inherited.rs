//! What the process before us left for us: listening sockets, what it knew of upstreams, and a line to say that we are
//! ready.
//!
//! A tidegate that starts its heir names the descriptors in [`INHERIT`], as words with commas between
//! them: `report=5,upstreams=6,listen=7,listen=8,admin=9`. A service manager names its sockets in its own way
//! (sd_listen_fds(3)); `activated-` before a word says that they came from there in the first place.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;

use crate::io::listen::{Passed, take_file, take_stream};

use crate::base::digits;

/// The variable for the heir. It is no setting, and not shown to those who read settings.
pub const INHERIT: &str = "TIDEGATE_INHERIT";
/// What a heir says once it accepts connections; anything else is why it cannot.
pub const READY: &[u8] = b"ready";
/// The first descriptor a service manager passes.
const FIRST_ACTIVATED: RawFd = 3;
/// Sockets taken from a service manager at most.
const ACTIVATED_MOST: u64 = 1024;

/// Octets that a process says of its upstreams at most; more are not read.
pub const UPSTREAMS_MOST: usize = 16 * 1024 * 1024;

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Clients.
    Listen,
    /// The admin.
    Admin,
}

/// Facts about an inherited socket besides its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// What it is for.
    pub role: Role,
    /// It is the service manager's, and so is the file of a Unix socket.
    pub activated: bool,
}

impl Label {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match (self.activated, self.role) {
            (false, Role::Listen) => "listen",
            (false, Role::Admin) => "admin",
            (true, Role::Listen) => "activated-listen",
            (true, Role::Admin) => "activated-admin",
        }
    }

    fn of(word: &str) -> Option<Label> {
        let (activated, word) =
            word.strip_prefix("activated-").map_or((false, word), |word| (true, word));
        let role = match word {
            "listen" => Role::Listen,
            "admin" => Role::Admin,
            _ => return None,
        };
        Some(Label { role, activated })
    }
}

/// Everything that was left for us.
#[derive(Debug)]
pub struct InheritedSockets {
    /// To the process before us.
    pub predecessor: Predecessor,
    /// Its sockets, or the service manager's.
    pub sockets: Vec<(Label, Passed)>,
    /// What it knew of upstreams, in its own words; empty if it said nothing.
    pub upstreams: Vec<u8>,
}

impl InheritedSockets {
    /// Takes over what the environment names.
    ///
    /// # Errors
    /// When it names what is not there: then nothing can be relied on.
    pub fn take(variable: impl Fn(&str) -> Option<OsString>) -> Result<InheritedSockets, String> {
        let named = match variable(INHERIT) {
            Some(words) => words.to_str().and_then(read),
            None => Some(activated(variable)),
        };
        let named =
            named.ok_or_else(|| format!("{INHERIT} makes no sense; it is not for people"))?;
        let stream = named.report.map(take_stream).transpose();
        let stream = stream.map_err(|error| format!("the line to report on: {error}"))?;
        let take = |(label, number)| match Passed::take(number) {
            Ok(passed) => Ok((label, passed)),
            Err(error) => Err(format!("socket {number}, with which we were started: {error}")),
        };
        let sockets = named.sockets.into_iter().map(take).collect::<Result<_, _>>()?;
        let upstreams = named.upstreams.map(read_file).unwrap_or_default();
        Ok(InheritedSockets { predecessor: Predecessor(stream), sockets, upstreams })
    }
}

/// The line on which the process before us waits for news.
#[derive(Debug)]
pub struct Predecessor(Option<UnixStream>);

impl Predecessor {
    /// Is another process serving, until we say that we are ready?
    pub fn is_waiting(&self) -> bool {
        self.0.is_some()
    }

    /// Says [`READY`], or why not; only the first word counts.
    pub fn send(&mut self, words: &[u8]) {
        if let Some(mut stream) = self.0.take() {
            // If it has gone meanwhile, nobody else is left to serve: we go on.
            let _ = stream.write_all(words);
        }
    }
}

/// Numbers of descriptors.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    report: Option<RawFd>,
    upstreams: Option<RawFd>,
    sockets: Vec<(Label, RawFd)>,
}

/// What is in this file; what cannot be read is worth no more than not to be known.
fn read_file(number: RawFd) -> Vec<u8> {
    let mut octets = Vec::new();
    let read = take_file(number)
        .and_then(|file| file.take(UPSTREAMS_MOST as u64).read_to_end(&mut octets));
    if let Err(error) = read {
        tracing::warn!(%error, "what the process before us knew of upstreams cannot be read");
    }
    octets
}

/// Reads the words of [`INHERIT`].
fn read(words: &str) -> Option<Named> {
    let mut named = Named::default();
    for word in words.split(',') {
        let (word, number) = word.split_once('=')?;
        let number = RawFd::try_from(digits(number)?).ok()?;
        match word {
            "report" => named.report = Some(number),
            "upstreams" => named.upstreams = Some(number),
            word => named.sockets.push((Label::of(word)?, number)),
        }
    }
    Some(named)
}

/// What a service manager passed, if it is for this very process. A socket whose name
/// (`FileDescriptorName=`) is `admin` is for the admin, the others are for clients.
fn activated(variable: impl Fn(&str) -> Option<OsString>) -> Named {
    let number = |name| variable(name).as_deref().and_then(OsStr::to_str).and_then(digits);
    if number("LISTEN_PID") != Some(u64::from(std::process::id())) {
        return Named::default();
    }
    let count = number("LISTEN_FDS").unwrap_or(0).min(ACTIVATED_MOST) as RawFd;
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.to_string_lossy();
    let mut names = names.split(':');
    let label = |number| {
        let role = if names.next() == Some("admin") { Role::Admin } else { Role::Listen };
        (Label { role, activated: true }, number)
    };
    let sockets = (FIRST_ACTIVATED..FIRST_ACTIVATED + count).map(label).collect();
    Named { sockets, ..Named::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        let label = |role, activated| Label { role, activated };
        let sockets = vec![
            (label(Role::Listen, false), 7),
            (label(Role::Admin, false), 8),
            (label(Role::Listen, true), 9),
            (label(Role::Admin, true), 10),
        ];
        let words = sockets.iter().map(|(label, number)| format!(",{}={number}", label.word()));
        let words = format!("report=5,upstreams=6{}", words.collect::<String>());
        assert_eq!(
            words,
            "report=5,upstreams=6,listen=7,admin=8,activated-listen=9,activated-admin=10"
        );
        assert_eq!(read(&words), Some(Named { report: Some(5), upstreams: Some(6), sockets }));
    }

    #[test]
    fn words_that_make_no_sense_are_refused() {
        for words in ["", "listen", "listen=", "listen=+7", "listen=x", "listener=7", "listen=7,"] {
            assert_eq!(read(words), None, "{words}");
        }
    }

    #[test]
    fn lent_sockets_are_taken_only_if_they_are_for_us() {
        let us = std::process::id().to_string();
        let environment = |pid: &str| {
            let pid = pid.to_owned();
            move |name: &str| match name {
                "LISTEN_PID" => Some(OsString::from(&pid)),
                "LISTEN_FDS" => Some("3".into()),
                "LISTEN_FDNAMES" => Some("web:admin".into()),
                _ => None,
            }
        };
        let named = activated(environment(&us));
        let words: Vec<_> = named.sockets.iter().map(|(label, n)| (label.word(), *n)).collect();
        assert_eq!(
            words,
            [("activated-listen", 3), ("activated-admin", 4), ("activated-listen", 5)]
        );
        assert_eq!(activated(environment("1")), Named::default());
        assert_eq!(activated(|_| None), Named::default());
    }
}
