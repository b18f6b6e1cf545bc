//! `src/io/kernel.rs` a second time: the same names, on the world of this thread.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::Timespec;
pub(super) use rustix::event::epoll::{Event, EventFlags};
use rustix::io::Errno;

use super::address::Address;
use super::stream::Dialling;
use crate::net::{Counts, Handle};
use crate::world::{BEGINNING_S, with};

/// A descriptor of the core. The last one of its file closes it.
#[derive(Debug)]
pub struct Fd(Rc<Handle>);

impl Fd {
    pub fn new(handle: Handle) -> Fd {
        Fd::again(&Rc::new(handle))
    }

    fn again(file: &Rc<Handle>) -> Fd {
        with(|world| world.net.open += 1);
        Fd(Rc::clone(file))
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        with(|world| {
            world.net.open -= 1;
            if Rc::strong_count(&self.0) == 1 {
                world.net.close(*self.0);
                if let Handle::Socket(id) = *self.0 {
                    world.book.ends(id, world.net.now);
                }
            }
        });
    }
}

pub(super) type Peer = Option<SocketAddr>;

pub(super) struct Poller;

impl Poller {
    pub fn create() -> io::Result<Poller> {
        Ok(Poller)
    }

    pub fn add(&self, fd: &Fd, data: u64) -> io::Result<()> {
        Ok(with(|world| world.net.watch(*fd.0, data))?)
    }

    pub fn add_eventfd(&self, _: &Eventfd, data: u64) -> io::Result<()> {
        Ok(with(|world| world.net.watch(Handle::Eventfd, data))?)
    }

    pub fn delete(&self, fd: &Fd) -> Result<(), Errno> {
        with(|world| world.net.unwatch(*fd.0));
        Ok(())
    }

    pub fn wait(&self, events: &mut Vec<Event>, timeout: Option<&Timespec>) -> Result<(), Errno> {
        let micros = timeout.map(|time| (time.tv_sec * 1_000_000 + time.tv_nsec / 1000) as u64);
        let waited = with(|world| world.wait(events, micros));
        // Whoever is told goes through this kernel.
        for (slot, answer) in with(|world| std::mem::take(&mut world.answers)) {
            let _ = slot.reply.try_send(answer);
        }
        waited
    }
}

/// The world has one.
#[derive(Debug)]
pub(super) struct Eventfd;

impl Eventfd {
    pub fn new() -> io::Result<Eventfd> {
        Ok(Eventfd)
    }

    pub fn write(&self) -> Result<(), Errno> {
        with(|world| world.net.notify());
        Ok(())
    }

    pub fn read(&self) -> Result<(), Errno> {
        with(|world| world.net.notified = false);
        Ok(())
    }
}

pub(super) fn recv(fd: &Fd, octets: &mut [u8]) -> Result<usize, Errno> {
    with(|world| {
        world.meanwhile();
        world.net.interrupt()?;
        let id = fd.0.socket()?;
        let got = world.net.recv(id, octets.len()).map(|got| {
            octets[..got.len()].copy_from_slice(&got);
            got.len()
        });
        world.net.note("recv", id, &got);
        world.book.read(id, got.unwrap_or(0), world.ticked);
        got
    })
}

pub(super) fn recv_trunc(fd: &Fd, octets: &mut [u8]) -> Result<usize, Errno> {
    recv(fd, octets)
}

pub(super) fn peek(fd: &Fd) -> Result<usize, Errno> {
    with(|world| {
        world.meanwhile();
        world.net.peek(fd.0.socket()?)
    })
}

pub(super) fn send(fd: &Fd, octets: &[u8]) -> Result<usize, Errno> {
    with(|world| {
        world.meanwhile();
        world.net.interrupt()?;
        let id = fd.0.socket()?;
        let sent = world.sending(id, octets.len(), |net, n| net.send(id, &octets[..n]));
        world.net.note("send", id, &sent);
        world.sent(id, &sent);
        sent
    })
}

