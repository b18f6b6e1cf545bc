//! The floor: what a relay costs that knows no HTTP at all, on tidegate's own `io` room.
//!
//! Each accepted connection is paired with one to the origin, and octets go both ways: on a wake-up one `recv`, then
//! one `send`, with the same reactor, pool and pipes as the proxy has. Nothing is read, decided, counted or timed. So
//! it is the limit of what this design can reach, and what a proxy takes more than it is the price of being one.
//!
//! It is a part of the comparison's program, which starts itself again as `compare floor PORT ORIGIN_PORT`.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;

use tidegate::io::accept::Listener;
use tidegate::io::address::Address;
use tidegate::io::buffer::{Quota, SIZE};
use tidegate::io::cores::Core;
use tidegate::io::listen;
use tidegate::io::reactor::Direction;
use tidegate::io::relay::Relay;
use tidegate::io::splice;
use tidegate::io::stream::{Dialling, Stream};

/// The same as the proxy's own default.
const BUFFERS: usize = 16_384;
const PIPES: usize = 1024;
/// Nothing here is meant to wait; what does so for this long has failed.
const LONG: Duration = Duration::from_secs(300);

/// Relays between whoever connects to `port` and the origin at `origin`, until the process is ended.
pub fn run(port: u16, origin: u16) -> io::Result<()> {
    let local = |port| Address::Tcp(SocketAddr::from(([127, 0, 0, 1], port)));
    let core = Core::new(0, BUFFERS, PIPES)?;
    let socket = listen::bind(&local(port), 1)?.sockets.remove(0);
    let listener = Listener::new(socket, &core.reactor)?;
    core.spawn(accept(Rc::clone(&core), listener, local(origin))).detach();
    let (_sender, letters) = flume::bounded::<()>(1);
    core.run(&letters, drop)
}

async fn accept(core: Rc<Core>, listener: Listener, origin: Address) {
    loop {
        match listener.try_accept() {
            Ok(Some((client, _))) => {
                core.spawn(pair(Rc::clone(&core), client, origin.clone())).detach();
            }
            Ok(None) => {
                if poll_fn(|cx| listener.poll_ready(cx)).await.is_err() {
                    return;
                }
            }
            // No descriptor is left, say: the load counts what it did not get.
            Err(_) => drop(core.sleep(Duration::from_millis(50)).await),
        }
    }
}

/// Both directions of one client, until either of them ends.
async fn pair(core: Rc<Core>, client: Stream, origin: Address) {
    let Ok(upstream) = Stream::connect(&origin, LONG, Dialling::default(), &core.reactor).await
    else {
        return;
    };
    let quota = core.pool.quota();
    let there = relay(&core, &quota, &client, &upstream);
    let back = relay(&core, &quota, &upstream, &client);
    // Either may fail when the other side has gone, which is how a connection ends.
    let _ = future::or(there, back).await;
}

/// One direction: small messages through a buffer; what fills one is spliced for as long as there is more.
async fn relay(core: &Core, quota: &Quota, from: &Stream, to: &Stream) -> io::Result<()> {
    loop {
        from.ready(Direction::Read).await?;
        let permit = quota.permit().await;
        let mut buf = permit.take();
        let received = from.try_recv(&mut buf, SIZE)?;
        if received == Some(0) {
            return Ok(());
        }
        to.send(buf, LONG, &Cell::default()).await.0?;
        drop(permit);
        if received == Some(SIZE)
            && let Some(pipe) = core.pipes.take()
        {
            let rest = Relay {
                from,
                to,
                limit: u64::MAX,
                patient: false,
                read_wait: LONG,
                write_wait: LONG,
            };
            if splice::run(&rest, pipe, &Cell::new(0)).await.is_err() {
                return Ok(());
            }
        }
    }
}
