//! ASK ONE QUESTION: a small HTTP client, for the control plane and for commands to a running tidegate.
//!
//! Laws: never in the data path. One connection, one request, one answer, then it closes. Heads are judged by `http`,
//! as strictly as those of upstreams; the answer's size and the whole time have a bound. Uses `http`, of `io` what an
//! address is and how TLS fails, and of `stats` the outcomes of a check. Whom TLS trusts is brought by who asks.

mod check;
mod connection;
mod security;
#[cfg(feature = "tls")]
mod tls;

pub use check::{Check, Checked, check};
pub use connection::Dial;
pub use security::ClientSecurity;

use std::cell::Cell;
use std::io;
use std::time::Duration;

use async_io::Timer;
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt, future};

use connection::Connection;

use crate::http::body::Decoder;
use crate::http::{Field, Limits, Method, Progress, Reason, Response};
use crate::io::address::Address;

/// Interim answers before it at most.
const INTERIM_MOST: u32 = 16;
/// The usual type of a body.
pub const JSON: &str = "application/json";
/// Bounds of the answer's head.
const LIMITS: Limits = Limits { head: 16 * 1024, target: 8 * 1024, fields: 100 };

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The method.
    pub method: Method,
    /// The target, in origin form.
    pub target: &'a str,
    /// The value of `Host`.
    pub host: &'a str,
    /// Further field lines, each with its CRLF.
    pub fields: &'a [u8],
    /// The body; empty: none.
    pub body: &'a str,
    /// What the body is.
    pub content_type: &'a str,
}

