//! The listening sockets: taken over where they are there already, opened where not, and copied for
//! the next process.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use async_io::Async;

use crate::admin;
use crate::config::{Listen, Plan, Report};
use crate::io::address::Address;
use crate::io::listen::{Bound, Passed, adopt, bind, has_ipv6};

use super::inherited::{Label, Role};
use super::remedies;

/// All sockets of one address.
#[derive(Debug)]
pub struct ListenerSockets {
    /// What it is for, and whose it is.
    pub label: Label,
    /// As it was asked for.
    pub listen: Listen,
    /// It was open before we were started.
    pub inherited: bool,
    /// The sockets.
    pub bound: Bound,
}

impl ListenerSockets {
    /// Copies to be handed on.
    pub fn copies(&self) -> io::Result<Vec<(Label, OwnedFd)>> {
        let queues = self.bound.queues()?;
        Ok(queues.into_iter().map(|socket| (self.label, socket)).collect())
    }

    /// The file of a Unix socket, if it is for us to remove.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.bound.address {
            Address::Unix(path) if !self.label.activated => Some(path.to_path_buf()),
            _ => None,
        }
    }

    /// The address, with the port that was chosen.
    pub fn address(&self) -> String {
        text(&self.bound.address)
    }

    /// The same, with `https://` before it where `plan` has TLS spoken.
    pub fn url(&self, plan: &Plan) -> String {
        let scheme = if plan.listener.secure.contains(&self.listen) { "https://" } else { "" };
        format!("{scheme}{}", self.address())
    }

    /// As the admin wants it.
    pub fn into_admin(self) -> io::Result<admin::AdminListener> {
        let socket = self.bound.sockets.into_iter().next().ok_or(io::ErrorKind::NotFound)?;
        Ok(match self.bound.address {
            Address::Tcp(_) => {
                let listener = Async::new(std::net::TcpListener::from(socket))?;
                admin::AdminListener::Tcp(listener.into())
            }
            Address::Unix(_) => {
                let listener = Async::new(std::os::unix::net::UnixListener::from(socket))?;
                admin::AdminListener::Unix(listener.into())
            }
        })
    }
}

/// All doors.
#[derive(Debug)]
pub struct Listeners {
    /// For clients; at least one.
    pub listen: Vec<ListenerSockets>,
    /// For the admin.
    pub admin: Vec<ListenerSockets>,
}

impl Listeners {
    /// Opens what the plan asks for, with the sockets that are there already where they fit. Sockets
    /// the service manager passed are used even if the plan does not name them; if it names none
    /// itself, they stand for the default address.
    pub fn open(
        plan: &Plan,
        report: &Report,
        passed: Vec<(Label, Passed)>,
    ) -> Result<Listeners, String> {
        let mut unclaimed = Unclaimed(passed);
        let mut listen = RoleListeners::new(Role::Listen, plan.process.workers, report);
        if report.origin("--listen") != "default" || !unclaimed.has_activated(Role::Listen) {
            plan.listener
                .addresses
                .iter()
                .try_for_each(|wanted| listen.open(wanted, &mut unclaimed))?;
        }
        listen.take_activated(&mut unclaimed)?;
        let mut admin = RoleListeners::new(Role::Admin, 1, report);
        if let Some(wanted) = &plan.process.admin {
            admin.take_activated(&mut unclaimed)?;
            if admin.listeners.is_empty() {
                admin.open(wanted, &mut unclaimed)?;
            }
        }
        for (label, passed) in unclaimed.0 {
            let address = text(&passed.address);
            tracing::warn!(%address, role = label.word(), "not asked for any more: closed");
        }
        Ok(Listeners { listen: listen.listeners, admin: admin.listeners })
    }

