//! The plain path allocates nothing of its own: counted on a core's thread while requests go through
//! it, one after the other and many at once.

#![expect(unsafe_code, reason = "a counting allocator is an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use tidegate::config::{self, Action, Listen, Plan, Surroundings};
use tidegate::io::address::Address;
use tidegate::io::listen;
use tidegate::io::signal::Mailbox;
use tidegate::origin;
use tidegate::proxy::{Command, CoreSpec, LABELS, OpenListener, Runtime};
use tidegate::stats;
use tidegate::upstream::Registry;

/// Counts what is asked for by the thread that has set [`COUNTED`].
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: as the implementation.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTED.get() {
            ALLOCATIONS.fetch_add(1, Relaxed);
        }
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: as the implementation.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One core in front of one origin.
struct Proxy {
    address: SocketAddr,
    mailbox: Mailbox<Command>,
    core: thread::JoinHandle<usize>,
    stats: Arc<stats::Core>,
    _origin: origin::OriginServer,
}

fn plan(upstream: SocketAddr) -> Plan {
    let around = Surroundings {
        cwd: Path::new("/"),
        cores: 1,
        descriptors: 1_024,
        stdout_is_terminal: false,
    };
    let upstream = upstream.to_string();
    let words = ["--upstream", &upstream, "--access-log", "off"].map(OsString::from);
    match config::load(words, [], &around) {
        Ok(Action::Run(plan, _)) => *plan,
        other => panic!("{other:?}"),
    }
}

fn start() -> Proxy {
    let settings = origin::OriginSettings::new(([127, 0, 0, 1], 0).into());
    let origin = origin::spawn(settings).unwrap();
    let plan = Arc::new(plan(origin.address()));
    let mut bound = listen::bind(&Address::Tcp(([127, 0, 0, 1], 0).into()), 1).unwrap();
    let Address::Tcp(address) = bound.address else { panic!("{bound:?}") };
    let stats = Arc::new(stats::Core::new(&LABELS));
    let spec = CoreSpec {
        origin: tidegate::io::clock::origin(),
        index: 0,
        runtime: Runtime::link(plan, &mut Registry::new(1), None),
        stats: Arc::clone(&stats),
        recorder: None,
        auditor: None,
        connections: Arc::new(AtomicUsize::new(0)),
        client_permits: Arc::default(),
        listeners: vec![OpenListener { listen: Listen::Any(0), socket: bound.sockets.remove(0) }],
        events: flume::bounded(1).0,
    };
    let (hand_over, mailbox) = flume::bounded(1);
    let core = thread::spawn(move || {
        let register = |core: &tidegate::io::cores::Core| {
            COUNTED.set(true);
            let (mailbox, commands) = Mailbox::new(core.reactor.notifier());
            hand_over.send(mailbox).unwrap();
            commands
        };
        spec.run(register).unwrap()
    });
    let mailbox = mailbox.recv().unwrap();
    assert!(mailbox.send(Command::Accept));
    Proxy { address, mailbox, core, stats, _origin: origin }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n";

fn connect(address: SocketAddr) -> TcpStream {
    #[expect(clippy::disallowed_methods, reason = "a client of the standard library")]
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends a request on each connection, then reads each answer.
fn round(clients: &mut [TcpStream]) {
    for client in &mut *clients {
        client.write_all(GET).unwrap();
    }
    for client in clients {
        let mut answer = [0; 1024];
        let mut length = 0;
        while !answer[..length].ends_with(b"hello\n") {
            let n = client.read(&mut answer[length..]).unwrap();
            assert!(n > 0, "the answer ended early");
            length += n;
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn a_plain_request_allocates_less_than_once() {
    let proxy = start();
    for many in [1, 16] {
        let mut clients: Vec<_> = (0..many).map(|_| connect(proxy.address)).collect();
        let rounds = 4000 / many;
        (0..rounds).for_each(|_| round(&mut clients));
        let before = ALLOCATIONS.load(Relaxed);
        (0..rounds).for_each(|_| round(&mut clients));
        let each = (ALLOCATIONS.load(Relaxed) - before) as f64 / (rounds * many) as f64;
        // What is left is the executor's queue: a block for every 31 times a task is woken.
        println!("{many} connections: {each:.3} allocations a request");
        assert!(each <= 0.15, "{each} allocations for each request");
        assert!(each > 0.0, "the counter does not count");
    }
    assert!(proxy.mailbox.send(Command::Drain));
    assert_eq!(proxy.core.join().unwrap(), 0, "buffers that did not come home");
    let ended: u64 = proxy.stats.reasons.iter().map(stats::Counter::get).sum();
    assert_eq!(ended, proxy.stats.requests.get());
    assert_eq!(proxy.stats.requests.get(), 4 * 4000);
}
