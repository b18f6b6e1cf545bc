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

use super::permits::{ConnectionPermit, Permits};
use super::request::{AdminRequest, Read, Reader};
use super::{CurrentView, Orders, endpoints, reply};
use crate::http::write::CONTINUE;
use crate::http::{Method, Reason};

/// For a request, from when we could take it; and for an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// For a client to stop sending after an answer that closes.
const LINGER: Duration = Duration::from_secs(1);

/// How long accepting rests after an error, which is most often a want of descriptors.
const REST: Duration = Duration::from_millis(100);

/// Where the admin listens; bound by its caller.
#[derive(Debug)]
pub enum AdminListener {
    /// Over TCP; `Host` is checked.
    Tcp(TcpListener),
    /// Over a Unix socket; access to its file is access to the admin.
    Unix(UnixListener),
}

/// A connection that was accepted.
enum AdminStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AdminListener {
    async fn accept(&self) -> io::Result<AdminStream> {
        match self {
            AdminListener::Tcp(listener) => {
                listener.accept().await.map(|(stream, _)| AdminStream::Tcp(stream))
            }
            AdminListener::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| AdminStream::Unix(stream))
            }
        }
    }
}

/// What a connection is served with.
#[derive(Clone, Debug)]
pub struct Service {
    /// What there is to see.
    pub view: Arc<CurrentView>,
    /// Where orders are given.
    pub orders: Orders,
}

/// Answers questions at `service` until dropped, and its connections with it. Once `handed_over` is
/// done, another process accepts from the same socket: then no connection is accepted here, and each
/// that there is gets one more answer at most.
pub async fn serve(
    listener: AdminListener,
    service: Service,
    handed_over: impl Future<Output = ()>,
) {
    let executor = Executor::new();
    let closing = Arc::new(AtomicBool::new(false));
    let mut permits = Permits::new();
    let office = async {
        accept(&executor, &listener, &mut permits, &service, &closing, handed_over).await;
        closing.store(true, Relaxed);
        drop(listener);
        future::pending::<()>().await;
    };
    executor.run(office).await;
}

async fn accept(
    executor: &Executor<'_>,
    listener: &AdminListener,
    permits: &mut Permits,
    service: &Service,
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
        // A connection already accepted at a hand-over is served, when there is a permit.
        let (service, closing, permit) = (service.clone(), closing.clone(), permits.take().await);
        match client {
            AdminStream::Tcp(stream) => {
                executor.spawn(serve_connection(stream, service, closing, false, permit))
            }
            AdminStream::Unix(stream) => {
                executor.spawn(serve_connection(stream, service, closing, true, permit))
            }
        }
        .detach();
    }
}

/// Serves one connection; a panic ends it and nothing else.
async fn serve_connection<S>(
    stream: S,
    service: Service,
    closing: Arc<AtomicBool>,
    local: bool,
    permit: ConnectionPermit,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // An I/O error is a client that has gone: there is nobody to tell.
    let handling = handle(stream, &service, &closing, local, &permit);
    if AssertUnwindSafe(handling).catch_unwind().await.is_err() {
        tracing::error!("an admin connection panicked");
    }
}

async fn handle<S>(
    mut stream: S,
    service: &Service,
    closing: &AtomicBool,
    local: bool,
    permit: &ConnectionPermit,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut reader = Reader::default();
    loop {
        permit.end_answer();
        let read = within(PATIENCE, read_request(&mut stream, &mut reader)).or(permit.wanted());
        let read = read.await;
        permit.begin_answer();
        let (page, bodiless, keep) = match read {
            Ok(Some(Ok(request))) => {
                let bodiless = request.method == Method::Head;
                let keep = request.keep && !closing.load(Relaxed) && !permit.must_leave();
                let view = service.view.get();
                let page = endpoints::answer(&view, &service.orders, &request, local).await;
                (page, bodiless, keep)
            }
            Ok(Some(Err(reason))) => (endpoints::refusal(reason), false, false),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => match reader.late() {
                Some(reason) => (endpoints::refusal(reason), false, false),
                None => return Ok(()),
            },
            Ok(None) | Err(_) => return Ok(()),
        };
        let octets = reply::octets(&page, bodiless, keep);
        within(PATIENCE, write_response(&mut stream, &octets)).await?;
        if !keep {
            permit.end_answer();
            return within(LINGER, linger(&mut stream)).or(permit.wanted()).await;
        }
    }
}

/// The next request, or why it is refused; `None`: the client has gone.
async fn read_request<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    reader: &mut Reader,
) -> io::Result<Option<Result<AdminRequest, Reason>>> {
    let mut piece = [0; 2048];
    loop {
        match reader.read() {
            Ok(Read::Request(request)) => return Ok(Some(Ok(request))),
            Ok(Read::Expectant) => write_response(stream, CONTINUE).await?,
            Ok(Read::Partial) => {}
            Err(reason) => return Ok(Some(Err(reason))),
        }
        match stream.read(&mut piece).await? {
            0 => return Ok(None),
            octets => reader.feed(&piece[..octets]),
        }
    }
}

async fn write_response<S: AsyncWrite + Unpin>(stream: &mut S, octets: &[u8]) -> io::Result<()> {
    stream.write_all(octets).await?;
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
    use crate::admin::permits::PERMITS;
    use crate::admin::request::HEAD_MAX;
    use crate::admin::testing::{scratch, view};

    fn service() -> Service {
        Service { view: Arc::new(CurrentView::new(view())), orders: Orders::new(None).0 }
    }

    /// Runs `test` against a server on a port of its own.
    fn with_server<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr) -> F) {
        smol::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = async {
                serve(AdminListener::Tcp(listener), service(), future::pending()).await;
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
            let answer = exchange(
                address,
                "POST /status HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 5\r\n\r\nhello\
                 GET /ready HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n",
            )
            .await;
            assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("Allow: GET, HEAD\r\n"));
            assert!(
                answer.contains("HTTP/1.1 503 "),
                "a body does not end the connection: {answer}"
            );
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
                serve(AdminListener::Tcp(listener), service(), handed_over).await;
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
    fn who_comes_when_all_permits_are_taken_gets_that_of_the_longest_silent() {
        with_server(|address| async move {
            let mut served = Vec::new();
            for _ in 0..PERMITS {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
                stream.write_all(request).await.unwrap();
                stream.read_exact(&mut [0; 12]).await.unwrap();
                served.push(stream);
            }
            let answer = exchange(address, "GET /health HTTP/1.0\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            served[0].read_to_string(&mut String::new()).await.unwrap();
            for stream in &mut served[1..] {
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
            let server = serve(AdminListener::Unix(listener), service(), future::pending());
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
