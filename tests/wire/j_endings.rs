//! Endings that lose nothing: draining, a new process that takes over, and a service manager that is told.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::harness::{Client, DEADLINE, Gate, Origin, Proxy, Scratch, eventually};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const BINARY: &str = env!("CARGO_BIN_EXE_tidegate");

fn status(proxy: &Proxy) -> Value {
    serde_json::from_slice(&proxy.ask("/status").body).unwrap()
}

#[test]
fn j01_what_waits_in_the_accept_queue_is_served() {
    let (origin, asked, go_on) = Origin::patient();
    let proxy = Proxy::with(&origin, &["--max-connections", "1"]);
    let mut first = proxy.client();
    first.send(GET);
    asked.wait();
    // There is no room for these: the kernel has completed them, and nobody has accepted them.
    let mut waiting: Vec<_> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut waiting {
        client.send(GET);
    }
    proxy.signal(Signal::TERM);
    proxy.wait_for_log("draining");
    go_on.open();
    assert_eq!(first.response().text(), "last");
    for client in &mut waiting {
        let answer = client.response();
        assert_eq!(answer.text(), "last");
        assert!(answer.head.lists("Connection", "close"));
    }
    let finished = proxy.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

#[test]
fn j02_a_request_on_its_way_when_draining_begins_is_answered() {
    let dropped = Gate::default();
    let origin = {
        let dropped = dropped.clone();
        Origin::start(move |peer| {
            peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")?;
            peer.hold()?;
            dropped.open();
            Ok(())
        })
    };
    let proxy = Proxy::before(&origin);
    let (mut fresh, mut known) = (proxy.client(), proxy.client());
    known.get("/");
    eventually("both accepted", || proxy.metric("/connections/current") == 2);
    proxy.signal(Signal::TERM);
    // Draining has come to the core: it has closed its idle connection to the origin.
    dropped.wait();
    for client in [&mut fresh, &mut known] {
        client.send(GET);
        let answer = client.response();
        assert_eq!(answer.text(), "a");
        assert!(answer.head.lists("Connection", "close"));
        client.expect_closed();
    }
    assert_eq!(proxy.finish().code, Some(0));
}

#[test]
fn j03_idle_connections_do_not_hold_the_end_up() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--drain-timeout", "1h"]);
    let mut clients: Vec<_> = (0..10).map(|_| proxy.client()).collect();
    clients.iter_mut().skip(5).for_each(|client| drop(client.get("/")));
    eventually("all accepted", || proxy.metric("/connections/current") == 10);
    proxy.signal(Signal::TERM);
    clients.iter_mut().for_each(Client::expect_closed);
    let finished = proxy.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(!finished.stderr.contains("what was left"), "nothing was cut: {}", finished.stderr);
}

#[test]
fn j04_the_delay_serves_on_while_readiness_is_gone() {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--drain-delay", "1h", "--drain-timeout", "1h"]);
    let mut known = proxy.client();
    known.get("/");
    proxy.signal(Signal::TERM);
    eventually("not ready", || proxy.ask("/ready").status == 503);
    for client in [&mut known, &mut proxy.client()] {
        let answer = client.get("/");
        assert_eq!(answer.text(), "a");
        assert!(!answer.head.lists("Connection", "close"));
    }
    let status = status(&proxy);
    assert_eq!(status["state"], "DRAINING");
    let left = status["draining_left_s"].as_u64().unwrap();
    assert!((7_000..=7_200).contains(&left), "{status:#}");
    proxy.signal(Signal::INT);
    known.until_gone();
    assert_eq!(proxy.finish().code, Some(0));
}

#[test]
fn j05_the_log_counts_down_and_tells_what_was_cut() {
    let (origin, asked, go_on) = Origin::patient();
    let proxy = Proxy::with(&origin, &["--drain-timeout", "1500ms"]);
    let mut client = proxy.client();
    client.send(GET);
    asked.wait();
    proxy.signal(Signal::TERM);
    client.until_gone();
    let finished = proxy.finish();
    go_on.open();
    assert_eq!(finished.code, Some(0));
    for line in [
        "draining requests=1 tunnels=0 connections=1 left_s=2",
        "draining requests=1 tunnels=0 connections=1 left_s=1",
        "cut what was left requests=1 tunnels=0 connections=1",
    ] {
        assert!(finished.stderr.contains(line), "no \"{line}\" in {}", finished.stderr);
    }
}

