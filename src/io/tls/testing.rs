//! TLS over real sockets, with rustls' own connections on the other side. Beside the room and not in it, for the
//! simulation has no such sockets.
#![expect(clippy::disallowed_methods, reason = "the other side blocks, on a thread of its own")]

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::TlsFault;
use rustix::io::Errno;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
    SupportedProtocolVersion, version,
};
use socket2::SockRef;

use super::buffer::BufferPool;
use super::cores::Core;
use super::error::{Error, Result};
use super::reactor::Direction;
use super::stream::{Dialling, PARTS, Stream};
use super::tls::{Tls, TlsBuffers};

const WAIT: Duration = Duration::from_secs(10);
const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// What both sides believe, for one version.
fn configs(of: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    configs_with(of, 0)
}

/// The same, with a certificate that has so many names more.
fn configs_with(
    of: &'static SupportedProtocolVersion,
    names: usize,
) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let names = (0..names).map(|number| format!("one-name-of-very-many-{number}.example"));
    let names: Vec<_> = ["localhost".to_owned()].into_iter().chain(names).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (leaf, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(leaf.clone()).unwrap();
    let server = ServerConfig::builder_with_protocol_versions(&[of]).with_no_client_auth();
    let key = PrivatePkcs8KeyDer::from(key).into();
    let server = server.with_single_cert(vec![leaf], key).unwrap();
    let client = ClientConfig::builder_with_protocol_versions(&[of]);
    let client = client.with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// Two ends of a connection, whose buffers are small: so nothing ever goes at once.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let other = listener.accept().unwrap().0;
    for end in [&one, &other] {
        SockRef::from(end).set_send_buffer_size(4096).unwrap();
        SockRef::from(end).set_recv_buffer_size(4096).unwrap();
        end.set_read_timeout(Some(WAIT)).unwrap();
    }
    (one, other)
}

fn stream(end: TcpStream, core: &Core) -> Stream {
    end.set_nonblocking(true).unwrap();
    Stream::new(OwnedFd::from(end), &core.reactor).unwrap()
}

/// Runs `ours` on a core and `theirs` on a thread of its own, over one connection.
fn run<F: Future<Output = ()> + 'static>(
    ours: impl FnOnce(Stream, Rc<Core>) -> F,
    theirs: impl FnOnce(TcpStream) + Send + 'static,
) {
    let (one, other) = pair();
    let core = Core::new(0, 0, 0).unwrap();
    let thread = thread::spawn(move || theirs(other));
    let task = core.spawn(ours(stream(one, &core), Rc::clone(&core)));
    core.run(&flume::bounded::<()>(1).1, |()| {}).unwrap();
    assert!(task.is_finished());
    thread.join().unwrap();
}

fn client(config: &Arc<ClientConfig>, end: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), end)
}

fn pattern(octets: usize) -> Vec<u8> {
    (0..octets).map(|at| (at * 31 + at / 256) as u8).collect()
}

/// Reads until the end, or until so many octets are there.
async fn read(stream: &Stream, most: usize) -> (Vec<u8>, Result<()>) {
    let (mut all, mut piece) = (Vec::new(), vec![0; 5000]);
    while all.len() < most {
        stream.deadline_in(Direction::Read, WAIT);
        if let Err(error) = stream.ready(Direction::Read).await {
            return (all, Err(error));
        }
        match stream.read(&mut piece) {
            Ok(Some(0)) => break,
            Ok(n) => all.extend_from_slice(&piece[..n.unwrap_or(0)]),
            Err(error) => return (all, Err(error)),
        }
    }
    (all, Ok(()))
}

/// Sends `octets` in buffers of the pool, with parts behind each.
async fn send(stream: &Stream, octets: &[u8]) -> u64 {
    let sent = Cell::new(0);
    let quota = BufferPool::new(8).quota();
    for piece in octets.chunks(20_000) {
        let permit = quota.permit().await;
        let mut buf = permit.take();
        let (head, rest) = piece.split_at(piece.len().min(100));
        assert!(buf.append(head));
        let mut parts: [&[u8]; PARTS] = [&[]; PARTS];
        parts[1] = rest;
        stream.send_with(buf, parts, WAIT, &sent).await.0.unwrap();
    }
    sent.get()
}

