//! The listening sockets: taken over where they are there already, opened where not, and copied for
//! the next process.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use async_io::Async;

use tidegate::admin;
use tidegate::config::{Listen, Plan, Told};
use tidegate::io::listen::{Bound, Passed, adopt, bind};
use tidegate::io::stream::Address;

use super::inherit::{Label, Role};

/// All sockets of one address.
#[derive(Debug)]
pub struct Door {
    /// What it is for, and whose it is.
    pub label: Label,
    /// It was open before we were started.
    pub inherited: bool,
    /// The sockets.
    pub bound: Bound,
}

impl Door {
    /// Copies to be handed on.
    pub fn copies(&self) -> io::Result<Vec<(Label, OwnedFd)>> {
        let queues = self.bound.queues()?;
        Ok(queues.into_iter().map(|socket| (self.label, socket)).collect())
    }

    /// The file of a Unix socket, if it is for us to remove.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.bound.address {
            Address::Unix(path) if !self.label.lent => Some(path.to_path_buf()),
            _ => None,
        }
    }

    /// The address, with the port that was chosen.
    pub fn address(&self) -> String {
        text(&self.bound.address)
    }

    /// As the admin wants it.
    pub fn into_admin(self) -> io::Result<admin::Listener> {
        let socket = self.bound.sockets.into_iter().next().ok_or(io::ErrorKind::NotFound)?;
        Ok(match self.bound.address {
            Address::Tcp(_) => {
                let listener = Async::new(std::net::TcpListener::from(socket))?;
                admin::Listener::Tcp(listener.into())
            }
            Address::Unix(_) => {
                let listener = Async::new(std::os::unix::net::UnixListener::from(socket))?;
                admin::Listener::Unix(listener.into())
            }
        })
    }
}

/// All doors.
#[derive(Debug)]
pub struct Doors {
    /// For clients; at least one.
    pub listen: Vec<Door>,
    /// For the admin.
    pub admin: Option<Door>,
}

impl Doors {
    /// Opens what the plan asks for, with the sockets that are there already where they fit. Sockets
    /// the service manager passed are used even if the plan does not name them; if it names none
    /// itself, they stand for the default address.
    pub fn open(plan: &Plan, told: &Told, passed: Vec<(Label, Passed)>) -> Result<Doors, String> {
        let mut rest = Rest(passed);
        let is_lent = |label: &Label| label.lent && label.role == Role::Listen;
        let named = told.origin("--listen") != "default";
        let mut listen = Vec::new();
        if named || !rest.0.iter().any(|(label, _)| is_lent(label)) {
            for wanted in &plan.listen {
                let found = rest
                    .group(|label, address| label.role == Role::Listen && fits(wanted, address));
                listen.push(open(wanted, found, plan.workers, Role::Listen, told)?);
            }
        }
        while let Some(found) = rest.group(|label, _| is_lent(label)) {
            listen.push(take_over(found, plan.workers)?);
        }
        let mut admin = None;
        if let Some(wanted) = &plan.admin {
            let found = rest.group(|label, address| {
                label.role == Role::Admin && (label.lent || fits(wanted, address))
            });
            admin = Some(open(wanted, found, 1, Role::Admin, told)?);
        }
        for (label, passed) in rest.0 {
            let address = text(&passed.address);
            tracing::warn!(%address, role = label.word(), "not asked for any more: closed");
        }
        Ok(Doors { listen, admin })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Door> {
        self.listen.iter().chain(&self.admin)
    }
}

/// Sockets with one label and one address.
type Group = (Label, Address, Vec<OwnedFd>);

/// Sockets with which we were started and that nobody has asked for yet.
struct Rest(Vec<(Label, Passed)>);

impl Rest {
    /// The first address that is wanted, with all its sockets.
    fn group(&mut self, is_wanted: impl Fn(&Label, &Address) -> bool) -> Option<Group> {
        let first = self.0.iter().find(|(label, passed)| is_wanted(label, &passed.address));
        let (label, address) = first.map(|(label, passed)| (*label, passed.address.clone()))?;
        let same = |(its, passed): &mut (Label, Passed)| *its == label && passed.address == address;
        let sockets = self.0.extract_if(.., same).map(|(_, passed)| passed.socket).collect();
        Some((label, address, sockets))
    }
}

/// Is a socket that listens at `address` what was asked for?
fn fits(wanted: &Listen, address: &Address) -> bool {
    match (wanted, address) {
        (Listen::Tcp(wanted), Address::Tcp(address)) => {
            wanted.ip() == address.ip() && (wanted.port() == 0 || wanted.port() == address.port())
        }
        (Listen::Unix(wanted), Address::Unix(path)) => wanted.as_path() == &**path,
        _ => false,
    }
}

fn take_over((label, address, sockets): Group, cores: usize) -> Result<Door, String> {
    let name = text(&address);
    let bound = adopt(address, sockets, cores)
        .map_err(|error| format!("cannot use the sockets that listen on {name}: {error}"))?;
    Ok(Door { label, inherited: true, bound })
}

/// Takes over what was found, or binds the address, or says which one is the matter and where it
/// came from.
fn open(
    wanted: &Listen,
    found: Option<Group>,
    cores: usize,
    role: Role,
    told: &Told,
) -> Result<Door, String> {
    if let Some(group) = found {
        return take_over(group, cores);
    }
    let address = match wanted {
        Listen::Tcp(address) => Address::Tcp(*address),
        Listen::Unix(path) => Address::Unix(path.as_path().into()),
    };
    let setting = match role {
        Role::Listen => "--listen",
        Role::Admin => "--admin",
    };
    let bound = bind(&address, cores).map_err(|error| {
        let origin = told.origin(setting);
        format!("cannot listen on {} ({setting}, from {origin}): {error}", text(&address))
    })?;
    Ok(Door { label: Label { role, lent: false }, inherited: false, bound })
}

fn text(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_port_fits_where_any_port_was_asked_for() {
        let tcp = |text: &str| Listen::Tcp(std::str::FromStr::from_str(text).unwrap());
        let at = |text: &str| Address::Tcp(std::str::FromStr::from_str(text).unwrap());
        assert!(fits(&tcp("127.0.0.1:80"), &at("127.0.0.1:80")));
        assert!(fits(&tcp("127.0.0.1:0"), &at("127.0.0.1:4711")));
        assert!(!fits(&tcp("127.0.0.1:80"), &at("127.0.0.1:81")));
        assert!(!fits(&tcp("0.0.0.0:80"), &at("127.0.0.1:80")));
        let unix = |path: &str| Address::Unix(PathBuf::from(path).into());
        assert!(fits(&Listen::Unix("/a".into()), &unix("/a")));
        assert!(!fits(&Listen::Unix("/a".into()), &unix("/b")));
        assert!(!fits(&tcp("127.0.0.1:80"), &unix("/a")));
    }
}
