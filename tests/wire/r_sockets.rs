//! The sockets it listens on: both families, what is said when one cannot be had, and who keeps a seat
//! at the admin.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::harness::{Client, Finished, Origin, Proxy, Scratch, Wire, eventually, run};

const BINARY: &str = env!("CARGO_BIN_EXE_tidegate");
/// How long a probe waits for its answer.
const PROBE: Duration = Duration::from_secs(1);

const BOTH: [&str; 2] = ["127.0.0.1", "[::1]"];

/// A socket that is bound and no more, and its port, which nobody listens at in the other family either. An IPv6 one
/// leaves the port of IPv4 alone if `only_v6`.
fn held(ip: &str, only_v6: bool) -> (Socket, u16) {
    let ip: IpAddr = ip.parse().unwrap();
    let port = free_port();
    let address = SocketAddr::new(ip, port);
    (bound(address, only_v6).unwrap(), port)
}

fn bound(address: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A port that is free in both families, and that the kernel gives nobody who does not ask for it: it is below those
/// of `ip_local_port_range`, ip(7). Every call gives another one.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 8000) as u16;
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Relaxed)) % 12_000;
        if bound((Ipv6Addr::UNSPECIFIED, port).into(), false).is_ok() {
            return port;
        }
    }
}

#[track_caller]
fn ask(hosts: &[&str], port: u16) {
    for host in hosts {
        let address = format!("{host}:{port}");
        assert_eq!(Client::to(&address).get("/").text(), "a", "{address}");
    }
}

fn port_of(address: &str) -> u16 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// Starts it as a service manager would, with a socket that listens already.
fn started_with(socket: &Socket, flags: &[&str]) -> Proxy {
    // A shell puts it where a service manager would, and says so to the process it becomes.
    let script =
        "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec \"$0\" \"$@\"";
    let passed = socket.try_clone().unwrap();
    Proxy::start_as(&[], |command| {
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", script, BINARY]).args(flags);
        shell.env_clear().stdin(std::os::fd::OwnedFd::from(passed));
        shell.stdout(Stdio::piped()).stderr(Stdio::piped());
        *command = shell;
    })
}

/// A listening socket for both families, as systemd makes it of `ListenStream=8080`.
fn dual() -> (Socket, u16) {
    let (socket, port) = held("::", false);
    socket.listen(64).unwrap();
    (socket, port)
}

#[test]
fn r01_a_port_alone_is_both_families_and_an_address_is_one() {
    let origin = Origin::named("a");
    for workers in ["1", "3"] {
        let proxy = Proxy::with(&origin, &["--listen", ":0", "--workers", workers]);
        ask(&BOTH, port_of(&proxy.address));
        for (listen, other, [host, refused]) in [
            ("0.0.0.0:P", "::", ["127.0.0.1", "[::1]"]),
            ("[::]:P", "0.0.0.0", ["[::1]", "127.0.0.1"]),
            ("[::1]:P", "0.0.0.0", ["[::1]", "127.0.0.1"]),
        ] {
            // The port of the other family is somebody else's, who does not listen.
            let (_other, port) = held(other, true);
            let listen = listen.replace('P', &port.to_string());
            let _proxy = Proxy::with(&origin, &["--listen", &listen, "--workers", workers]);
            ask(&[host], port);
            assert!(Wire::connect(&format!("{refused}:{port}")).is_err(), "{listen}");
        }
    }
}

#[test]
fn r02_addresses_of_one_port_do_not_stand_in_each_others_way() {
    let origin = Origin::named("a");
    for together in [
        ":P,[::]:P",
        "[::]:P,:P",
        "0.0.0.0:P,[::]:P",
        ":P,0.0.0.0:P",
        ":P,127.0.0.1:P,[::1]:P",
        "127.0.0.1:P,0.0.0.0:P,[::1]:P",
    ] {
        let port = free_port();
        let listen = together.replace('P', &port.to_string());
        let proxy = Proxy::with(&origin, &["--listen", &listen, "--workers", "2"]);
        ask(&BOTH, port);
        assert_eq!(proxy.stop().code, Some(0), "{together}");
    }
}

#[test]
fn r03_an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client() {
    let origin = Origin::start(|peer| {
        loop {
            let head = peer.request_head()?;
            let told =
                format!("{:?} {:?}", head.get("X-Forwarded-For"), head.get("X-Forwarded-Proto"));
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len()))?;
        }
    });
    let (socket, port) = dual();
    let url = origin.url();
    let usual = ["--upstream", &url, "--admin", "off", "--workers", "1", "--access-log", "json"];
    let proxy = started_with(&socket, &[&usual[..], &["--trusted-proxy", "127.0.0.0/8"]].concat());
    let request = "GET / HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 192.0.2.9\r\n\
                   X-Forwarded-Proto: https\r\n\r\n";
    for (client, told) in [
        ("127.0.0.1", "Some(\"192.0.2.9, 127.0.0.1\") Some(\"https\")"),
        ("::1", "Some(\"::1\") Some(\"http\")"),
    ] {
        let host = if client.contains(':') { format!("[{client}]") } else { client.to_owned() };
        let mut wire = Client::to(&format!("{host}:{port}"));
        wire.send(request);
        assert_eq!(wire.response().text(), told);
    }
    let logged = |line: &String| serde_json::from_str::<Value>(line).unwrap()["client"].clone();
    let clients: Vec<_> = proxy.access_log(2).iter().map(logged).collect();
    assert_eq!(clients, ["127.0.0.1", "::1"]);
}