#[test]
fn octets_arrive_as_they_were_sent_in_both_directions() {
    for of in VERSIONS {
        for size in [1, 1000, 16 * 1024, 16 * 1024 + 1, 300_000] {
            let (server, config) = configs(of);
            let ours = move |mut stream: Stream, _core: Rc<Core>| async move {
                let tls = Tls::server(server, &TlsBuffers::new()).unwrap();
                stream.secure(tls, stream.reactor().clock().now() + WAIT, None).await.unwrap();
                let (came, result) = read(&stream, size).await;
                assert_eq!((came.len(), result), (size, Ok(())));
                assert!(came == pattern(size));
                assert_eq!(send(&stream, &came).await, size as u64);
                stream.finished(WAIT).await.unwrap();
            };
            run(ours, move |end| {
                let mut tls = client(&config, end);
                tls.write_all(&pattern(size)).unwrap();
                let mut back = Vec::new();
                tls.read_to_end(&mut back).unwrap(); // an error without close_notify
                assert!(back == pattern(size), "{size}");
            });
        }
    }
}

#[test]
fn a_flight_larger_than_what_the_kernel_takes_arrives() {
    for of in VERSIONS {
        let (server, config) = configs_with(of, 1000);
        let ours = move |mut stream: Stream, _core: Rc<Core>| async move {
            let tls = Tls::server(server, &TlsBuffers::new()).unwrap();
            stream.secure(tls, stream.reactor().clock().now() + WAIT, None).await.unwrap();
            assert_eq!(read(&stream, 4).await, (b"some".to_vec(), Ok(())));
        };
        run(ours, move |end| client(&config, end).write_all(b"some").unwrap());
    }
}

#[test]
fn an_end_that_comes_with_octets_is_seen_at_once() {
    for of in VERSIONS {
        let (server, config) = configs(of);
        let ours = move |mut stream: Stream, core: Rc<Core>| async move {
            let tls = Tls::server(server, &TlsBuffers::new()).unwrap();
            stream.secure(tls, stream.reactor().clock().now() + WAIT, None).await.unwrap();
            // Both lie there by then, and nothing follows that the kernel could tell of.
            core.reactor.sleep(Duration::from_millis(50)).await.unwrap();
            assert_eq!(read(&stream, usize::MAX).await, (b"some".to_vec(), Ok(())));
            // Whoever has ended may listen still.
            assert_eq!(send(&stream, b"other").await, 5);
            stream.finished(WAIT).await.unwrap();
            // Behind both ends there is nothing more.
            assert_eq!(stream.write(b"more"), Err(Error::Os(Errno::PIPE)));
        };
        run(ours, move |end| {
            let mut tls = client(&config, end);
            while tls.conn.is_handshaking() {
                tls.conn.complete_io(&mut tls.sock).unwrap();
            }
            tls.conn.writer().write_all(b"some").unwrap();
            tls.conn.send_close_notify();
            let mut records = Vec::new();
            while tls.conn.wants_write() {
                tls.conn.write_tls(&mut records).unwrap();
            }
            records.extend(b"nonsense"); // behind the end nobody looks at it
            tls.sock.write_all(&records).unwrap();
            let mut back = Vec::new();
            tls.read_to_end(&mut back).unwrap();
            assert_eq!(back, b"other");
        });
    }
}

#[test]
fn a_peer_that_speaks_of_nothing_but_the_protocol_is_left() {
    let (server, config) = configs(&version::TLS13);
    let ours = move |mut stream: Stream, _core: Rc<Core>| async move {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = Tls::client(config, name, &TlsBuffers::new()).unwrap();
        stream.secure(tls, stream.reactor().clock().now() + WAIT, None).await.unwrap();
        let fault = Error::Tls(TlsFault::ProtocolViolation);
        assert_eq!(read(&stream, usize::MAX).await, (Vec::new(), Err(fault)));
    };
    run(ours, move |end| {
        let mut server = (*server).clone();
        server.send_tls13_tickets = 2000;
        let connection = rustls::ServerConnection::new(Arc::new(server)).unwrap();
        let mut tls = StreamOwned::new(connection, end);
        let _ = tls.read(&mut [0]);
    });
}

#[test]
fn both_sides_may_be_ours() {
    for of in VERSIONS {
        let (server, config) = configs(of);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let core = Core::new(0, 0, 0).unwrap();
        let buffers = TlsBuffers::new();
        let (both, shared) = (Rc::clone(&core), Rc::clone(&buffers));
        let asks = core.spawn(async move {
            let address = super::address::Address::Tcp(address);
            let dialling = Dialling::default();
            let connected = Stream::connect(&address, WAIT, dialling, &both.reactor).await;
            let mut stream = connected.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let tls = Tls::client(config, name, &shared).unwrap();
            stream.secure(tls, stream.reactor().clock().now() + WAIT, None).await.unwrap();
            send(&stream, &pattern(100_000)).await;
            stream.finished(WAIT).await.unwrap();
            assert_eq!(read(&stream, 10).await, (b"thanks".to_vec(), Ok(())));
        });
        let other = Rc::clone(&core);
        let answers = core.spawn(async move {
            let mut stream = stream(listener.accept().unwrap().0, &other);
            stream
                .secure(
                    Tls::server(server, &buffers).unwrap(),
                    stream.reactor().clock().now() + WAIT,
                    None,
                )
                .await
                .unwrap();
            let (came, result) = read(&stream, usize::MAX).await;
            assert!(result == Ok(()) && came == pattern(100_000));
            send(&stream, b"thanks").await;
            stream.finished(WAIT).await.unwrap();
        });
        core.run(&flume::bounded::<()>(1).1, |()| {}).unwrap();
        assert!(asks.is_finished() && answers.is_finished());
    }
}

