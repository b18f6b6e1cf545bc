//! The parts of the data path by themselves, in memory: `cargo bench --bench micro [NAME]`.
//!
//! httparse alone is the reference for heads: what is above it is the price of judging them. The timer wheel is
//! private, so it is seen through the reactor, whose turn asks the kernel for events besides.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::rc::Rc;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher};

use tidegate::http::chunked::{self, ChunkedDecoder};
use tidegate::http::forward::{self, FieldEdits, PathEdits, RequestEdits, ResponseEdits};
use tidegate::http::write::Writer;
use tidegate::http::{Limits, Method, Progress, Request, Response, outward};
use tidegate::io::address::Address;
use tidegate::io::buffer::{BufferPool, SHARE};
use tidegate::io::clock::Moment;
use tidegate::io::listen;
use tidegate::io::reactor::{Direction, Reactor};

mod thirty;

/// Tells how much each of them allocates: nothing is what we want to read.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// What a load generator asks, and what a browser does.
const FIELDS: [usize; 2] = [0, 30];
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nX-Origin: origin-9001\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 14\r\n\r\n";
const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

fn main() {
    divan::main();
}

fn question(fields: usize) -> Vec<u8> {
    let lines = thirty::FIELDS[..fields].iter().map(|line| format!("{line}\r\n"));
    let lines: String = lines.collect();
    format!("GET /bytes/64 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n{lines}\r\n").into_bytes()
}

#[divan::bench(args = FIELDS)]
fn request_httparse(bencher: Bencher<'_, '_>, fields: usize) {
    let bytes = question(fields);
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        let mut storage = [const { MaybeUninit::uninit() }; 100];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(black_box(&bytes), &mut storage);
        parsed.is_ok_and(|status| status.is_complete())
    });
}

#[divan::bench(args = FIELDS)]
fn request_read(bencher: Bencher<'_, '_>, fields: usize) {
    let (bytes, limits, mut request) = (question(fields), Limits::default(), Request::default());
    assert_eq!(request.read(&bytes, &limits), Ok(Progress::Complete));
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| request.read(black_box(&bytes), &limits));
}

#[divan::bench(args = FIELDS)]
fn request_forward(bencher: Bencher<'_, '_>, fields: usize) {
    let (bytes, mut request) = (question(fields), Request::default());
    assert_eq!(request.read(&bytes, &Limits::default()), Ok(Progress::Complete));
    let mut buffer = [0; 16 * 1024];
    let edits = RequestEdits {
        peer: Some([192, 0, 2, 1].into()),
        trusted: false,
        withheld: &[],
        fields: FieldEdits::default(),
        path: PathEdits::default(),
        secure: false,
        host: None,
        request_id: b"0123456789abcdef",
        upgrade: None,
    };
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        let mut out = Writer::new(&mut buffer);
        let fits = forward::request(&mut out, black_box(&request), &bytes, &edits).is_ok();
        (fits, out.len())
    });
}

#[divan::bench]
fn response_httparse(bencher: Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(ANSWER.len())).bench_local(|| {
        let mut storage = [const { MaybeUninit::uninit() }; 100];
        let mut response = httparse::Response::new(&mut []);
        let (config, bytes) = (httparse::ParserConfig::default(), black_box(ANSWER));
        let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut storage);
        parsed.is_ok_and(|status| status.is_complete())
    });
}

#[divan::bench]
fn response_read(bencher: Bencher<'_, '_>) {
    let (limits, mut response) = (Limits::default(), Response::default());
    assert_eq!(response.read(ANSWER, &limits, Method::Get), Ok(Progress::Complete));
    bencher
        .counter(BytesCount::new(ANSWER.len()))
        .bench_local(|| response.read(black_box(ANSWER), &limits, Method::Get));
}

