//! What to do instead, when the machine refuses what was asked: beside what is wrong, which the error
//! says, and the setting that asked for it.

use std::io;

use rustix::io::Errno;

use crate::io::address::Address;

use super::inherited::Role;

/// What was asked of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// A TCP address for clients.
    Clients,
    /// A TCP address for the admin.
    Admin,
    /// A Unix socket, for either.
    Socket,
    /// The file of the access log.
    LogFile,
    /// The folder of what outlives the process.
    State,
}

use Need::{Admin, Clients, LogFile, Socket, State};

const PRIVILEGED: &str = "ports below 1024 take a privilege: write one from 1024, or grant it \
    (AmbientCapabilities=CAP_NET_BIND_SERVICE under systemd, or setcap cap_net_bind_service=+ep)";
const NO_IPV6: &str = "this machine has no IPv6: write an IPv4 address";
const NO_FOLDER: &str = "its folder does not exist: create that, or write another path";
const NOT_A_FOLDER: &str = "a file stands where a folder should: write another path";
const NO_RIGHT: &str = "this user may not write there: grant it, or write another path";
const READ_ONLY: &str = "nothing can be written there: write another path";

/// The remedy, by the need and by how the machine refused it.
const TABLE: &[(Need, Errno, &str)] = &[
    (
        Clients,
        Errno::ADDRINUSE,
        "something listens there already (`ss -ltnp` shows what): stop that, or write another port",
    ),
    (Clients, Errno::ACCESS, PRIVILEGED),
    (
        Clients,
        Errno::ADDRNOTAVAIL,
        "this machine has no such address: write one that `ip address` shows, or the port alone \
         (:8080) for all of them",
    ),
    (Clients, Errno::AFNOSUPPORT, NO_IPV6),
    (
        Admin,
        Errno::ADDRINUSE,
        "something listens there already (`ss -ltnp` shows what): stop that, or write another \
         port, or off",
    ),
    (Admin, Errno::ACCESS, PRIVILEGED),
    (
        Admin,
        Errno::ADDRNOTAVAIL,
        "this machine has no such address: write one that `ip address` shows, such as 127.0.0.1",
    ),
    (Admin, Errno::AFNOSUPPORT, NO_IPV6),
    (
        Socket,
        Errno::ADDRINUSE,
        "another process listens there (`ss -lxp` shows which): stop that, or write another path",
    ),
    (Socket, Errno::EXIST, "this is not a socket, so it is left alone: write another path"),
    (Socket, Errno::NOENT, NO_FOLDER),
    (Socket, Errno::NOTDIR, NOT_A_FOLDER),
    (Socket, Errno::ACCESS, NO_RIGHT),
    (Socket, Errno::ROFS, READ_ONLY),
    (LogFile, Errno::NOENT, NO_FOLDER),
    (LogFile, Errno::NOTDIR, NOT_A_FOLDER),
    (LogFile, Errno::ISDIR, "this is a folder: write the path of a file in it"),
    (LogFile, Errno::ACCESS, NO_RIGHT),
    (LogFile, Errno::PERM, NO_RIGHT),
    (LogFile, Errno::ROFS, READ_ONLY),
    (State, Errno::NOENT, NO_FOLDER),
    (State, Errno::NOTDIR, NOT_A_FOLDER),
    (State, Errno::ACCESS, NO_RIGHT),
    (State, Errno::PERM, NO_RIGHT),
    (State, Errno::ROFS, READ_ONLY),
    (State, Errno::NOSPC, "the disk is full: free some of it, or write another path"),
];

/// What helps where `address` could not be had, to be put behind the error; empty: nothing is known.
pub fn listening(role: Role, address: &Address, error: &io::Error) -> String {
    let asked = match (address, role) {
        (Address::Unix(_), _) => Socket,
        (Address::Tcp(_), Role::Listen) => Clients,
        (Address::Tcp(_), Role::Admin) => Admin,
    };
    behind(remedy(asked, error))
}

/// The same where the file of the access log could not be opened.
pub fn logging(error: &io::Error) -> String {
    behind(remedy(LogFile, error))
}

/// The same where changes cannot be kept.
pub fn keeping(error: &io::Error) -> String {
    behind(remedy(State, error))
}

fn remedy(asked: Need, error: &io::Error) -> Option<&'static str> {
    let is_it = |errno: &Errno| error.raw_os_error() == Some(errno.raw_os_error());
    let mut rows = TABLE.iter();
    rows.find(|(row, errno, _)| *row == asked && is_it(errno)).map(|(_, _, remedy)| *remedy)
}

fn behind(remedy: Option<&str>) -> String {
    remedy.map_or_else(String::new, |remedy| format!("; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_refuses_has_a_remedy() {
        let cases = [
            (Clients, Errno::ADDRINUSE, Some("another port")),
            (Clients, Errno::ACCESS, Some("from 1024")),
            (Clients, Errno::ADDRNOTAVAIL, Some(":8080")),
            (Clients, Errno::AFNOSUPPORT, Some("IPv4")),
            (Admin, Errno::ADDRINUSE, Some("or off")),
            (Admin, Errno::ACCESS, Some("CAP_NET_BIND_SERVICE")),
            (Admin, Errno::ADDRNOTAVAIL, Some("127.0.0.1")),
            (Socket, Errno::ADDRINUSE, Some("listens")),
            (Socket, Errno::EXIST, Some("not a socket")),
            (Socket, Errno::NOENT, Some("folder")),
            (Socket, Errno::ACCESS, Some("this user")),
            (LogFile, Errno::NOENT, Some("folder")),
            (LogFile, Errno::ISDIR, Some("a file in it")),
            (LogFile, Errno::ROFS, Some("another path")),
            (LogFile, Errno::ADDRINUSE, None),
            (Clients, Errno::NOMEM, None),
        ];
        for (asked, errno, part) in cases {
            let told = remedy(asked, &errno.into());
            assert_eq!(told.is_some(), part.is_some(), "{asked:?} {errno}");
            assert!(told.unwrap_or_default().contains(part.unwrap_or_default()), "{told:?}");
        }
        assert_eq!(behind(remedy(Clients, &io::Error::other("no errno"))), "");
    }

    #[test]
    fn each_row_is_found_and_says_what_to_do() {
        for (at, (asked, errno, told)) in TABLE.iter().enumerate() {
            let same = |(a, e, _): &&(Need, Errno, &str)| (a, e) == (asked, errno);
            assert_eq!(TABLE[..at].iter().find(same), None, "{asked:?} {errno} twice");
            assert!(told.contains(": "), "{told}: what is wrong, and what to do");
        }
    }
}
