//! One check: is whoever listens there well?

use std::cell::Cell;
use std::fmt;
use std::io;
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt;
use memchr::memmem;
use rustix::io::Errno;

use super::connection::Connection;
use super::security::tls_fault;
use super::{Dial, Incoming, Question};
use crate::io::TlsFaultKind;
use crate::io::address::Address;
use crate::stats::CheckOutcome;

/// Addresses tried for one check, as many as for one request.
const ADDRESSES_TRIED: usize = 3;
/// Octets of a body that are searched.
const SEARCHED: usize = 64 * 1024;

/// What is asked, and what a good answer is.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// `None`: a connection is all that is wanted, with the handshake where it is made over TLS.
    pub question: Option<Question<'a>>,
    /// How the connection is made.
    pub dial: Dial<'a>,
    /// Good statuses, from the least to the greatest.
    pub status: &'a [(u16, u16)],
    /// What the first 64 KiB of the body have in them; empty: anything.
    pub body: &'a str,
}

/// What came of a check, with what was seen in words.
pub type Checked = (CheckOutcome, String);

/// Checks whoever listens at the first of `addresses` that can be connected to. It takes no longer than `patience`.
///
/// # Errors
/// When nothing was found out, for want of something of our own: descriptors, ports, memory.
pub async fn check(
    addresses: &[Address],
    check: Check<'_>,
    patience: Duration,
) -> io::Result<Checked> {
    let tried = &addresses[..addresses.len().min(ADDRESSES_TRIED)];
    // Of the time for all; in milliseconds, for a person reads it.
    let wait = Duration::from_millis(patience.as_millis() as u64 / tried.len().max(1) as u64);
    let (is_reached, is_connected) = (Cell::new(false), Cell::new(false));
    let unconnected = || {
        let missing = if is_reached.get() { "TLS handshake" } else { "connection" };
        found(CheckOutcome::ConnectTimeout, format_args!("no {missing} within {wait:?}"))
    };
    let asking = async {
        let mut last = found(CheckOutcome::ResolveFailed, "the name has no known address");
        for address in tried {
            is_reached.set(false);
            let asking = async {
                let stream = match check.dial.connect(address, &is_reached).await {
                    Ok(stream) => stream,
                    Err(error) if is_ours(&error) => return Err(error),
                    Err(error) => return Ok(unmade(&error)),
                };
                is_connected.set(true);
                Ok(judge(stream, check).await)
            };
            let late = async {
                Timer::after(wait).await;
                if is_connected.get() {
                    std::future::pending::<()>().await; // an answer may take all the time
                }
                Ok(unconnected())
            };
            last = asking.or(late).await?;
            if is_connected.get() {
                break;
            }
        }
        Ok(last)
    };
    let late = async {
        Timer::after(patience).await;
        Ok(match is_connected.get() {
            true => found(CheckOutcome::NoAnswer, format_args!("no answer within {patience:?}")),
            false => unconnected(),
        })
    };
    asking.or(late).await
}

/// What is made of the want of a connection.
fn unmade(error: &io::Error) -> Checked {
    let outcome = of_tls(error).unwrap_or(match error.kind() {
        io::ErrorKind::ConnectionRefused => CheckOutcome::ConnectRefused,
        io::ErrorKind::TimedOut => CheckOutcome::ConnectTimeout,
        _ => CheckOutcome::ConnectFailed,
    });
    found(outcome, error)
}

/// What is made of a connection.
async fn judge(stream: Connection, check: Check<'_>) -> Checked {
    let Some(question) = check.question else { return (CheckOutcome::Ok, String::new()) };
    answer(stream, question, check).await.unwrap_or_else(|error| {
        let outcome = of_tls(&error).unwrap_or(match error.kind() {
            io::ErrorKind::InvalidData => CheckOutcome::NotHttp,
            _ => CheckOutcome::Closed,
        });
        found(outcome, error)
    })
}

/// What it means that TLS failed, if that is the error.
fn of_tls(error: &io::Error) -> Option<CheckOutcome> {
    tls_fault(error).map(|fault| match fault.kind() {
        TlsFaultKind::Certificate => CheckOutcome::TlsCertificate,
        TlsFaultKind::Alert => CheckOutcome::TlsAlert,
        TlsFaultKind::Protocol => CheckOutcome::TlsFailed,
    })
}