pub(super) fn send_parts(fd: &Fd, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let octets: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
    send(fd, &octets)
}

/// The kernel gives out the lowest that is free: so none is larger than how many are open.
pub(super) fn local(_: &Fd) -> Option<SocketAddr> {
    Some(SocketAddr::from(([192, 0, 2, 100], 80)))
}

pub(super) fn number(_: &Fd) -> usize {
    with(|world| world.net.open)
}

pub(super) fn duplicate(fd: &Fd) -> Result<Fd, Errno> {
    with(|world| world.net.another(1))?;
    Ok(Fd::again(&fd.0))
}

pub(super) fn next_number(fd: &Fd) -> Result<usize, Errno> {
    Ok(number(fd))
}

pub(super) fn shutdown(fd: &Fd) -> Result<(), Errno> {
    with(|world| world.net.shutdown(fd.0.socket()?))
}

pub(super) fn set_linger_0(fd: &Fd) -> Result<(), Errno> {
    with(|world| world.net.set_linger_0(fd.0.socket()?))
}

pub(super) fn socket_error(fd: &Fd) -> Result<(), Errno> {
    with(|world| world.net.socket_error(fd.0.socket()?))
}

pub(super) fn accept(_: &Fd) -> Result<(Fd, Peer), Errno> {
    let id = with(|world| {
        world.net.interrupt()?;
        world.net.accept()
    })?;
    // A listener of both families names the same client so, one of IPv4 so.
    let client = with(|world| {
        world.book.porch.accepted(id);
        world.address(id)
    });
    let ip = if id % 4 < 2 { client.into() } else { IpAddr::V6(client.to_ipv6_mapped()) };
    let peer = SocketAddr::new(ip, (1024 + id) as u16);
    Ok((Fd::new(Handle::Socket(id)), Some(peer)))
}

pub(super) fn connect(address: &Address, _: Dialling) -> io::Result<(Fd, bool)> {
    let (id, pending) = with(|world| match address {
        Address::Tcp(address) => world.connect(address.port()),
        Address::Unix(path) => world.connect_local(path).map(|id| (id, false)),
    })?;
    Ok((Fd::new(Handle::Socket(id)), pending))
}

pub(super) fn pipe(_: usize, _: usize) -> io::Result<(Fd, Fd, Option<usize>)> {
    let (pipe, capacity) = with(|world| world.net.pipe())?;
    Ok((Fd::new(Handle::Outlet(pipe)), Fd::new(Handle::Inlet(pipe)), Some(capacity)))
}

pub(super) fn splice(from: &Fd, to: &Fd, n: usize) -> Result<usize, Errno> {
    with(|world| {
        world.meanwhile();
        world.net.interrupt()?;
        match (*from.0, *to.0) {
            (Handle::Socket(id), Handle::Inlet(pipe)) => {
                let got = world.net.splice_in(id, pipe, n);
                world.net.note("splice in", id, &got);
                world.book.read(id, got.unwrap_or(0), world.ticked);
                got
            }
            (Handle::Outlet(pipe), Handle::Socket(id)) => {
                let sent = world.sending(id, n, |net, n| net.splice_out(pipe, id, n));
                world.net.note("splice out", id, &sent);
                world.sent(id, &sent);
                sent
            }
            _ => Err(Errno::INVAL),
        }
    })
}

pub(super) fn tcp_counts(fd: &Fd) -> Option<Counts> {
    with(|world| world.net.counts(fd.0.socket().ok()?))
}

pub(super) fn monotonic() -> Instant {
    with(|world| {
        world.ticked = world.net.now;
        world.began + Duration::from_micros(world.net.now)
    })
}

pub(super) fn realtime() -> SystemTime {
    let since = with(|world| Duration::from_micros(world.net.now));
    UNIX_EPOCH + Duration::from_secs(BEGINNING_S) + since
}
