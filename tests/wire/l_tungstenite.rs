//! WebSockets as programs use them: async-tungstenite at both ends, tidegate between them.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use async_net::{TcpListener, TcpStream};
use async_tungstenite::tungstenite::protocol::CloseFrame;
use async_tungstenite::tungstenite::protocol::frame::Frame;
use async_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use async_tungstenite::tungstenite::{Error, Message};
use async_tungstenite::{WebSocketStream, accept_async, client_async};
use smol::future::FutureExt;
use smol::stream::StreamExt;
use smol::{LocalExecutor, Timer};

use crate::harness::{Proxy, assert_same, eventually, pattern};

type Socket = WebSocketStream<TcpStream>;

const MIB: usize = 1024 * 1024;
/// A case takes no longer than this.
const LIMIT: Duration = Duration::from_secs(30);

/// An origin on a thread of its own; ends with the process.
struct Echo {
    url: String,
    /// Each Close that came in.
    closes: flume::Receiver<Option<CloseFrame>>,
}

impl Echo {
    fn start() -> Echo {
        let (sender, closes) = flume::unbounded();
        let listener = smol::block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            let executor = LocalExecutor::new();
            smol::block_on(executor.run(async {
                while let Ok((stream, _)) = listener.accept().await {
                    let sender = sender.clone();
                    let socket = async move {
                        // What breaks shows at the other end.
                        if let Ok(mut socket) = accept_async(stream).await {
                            let _ = echo(&mut socket, &sender).await;
                        }
                    };
                    executor.spawn(socket).detach();
                }
            }));
        });
        Echo { url, closes }
    }

    fn proxy(&self, flags: &[&str]) -> Proxy {
        Proxy::start(&[&["--upstream", &self.url], flags].concat())
    }
}

/// Sends every message back; a text may ask for another way to do it.
async fn echo(
    socket: &mut Socket,
    closes: &flume::Sender<Option<CloseFrame>>,
) -> Result<(), Error> {
    while let Some(message) = socket.next().await {
        match message? {
            Message::Text(text) if text == "in fragments" => fragments(socket).await?,
            Message::Text(text) if text == "close" => socket.close(closed(4001, "no more")).await?,
            Message::Close(frame) => closes.send(frame).unwrap_or_default(),
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).await?,
            _ => {} // tungstenite answers a ping itself
        }
    }
    Ok(())
}

/// One text message in three frames, with a ping between them.
async fn fragments(socket: &mut Socket) -> Result<(), Error> {
    let part = |text: &'static [u8], code, fin| {
        Message::Frame(Frame::message(text, OpCode::Data(code), fin))
    };
    socket.send(part(b"one ", Data::Text, false)).await?;
    socket.send(part(b"two ", Data::Continue, false)).await?;
    socket.send(Message::Ping("between".into())).await?;
    socket.send(part(b"three", Data::Continue, true)).await
}

fn closed(code: u16, reason: &'static str) -> Option<CloseFrame> {
    Some(CloseFrame { code: CloseCode::from(code), reason: reason.into() })
}

async fn connect(proxy: &Proxy) -> Socket {
    let stream = TcpStream::connect(&proxy.address).await.unwrap();
    let (socket, answer) = client_async("ws://test/chat", stream).await.unwrap();
    assert_eq!(answer.status(), 101);
    socket
}

async fn next(socket: &mut Socket) -> Message {
    socket.next().await.expect("a message").expect("no error")
}

#[track_caller]
fn within<T>(case: impl Future<Output = T>) -> T {
    let late = async {
        Timer::after(LIMIT).await;
        panic!("the case did not end in time");
    };
    smol::block_on(case.or(late))
}

#[test]
fn l01_texts_and_binaries_come_back() {
    let echo = Echo::start();
    let proxy = echo.proxy(&[]);
    within(async {
        let mut socket = connect(&proxy).await;
        for message in [
            Message::text(""),
            Message::text("Hello"),
            Message::text("gr\u{fc}\u{df}e \u{1f30a}".repeat(1000)),
            Message::binary(pattern(0)),
            Message::binary(pattern(125)),
            Message::binary(pattern(126)),
            Message::binary(pattern(65_535)),
            Message::binary(pattern(65_536)),
        ] {
            socket.send(message.clone()).await.unwrap();
            assert!(next(&mut socket).await == message, "{} octets", message.len());
        }
    });
}