/// Judges the answer to `question`.
async fn answer(
    mut stream: Connection,
    question: Question<'_>,
    Check { status, body: wanted, .. }: Check<'_>,
) -> io::Result<Checked> {
    let mut incoming = Incoming::begin(&mut stream, question).await?;
    let got = incoming.status;
    if !status.iter().any(|(least, most)| (*least..=*most).contains(&got)) {
        return Ok(found(CheckOutcome::WrongStatus, format_args!("status {got}")));
    }
    let (mut body, mut is_open, mut searched) = (Vec::new(), true, 0);
    loop {
        body.truncate(SEARCHED);
        let begin = unsearched(searched, wanted.len());
        if memmem::find(&body[begin..], wanted.as_bytes()).is_some() {
            return Ok((CheckOutcome::Ok, String::new()));
        }
        searched = body.len();
        if !is_open || body.len() == SEARCHED {
            let text = format_args!("{wanted:?} is not in the body");
            return Ok(found(CheckOutcome::WrongBody, text));
        }
        is_open = incoming.body(&mut stream, &mut body).await?;
    }
}

/// Where a text of so many octets may begin that was not found in those that were `searched`. A body may come octet by
/// octet: whoever began anew each time would take the time of all others.
fn unsearched(searched: usize, wanted: usize) -> usize {
    searched.saturating_sub(wanted.saturating_sub(1))
}

