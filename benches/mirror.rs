//! A WebSocket origin that sends every message back: what the comparison's messages go to.
//!
//! One thread over tidegate's `io` room, frames reflected as they come, without their masks, so that it costs little
//! beside a proxy. It is a part of the comparison's program, which starts itself again as `compare mirror PORT`.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tidegate::http::upgrade;
use tidegate::io::accept::Listener;
use tidegate::io::address::Address;
use tidegate::io::buffer::{Buf, SIZE};
use tidegate::io::cores::Core;
use tidegate::io::listen;
use tidegate::io::reactor::Direction;
use tidegate::io::stream::Stream;

const BUFFERS: usize = 16_384;
const LONG: Duration = Duration::from_secs(300);
/// The longest header of a frame: two octets, a length of eight, a mask.
const HEADER_MAX: usize = 14;
/// The head of a handshake; more is nobody's.
const HEAD_MAX: usize = 8 * 1024;

/// Listens at `port` until the process is ended.
pub fn run(port: u16) -> io::Result<()> {
    let address = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], port)));
    let core = Core::new(0, BUFFERS, 1)?;
    let socket = listen::bind(&address, 1)?.sockets.remove(0);
    let listener = Listener::new(socket, &core.reactor)?;
    core.spawn(accept(Rc::clone(&core), listener)).detach();
    let (_sender, letters) = flume::bounded::<()>(1);
    core.run(&letters, drop)
}

async fn accept(core: Rc<Core>, listener: Listener) {
    loop {
        match listener.try_accept() {
            // A client that has gone is no news.
            Ok(Some((stream, _))) => {
                let core_of_it = Rc::clone(&core);
                core.spawn(async move { drop(serve(&core_of_it, stream).await) }).detach();
            }
            Ok(None) => {
                if poll_fn(|cx| listener.poll_ready(cx)).await.is_err() {
                    return;
                }
            }
            Err(_) => drop(core.sleep(Duration::from_millis(50)).await),
        }
    }
}

async fn serve(core: &Core, stream: Stream) -> io::Result<()> {
    let quota = core.pool.quota();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        stream.ready(Direction::Read).await?;
        let mut block = [0; 1024];
        match stream.read(&mut block)? {
            Some(0) => return Ok(()),
            Some(n) => head.extend_from_slice(&block[..n]),
            None => {}
        }
        if head.len() > HEAD_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let permit = quota.permit().await;
    let mut answer = permit.take();
    let fits = answer.append(switched(&head).ok_or(io::ErrorKind::InvalidData)?.as_bytes());
    debug_assert!(fits, "a handshake is short");
    stream.send(answer, LONG, &Cell::default()).await.0?;
    drop(permit);

    let mut reflection = Reflection::default();
    loop {
        stream.ready(Direction::Read).await?;
        let permit = quota.permit().await;
        let (mut from, mut to) = (permit.take(), permit.take());
        // What is sent is never longer than what was kept of a header and what was read.
        match stream.try_recv(&mut from, SIZE - HEADER_MAX)? {
            Some(0) => return Ok(()),
            Some(_) => reflection.reflect(from.filled(), &mut to),
            None => {}
        }
        drop(from);
        stream.send(to, LONG, &Cell::default()).await.0?;
    }
}

/// The answer to a handshake; nothing if it is none.
fn switched(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let (_, key) = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?;
    let proof = upgrade::accept(key.trim().as_bytes().try_into().ok()?);
    let proof = str::from_utf8(&proof).ok()?;
    Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {proof}\r\n\r\n"
    ))
}

/// Frames of a client, RFC 6455 section 5.2, on their way back.
#[derive(Default)]
struct Reflection {
    /// What has come of a header that is not whole.
    header: Vec<u8>,
    /// Octets of payload that are to come.
    left: u64,
    /// The mask, turned so that its first octet is for the next one.
    mask: [u8; 4],
}

impl Reflection {
    fn reflect(&mut self, mut octets: &[u8], to: &mut Buf) {
        while !octets.is_empty() {
            if self.left == 0 {
                self.header.push(octets[0]);
                octets = &octets[1..];
                if let Some(header) = self.whole_header() {
                    let fits = to.append(&header);
                    debug_assert!(fits, "a header without mask is shorter than what came");
                }
                continue;
            }
            let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(octets.len());
            let spare = &mut to.spare()[..n];
            for (at, (out, octet)) in spare.iter_mut().zip(octets).enumerate() {
                *out = octet ^ self.mask[at & 3];
            }
            to.fill(n);
            self.mask.rotate_left(n & 3);
            self.left -= n as u64;
            octets = &octets[n..];
        }
    }

    /// Once it is whole: takes it, and gives the header to send.
    fn whole_header(&mut self) -> Option<Vec<u8>> {
        let [_, second, rest @ ..] = &self.header[..] else { return None };
        let (length, rest) = match second & 0x7f {
            126 => {
                rest.split_first_chunk().map(|(n, rest)| (u16::from_be_bytes(*n).into(), rest))?
            }
            127 => rest.split_first_chunk().map(|(n, rest)| (u64::from_be_bytes(*n), rest))?,
            n => (n.into(), rest),
        };
        let mask = if second & 0x80 == 0 { [0; 4] } else { *rest.first_chunk()? };
        (self.left, self.mask) = (length, mask);
        let mut out = std::mem::take(&mut self.header);
        if out[1] & 0x80 != 0 {
            out.truncate(out.len() - 4);
            out[1] &= 0x7f;
        }
        Some(out)
    }
}