impl<'a> Question<'a> {
    /// One that has no body.
    pub fn without_body(method: Method, target: &'a str, host: &'a str, fields: &'a [u8]) -> Self {
        Question { method, target, host, fields, body: "", content_type: "" }
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Its fields, in order.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

/// Asks `question` at `address`, through `security`, and waits for the answer as long as `patience`.
///
/// # Errors
/// When there is no whole answer in time, one that is not HTTP, or one whose body has more than `body_most` octets: of
/// that one the rest is not read.
pub async fn ask(
    address: &Address,
    security: &ClientSecurity,
    question: Question<'_>,
    body_most: usize,
    patience: Duration,
) -> io::Result<Answer> {
    ask_noting(address, security, question, body_most, patience, &Cell::default()).await
}

/// The same; `reached` is set once somebody listens there, who may have got the question.
///
/// # Errors
/// As [`ask`].
pub async fn ask_noting(
    address: &Address,
    security: &ClientSecurity,
    question: Question<'_>,
    body_most: usize,
    patience: Duration,
    reached: &Cell<bool>,
) -> io::Result<Answer> {
    let dial = Dial { bind: None, preface: b"", security };
    let asking = async {
        let stream = dial.connect(address, reached).await?;
        exchange(stream, question, body_most).await
    };
    let late = async {
        Timer::after(patience).await;
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {patience:?}")))
    };
    asking.or(late).await
}

async fn exchange(
    mut stream: Connection,
    question: Question<'_>,
    body_most: usize,
) -> io::Result<Answer> {
    let mut incoming = Incoming::begin(&mut stream, question).await?;
    let (mut body, mut is_open) = (Vec::new(), true);
    while is_open {
        is_open = incoming.body(&mut stream, &mut body).await?;
        if body.len() > body_most {
            return Err(io::Error::other(format!("an answer of more than {body_most} octets")));
        }
    }
    Ok(Answer { status: incoming.status, fields: incoming.fields, body })
}

/// An answer whose head has been read.
struct Incoming {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    decoder: Decoder,
    /// Octets of the body that have not been decoded.
    input: Vec<u8>,
}

impl Incoming {
    /// Sends `question`, and reads the head of the final answer.
    async fn begin(stream: &mut Connection, question: Question<'_>) -> io::Result<Incoming> {
        stream.write_all(&octets(question)).await?;
        stream.flush().await?;
        let (mut input, mut head, mut interim) = (Vec::new(), Response::default(), 0);
        loop {
            match head.read(&input, &LIMITS, question.method).map_err(refused)? {
                Progress::Complete if head.is_interim() => {
                    interim += 1;
                    if interim > INTERIM_MOST {
                        return Err(refused(Reason::TooManyInterim));
                    }
                    input.drain(..head.len);
                }
                Progress::Complete => break,
                Progress::Partial => more(stream, &mut input).await?,
            }
        }
        let text = |field: &Field| {
            let name = String::from_utf8_lossy(field.name.of(&input)).into_owned();
            (name, field.value.of(&input).to_vec())
        };
        let fields = head.fields.iter().map(text).collect();
        input.drain(..head.len);
        Ok(Incoming { status: head.status, fields, decoder: Decoder::new(head.framing), input })
    }

    /// Adds what has come to `body`, if need be after a wait for some of it. `false`: it is whole.
    async fn body(&mut self, stream: &mut Connection, body: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let decoded = self.decoder.decode(&mut self.input).map_err(refused)?;
            body.extend_from_slice(&self.input[..decoded.payload]);
            self.input.drain(..decoded.consumed);
            if self.decoder.is_done() || decoded.payload > 0 {
                return Ok(!self.decoder.is_done());
            }
            match more(stream, &mut self.input).await {
                Err(error)
                    if error.kind() == io::ErrorKind::UnexpectedEof && self.decoder.close() =>
                {
                    return Ok(false);
                }
                other => other?,
            }
        }
    }
}

fn octets(question: Question<'_>) -> Vec<u8> {
    let Question { method, target, host, fields, body, content_type } = question;
    let method = Method::LABELS[method.index()];
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    if !body.is_empty() {
        text += &format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
    }
    [text.as_bytes(), fields, b"\r\n", body.as_bytes()].concat()
}

/// Reads what there is; an error of the kind `UnexpectedEof` if there will be no more.
async fn more(stream: &mut Connection, input: &mut Vec<u8>) -> io::Result<()> {
    // Who always has more to say keeps neither the clock nor anybody else from a turn.
    future::yield_now().await;
    let mut piece = [0; 4096];
    match stream.read(&mut piece).await? {
        0 => {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before the end of the answer"))
        }
        octets => {
            input.extend_from_slice(&piece[..octets]);
            Ok(())
        }
    }
}

fn refused(reason: Reason) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.explain())
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_net::TcpListener;

    const BODY_MOST: usize = 5;

    /// What the client makes of `answer`, and the question as it came.
    fn asked(answer: &[u8]) -> (io::Result<Answer>, String) {
        smol::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = Address::Tcp(listener.local_addr().unwrap());
            let question = Question {
                method: Method::Post,
                target: "/reload",
                host: "localhost",
                fields: b"",
                body: "{}",
                content_type: JSON,
            };
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut seen = vec![0; 1024];
                let octets = stream.read(&mut seen).await.unwrap();
                stream.write_all(answer).await.unwrap();
                String::from_utf8_lossy(&seen[..octets]).into_owned()
            };
            let patience = Duration::from_secs(10);
            let asking = ask(&address, &ClientSecurity::Plain, question, BODY_MOST, patience);
            smol::future::zip(asking, serve).await
        })
    }

    #[test]
    fn an_answer_is_taken_in_any_framing() {
        let expected = (200, b"hello".to_vec());
        for rest in [
            "Content-Length: 5\r\n\r\nhello",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            "\r\nhello",
        ] {
            let (answer, seen) = asked(format!("HTTP/1.1 200 OK\r\n{rest}").as_bytes());
            let answer = answer.unwrap();
            assert_eq!((answer.status, answer.body), expected, "{rest}");
            let whole = "POST /reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                         Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
            assert_eq!(seen, whole);
        }
        let interim = asked(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n").0;
        assert_eq!(interim.unwrap(), Answer { status: 204, fields: Vec::new(), body: Vec::new() });
    }

    #[test]
    fn what_is_no_whole_answer_is_an_error() {
        use io::ErrorKind::{InvalidData, Other, UnexpectedEof};
        for (octets, kind) in [
            ("", UnexpectedEof),
            ("HTTP/1.1 200", UnexpectedEof),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", UnexpectedEof),
            ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!", Other),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nhello!", Other),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello!\r\n", Other),
            ("HTTP/1.1 200 OK\r\n\r\nhello!", Other),
            ("SSH-2.0\r\n\r\n", InvalidData),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", InvalidData),
        ] {
            assert_eq!(asked(octets.as_bytes()).0.unwrap_err().kind(), kind, "{octets}");
        }
    }

    #[test]
    fn nothing_is_asked_in_plain_where_it_was_to_be_tls() {
        smol::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = Address::Tcp(listener.local_addr().unwrap());
            let question = Question::without_body(Method::Get, "/", "a", b"");
            let patience = Duration::from_secs(10);
            let asking = ask(&address, &ClientSecurity::Unlinked, question, BODY_MOST, patience);
            let seeing = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut seen = Vec::new();
                let _ = stream.read_to_end(&mut seen).await;
                seen
            };
            let (answer, seen) = smol::future::zip(asking, seeing).await;
            assert_eq!((answer.is_err(), &seen[..]), (true, &b""[..]));
        });
    }
}
