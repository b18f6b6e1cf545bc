//! The listening sockets as the control plane keeps them: to hand them on, and to close them.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::ControlPlane;
use crate::config::{Listen, Plan, Report};
use crate::io::listen::SocketFile;
use crate::process::inherited::{Label, Role};
use crate::process::listeners::{ListenerSockets, Listeners};
use crate::proxy::{Command, OpenListener};

/// Every socket that listens.
#[derive(Debug, Default)]
pub struct Listening(Vec<One>);

/// All sockets of one address.
#[derive(Debug)]
struct One {
    listen: Listen,
    label: Label,
    address: String,
    /// For the next process. While they are open the kernel completes connections for them.
    copies: Vec<(Label, OwnedFd)>,
    /// To be removed at the end.
    file: Option<SocketFile>,
    /// The same, but another process' to remove until we are ready.
    foreign_file: Option<PathBuf>,
}

impl Listening {
    /// Keeps copies of these sockets.
    ///
    /// # Errors
    /// For want of descriptors.
    pub fn add<'s>(
        &mut self,
        sockets: impl Iterator<Item = &'s ListenerSockets>,
    ) -> Result<(), String> {
        for sockets in sockets {
            let copies =
                sockets.copies().map_err(|error| format!("cannot copy a socket: {error}"))?;
            let (own, foreign) = match sockets.file() {
                Some(file) if sockets.inherited => (None, Some(file)),
                file => (file.map(SocketFile::new), None),
            };
            self.0.push(One {
                listen: sockets.listen.clone(),
                label: sockets.label,
                address: sockets.address(),
                copies,
                file: own,
                foreign_file: foreign,
            });
        }
        Ok(())
    }

    /// Where clients connect, each as it was asked for; what the service manager opened is not ours to close.
    pub fn of_plan(&self) -> impl Iterator<Item = &Listen> {
        let ours =
            self.0.iter().filter(|one| one.label.role == Role::Listen && !one.label.activated);
        ours.map(|one| &one.listen)
    }

    /// Where clients connect.
    pub fn addresses(&self) -> Vec<String> {
        let of_clients = self.0.iter().filter(|one| one.label.role == Role::Listen);
        of_clients.map(|one| one.address.clone()).collect()
    }

    /// For the next process.
    pub fn copies(&self) -> impl Iterator<Item = &(Label, OwnedFd)> {
        self.0.iter().flat_map(|one| &one.copies)
    }

    /// We are ready: the files of sockets that were another process' are ours to remove.
    pub fn take_files_over(&mut self) {
        for one in &mut self.0 {
            one.file = one.file.take().or_else(|| one.foreign_file.take().map(SocketFile::new));
        }
    }

    /// Another process has them now.
    pub fn leave_files(&mut self) {
        self.0.iter_mut().filter_map(|one| one.file.take()).for_each(SocketFile::leave);
    }

    /// Nothing waits for connections any more but those who accept what has come.
    pub fn close_copies(&mut self) {
        self.0.iter_mut().for_each(|one| one.copies.clear());
    }

    /// Lets go of what `listen` asked for.
    pub fn close(&mut self, listen: &Listen) {
        self.0.retain(|one| {
            one.label.role != Role::Listen || one.label.activated || one.listen != *listen
        });
    }
}

/// Says that we listen at an address, which has `https://` before it where TLS is spoken.
pub fn tell(url: &str) {
    match url.strip_prefix("https://") {
        Some(address) => tracing::info!(%address, scheme = "https", "listening"),
        None => tracing::info!(address = %url, "listening"),
    }
}

impl ControlPlane {
    /// Opens the addresses that are new in `plan`. One that is open is kept, and so is one that a service manager
    /// opened.
    pub(super) fn open_new(
        &self,
        plan: &Plan,
        report: &Report,
    ) -> Result<Vec<ListenerSockets>, String> {
        let mut opened = Vec::new();
        for listen in &plan.listener.addresses {
            if self.listening.of_plan().any(|known| known == listen) {
                continue;
            }
            let is_in_the_way = |known: &&Listen| known.covers(listen) || listen.covers(known);
            if let Some(known) = self.listening.of_plan().find(is_in_the_way) {
                return Err(format!(
                    "cannot listen on {listen} ({}): {known} is open and takes the same connections; \
                     run `tidegate upgrade`, or leave one of the two out",
                    report.origin("--listen")
                ));
            }
            if self.listening.of_plan().next().is_none() && report.origin("--listen") == "default" {
                continue; // the service manager's sockets stand for the default
            }
            let workers = self.cores.mailboxes.len();
            opened.extend(Listeners::open_one(listen, workers, report)?);
        }
        Ok(opened)
    }

    /// Has the cores accept at what was opened, and no longer at what the plan does not name.
    pub(super) fn listen_as_planned(&mut self, opened: Vec<ListenerSockets>) {
        if let Err(error) = self.listening.add(opened.iter()) {
            tracing::error!(%error, "an upgrade will have to open an address anew");
        }
        for sockets in opened {
            tell(&sockets.url(&self.current.get().plan));
            let ListenerSockets { listen, bound, .. } = sockets;
            let mailboxes = self.cores.mailboxes.iter().cycle();
            for (socket, mailbox) in bound.sockets.into_iter().zip(mailboxes) {
                let (slot, open) = flume::bounded(1);
                let _ = slot.send(OpenListener { listen: listen.clone(), socket });
                mailbox.send(Command::Listen(open));
            }
        }
        let wanted = &self.current.get().plan.listener.addresses;
        let gone: Vec<Listen> =
            self.listening.of_plan().filter(|one| !wanted.contains(one)).cloned().collect();
        for listen in gone {
            tracing::info!(address = %listen, "not listening any more");
            self.listening.close(&listen);
            self.cores.tell(&Command::Unlisten(listen));
        }
        self.view.update(|view| view.listen = self.listening.addresses());
    }
}