    /// Opens one more address for clients.
    ///
    /// # Errors
    /// Says what is the matter with it.
    pub fn open_one(
        listen: &Listen,
        workers: usize,
        report: &Report,
    ) -> Result<Vec<ListenerSockets>, String> {
        let mut opened = RoleListeners::new(Role::Listen, workers, report);
        opened.open(listen, &mut Unclaimed(Vec::new()))?;
        Ok(opened.listeners)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &ListenerSockets> {
        self.listen.iter().chain(&self.admin)
    }
}

/// Sockets with one label and one address.
type Group = (Label, Address, Vec<OwnedFd>);

/// Sockets with which we were started and that nobody has asked for yet.
struct Unclaimed(Vec<(Label, Passed)>);

impl Unclaimed {
    fn has_activated(&self, role: Role) -> bool {
        self.0.iter().any(|(label, _)| *label == Label { role, activated: true })
    }

    /// The first address that is wanted, with all its sockets.
    fn group(&mut self, is_wanted: impl Fn(&Label, &Passed) -> bool) -> Option<Group> {
        let first = self.0.iter().find(|(label, passed)| is_wanted(label, passed));
        let (label, address) = first.map(|(label, passed)| (*label, passed.address.clone()))?;
        let same = |(its, passed): &mut (Label, Passed)| *its == label && passed.address == address;
        let sockets = self.0.extract_if(.., same).map(|(_, passed)| passed.socket).collect();
        Some((label, address, sockets))
    }
}

/// The doors of one role, as they are opened.
struct RoleListeners<'a> {
    role: Role,
    cores: usize,
    report: &'a Report,
    listeners: Vec<ListenerSockets>,
}

impl RoleListeners<'_> {
    fn new(role: Role, cores: usize, report: &Report) -> RoleListeners<'_> {
        RoleListeners { role, cores, report, listeners: Vec::new() }
    }

    /// Takes over all that a service manager passed for this role.
    fn take_activated(&mut self, unclaimed: &mut Unclaimed) -> Result<(), String> {
        let activated = Label { role: self.role, activated: true };
        while let Some(found) = unclaimed.group(|label, _| *label == activated) {
            let listen = match &found.1 {
                Address::Tcp(address) => Listen::Tcp(*address),
                Address::Unix(path) => Listen::Unix(path.to_path_buf()),
            };
            self.take_over(&listen, found)?;
        }
        Ok(())
    }

    /// Opens each address that `wanted` stands for.
    fn open(&mut self, wanted: &Listen, unclaimed: &mut Unclaimed) -> Result<(), String> {
        let has_ipv6 = matches!(wanted, Listen::Any(_)) && has_ipv6();
        if let (Listen::Any(_), false) = (wanted, has_ipv6) {
            tracing::info!(address = %wanted, "this machine has no IPv6: IPv4 alone");
        }
        let mut chosen = None;
        for mut address in addresses(wanted, has_ipv6) {
            // Port 0 is one port for both families.
            if let (Address::Tcp(address), Some(Address::Tcp(first))) = (&mut address, &chosen) {
                address.set_port(first.port());
            }
            chosen = Some(self.open_one(wanted, &address, unclaimed)?);
        }
        Ok(())
    }

    /// Takes over what is there, or binds the address, or says which one is the matter, where it came
    /// from and what would help. Gives the address back, with the port that was chosen.
    fn open_one(
        &mut self,
        wanted: &Listen,
        address: &Address,
        unclaimed: &mut Unclaimed,
    ) -> Result<Address, String> {
        let role = self.role;
        let is_in = |bound: &Bound| {
            bound.dual && !is_any_port(address) && fits(address, &bound.address, true)
        };
        if let Some(dual) = self.listeners.iter().find(|listener| is_in(&listener.bound)) {
            return Ok(dual.bound.address.clone());
        }
        let found = unclaimed.group(|label, passed| {
            label.role == role && fits(address, &passed.address, passed.dual)
        });
        if let Some(group) = found {
            return self.take_over(wanted, group);
        }
        let setting = match role {
            Role::Listen => "--listen",
            Role::Admin => "--admin",
        };
        let bound = bind(address, self.cores).map_err(|error| {
            let (address_text, origin) = (text(address), self.report.origin(setting));
            let origin = if origin == setting { String::new() } else { format!(", from {origin}") };
            let remedy = remedies::listening(role, address, &error);
            format!("cannot listen on {address_text} ({setting}{origin}): {error}{remedy}")
        })?;
        Ok(self.push(wanted, (Label { role, activated: false }, false), bound))
    }

    fn take_over(
        &mut self,
        wanted: &Listen,
        (label, address, sockets): Group,
    ) -> Result<Address, String> {
        let name = text(&address);
        let bound = adopt(address, sockets, self.cores)
            .map_err(|error| format!("cannot use the sockets that listen on {name}: {error}"))?;
        Ok(self.push(wanted, (label, true), bound))
    }

    fn push(
        &mut self,
        wanted: &Listen,
        (label, inherited): (Label, bool),
        bound: Bound,
    ) -> Address {
        let (address, listen) = (bound.address.clone(), wanted.clone());
        self.listeners.push(ListenerSockets { label, listen, inherited, bound });
        address
    }
}