/// The want is ours: it says nothing of the other side.
fn is_ours(error: &io::Error) -> bool {
    use Errno as E;
    let ours = [E::MFILE, E::NFILE, E::NOBUFS, E::NOMEM, E::ADDRNOTAVAIL, E::ADDRINUSE];
    ours.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn found(outcome: CheckOutcome, text: impl fmt::Display) -> Checked {
    (outcome, text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientSecurity;
    use crate::http::Method;
    use std::net::IpAddr;
    use std::str::FromStr;

    use async_net::TcpListener;
    use futures_lite::{AsyncReadExt, AsyncWriteExt};

    const PATIENCE: Duration = Duration::from_secs(10);
    const PLAIN: Dial = Dial { bind: None, preface: b"", security: &ClientSecurity::Plain };

    fn question(method: Method) -> Question<'static> {
        Question::without_body(method, "/healthz", "a.test", b"")
    }

    /// What a check of `method` makes of `answer`, and the question as it came. `None`: it is never answered.
    async fn checked(method: Method, body: &str, answer: Option<&[u8]>) -> (CheckOutcome, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [Address::Tcp(listener.local_addr().unwrap())];
        let patience = if answer.is_some() { PATIENCE } else { Duration::from_millis(50) };
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = vec![0; 1024];
            let octets = stream.read(&mut seen).await.unwrap();
            match answer {
                Some(answer) => stream.write_all(answer).await.unwrap(),
                None => std::future::pending().await,
            }
            String::from_utf8_lossy(&seen[..octets]).into_owned()
        };
        let asked = Check {
            question: Some(question(method)),
            dial: PLAIN,
            status: &[(200, 299), (404, 404)],
            body,
        };
        let asking = async { check(&addresses, asked, patience).await.unwrap().0 };
        match answer {
            Some(_) => smol::future::zip(asking, serve).await,
            None => (asking.or(async { panic!("{}", serve.await) }).await, String::new()),
        }
    }

    #[test]
    fn every_answer_has_its_outcome() {
        use CheckOutcome::{Closed, NoAnswer, NotHttp, Ok as Well, WrongBody, WrongStatus};
        let far = format!("HTTP/1.1 200 OK\r\n\r\n{}ready", "x".repeat(SEARCHED - 4));
        let near = format!("HTTP/1.1 200 OK\r\n\r\n{}ready", "x".repeat(SEARCHED - 5));
        for (body, answer, outcome) in [
            ("", "HTTP/1.1 204 No Content\r\n\r\n", Well),
            ("", "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n", Well),
            ("", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 299 OK\r\n\r\n", Well),
            ("", "HTTP/1.1 503 No\r\n\r\n", WrongStatus),
            ("", "HTTP/1.1 301 No\r\n\r\n", WrongStatus),
            ("ready", "HTTP/1.1 200 OK\r\n\r\nI am ready.", Well),
            (
                "ready",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n",
                Well,
            ),
            ("ready", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nread", WrongBody),
            ("ready", "HTTP/1.1 204 OK\r\n\r\n", WrongBody),
            ("ready", &near, Well),
            ("ready", &far, WrongBody),
            ("ready", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nread", Closed),
            ("", "HTTP/1.1 200", Closed),
            ("", "", Closed),
            ("", "SSH-2.0\r\n\r\n", NotHttp),
            ("ready", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", NotHttp),
        ] {
            let (found, seen) = smol::block_on(checked(Method::Get, body, Some(answer.as_bytes())));
            assert_eq!(found, outcome, "{answer:.60}");
            let whole = "GET /healthz HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
            assert_eq!(seen, whole);
        }
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let (found, seen) = smol::block_on(checked(Method::Head, "", Some(head)));
        assert_eq!((found, &seen[..5]), (Well, "HEAD "));
        assert_eq!(smol::block_on(checked(Method::Get, "", None)).0, NoAnswer);
    }

    #[test]
    fn the_first_address_that_can_be_connected_to_is_asked() {
        smol::block_on(async {
            let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
            let [closed, open] = [closed, open.local_addr().unwrap()].map(Address::Tcp);
            let unix = Address::Unix(std::path::Path::new("/nowhere/at/all").into());
            let connect = Check { question: None, dial: PLAIN, status: &[], body: "" };
            for (addresses, outcome) in [
                (vec![], CheckOutcome::ResolveFailed),
                (vec![closed.clone()], CheckOutcome::ConnectRefused),
                (vec![unix.clone()], CheckOutcome::ConnectFailed),
                (vec![closed.clone(), unix, open.clone()], CheckOutcome::Ok),
                (vec![closed.clone(), closed.clone(), closed, open], CheckOutcome::ConnectRefused),
            ] {
                let found = check(&addresses, connect, PATIENCE).await.unwrap();
                assert_eq!(found.0, outcome, "{addresses:?}: {}", found.1);
            }
        });
    }

    #[test]
    fn what_was_searched_is_not_searched_again() {
        for (searched, wanted, begin) in [(0, 5, 0), (3, 5, 0), (4, 5, 0), (9, 5, 5), (9, 1, 9)] {
            assert_eq!(unsearched(searched, wanted), begin, "{wanted} after {searched}");
        }
        // Wherever a body is cut, the text is found.
        for cut in 1..=9 {
            let (first, second) = b"xxreadyxx".split_at(cut);
            let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for piece in [first, second] {
                answer.extend(format!("{:x}\r\n", piece.len()).bytes());
                answer.extend([piece, b"\r\n"].concat());
            }
            let (found, _) = smol::block_on(checked(Method::Get, "ready", Some(&answer)));
            assert_eq!(found, CheckOutcome::Ok, "after {cut}");
        }
    }

    #[test]
    fn a_check_comes_from_the_address_that_was_chosen() {
        smol::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addresses = [Address::Tcp(listener.local_addr().unwrap())];
            for (bind, from) in
                [("127.0.0.2", "127.0.0.2"), ("::1", "127.0.0.1"), ("192.0.2.1", "")]
            {
                let asked = Check {
                    question: None,
                    dial: Dial { bind: Some(IpAddr::from_str(bind).unwrap()), ..PLAIN },
                    status: &[],
                    body: "",
                };
                let (outcome, text) = check(&addresses, asked, PATIENCE).await.unwrap();
                if from.is_empty() {
                    assert_eq!(outcome, CheckOutcome::ConnectFailed, "it is of another machine");
                    assert!(text.contains("can come from 192.0.2.1"), "{text}");
                    continue;
                }
                assert_eq!(outcome, CheckOutcome::Ok, "{text}");
                let (_, peer) = listener.accept().await.unwrap();
                assert_eq!(peer.ip().to_string(), from);
            }
        });
    }
}
