//! pipe(7) and splice(2).

use std::collections::VecDeque;

use rustix::io::Errno;

use super::way::Load;
use super::{Net, front};

/// What lies between two sockets.
pub(super) struct Pipe {
    held: VecDeque<u8>,
    capacity: usize,
}

impl Net {
    pub fn pipe(&mut self) -> Result<(usize, usize), Errno> {
        self.another(2)?;
        let capacity = self.chance.pick(&[4096, 64 * 1024, 1024 * 1024]);
        self.pipes.push(Pipe { held: VecDeque::new(), capacity });
        Ok((self.pipes.len() - 1, capacity))
    }

    pub fn splice_in(&mut self, id: usize, pipe: usize, n: usize) -> Result<usize, Errno> {
        let Pipe { held, capacity } = &self.pipes[pipe];
        let mut room = capacity - held.len();
        // Small pieces fill it before it holds as much as it could.
        if !held.is_empty() && self.chance.one_in(4) {
            room = 0;
        }
        if room == 0 {
            return Err(Errno::AGAIN);
        }
        let socket = &self.sockets[id];
        if socket.mark == Some(0) && socket.error.is_none() {
            return if socket.fin || socket.reset { Ok(0) } else { Err(Errno::AGAIN) };
        }
        let n = self.readable(id, n.min(room))?;
        let octets = self.take(id, n);
        self.pipes[pipe].held.extend(octets);
        Ok(n)
    }

    pub fn splice_out(&mut self, pipe: usize, id: usize, n: usize) -> Result<usize, Errno> {
        let n = self.sendable(id, n.min(self.pipes[pipe].held.len()))?;
        let held = &mut self.pipes[pipe].held;
        let octets = front(held, n);
        held.drain(..n);
        self.transmit(id, Load::Data(octets));
        Ok(n)
    }
}