#[test]
fn r04_a_socket_of_both_families_that_was_passed_is_enough() {
    let origin = Origin::named("a");
    for wanted in [":P", "0.0.0.0:P,[::]:P", "[::]:P", "0.0.0.0:P"] {
        let (socket, port) = dual();
        let (url, listen) = (origin.url(), wanted.replace('P', &port.to_string()));
        let flags = ["--upstream", &url, "--listen", &listen, "--admin", "off", "--workers", "2"];
        let mut proxy = started_with(&socket, &[&flags[..], &["--access-log", "off"]].concat());
        ask(&BOTH, port);
        proxy.upgrade();
        ask(&BOTH, port);
        assert_eq!(proxy.stop().code, Some(0), "{wanted}");
    }
}

#[test]
fn r05_an_upgrade_takes_both_families_over_and_adds_the_one_that_is_missing() {
    let (origin, scratch) = (Origin::named("a"), Scratch::new());
    let (settings, port) = (scratch.join("settings.env"), free_port());
    let write = |listen: &str| {
        let listen = listen.replace('P', &port.to_string());
        let text = format!(
            "TIDEGATE_UPSTREAM={}\nTIDEGATE_WORKERS=2\nTIDEGATE_ACCESS_LOG=off\n\
             TIDEGATE_LISTEN={listen}\nTIDEGATE_ADMIN=127.0.0.1:0\n",
            origin.url()
        );
        fs::write(&settings, text).unwrap();
    };
    write("0.0.0.0:P");
    let mut proxy = Proxy::start_as(&["--env-file", &settings], |_| {});
    ask(&["127.0.0.1"], port);
    for (listen, hosts, addresses) in [
        (":P", &BOTH[..], "0.0.0.0:P,[::]:P"),
        (":P", &BOTH, "0.0.0.0:P,[::]:P"),
        ("[::]:P,0.0.0.0:P", &BOTH, "[::]:P,0.0.0.0:P"),
        ("[::]:P", &BOTH[1..], "[::]:P"),
    ] {
        let old = proxy.pid();
        write(listen);
        proxy.upgrade();
        eventually("the old one's end", || fs::metadata(format!("/proc/{old}/exe")).is_err());
        ask(hosts, port);
        let status: Value = serde_json::from_slice(&proxy.ask("/status").body).unwrap();
        let addresses = addresses.replace('P', &port.to_string());
        assert_eq!(status["listeners"], addresses.split(',').collect::<Value>(), "{listen}");
    }
}

#[test]
fn r06_the_admin_listens_on_both_families_as_well() {
    let origin = Origin::named("a");
    let mut proxy = Proxy::with(&origin, &["--admin", ":0"]);
    for _ in 0..2 {
        let port = port_of(&proxy.admin);
        for host in BOTH {
            let mut admin = Client::to(&format!("{host}:{port}"));
            admin.send(format!("GET /health HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"));
            assert_eq!(admin.response().status, 200, "{host}");
        }
        proxy.upgrade();
    }
}

#[test]
fn r07_a_demo_is_for_this_machine_and_speaks_once_it_listens() {
    let shown = run(&["config", "show", "--origin", "--demo"], &[]);
    assert!(shown.stdout.contains("TIDEGATE_LISTEN=127.0.0.1:8080 "), "{}", shown.stdout);
    let shown = run(&["config", "show", "--demo", "--listen", ":8081"], &[]);
    assert!(shown.stdout.contains("TIDEGATE_LISTEN=:8081\n"), "{}", shown.stdout);
    let (_socket, port) = held("127.0.0.1", true);
    let listen = format!("127.0.0.1:{port}");
    let failed = run(&["--demo", "--listen", &listen, "--admin", "off"], &[]);
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""), "{}", failed.stderr);
    let proxy = Proxy::start(&["--demo"]);
    let (address, admin) = (proxy.address.clone(), proxy.admin.clone());
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let told = proxy.stop().stdout;
    for line in [format!("curl http://{address}/ "), format!("curl http://{admin}/health")] {
        assert!(told.contains(&line), "no {line} in {told}");
    }
}

/// Runs it where it has no rights beyond those of any user.
fn run_unprivileged(flags: &[&str]) -> Finished {
    thread::scope(|scope| {
        let run = scope.spawn(|| {
            // Refused to those who have no such rights anyway. It is this thread's, and its children's.
            let _ = remove_capability_from_bounding_set(CapabilitySet::NET_BIND_SERVICE);
            run(flags, &[])
        });
        run.join().unwrap()
    })
}

