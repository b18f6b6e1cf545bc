//! A client that speaks TLS. As wire and client of the harness it waits for nothing without a deadline.

use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, SupportedProtocolVersion};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::super::{
    CLOSE, Ending, Head, Origin, Proxy, Response, TEXT, assert_same, frame, masked,
};
use super::{Authority, Certificate};

/// How long a read waits: a handshake in a build for tests takes its time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection; the handshake is made with what is first sent or read.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A client that believes these certificates, and shows none.
pub fn trusting(certificates: &[&CertificateDer<'static>]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    certificates.iter().for_each(|one| roots.add((*one).clone()).unwrap());
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// A client that speaks one version, believes one authority, and shows a certificate or none.
pub fn speaking(
    version: &'static SupportedProtocolVersion,
    authority: &Authority,
    shown: Option<&Certificate>,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_protocol_versions(&[version]);
    let builder = builder.with_root_certificates(authority.roots());
    Arc::new(match shown {
        None => builder.with_no_client_auth(),
        Some(own) => {
            builder.with_client_auth_cert(vec![own.der.clone()], own.private_key()).unwrap()
        }
    })
}

/// A proxy that shows this certificate to all clients, in front of an origin.
#[track_caller]
pub fn secured(origin: &Origin, certificate: &Certificate, flags: &[&str]) -> Proxy {
    let Certificate { cert, key, .. } = certificate;
    let own = ["--listen", "https://127.0.0.1:0", "--tls-cert", cert, "--tls-key", key];
    Proxy::with(origin, &[&own, flags].concat())
}

/// A connection to `proxy`, which is asked for this name.
#[track_caller]
pub fn connect(proxy: &Proxy, config: &Arc<ClientConfig>, name: &str) -> Tls {
    over(TcpStream::connect(&proxy.address).unwrap(), config, name)
}

/// The same over a connection that there is.
#[track_caller]
pub fn over(socket: TcpStream, config: &Arc<ClientConfig>, name: &str) -> Tls {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), socket)
}

/// The answer to a request; its length is announced, or it has no body.
pub fn asked(tls: &mut Tls, request: &str) -> io::Result<Response> {
    tls.write_all(request.as_bytes())?;
    let mut all = Vec::new();
    let head = loop {
        take(tls, &mut all)?;
        if let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") {
            break Head::parse(&all.drain(..end + 4).collect::<Vec<u8>>())?;
        }
    };
    assert_eq!(head.get("Transfer-Encoding"), None, "{head:?}");
    let length = head.get("Content-Length").map_or(0, |text| text.parse().unwrap());
    while all.len() < length {
        take(tls, &mut all)?;
    }
    if all.len() > length {
        return Err(Error::new(ErrorKind::InvalidData, "more octets than were announced"));
    }
    let status = head.line[9..12].parse().unwrap();
    let (trailers, interim) = (Vec::new(), Vec::new());
    Ok(Response { status, head, body: all, trailers, ending: Ending::Length, interim })
}

/// Takes some of what comes.
fn take(tls: &mut Tls, all: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; 16 * 1024];
    match tls.read(&mut piece)? {
        0 => return Err(ErrorKind::UnexpectedEof.into()),
        n => all.extend_from_slice(&piece[..n]),
    }
    Ok(())
}

/// The good answer to a GET, as text.
#[track_caller]
pub fn get(tls: &mut Tls, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = asked(tls, &request).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text()
}

/// A WebSocket to [`Origin::conversing`], the handshake as in the example of RFC 6455 section 1.3: a short message, one
/// that takes many records of TLS, and its end, which TLS announces as well.
#[track_caller]
pub fn converse(tls: &mut Tls, origin: &Origin) {
    let request = "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let answer = asked(tls, request).unwrap();
    assert_eq!(answer.status, 101, "{answer:?}");
    let long: String = (0..).map(|n: usize| format!("{n} ")).take(20_000).collect();
    assert!(long.len() > 6 * 16 * 1024, "{} octets", long.len());
    for (first, payload) in
        [(TEXT, &b"Hello"[..]), (TEXT, long.as_bytes()), (CLOSE, &[3, 0xe8, b'b', b'y', b'e'])]
    {
        let sent = masked(first, payload);
        tls.write_all(&sent).unwrap();
        let expected = frame(first, payload);
        let mut came = vec![0; expected.len()];
        tls.read_exact(&mut came).unwrap();
        assert_same(&came, &expected);
        let received = origin.received(0);
        assert_same(&received[received.len() - sent.len()..], &sent);
    }
    let mut rest = Vec::new();
    tls.read_to_end(&mut rest).expect("the end is announced");
    assert!(rest.is_empty(), "{rest:?}");
}

/// The alert with which the other side ends the handshake. Nothing is sent behind our part of it: where octets are left
/// unread at the close, the alert might be lost.
#[track_caller]
pub fn alert(tls: &mut Tls) -> AlertDescription {
    let error = tls.read(&mut [0]).expect_err("the handshake is refused");
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("no alert: {error:?}"),
    }
}
