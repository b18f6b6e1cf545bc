//! epoll(7): edges come in as they happen, the state goes out when it is asked for.

use rustix::event::epoll::{Event, EventData, EventFlags};
use rustix::io::Errno;

use super::{Actor, Handle, Happening, Net, Watch};

impl Net {
    pub fn watch(&mut self, handle: Handle, data: u64) -> Result<(), Errno> {
        if matches!(handle, Handle::Socket(_)) && self.chance.one_in(self.weather.no_descriptors) {
            let id = handle.socket()?;
            let client = self.sockets[self.sockets[id].peer].actor;
            self.unwatched += u64::from(matches!(client, Some(Actor::Client(_))));
            return Err(Errno::NOSPC);
        }
        *self.watched(handle) = Watch { data: Some(data), listed: false };
        if !self.flags(handle).is_empty() {
            self.list(handle);
        }
        Ok(())
    }

    pub fn unwatch(&mut self, handle: Handle) {
        *self.watched(handle) = Watch::default();
    }

    pub fn notify(&mut self) {
        self.notified = true;
        self.list(Handle::Eventfd);
    }

    /// There is nothing to tell.
    pub fn is_quiet(&self) -> bool {
        self.ready.is_empty()
    }

    fn watched(&mut self, handle: Handle) -> &mut Watch {
        match handle {
            Handle::Socket(id) => &mut self.sockets[id].watch,
            Handle::Eventfd => &mut self.eventfd,
            _ => &mut self.listener,
        }
    }

    /// Something happened to a socket.
    pub(super) fn edge(&mut self, id: usize) {
        match self.sockets[id].actor {
            None => self.list(Handle::Socket(id)),
            Some(actor) if !self.sockets[id].told => {
                self.sockets[id].told = true;
                self.at(self.now, Happening::Run(actor));
            }
            Some(_) => {}
        }
    }

    pub(super) fn list(&mut self, handle: Handle) {
        let watch = self.watched(handle);
        if watch.data.is_some() && !watch.listed {
            watch.listed = true;
            self.ready.push_back(handle);
        }
    }

    /// Puts into `events` what is ready, some of it or all.
    pub fn collect(&mut self, events: &mut Vec<Event>) {
        let mut most = events.capacity().min(self.ready.len());
        if most > 1 && self.chance.one_in(4) {
            most = self.chance.between(1, most as u64) as usize;
        }
        while most > 0 || events.is_empty() {
            most = most.saturating_sub(1);
            // What was closed meanwhile has nothing to tell: the next one may.
            let Some(handle) = self.ready.pop_front() else { break };
            let flags = self.flags(handle);
            let watch = self.watched(handle);
            let Some(data) = watch.data else { continue };
            watch.listed = false;
            if !flags.is_empty() {
                events.push(Event { flags, data: EventData::new_u64(data) });
            }
        }
    }

    /// The state of a file as epoll tells it.
    fn flags(&mut self, handle: Handle) -> EventFlags {
        let on = |when: bool, flags: EventFlags| if when { flags } else { EventFlags::empty() };
        let id = match handle {
            Handle::Socket(id) => id,
            Handle::Eventfd => return on(self.notified, EventFlags::IN),
            _ => return on(!self.backlog.is_empty(), EventFlags::IN),
        };
        let roomy = self.is_roomy(id);
        let socket = &mut self.sockets[id];
        if socket.connecting {
            return EventFlags::empty();
        }
        socket.starved |= !roomy;
        on(socket.error.is_some(), EventFlags::ERR)
            | on(socket.reset || socket.alone, EventFlags::HUP)
            | on(socket.fin && socket.finished, EventFlags::HUP)
            | on(socket.reset || socket.fin, EventFlags::IN | EventFlags::RDHUP)
            | on(!socket.unread.is_empty(), EventFlags::IN)
            | on(socket.mark.is_some(), EventFlags::PRI)
            | on(socket.reset || socket.finished || roomy, EventFlags::OUT)
    }
}