#[test]
fn l02_pings_are_answered_by_the_other_end() {
    let echo = Echo::start();
    let proxy = echo.proxy(&[]);
    within(async {
        let mut socket = connect(&proxy).await;
        socket.send(Message::Ping("are you there".into())).await.unwrap();
        assert_eq!(next(&mut socket).await, Message::Pong("are you there".into()));
    });
}

#[test]
fn l03_fragments_pass_both_ways() {
    let echo = Echo::start();
    let proxy = echo.proxy(&[]);
    within(async {
        let mut socket = connect(&proxy).await;
        socket.send(Message::text("in fragments")).await.unwrap();
        assert_eq!(next(&mut socket).await, Message::Ping("between".into()));
        assert_eq!(next(&mut socket).await, Message::text("one two three"));
        fragments(&mut socket).await.unwrap();
        assert_eq!(next(&mut socket).await, Message::Pong("between".into()));
        assert_eq!(next(&mut socket).await, Message::text("one two three"));
    });
}

#[test]
fn l04_messages_of_16_mib_come_back() {
    let echo = Echo::start();
    let proxy = echo.proxy(&[]);
    within(async {
        let mut socket = connect(&proxy).await;
        for _ in 0..2 {
            let octets = pattern(16 * MIB);
            socket.send(Message::binary(octets.clone())).await.unwrap();
            assert_same(&next(&mut socket).await.into_data(), &octets);
        }
    });
    assert!(proxy.metric("/splice/bytes") > 32 * MIB as u64);
}

#[test]
fn l05_close_codes_pass_both_ways() {
    let echo = Echo::start();
    let proxy = echo.proxy(&[]);
    within(async {
        let mut socket = connect(&proxy).await;
        socket.close(closed(4000, "enough")).await.unwrap();
        assert_eq!(next(&mut socket).await, Message::Close(closed(4000, "enough")));
        assert!(socket.next().await.is_none());
        assert_eq!(echo.closes.recv_async().await, Ok(closed(4000, "enough")));

        let mut socket = connect(&proxy).await;
        socket.send(Message::text("close")).await.unwrap();
        assert_eq!(next(&mut socket).await, Message::Close(closed(4001, "no more")));
        assert!(socket.next().await.is_none());
        assert_eq!(echo.closes.recv_async().await, Ok(closed(4001, "no more")));
    });
}

#[test]
fn l06_two_hundred_sockets_echo_at_once() {
    const SOCKETS: usize = 200;
    let echo = Echo::start();
    let proxy = echo.proxy(&["--workers", "2", "--buffers", "64"]);
    let executor = LocalExecutor::new();
    let talk = async |number: usize| {
        let mut socket = connect(&proxy).await;
        for round in 0..20 {
            let octets =
                format!("{number} {round} ").repeat(1 + number * round % 2000).into_bytes();
            socket.send(Message::binary(octets.clone())).await.unwrap();
            assert_same(&next(&mut socket).await.into_data(), &octets);
        }
        socket.close(closed(1000, "done")).await.unwrap();
        assert_eq!(next(&mut socket).await, Message::Close(closed(1000, "done")));
        number
    };
    within(executor.run(async {
        let tasks: Vec<_> = (0..SOCKETS).map(|number| executor.spawn(talk(number))).collect();
        let mut done = HashSet::new();
        for task in tasks {
            done.insert(task.await);
        }
        assert_eq!(done.len(), SOCKETS);
    }));
    assert_eq!(proxy.metric("/tunnels/opened"), SOCKETS as u64);
    eventually("no tunnel left", || proxy.metric("/tunnels/open") == 0);
    assert_eq!(proxy.metric("/reasons/tunnel_closed"), SOCKETS as u64);
}

/// What the drain's end looks like to a program: a Close that says why.
#[test]
fn l07_a_shutdown_is_a_close_1001_to_both() {
    let echo = Echo::start();
    let proxy = echo.proxy(&["--drain-timeout", "100ms"]);
    within(async {
        let mut socket = connect(&proxy).await;
        socket.send(Message::text("Hello")).await.unwrap();
        assert_eq!(next(&mut socket).await, Message::text("Hello"));
        proxy.signal(rustix::process::Signal::TERM);
        let going_away = closed(1001, "");
        assert_eq!(next(&mut socket).await, Message::Close(going_away.clone()));
        assert!(socket.next().await.is_none());
        assert_eq!(echo.closes.recv_async().await, Ok(going_away));
    });
    assert_eq!(proxy.finish().code, Some(0));
}