#[test]
fn j06_other_signals_do_not_hurry_it() {
    let (origin, asked, go_on) = Origin::patient();
    let proxy = Proxy::with(&origin, &["--drain-timeout", "1h"]);
    let mut client = proxy.client();
    client.send(GET);
    asked.wait();
    proxy.signal(Signal::QUIT);
    proxy.wait_for_log("draining");
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
        proxy.signal(signal);
    }
    assert_eq!(proxy.ask("/ready").status, 503);
    go_on.open();
    assert_eq!(client.response().text(), "last");
    assert_eq!(proxy.finish().code, Some(0));
}

#[test]
fn j07_a_new_process_takes_over_and_the_old_one_finishes() {
    let (origin, asked, go_on) = Origin::patient();
    let mut proxy = Proxy::before(&origin);
    let mut under_way = proxy.client();
    under_way.send(GET);
    asked.wait();
    let mut prober = Client::to(&proxy.admin);
    let ready = format!("GET /ready HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.admin);
    assert_eq!(prober.send(&ready).response().status, 200);
    let old = proxy.pid();
    proxy.upgrade();
    proxy.wait_for_log("draining requests=1");
    let last = prober.send(&ready).response();
    assert_eq!(last.status, 200, "the service is ready, whoever is asked");
    assert!(last.head.lists("Connection", "close"));
    eventually("the new one is asked", || status(&proxy)["pid"] == proxy.pid());
    assert_ne!(proxy.pid(), old);
    assert_eq!(proxy.ask("/ready").status, 200);
    let mut fresh = proxy.client();
    fresh.send(GET);
    eventually("it went through the new one", || proxy.metric("/requests") == 1);
    go_on.open();
    let answer = under_way.response();
    assert_eq!(answer.text(), "last");
    assert!(answer.head.lists("Connection", "close"));
    let answer = fresh.response();
    assert_eq!(answer.text(), "last");
    assert!(!answer.head.lists("Connection", "close"));
    let finished = proxy.stop();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(finished.stderr.matches(" ended").count(), 2, "{}", finished.stderr);
}

/// Asks until told to stop; how many answers came.
fn ask_on(address: &str, stop: &AtomicBool, keep: bool, answers: &AtomicUsize) {
    let mut client = None;
    while !stop.load(Relaxed) {
        let mut asking = client.take().unwrap_or_else(|| Client::to(address));
        asking.wire().patience(2 * DEADLINE).unwrap();
        let answer = asking.get("/");
        assert_eq!(answer.text(), "a");
        answers.fetch_add(1, Relaxed);
        if keep && !answer.head.lists("Connection", "close") {
            client = Some(asking);
        }
    }
}

#[test]
fn j08_upgrades_under_load_lose_no_request() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let settings = scratch.join("settings.env");
    let write = |workers: usize| {
        let url = origin.url();
        let text = format!(
            "TIDEGATE_UPSTREAM={url}\nTIDEGATE_WORKERS={workers}\nTIDEGATE_ACCESS_LOG=off\n\
             TIDEGATE_LISTEN=127.0.0.1:0\nTIDEGATE_ADMIN=127.0.0.1:0\n"
        );
        fs::write(&settings, text).unwrap();
    };
    write(2);
    let mut proxy = Proxy::start_as(&["--env-file", &settings], |_| {});
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let spawn = |number: usize| {
        let (address, stop, answers) = (proxy.address.clone(), stop.clone(), answers.clone());
        thread::spawn(move || ask_on(&address, &stop, number.is_multiple_of(2), &answers))
    };
    let clients: Vec<_> = (0..16).map(spawn).collect();
    // More workers need more sockets; fewer must not forget any.
    for workers in [1, 3, 2, 1, 4] {
        let before = answers.load(Relaxed);
        eventually("some answers", || answers.load(Relaxed) > before + 100);
        write(workers);
        proxy.upgrade();
        eventually("as many workers", || status(&proxy)["workers"] == workers);
    }
    let before = answers.load(Relaxed);
    eventually("some answers", || answers.load(Relaxed) > before + 100);
    stop.store(true, Relaxed);
    let failed = clients.into_iter().map(thread::JoinHandle::join).filter(Result::is_err).count();
    let answers = answers.load(Relaxed);
    println!("{answers} requests through 5 upgrades, {failed} clients failed");
    assert_eq!(failed, 0, "of 16 clients; {answers} requests were answered");
    let finished = proxy.stop();
    assert_eq!(finished.code, Some(0));
    assert!(!finished.stderr.contains("cut"), "{}", finished.stderr);
}

