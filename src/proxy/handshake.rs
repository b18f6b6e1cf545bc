//! A client's TLS handshake, before its first request.

use std::time::Duration;

use rustls::HandshakeKind;

use super::accept::parked;
use super::begin;
use super::client::Client;
use super::core::{Worker, labels};
use crate::io::clock::Moment;
use crate::io::linger::linger;
use crate::io::reactor::{Direction, Idle};
use crate::io::tls::Tls;
use crate::io::{Error, TlsFault};
use crate::policy::gate::ShownCertificate;
use crate::tls;

/// Octets that are read, and dropped, of what a client sends behind an alert, or an answer to plain HTTP.
const LINGER: usize = 16 * 1024;
/// How long the kernel may take for an alert that it has no room for.
const ALERT: Duration = Duration::from_secs(1);
/// For whoever speaks plain HTTP where TLS is spoken.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 48\r\nConnection: close\r\n\r\nThis port speaks TLS: use https:// in the URL.\r\n";

/// Waits for the client, and makes the handshake, under the settings of that time. `false`: it came to nothing, and the
/// connection is of no use.
pub(super) async fn made(worker: &Worker, client: &mut Option<Client>) -> bool {
    let until = worker.now() + worker.epoch().plan.listener.read_timeout;
    if !parked(worker, client).await {
        return false;
    }
    let (Some(config), Some(client)) = (worker.epoch().tls_of(client), client) else {
        return false;
    };
    let Some(early) = header(worker, client, until).await else { return false };
    let Ok(tls) = Tls::server(config.config.clone(), &worker.context.tls_buffers) else {
        return false;
    };
    let tls = match config.asks_for_certificates {
        true => tls,
        false => tls.without_client_certificates(),
    };
    match client.stream.secure(tls.with_early_octets(early), until, Some(Idle::Begun)).await {
        Ok(()) if config.challenges.is_some() && client.stream.tls().is_some_and(is_validation) => {
            tracing::debug!(
                peer = client.peer.map(tracing::field::display),
                "an ACME server has validated a name by a handshake"
            );
            let _ = client.stream.finished(ALERT).await;
            false
        }
        Ok(()) => {
            let kind = client.stream.tls().and_then(|tls| tls.agreed(|with| with.handshake_kind()));
            match kind {
                Some(HandshakeKind::Resumed) => worker.stats.tls_resumed.add(1),
                _ => worker.stats.tls_handshakes.add(1),
            }
            // A resumed session has that of the first one.
            client.certificate = client.stream.tls().and_then(shown);
            true
        }
        // A check of a load balancer connects and closes: it has nothing to fail at.
        Err(error)
            if error != Error::Deadline && client.stream.tls().is_some_and(Tls::is_untouched) =>
        {
            false
        }
        Err(error) => {
            failed(worker, client, error).await;
            false
        }
    }
}

/// Takes the header of the PROXY protocol, where one has to come: it stands before all of TLS, as whoever sends it
/// cannot write into that. The octets that came behind it; `None`: it did not come, or the client is not let in.
async fn header(worker: &Worker, client: &mut Client, until: Moment) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    client.stream.idle_until(until, Idle::Begun);
    while client.awaits_header {
        let mut piece = [0; 512];
        match client.stream.read(&mut piece) {
            Ok(Some(0)) | Err(_) => return None,
            Ok(Some(n)) => octets.extend_from_slice(&piece[..n]),
            Ok(None) => client.stream.ready(Direction::Read).await.ok()?,
        }
        let used = begin::announced(worker, &worker.epoch(), client, &octets)?;
        octets.drain(..used);
    }
    Some(octets)
}

/// The client is an ACME server, and has seen what it came for.
fn is_validation(connection: &Tls) -> bool {
    connection.agreed(tls::is_validation)
}

/// The certificate that the client has shown.
fn shown(connection: &Tls) -> Option<Box<ShownCertificate>> {
    connection.agreed(|with| {
        let der = with.peer_certificates()?.first()?;
        let certificate = tls::client_certificate(der)?;
        let names: Vec<String> = certificate.names.iter().map(ToString::to_string).collect();
        let (subject, field) = (certificate.subject.as_deref(), tls::client_cert_field(der));
        let shown = ShownCertificate::new(subject, &names, field.as_deref(), certificate.not_after);
        Some(Box::new(shown))
    })
}

/// Tells what was wrong: whoever speaks plain HTTP in HTTP, others have got an alert, and operators a line once in a
/// while.
async fn failed(worker: &Worker, client: &mut Client, error: Error) {
    worker.stats.tls_failed[labels::handshake(error)].add(1);
    if worker.bad_handshake.is_due(worker.now()) {
        tracing::warn!(
            peer = client.peer.map(tracing::field::display),
            "TLS handshake failed: {error}"
        );
    } else {
        tracing::debug!(
            peer = client.peer.map(tracing::field::display),
            "TLS handshake failed: {error}"
        );
    }
    let Error::Tls(fault) = error else { return };
    if fault == TlsFault::PlainHttp {
        client.stream.without_tls();
        let _ = client.stream.write(PLAIN); // as much as there is room for, which is all
    } else {
        // The alert leaves first: it is lost to a reset like any answer.
        let _ = client.stream.finished(ALERT).await;
        client.stream.without_tls();
    }
    linger(&client.stream, LINGER).await;
}