#[test]
fn an_end_that_was_not_announced_is_an_error() {
    for of in VERSIONS {
        for announced in [true, false] {
            let (server, config) = configs(of);
            let ours = move |mut stream: Stream, _core: Rc<Core>| async move {
                let tls = Tls::server(server, &TlsBuffers::new()).unwrap();
                stream.secure(tls, stream.reactor().clock().now() + WAIT, None).await.unwrap();
                let (came, result) = read(&stream, usize::MAX).await;
                let expected =
                    if announced { Ok(()) } else { Err(Error::Tls(TlsFault::Truncated)) };
                assert_eq!((&came[..], result), (&b"some"[..], expected));
            };
            run(ours, move |end| {
                let mut tls = client(&config, end);
                tls.write_all(b"some").unwrap();
                if announced {
                    tls.conn.send_close_notify();
                }
                tls.flush().unwrap();
                tls.sock.shutdown(std::net::Shutdown::Write).unwrap();
                let _ = tls.read(&mut [0; 10]);
            });
        }
    }
}

#[test]
fn what_the_protocol_says_for_itself_is_no_octet() {
    let (server, config) = configs(&version::TLS13);
    let ours = move |mut stream: Stream, core: Rc<Core>| async move {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = Tls::client(config, name, &TlsBuffers::new()).unwrap();
        stream.secure(tls, stream.reactor().clock().now() + WAIT, None).await.unwrap();
        // Tickets are on their way, or here.
        core.reactor.sleep(Duration::from_millis(50)).await.unwrap();
        assert!(stream.is_quiet());
        send(&stream, b"?").await;
        assert_eq!(read(&stream, 1).await, (b"!".to_vec(), Ok(())));
        assert!(stream.is_quiet());
        assert_eq!(stream.tls().unwrap().kept(), 0, "an idle connection has its keys alone");
        send(&stream, b"?").await;
        core.reactor.sleep(Duration::from_millis(50)).await.unwrap();
        assert!(!stream.is_quiet(), "octets, and then the end");
        assert_eq!(read(&stream, 9).await, (b"!".to_vec(), Ok(())));
    };
    run(ours, move |end| {
        let connection = rustls::ServerConnection::new(server).unwrap();
        let mut tls = StreamOwned::new(connection, end);
        let mut one = [0];
        for last in [false, true] {
            tls.read_exact(&mut one).unwrap();
            tls.conn.refresh_traffic_keys().unwrap();
            tls.write_all(b"!").unwrap();
            if last {
                tls.conn.send_close_notify();
            }
            tls.flush().unwrap();
        }
    });
}

#[test]
fn what_is_no_handshake_is_told_and_answered_with_an_alert() {
    let (server, _) = configs(&version::TLS13);
    let ours = move |mut stream: Stream, _core: Rc<Core>| async move {
        let tls = Tls::server(server, &TlsBuffers::new()).unwrap();
        let error =
            stream.secure(tls, stream.reactor().clock().now() + WAIT, None).await.unwrap_err();
        assert_eq!(error, Error::Tls(TlsFault::NotTls));
    };
    run(ours, |mut end| {
        end.write_all(b"get / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut back = Vec::new();
        let _ = end.read_to_end(&mut back);
        assert_eq!((back.first(), back.len()), (Some(&21), 7), "an alert, and nothing else");
    });
}

#[test]
fn the_alert_comes_behind_what_was_said_before() {
    for of in VERSIONS {
        let (server, client) = configs(of);
        let (mut server, mut client) = ((*server).clone(), (*client).clone());
        (server.alpn_protocols, client.alpn_protocols) = (vec![b"a".into()], vec![b"b".into()]);
        let ours = move |mut stream: Stream, _core: Rc<Core>| async move {
            let tls = Tls::server(Arc::new(server), &TlsBuffers::new()).unwrap();
            let error =
                stream.secure(tls, stream.reactor().clock().now() + WAIT, None).await.unwrap_err();
            assert_eq!(error, Error::Tls(TlsFault::NoSharedProtocol));
        };
        run(ours, move |end| {
            let told = self::client(&Arc::new(client), end).read(&mut [0]).unwrap_err();
            assert!(told.to_string().contains("NoApplicationProtocol"), "{told}");
        });
    }
}