#[divan::bench]
fn response_forward(bencher: Bencher<'_, '_>) {
    let (mut request, mut response) = (Request::default(), Response::default());
    assert_eq!(request.read(&question(0), &Limits::default()), Ok(Progress::Complete));
    let read = response.read(ANSWER, &Limits::default(), Method::Get);
    assert_eq!(read, Ok(Progress::Complete));
    let mut buffer = [0; 16 * 1024];
    let edits = ResponseEdits {
        to: request.version,
        persistent: true,
        framing: outward(response.framing, request.version),
        fields: FieldEdits::default(),
        date: DATE,
        backend: None,
        request_id: None,
    };
    bencher.counter(BytesCount::new(ANSWER.len())).bench_local(|| {
        let mut out = Writer::new(&mut buffer);
        let fits = forward::response(&mut out, black_box(&response), ANSWER, &edits).is_ok();
        (fits, out.len())
    });
}

/// 64 KiB of payload in chunks of so many octets, decoded a buffer at a time. The copy into the buffer, for decoding is
/// done in place, is measured too.
#[divan::bench(args = [16, 4096])]
fn chunked_decode(bencher: Bencher<'_, '_>, size: usize) {
    let mut coded = Vec::new();
    for _ in 0..(64 << 10) / size {
        coded.extend_from_slice(chunked::size_line(size as u64, &mut [0; 18]));
        coded.resize(coded.len() + size, b'x');
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(chunked::LAST);
    coded.extend_from_slice(b"\r\n");
    let mut buffer = [0; 16 * 1024];
    bencher.counter(BytesCount::new(coded.len())).bench_local(|| {
        let mut decoder = ChunkedDecoder::default();
        let mut payload = 0;
        for piece in black_box(&coded).chunks(buffer.len()) {
            let piece_of_buffer = &mut buffer[..piece.len()];
            piece_of_buffer.copy_from_slice(piece);
            payload += decoder.decode(piece_of_buffer).map_or(0, |decoded| decoded.payload);
        }
        assert_eq!(payload, 64 << 10);
    });
}

/// The right to have a buffer, a buffer, and both back.
#[divan::bench]
fn pool_take_and_return(bencher: Bencher<'_, '_>) {
    let pool = BufferPool::new(64 * SHARE);
    let quota = pool.quota();
    bencher.bench_local(|| quota.try_permit().map(|permit| permit.take().len()));
}

/// A reactor with so many sources, each with a deadline.
fn reactor(sources: usize) -> (Rc<Reactor>, Vec<usize>) {
    let reactor = Rc::new(Reactor::new().expect("the kernel gives descriptors"));
    let socket = listen::bind(&Address::Tcp(([127, 0, 0, 1], 0).into()), 1);
    let socket = socket.expect("a free port").sockets.remove(0);
    let watch = |_| {
        let copy = socket.try_clone().expect("the kernel gives descriptors");
        let key = reactor.watch(&copy).expect("it can be watched");
        // The kernel's list keeps it, for the socket itself stays open; nothing will ever happen to it.
        std::mem::forget(copy);
        key
    };
    let keys = (0..sources).map(watch).collect();
    std::mem::forget(socket);
    (reactor, keys)
}

/// Moves the deadline of one source after the other, as every request does.
#[divan::bench(args = [1, 500])]
fn timer_set(bencher: Bencher<'_, '_>, sources: usize) {
    let (reactor, keys) = reactor(sources);
    let mut at = 0;
    bencher.bench_local(|| {
        at += 1;
        let due = Moment(60_000_000 + at as u64 * 100);
        reactor.set_deadline(keys[at % sources], Direction::Read, Some(due));
    });
}

/// So many deadlines pass in a turn of the reactor; one system call included.
#[divan::bench(args = [0, 1, 500])]
fn timer_take(bencher: Bencher<'_, '_>, passed: usize) {
    let (reactor, keys) = reactor(passed);
    // The first tick must be over, or nothing has passed.
    std::thread::sleep(std::time::Duration::from_millis(200));
    bencher.bench_local(|| {
        for key in &keys {
            reactor.set_deadline(*key, Direction::Read, Some(Moment(1)));
        }
        reactor.turn(true).is_ok()
    });
}