#[test]
fn j09_a_new_program_that_fails_leaves_the_old_process_serving() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let (program, broken) = (scratch.join("tidegate"), scratch.join("broken"));
    fs::write(&broken, "#!/bin/sh\nexit 3\n").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    let turn_to = |target: &str| {
        let fresh = scratch.join("fresh");
        symlink(target, &fresh).unwrap();
        fs::rename(&fresh, &program).unwrap();
    };
    turn_to(BINARY);
    let url = origin.url();
    let socket = format!("unix:{}", scratch.join("socket"));
    let flags = ["--upstream", &url, "--listen", &socket, "--admin", "127.0.0.1:0"];
    let flags = [&flags[..], &["--access-log", "off", "--workers", "2"]].concat();
    let mut proxy = Proxy::start_as(&flags, |command| {
        let mut from_link = std::process::Command::new(&program);
        from_link.args(&flags).env_clear();
        from_link.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        *command = from_link;
    });
    let old = proxy.pid();
    let mut kept = proxy.client();
    kept.get("/");
    turn_to(&broken);
    proxy.signal(Signal::USR2);
    proxy.wait_for_log("the upgrade failed; this process goes on");
    assert!(proxy.log().iter().any(|line| line.contains("exit status: 3")), "{:#?}", proxy.log());
    assert_eq!(kept.get("/").text(), "a");
    assert_eq!(proxy.client().get("/").text(), "a");
    fs::remove_file(&program).unwrap();
    proxy.signal(Signal::USR2);
    proxy.wait_for_log("No such file");
    assert_eq!(kept.get("/").text(), "a");
    assert_eq!(status(&proxy)["pid"], old);
    turn_to(BINARY);
    proxy.upgrade();
    assert_eq!(proxy.client().get("/").text(), "a");
}

#[test]
fn j10_settings_the_new_process_refuses_leave_the_old_one_serving() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let settings = scratch.join("settings.env");
    let socket = scratch.join("socket");
    let good = format!(
        "TIDEGATE_UPSTREAM={}\nTIDEGATE_LISTEN=unix:{socket}\nTIDEGATE_ADMIN=127.0.0.1:0\n",
        origin.url()
    );
    fs::write(&settings, &good).unwrap();
    let mut proxy = Proxy::start_as(&["--env-file", &settings], |_| {});
    let taken = Origin::named("b");
    for (bad, said) in [
        ("TIDEGATE_READ_TIMEOUT=5\n".to_owned(), "TIDEGATE_READ_TIMEOUT"),
        (format!("TIDEGATE_ADMIN={}\n", taken.address()), "cannot listen on"),
    ] {
        fs::write(&settings, format!("{good}{bad}")).unwrap();
        let failures = || {
            let lines = proxy.log();
            lines.iter().filter(|line| line.contains("the upgrade failed")).count()
        };
        let before = failures();
        proxy.signal(Signal::USR2);
        eventually("a failure", || failures() > before);
        assert!(proxy.log().iter().any(|line| line.contains(said)), "{:#?}", proxy.log());
        assert_eq!(proxy.client().get("/").text(), "a", "the socket's file is still there");
    }
    fs::write(&settings, &good).unwrap();
    proxy.upgrade();
    assert_eq!(proxy.client().get("/").text(), "a");
}

#[test]
fn j11_a_unix_socket_survives_upgrades_and_goes_with_the_last_process() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let (path, admin) = (scratch.join("socket"), scratch.join("admin"));
    let [listen, admin_flag] = [&path, &admin].map(|path| format!("unix:{path}"));
    let flags = ["--listen", &listen, "--admin", &admin_flag, "--workers", "2"];
    let mut proxy = Proxy::with(&origin, &flags);
    for _ in 0..3 {
        let old = proxy.pid();
        let ended = |lines: Vec<String>| lines.iter().filter(|l| l.ends_with(" ended")).count();
        let before = ended(proxy.log());
        proxy.upgrade();
        eventually("the old one's end", || ended(proxy.log()) > before);
        assert_ne!(proxy.pid(), old);
        assert_eq!(proxy.client().get("/").text(), "a");
        eventually("the new one's admin", || status(&proxy)["pid"] == proxy.pid());
    }
    assert_eq!(proxy.stop().code, Some(0));
    assert!(!fs::exists(&path).unwrap() && !fs::exists(&admin).unwrap());
}

