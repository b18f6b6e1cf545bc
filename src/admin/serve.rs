//! The admin server: connections, their limits and their end.

use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use async_io::Timer;
use async_net::unix::{UnixListener, UnixStream};
use async_net::{TcpListener, TcpStream};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, future};
use smol::Executor;

use super::View;
use super::routes;
use super::seats::{Seat, Seats};
use super::wire::{Answer, HEAD_MAX, Refusal, Request};

/// For a request head, from when we could take it; and for an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// For a client to stop sending after an answer that closes.
const LINGER: Duration = Duration::from_secs(1);

/// How long accepting rests after an error, which is most often a want of descriptors.
const REST: Duration = Duration::from_millis(100);

/// Where the admin listens; bound by whoever starts it.
#[derive(Debug)]
pub enum Listener {
    /// Over TCP; `Host` is checked.
    Tcp(TcpListener),
    /// Over a Unix socket; whoever may open it may ask.
    Unix(UnixListener),
}

/// Who has come.
enum Client {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<Client> {
        match self {
            Listener::Tcp(listener) => {
                listener.accept().await.map(|(stream, _)| Client::Tcp(stream))
            }
            Listener::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| Client::Unix(stream))
            }
        }
    }
}

/// Answers questions about `view` until dropped, and its connections with it. Once `handed_over` is
/// done, another process accepts from the same socket: then no connection is accepted here, and each
/// that there is gets one more answer at most.
pub async fn serve(listener: Listener, view: Arc<View>, handed_over: impl Future<Output = ()>) {
    let executor = Executor::new();
    let closing = Arc::new(AtomicBool::new(false));
    let mut seats = Seats::new();
    let office = async {
        accept(&executor, &listener, &mut seats, &view, &closing, handed_over).await;
        closing.store(true, Relaxed);
        drop(listener);
        future::pending::<()>().await;
    };
    executor.run(office).await;
}

async fn accept(
    executor: &Executor<'_>,
    listener: &Listener,
    seats: &mut Seats,
    view: &Arc<View>,
    closing: &Arc<AtomicBool>,
    handed_over: impl Future<Output = ()>,
) {
    let mut handed_over = pin!(handed_over);
    loop {
        let over = async {
            handed_over.as_mut().await;
            None
        };
        let Some(accepted) = over.or(async { Some(listener.accept().await) }).await else { return };
        let client = match accepted {
            Ok(client) => client,
            Err(error) => {
                tracing::debug!(%error, "the admin listener could not accept");
                Timer::after(REST).await;
                continue;
            }
        };
        // Who is in hand at a hand-over is served, when there is a seat.
        let (view, closing, seat) = (view.clone(), closing.clone(), seats.take().await);
        match client {
            Client::Tcp(stream) => executor.spawn(attend(stream, view, closing, false, seat)),
            Client::Unix(stream) => executor.spawn(attend(stream, view, closing, true, seat)),
        }
        .detach();
    }
}

/// Serves one connection; a panic ends it and nothing else.
async fn attend<S>(stream: S, view: Arc<View>, closing: Arc<AtomicBool>, local: bool, seat: Seat)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // An I/O error is a client that has gone: there is nobody to tell.
    let conversation = converse(stream, &view, &closing, local, &seat);
    if AssertUnwindSafe(conversation).catch_unwind().await.is_err() {
        tracing::error!("an admin connection panicked");
    }
}

async fn converse<S>(
    mut stream: S,
    view: &View,
    closing: &AtomicBool,
    local: bool,
    seat: &Seat,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut input = Vec::new();
    loop {
        seat.end_answer();
        let heard = within(PATIENCE, hear(&mut stream, &mut input)).or(seat.wanted()).await;
        seat.begin_answer();
        let (answer, bodiless, keep) = match heard {
            Ok(Some(Ok(request))) => {
                let bodiless = request.method == "HEAD";
                let keep = request.keep && !closing.load(Relaxed) && !seat.must_leave();
                (routes::answer(view, &request, local), bodiless, keep)
            }
            Ok(Some(Err(refusal))) => (routes::refusal(refusal), false, false),
            Err(error) if error.kind() == io::ErrorKind::TimedOut && !input.is_empty() => {
                (routes::too_slow(), false, false)
            }
            Ok(None) | Err(_) => return Ok(()),
        };
        within(PATIENCE, say(&mut stream, &answer, bodiless, keep)).await?;
        if !keep {
            seat.end_answer();
            return within(LINGER, linger(&mut stream)).or(seat.wanted()).await;
        }
    }
}