/// What to bind for `wanted`. A port alone is a socket for each family, and not one for both: so each
/// socket has one address, which the next process finds again, whatever stands beside it then.
fn addresses(wanted: &Listen, has_ipv6: bool) -> Vec<Address> {
    match wanted {
        Listen::Any(port) => {
            let ipv4 = Address::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port)));
            let ipv6 = Address::Tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port)));
            if has_ipv6 { vec![ipv4, ipv6] } else { vec![ipv4] }
        }
        Listen::Tcp(address) => vec![Address::Tcp(*address)],
        Listen::Unix(path) => vec![Address::Unix(path.as_path().into())],
    }
}

/// Is a socket that listens at `address` what is wanted? A `dual` one takes in all of IPv4 as well.
fn fits(wanted: &Address, address: &Address, dual: bool) -> bool {
    match (wanted, address) {
        (Address::Tcp(wanted), Address::Tcp(address)) => {
            let ip = wanted.ip() == address.ip() || (dual && wanted.ip() == Ipv4Addr::UNSPECIFIED);
            ip && (wanted.port() == 0 || wanted.port() == address.port())
        }
        (wanted, address) => wanted == address,
    }
}

fn is_any_port(address: &Address) -> bool {
    matches!(address, Address::Tcp(address) if address.port() == 0)
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

    fn tcp(text: &str) -> Address {
        Address::Tcp(std::str::FromStr::from_str(text).unwrap())
    }

    #[test]
    fn a_port_alone_is_an_address_of_each_family_there_is() {
        let both = [tcp("0.0.0.0:80"), tcp("[::]:80")];
        assert_eq!(addresses(&Listen::Any(80), true), both);
        assert_eq!(addresses(&Listen::Any(80), false), both[..1]);
        let one = Listen::Tcp(([127, 0, 0, 1], 80).into());
        assert_eq!(addresses(&one, true), [tcp("127.0.0.1:80")]);
    }

    #[test]
    fn any_port_fits_where_any_port_was_asked_for() {
        for (wanted, address, dual, is_fit) in [
            ("127.0.0.1:80", "127.0.0.1:80", false, true),
            ("127.0.0.1:0", "127.0.0.1:4711", false, true),
            ("127.0.0.1:80", "127.0.0.1:81", false, false),
            ("0.0.0.0:80", "127.0.0.1:80", false, false),
            ("0.0.0.0:80", "[::]:80", false, false),
            ("0.0.0.0:80", "[::]:80", true, true),
            ("0.0.0.0:81", "[::]:80", true, false),
            ("127.0.0.1:80", "[::]:80", true, false),
            ("[::]:80", "[::]:80", true, true),
            ("[::]:80", "0.0.0.0:80", false, false),
        ] {
            let fit = fits(&tcp(wanted), &tcp(address), dual);
            assert_eq!(fit, is_fit, "{wanted} at {address}, dual {dual}");
        }
        let unix = |path: &str| Address::Unix(PathBuf::from(path).into());
        assert!(fits(&unix("/a"), &unix("/a"), false));
        assert!(!fits(&unix("/a"), &unix("/b"), false));
        assert!(!fits(&tcp("127.0.0.1:80"), &unix("/a"), false));
    }
}