#[test]
fn r08_what_the_machine_refuses_is_told_with_a_remedy() {
    let scratch = Scratch::new();
    let (_socket, port) = held("127.0.0.1", true);
    let (file, served) = (scratch.join("file"), scratch.join("served"));
    fs::write(&file, "precious").unwrap();
    let owner = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    owner.bind(&SockAddr::unix(&served).unwrap()).unwrap();
    owner.listen(1).unwrap();
    let unix = |path: &str| format!("unix:{path}");
    let in_use = format!("127.0.0.1:{port}");
    let cases = [
        ("--listen", in_use.clone(), "another port"),
        ("--admin", in_use, "another port, or off"),
        ("--listen", "192.0.2.1:0".to_owned(), "`ip address`"),
        ("--listen", "127.0.0.1:81".to_owned(), "1024"),
        ("--listen", unix(&file), "not a socket"),
        ("--listen", unix(&served), "another path"),
        ("--admin", unix(&scratch.join("none/socket")), "folder"),
        ("--access-log-file", scratch.join("none/log"), "folder"),
        ("--access-log-file", scratch.join("."), "folder"),
    ];
    for (flag, value, remedy) in cases {
        let mut flags = vec!["--upstream", "http://127.0.0.1:1", "--access-log", "json"];
        for (usual, default) in [("--listen", "127.0.0.1:0"), ("--admin", "off")] {
            if usual != flag {
                flags.extend([usual, default]);
            }
        }
        flags.extend([flag, &value]);
        let failed = run_unprivileged(&flags);
        assert_eq!(failed.code, Some(1), "{flag} {value}: {}", failed.stderr);
        let line = failed.stderr.lines().find(|line| line.contains("ERROR")).unwrap_or_default();
        for part in [flag, remedy] {
            assert!(line.contains(part), "no {part} in {line}");
        }
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

/// Clients that connect and say nothing; all stay connected as far as it is for them to say.
struct Silent(Vec<Wire>);

impl Silent {
    fn crowd(n: usize, address: &str) -> Silent {
        let connect = |_| Wire::connect_narrow(address, 4096).expect("the kernel connects");
        Silent((0..n).map(connect).collect())
    }
}

/// Asks for `/health` as a probe does that gives up after a second.
#[track_caller]
fn probe(address: &str) {
    let mut wire = Wire::connect_within(address, PROBE).expect("a probe gets in");
    wire.patience(PROBE).unwrap();
    wire.send("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let answer = wire.rest().expect("a probe is answered in time");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", answer.escape_ascii());
}

#[test]
fn r09_silent_clients_of_the_admin_keep_nobody_waiting() {
    let origin = Origin::named("a");
    let scratch = Scratch::new();
    let unix = format!("unix:{}", scratch.join("admin"));
    for admin in ["127.0.0.1:0", &unix] {
        let proxy = Proxy::with(&origin, &["--admin", admin]);
        let before = proxy.descriptors();
        let mut crowd = Silent::crowd(300, &proxy.admin);
        (0..20).for_each(|_| probe(&proxy.admin));
        while crowd.0.len() < 5000 {
            crowd.0.extend(Silent::crowd(500, &proxy.admin).0);
            probe(&proxy.admin);
        }
        (0..20).for_each(|_| probe(&proxy.admin));
        let held = proxy.descriptors() - before;
        assert!(held <= 70, "{held} descriptors for 5000 silent clients");
        drop(crowd);
        // Whatever they have said, unless it is a whole request.
        let mut crowd = Silent::crowd(300, &proxy.admin);
        for wire in &mut crowd.0 {
            // It may have been closed already.
            let _ = wire.send("GET /health HTTP/1.1\r\nHost: l");
        }
        (0..20).for_each(|_| probe(&proxy.admin));
        assert_eq!(proxy.client().get("/").text(), "a");
    }
}

#[test]
fn r10_a_probe_gets_in_while_silent_clients_keep_coming() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut crowd = Silent::crowd(1000, &proxy.admin);
    for _ in 0..100 {
        // These stand in front of it in the kernel's queue, and more than there are seats.
        crowd.0.extend(Silent::crowd(200, &proxy.admin).0);
        probe(&proxy.admin);
        crowd.0.drain(..200);
    }
}

#[test]
fn r11_the_longest_silent_leaves_and_nobody_else() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut seated: Vec<_> = (0..64).map(|_| Client::to(&proxy.admin)).collect();
    let health = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for client in &mut seated {
        client.send(health);
        assert_eq!(client.response().status, 200);
    }
    // The first one speaks once more, so the second is the longest silent.
    seated[0].send(health);
    assert_eq!(seated[0].response().status, 200);
    probe(&proxy.admin);
    seated[1].expect_closed();
    for (_, client) in seated.iter_mut().enumerate().filter(|(n, _)| *n != 1) {
        client.send(health);
        assert_eq!(client.response().status, 200);
    }
}