/// The next request; `None`: the client has gone.
async fn hear<S: AsyncRead + Unpin>(
    stream: &mut S,
    input: &mut Vec<u8>,
) -> io::Result<Option<Result<Request, Refusal>>> {
    let mut piece = [0; 2048];
    loop {
        match Request::read(input) {
            Ok(Some((request, octets))) => {
                input.drain(..octets);
                return Ok(Some(Ok(request)));
            }
            Err(refusal) => return Ok(Some(Err(refusal))),
            Ok(None) => {}
        }
        let room = piece.len().min(HEAD_MAX + 1 - input.len());
        match stream.read(&mut piece[..room]).await? {
            0 => return Ok(None),
            octets => input.extend_from_slice(&piece[..octets]),
        }
    }
}

async fn say<S: AsyncWrite + Unpin>(
    stream: &mut S,
    answer: &Answer,
    bodiless: bool,
    keep: bool,
) -> io::Result<()> {
    stream.write_all(&answer.octets(bodiless, keep)).await?;
    stream.flush().await
}

/// Closes our side and reads on a little: unread octets would turn the close into a reset, and that could destroy the
/// answer.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.close().await?;
    let mut piece = [0; 2048];
    while stream.read(&mut piece).await? > 0 {}
    Ok(())
}

/// `work`, or an error of the kind `TimedOut`.
async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    work.or(late).await
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::admin::seats::SEATS;
    use crate::admin::testing::{scratch, view};

    /// Runs `test` against a server on a port of its own.
    fn with_server<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr) -> F) {
        smol::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = async {
                serve(Listener::Tcp(listener), Arc::new(view()), future::pending()).await;
                unreachable!("it serves until dropped");
            };
            test(address).or(server).await;
        });
    }

    /// Sends `request` and reads until the server closes.
    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[test]
    fn a_connection_is_kept_and_pipelines() {
        with_server(|address| async move {
            let answers = exchange(
                address,
                "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n\
                 HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n\
                 GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            )
            .await;
            assert_eq!(answers.matches("HTTP/1.1 200 OK\r\nDate: ").count(), 2);
            assert_eq!(answers.matches("{\"status\":\"UP\"").count(), 1);
            assert_eq!(answers.matches("HTTP/1.1 404 Not Found\r\n").count(), 1);
            assert_eq!(answers.matches("Connection: close\r\n").count(), 1);
        });
    }

    #[test]
    fn what_is_not_http_is_answered_and_closed() {
        with_server(|address| async move {
            let answer = exchange(address, "\0\0\0\0 and more").await;
            assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
            let long = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(3 * HEAD_MAX));
            assert!(exchange(address, &long).await.starts_with("HTTP/1.1 431 "));
            let body = "POST /status HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 5\r\n\r\nhello";
            let answer = exchange(address, body).await;
            assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("Allow: GET, HEAD\r\n"));
        });
    }

    #[test]
    fn after_a_hand_over_each_connection_gets_one_more_answer_and_none_is_accepted() {
        smol::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (hand_over, handed_over) = smol::channel::bounded(1);
            let handed_over = async move { handed_over.recv().await.unwrap() };
            let server = async {
                serve(Listener::Tcp(listener), Arc::new(view()), handed_over).await;
                unreachable!("it serves until dropped");
            };
            let client = async {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
                stream.write_all(request).await.unwrap();
                stream.read_exact(&mut [0; 12]).await.unwrap();
                hand_over.send(()).await.unwrap();
                while TcpStream::connect(address).await.is_ok() {}
                stream.write_all(request).await.unwrap();
                let mut answers = String::new();
                stream.read_to_string(&mut answers).await.unwrap();
                assert_eq!(answers.matches("Connection: close\r\n").count(), 1, "{answers}");
            };
            client.or(server).await;
        });
    }

    #[test]
    fn who_comes_when_all_are_seated_gets_the_seat_of_the_longest_silent() {
        with_server(|address| async move {
            let mut seated = Vec::new();
            for _ in 0..SEATS {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
                stream.write_all(request).await.unwrap();
                stream.read_exact(&mut [0; 12]).await.unwrap();
                seated.push(stream);
            }
            let answer = exchange(address, "GET /health HTTP/1.0\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            seated[0].read_to_string(&mut String::new()).await.unwrap();
            for stream in &mut seated[1..] {
                let request =
                    b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
                stream.write_all(request).await.unwrap();
                let mut rest = String::new();
                stream.read_to_string(&mut rest).await.unwrap();
                assert!(rest.contains("HTTP/1.1 404 "), "{rest}");
            }
        });
    }

    #[test]
    fn a_unix_socket_needs_no_host_of_ours() {
        let path = scratch("admin.sock");
        smol::block_on(async {
            let listener = UnixListener::bind(&path).unwrap();
            let server = serve(Listener::Unix(listener), Arc::new(view()), future::pending());
            let client = async {
                let mut stream = async_net::unix::UnixStream::connect(&path).await.unwrap();
                let request = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                stream.write_all(request).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            };
            client.or(server).await;
        });
        std::fs::remove_file(path).unwrap();
    }
}
