//! An origin that speaks TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{HandshakeKind, ServerConfig, ServerConnection, Stream};

use super::super::{DEADLINE, eventually};

/// What came on one connection on which the handshake was made.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// What came before TLS, in plain: a line of the PROXY protocol.
    pub preface: String,
    /// The head of the request; empty: none came.
    pub head: String,
    /// The session is one of before.
    pub resumed: bool,
    /// The other side announced its end (close_notify).
    pub announced: bool,
}

/// An origin that speaks TLS, and takes one request without a body on each connection. Drop ends it.
pub struct SecureOrigin {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    config: Mutex<Arc<ServerConfig>>,
    came: Mutex<Vec<Sealed>>,
    abrupt: AtomicBool,
    stopped: AtomicBool,
}

impl SecureOrigin {
    /// Listens on a free port, and answers each head with what `answer` makes of it.
    pub fn start(
        config: Arc<ServerConfig>,
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> SecureOrigin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            config: Mutex::new(config),
            came: Mutex::default(),
            abrupt: AtomicBool::default(),
            stopped: AtomicBool::default(),
        });
        thread::spawn({
            let (shared, answer) = (Arc::clone(&shared), Arc::new(answer));
            move || {
                while let Ok((socket, _)) = listener.accept() {
                    if shared.stopped.load(Relaxed) {
                        return;
                    }
                    let (shared, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                    // That the other side gives up is no fault.
                    thread::spawn(move || drop(serve(socket, &shared, &*answer)));
                }
            }
        });
        SecureOrigin { address, shared }
    }

    /// Answers all with the same octets.
    pub fn answering(config: Arc<ServerConfig>, octets: &'static str) -> SecureOrigin {
        SecureOrigin::start(config, |_| octets.into())
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// As `--upstream` wants it.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// From the next connection on it is another server.
    pub fn become_another(&self, config: Arc<ServerConfig>) {
        *self.shared.config.lock().unwrap() = config;
    }

    /// From the next answer on it closes without a word (close_notify).
    pub fn be_abrupt(&self) {
        self.shared.abrupt.store(true, Relaxed);
    }

    /// What came, of connections that have ended.
    pub fn came(&self) -> Vec<Sealed> {
        self.shared.came.lock().unwrap().clone()
    }

    /// Waits until `n` connections have ended.
    #[track_caller]
    pub fn wait_for(&self, n: usize) -> Vec<Sealed> {
        eventually("connections over TLS", || self.came().len() >= n);
        self.came()
    }
}

impl Drop for SecureOrigin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Relaxed);
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(
    mut socket: TcpStream,
    shared: &Shared,
    answer: &dyn Fn(&str) -> Vec<u8>,
) -> io::Result<()> {
    socket.set_read_timeout(Some(DEADLINE))?;
    let preface = preface(&mut socket)?;
    let config = Arc::clone(&shared.config.lock().unwrap());
    let mut connection = ServerConnection::new(config).unwrap();
    let mut tls = Stream::new(&mut connection, &mut socket);
    // Until the handshake is done; an alert of ours leaves before the error is told.
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(tls.sock)?;
    }
    let resumed = tls.conn.handshake_kind() == Some(HandshakeKind::Resumed);
    let (mut head, mut octet) = (Vec::new(), [0]);
    let mut announced = loop {
        match tls.read(&mut octet) {
            Ok(0) => break true,
            Ok(_) => head.push(octet[0]),
            Err(_) => break false,
        }
        if head.ends_with(b"\r\n\r\n") {
            break false;
        }
    };
    let head = String::from_utf8_lossy(&head).into_owned();
    if !head.is_empty() {
        tls.write_all(&answer(&head))?;
        if !shared.abrupt.load(Relaxed) {
            tls.conn.send_close_notify();
        }
        tls.flush()?;
        tls.sock.shutdown(Shutdown::Write)?;
        announced = tls.read_to_end(&mut Vec::new()).is_ok();
    }
    shared.came.lock().unwrap().push(Sealed { preface, head, resumed, announced });
    Ok(())
}

/// The line that comes before TLS; no record begins with its letter.
fn preface(socket: &mut TcpStream) -> io::Result<String> {
    let (mut line, mut first, mut octet) = (Vec::new(), [0], [0]);
    socket.peek(&mut first)?;
    while first == *b"P" && !line.ends_with(b"\n") {
        socket.read_exact(&mut octet)?;
        line.push(octet[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}
