//! The load generator: what it counts is what happened, and what it calls an error is one.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use std::{io, thread};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Backend, DEADLINE, Origin, Peer, Refusing, Silent};

fn command(flags: &str, url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-load"));
    command.args(flags.split_whitespace()).arg(url).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the load to its end.
#[track_caller]
fn run(flags: &str, url: &str) -> Output {
    finish(command(flags, url).spawn().expect("the load starts"))
}

/// Waits for its end; what takes too long is killed, and so fails.
#[track_caller]
fn finish(child: Child) -> Output {
    let pid = Pid::from_child(&child);
    let (done, timeouts) = mpsc::channel::<()>();
    thread::spawn(move || {
        if timeouts.recv_timeout(6 * DEADLINE) == Err(RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let output = child.wait_with_output().expect("a child");
    drop(done);
    output
}

/// Runs it with `--json`: exit code and report.
#[track_caller]
fn load(flags: &str, url: &str) -> (i32, Value) {
    let output = run(&format!("--json {flags}"), url);
    let text = String::from_utf8(output.stdout).expect("text");
    let report = serde_json::from_str(&text);
    let report = report.unwrap_or_else(|error| panic!("{flags}: {error} in {text:?}"));
    (output.status.code().expect("an exit code"), report)
}

/// Runs it and expects each request to fail in the same way.
#[track_caller]
fn fails(flags: &str, url: &str, kind: &str) {
    let (code, report) = load(&format!("--requests 3 {flags}"), url);
    assert_eq!(report["errors"], serde_json::json!({ kind: 3 }), "{flags} {url}");
    assert_eq!((code, &report["ok"], &report["requests"]), (1, &0.into(), &3.into()));
}

// ---- counts ----

#[test]
fn o01_what_is_counted_is_what_the_origin_counts() {
    let origin = Backend::start(&[]);
    let (code, report) = load("-c 7 --requests 1000", &origin.url);
    assert_eq!((code, &report["requests"], &report["ok"]), (0, &1000.into(), &1000.into()));
    assert_eq!(report["status"], serde_json::json!({"200": 1000}));
    assert_eq!((&report["mode"], &report["connections"]), (&"closed".into(), &7.into()));
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", &origin.url[7..]);
    assert_eq!(report["bytes_out"], 1000 * request.len());
    assert_eq!(origin.served(), 1000);
    let (code, report) = load("-c 7 --threads 2 --requests 1001", &origin.url);
    assert_eq!((code, &report["ok"], &report["threads"]), (0, &1001.into(), &2.into()));
    assert_eq!(origin.served(), 1000 + 1 + 1001);
}

#[test]
fn o02_the_report_has_its_shape() {
    let origin = Backend::start(&[]);
    let (code, report) = load("--rps 200 --duration 500ms --warmup 100ms -c 4", &origin.url);
    assert_eq!((code, &report["mode"], &report["rate"]), (0, &"open".into(), &200.0.into()));
    let seconds = report["duration_s"].as_f64().expect("a number");
    assert!((0.4..5.0).contains(&seconds), "{report}");
    let ok = report["ok"].as_u64().expect("a number");
    assert!((50..=120).contains(&ok), "{report}");
    let counted = report["histogram"].as_array().expect("a list").iter();
    assert_eq!(counted.map(|step| step[1].as_u64().expect("a number")).sum::<u64>(), ok);
    for name in ["min", "mean", "p50", "p75", "p90", "p99", "p99_9", "p99_99", "max"] {
        assert!(report["latency_us"][name].is_number(), "{name} in {report}");
    }
    for name in ["user_us_per_request", "system_us_per_request"] {
        assert!(report["cpu"][name].is_number(), "{name} in {report}");
    }
    // Exactly what is due within the time, however late the machine is with it.
    let (_, report_of_all) = load("--rps 1000 --duration 300ms", &origin.url);
    let [ok, unsent] = ["ok", "unsent"].map(|name| report_of_all[name].as_u64().expect("a number"));
    assert!(ok > 0 && ok + unsent <= 300, "{report_of_all}");
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    let table = run("--requests 3", &origin.url);
    let table = String::from_utf8(table.stdout).expect("text");
    assert!(table.contains("p99.99") && table.contains("200: 3"), "{table}");
}

#[test]
fn o03_answers_in_every_framing_and_bodies_of_every_kind() {
    let origin = Backend::start(&[]);
    for path in ["/bytes/300000", "/chunked/9000?trailer=1", "/until-close/5000", "/1xx"] {
        let (code, report) = load("-c 2 --requests 20", &format!("{}{path}", origin.url));
        assert_eq!((code, &report["ok"]), (0, &20.into()), "{path}: {report}");
    }
    // The origin answers "100000" and a line end.
    let hash = "b80500a01f984c764f1a3b486622d0ef7cc5b13fa9bd57ec9015113eaf875597";
    let upload = format!("{}/upload", origin.url);
    for body in ["--body-size 100000", "--body-size 100000 --chunked"] {
        let (code, report) =
            load(&format!("--requests 5 --expect-body-hash {hash} {body}"), &upload);
        assert_eq!((code, &report["ok"]), (0, &5.into()), "{body}: {report}");
    }
    let printed = run("--print-body-hash --body-size 100000", &upload);
    assert_eq!(String::from_utf8_lossy(&printed.stdout), format!("{hash}\n"));
    // Both ways at once: neither side can take it all before the other one reads.
    let echo = format!("{}/echo-body", origin.url);
    let (code, report) = load("--requests 2 --body-size 20000000", &echo);
    assert_eq!((code, &report["ok"]), (0, &2.into()), "{report}");
    assert!(report["bytes_in"].as_u64() > Some(40_000_000));
}

#[test]
fn o04_a_connection_for_each_request_or_one_for_all() {
    let origin = Origin::named("a");
    assert_eq!(load("--requests 5 --no-keepalive", &origin.url()).0, 0);
    assert_eq!(origin.connections(), 5);
    assert!(
        origin.requests().iter().all(|request| request.head.get("connection") == Some("close"))
    );
    let origin = Origin::named("a");
    assert_eq!(load("--requests 5 -H X-A:b --method PUT --body hi", &origin.url()).0, 0);
    assert_eq!(origin.connections(), 1);
    let request = &origin.requests()[4];
    assert_eq!((request.method.as_str(), request.head.get("x-a")), ("PUT", Some("b")));
    assert_eq!(request.body, b"hi");
}

#[test]
fn o05_a_connection_that_the_server_closed_is_opened_again() {
    // It closes without a word after three answers: the next request finds out, and is made again.
    let origin = Backend::start(&["--idle-close-after", "3"]);
    let (code, report) = load("--requests 30", &origin.url);
    assert_eq!((code, &report["ok"], &report["reconnects"]), (0, &30.into(), &9.into()));
    let origin = Backend::start(&[]);
    let (code, report) = load("--requests 10", &format!("{}/close", origin.url));
    assert_eq!((code, &report["ok"], &report["reconnects"]), (0, &10.into(), &9.into()));
}

// ---- the open loop ----

/// Answers at once, but the 50th request only after 300 ms.
fn stalling() -> Origin {
    let seen = Arc::new(AtomicUsize::new(0));
    Origin::start(move |peer| {
        loop {
            peer.request()?;
            if seen.fetch_add(1, Relaxed) == 49 {
                // Not to wait for anything: the stall is what is measured.
                thread::sleep(Duration::from_millis(300));
            }
            peer.send("HTTP/1.1 204 No Content\r\n\r\n")?;
        }
    })
}

#[test]
fn o06_a_stall_shows_in_the_open_loop_and_hides_in_the_closed_one() {
    let micros = |report: &Value, name: &str| report["latency_us"][name].as_u64().expect("µs");
    // 500 requests in a second: 150 become due in the stall, and wait from then.
    let (code, open) = load("--rps 500 --requests 500 -c 1", &stalling().url());
    assert_eq!((code, &open["ok"], &open["unsent"]), (0, &500.into(), &0.into()));
    assert!(micros(&open, "p99") >= 250_000, "{}", open["latency_us"]);
    assert!(micros(&open, "p90") >= 150_000, "{}", open["latency_us"]);
    let (code, closed) = load("--requests 500 -c 1", &stalling().url());
    assert_eq!((code, &closed["ok"]), (0, &500.into()));
    assert!(micros(&closed, "p99") < 150_000, "{}", closed["latency_us"]);
    assert!(micros(&closed, "max") >= 300_000, "{}", closed["latency_us"]);
}

#[test]
fn o07_what_was_due_and_not_sent_is_told() {
    let origin = Origin::start(|peer| peer.request().and_then(|_| peer.hold()));
    let (code, report) = load("--rps 1000 --duration 300ms -c 2", &origin.url());
    assert_eq!((code, &report["requests"]), (0, &0.into()));
    assert_eq!(report["unsent"], 300 - 2, "two are under way");
}

// ---- errors ----

#[test]
fn o08_errors_have_their_kinds() {
    let origin = Backend::start(&[]);
    for (flags, path, kind) in [
        ("", "/drop", "closed_early"),
        ("", "/reset", "reset"),
        ("", "/garbage", "malformed"),
        ("", "/status/503", "status_5xx"),
        ("", "/status/404", "status_4xx"),
        ("--expect-status 404", "/", "status_2xx"),
        ("--timeout 50ms", "/delay/60000", "timeout"),
        (&format!("--expect-body-hash {}", "0".repeat(64)), "/", "body_mismatch"),
    ] {
        fails(flags, &format!("{}{path}", origin.url), kind);
    }
    let (code, report) = load("--requests 3 --expect-status 404", &format!("{}/x", origin.url));
    assert_eq!((code, &report["ok"]), (0, &3.into()));
}

#[test]
fn o09_answers_that_are_none_are_told_from_answers() {
    for (octets, kind) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "closed_early"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nmore than that", "malformed"),
        ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab", "malformed"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab", "closed_early"),
        ("HTTP/2.0 200 OK\r\n\r\n", "malformed"),
    ] {
        let origin = Origin::start(move |peer| peer.answer(octets).map(drop));
        fails("", &origin.url(), kind);
    }
}

#[test]
fn o10_an_early_answer_to_an_upload_is_an_answer() {
    let refuse = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let origin = Origin::start(move |peer| {
        peer.request_head()?;
        peer.send(refuse)?;
        peer.hold()
    });
    let flags = "--requests 2 --body-size 50000000 --expect-status 413";
    let (code, report) = load(flags, &origin.url());
    assert_eq!((code, &report["ok"]), (0, &2.into()), "{report}");
    assert!(report["bytes_out"].as_u64() < Some(50_000_000), "{report}");
}

#[test]
fn o11_nobody_there_is_an_exit_code_of_its_own() {
    let (code, report) = load("-c 3", &Refusing::new().url());
    assert_eq!((code, &report["errors"]), (3, &serde_json::json!({"connect_refused": 3})));
    let (code, report) = load("--timeout 100ms", &Silent::new().url());
    assert_eq!((code, &report["errors"]), (3, &serde_json::json!({"connect_timeout": 1})));
}

#[test]
fn o12_mistakes_are_told_before_anything_happens() {
    let output = run("--rsp 100", "http://127.0.0.1:1/");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(told.contains("did you mean --rps?"), "{told}");
    assert_eq!(run("--rps", "http://127.0.0.1:1/").status.code(), Some(2));
    assert_eq!(run("", "ftp://127.0.0.1/").status.code(), Some(2));
    assert_eq!(run("--help", "http://127.0.0.1:1/").status.code(), Some(0));
}

// ---- other loads ----

/// Makes the handshake; the load's own key, for which the proof is known.
fn switch(peer: &mut Peer) -> io::Result<()> {
    let request = peer.request()?;
    assert_eq!(request.head.get("sec-websocket-key"), Some("dGlkZWdhdGUtbG9hZC13cw=="));
    peer.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: WMSFR9UNGicPEoDkOIklFfqneCs=\r\n\r\n",
    )
}

/// Reads a masked message of fewer than 126 octets; gives what it carried.
fn message(peer: &mut Peer) -> io::Result<Vec<u8>> {
    let header = peer.exactly(6)?;
    assert_eq!((header[0], header[1] & 0x80), (0x82, 0x80), "binary, whole and masked");
    let octets = peer.exactly(usize::from(header[1] & 0x7f))?;
    Ok(octets.iter().zip(header[2..].iter().cycle()).map(|(octet, key)| octet ^ key).collect())
}

#[test]
fn o13_websocket_messages_come_back_and_are_compared() {
    let origin = Origin::start(|peer| {
        switch(peer)?;
        loop {
            let octets = message(peer)?;
            // In two fragments with a ping between them, as it may be.
            let (one, two) = octets.split_at(octets.len() / 2);
            let frames =
                [&[0x02, one.len() as u8], one, b"\x89\x00", &[0x80, two.len() as u8], two];
            peer.send(frames.concat())?;
            let pong = peer.exactly(6)?;
            assert_eq!(pong[..2], [0x8a, 0x80], "a masked pong without payload");
        }
    });
    let (code, report) = load("--ws -c 3 --message-size 100 --requests 50", &origin.url());
    assert_eq!((code, &report["mode"], &report["ok"]), (0, &"websocket".into(), &50.into()));
    assert_eq!(report["status"], serde_json::json!({"101": 3}));

    let wrong = Origin::start(|peer| {
        switch(peer)?;
        let mut octets = message(peer)?;
        octets[63] ^= 1;
        peer.send([&[0x82, 64][..], &octets].concat())?;
        peer.hold()
    });
    fails("--ws", &wrong.url(), "body_mismatch");
    let refusing = Origin::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let (code, report) = load("--ws --requests 1", &refusing.url());
    assert_eq!((code, report["errors"]["status_4xx"].as_u64() > Some(0)), (1, true), "{report}");
}

#[test]
fn o14_idle_connections_stand_until_the_end() {
    let origin = Origin::named("a");
    let mut child = command("--idle 40 --duration 30", &origin.url()).spawn().expect("it starts");
    let mut line = String::new();
    let mut told = BufReader::new(child.stdout.take().expect("stdout is piped"));
    told.read_line(&mut line).expect("a line");
    assert_eq!(line, "idle 40\n");
    assert_eq!((origin.connections(), origin.requests().len()), (40, 40));
    assert!(child.try_wait().expect("a child").is_none(), "it stands");
    kill_process(Pid::from_child(&child), Signal::INT).expect("it is ours");
    assert_eq!(child.wait().expect("a child").code(), Some(0));
}

#[test]
fn o15_a_signal_ends_it_with_the_report_so_far() {
    let origin = Origin::named("a");
    let child = command("--json --rps 50 --duration 60 -c 2", &origin.url());
    let child = { child }.spawn().expect("it starts");
    origin.wait_for_connections(2);
    crate::harness::eventually("some requests", || origin.requests().len() >= 5);
    kill_process(Pid::from_child(&child), Signal::INT).expect("it is ours");
    let output = finish(child);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(0));
    assert!(report["ok"].as_u64() >= Some(4), "{report}");
    assert!(report["duration_s"].as_f64() < Some(60.0), "{report}");
}