#[test]
fn j12_sockets_of_a_service_manager_are_used_and_left_as_they_are() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let path = scratch.join("socket");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(64).unwrap();
    // A shell puts it where a service manager would, and says so to the process it becomes.
    let script =
        "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec \"$0\" \"$@\"";
    let url = origin.url();
    let (address, usual) = (format!("unix:{path}"), ["--admin", "127.0.0.1:0", "--workers", "2"]);
    for named in [&[][..], &["--listen", &address]] {
        let passed = socket.try_clone().unwrap();
        let mut proxy = Proxy::start_as(&[], |command| {
            let mut shell = std::process::Command::new("/bin/sh");
            shell.args(["-c", script, BINARY, "--upstream", &url]).args(usual).args(named);
            shell.env_clear().stdin(std::os::fd::OwnedFd::from(passed));
            shell.stdout(Stdio::piped()).stderr(Stdio::piped());
            *command = shell;
        });
        assert_eq!(proxy.address, address, "and not the default address");
        for _ in 0..2 {
            assert_eq!(proxy.client().get("/").text(), "a");
            proxy.upgrade();
        }
        assert_eq!(proxy.client().get("/").text(), "a");
        assert_eq!(proxy.stop().code, Some(0));
        assert!(fs::exists(&path).unwrap(), "the file is the service manager's");
        // Nobody serves now, and still the socket is there.
        Client::to(&address);
    }
}

#[test]
fn j13_the_service_manager_is_told() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let path = scratch.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let url = origin.url();
    let flags = ["--upstream", &url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let mut proxy = Proxy::start_as(&flags, |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    });
    let next = || {
        let mut seen = [0; 256];
        let octets = manager.recv(&mut seen).expect("something is told");
        String::from_utf8(seen[..octets].to_vec()).unwrap()
    };
    let next_but_watchdog = || loop {
        let told = next();
        if told != "WATCHDOG=1" {
            return told;
        }
    };
    assert_eq!(next(), "READY=1");
    for _ in 0..3 {
        assert_eq!(next(), "WATCHDOG=1");
    }
    proxy.signal(Signal::HUP);
    let told = next_but_watchdog();
    assert!(told.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{told}");
    assert_eq!(next_but_watchdog(), "READY=1");
    proxy.upgrade();
    assert_eq!(next_but_watchdog(), format!("MAINPID={}", proxy.pid()));
    assert_eq!(next(), "WATCHDOG=1", "of the new process");
    proxy.signal(Signal::TERM);
    assert_eq!(next_but_watchdog(), "STOPPING=1");
    assert_eq!(proxy.finish().code, Some(0));
}

#[test]
fn j14_a_stop_while_the_new_process_is_not_ready_ends_both() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let (program, slow) = (scratch.join("tidegate"), scratch.join("slow"));
    let pipe = scratch.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
        .unwrap();
    // It waits for somebody to write to the pipe, which nobody does.
    fs::write(&slow, format!("#!/bin/sh\nread word <{pipe}\n")).unwrap();
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).unwrap();
    symlink(BINARY, &program).unwrap();
    let url = origin.url();
    let audit = scratch.join("audit.log");
    let flags = ["--upstream", &url, "--listen", "127.0.0.1:0", "--admin", "off"];
    let flags = [&flags[..], &["--access-log-audit", &audit]].concat();
    let proxy = Proxy::start_as(&flags, |command| {
        let mut from_link = std::process::Command::new(&program);
        from_link.args(&flags).env_clear();
        from_link.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        *command = from_link;
    });
    fs::remove_file(&program).unwrap();
    symlink(&slow, &program).unwrap();
    proxy.signal(Signal::USR2);
    proxy.wait_for_log("upgrade begins");
    proxy.signal(Signal::USR2);
    proxy.wait_for_log("an upgrade is under way already");
    assert_eq!(proxy.client().get("/").text(), "a");
    // Both hold the log open: its end is the end of both.
    assert_eq!(proxy.stop().code, Some(0));
    let written = fs::read_to_string(&audit).unwrap();
    for (line, why) in written.lines().zip(["under way", "told to end"]) {
        assert!(line.contains("\"upgrade\"") && line.contains(why), "{line}");
    }
    assert_eq!(written.lines().count(), 2, "{written}");
}
