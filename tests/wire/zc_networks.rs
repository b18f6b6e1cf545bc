//! Networks: who is served by where they come from, and who may say where that is.

use std::fs;

use serde_json::json;

use crate::harness::{
    Client, Configured, Origin, Proxy, Response, ask, asked, eventually, logged, mirror, page,
    seen, verdict,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const REFUSED: (u16, &str) = (403, "network_refused");
/// What a header of version 2 begins with (section 2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn with(origin: &Origin, rest: &str) -> String {
    format!("upstream = '{}'\n{rest}\n", origin.url())
}

#[track_caller]
fn assert_refused(answer: &Response) {
    let (status, reason) = verdict(answer);
    assert_eq!((status, reason.as_str()), REFUSED, "{}", answer.text());
}

fn get_from(source: &str, proxy: &Proxy) -> Response {
    Client::from(source, &proxy.address).get("/")
}

/// A header of version 2 for a connection over TCP and IPv4.
fn v2(source: [u8; 4], port: u16) -> Vec<u8> {
    let ends = [&source[..], &[198, 51, 100, 1], &port.to_be_bytes(), &80_u16.to_be_bytes()];
    [SIGNATURE, &[0x21, 0x11, 0, 12], &ends.concat()].concat()
}

/// The same for IPv6.
fn v2_of_six(source: [u16; 8]) -> Vec<u8> {
    let octets: Vec<u8> = source.iter().flat_map(|group| group.to_be_bytes()).collect();
    let ends = [&octets[..], &[0; 15], &[1], &[0x15, 0xb3, 0, 80]].concat();
    [SIGNATURE, &[0x21, 0x21, 0, 36], &ends].concat()
}

// ---- allow and deny ----

#[test]
fn zc01_who_is_denied_or_not_allowed_reaches_nobody() {
    let origin = mirror();
    for (rest, served) in [
        ("deny = '127.0.0.2'", [true, false, true]),
        ("allow = '127.0.0.2/32'", [false, true, false]),
        ("allow = '127.0.0.0/8'\ndeny = ['127.0.0.3', '192.0.2.0/24']", [true, true, false]),
        ("allow = '192.0.2.0/24'", [false; 3]),
        ("deny = '::/0'", [true; 3]),
    ] {
        let case = Configured::new(&with(&origin, rest), &[]);
        let before = origin.requests().len();
        for (source, is_served) in ["127.0.0.1", "127.0.0.2", "127.0.0.3"].iter().zip(served) {
            let answer = get_from(source, &case.proxy);
            match is_served {
                true => assert_eq!(answer.status, 200, "{rest}: {source}"),
                false => assert_refused(&answer),
            }
        }
        let reached = origin.requests().len() - before;
        assert_eq!(reached, served.iter().filter(|one| **one).count(), "{rest}");
    }
}

#[test]
fn zc02_lists_have_names_and_stand_in_files_that_a_reload_reads_anew() {
    let origin = mirror();
    let text = with(
        &origin,
        "deny = ['blocked', 'more']\n[list]\nblocked = '{file.blocked.txt}'\n\
         more = ['192.0.2.0/24', '127.0.0.9']",
    );
    let folder = crate::harness::Scratch::new();
    let (path, list) = (folder.join("t.toml"), folder.join("blocked.txt"));
    fs::write(&path, &text).unwrap();
    fs::write(&list, "127.0.0.2\n127.0.0.4/31\n").unwrap();
    let proxy = Proxy::start(&["--config", &path]);
    let statuses = |proxy: &Proxy| {
        ["127.0.0.1", "127.0.0.2", "127.0.0.5", "127.0.0.6", "127.0.0.9"]
            .map(|source| get_from(source, proxy).status)
    };
    assert_eq!(statuses(&proxy), [200, 403, 403, 200, 403]);
    let mut kept = Client::from("127.0.0.6", &proxy.address);
    assert_eq!(kept.get("/").status, 200);
    fs::write(&list, "127.0.0.6\n").unwrap();
    assert_eq!(proxy.post("/reload", "{}").status, 200);
    assert_eq!(statuses(&proxy), [200, 200, 200, 403, 403]);
    assert_refused(&kept.get("/"));
    // A list that is none changes nothing.
    fs::write(&list, "127.0.0.1\nnobody\n").unwrap();
    let refused = proxy.post("/reload", "{}");
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(statuses(&proxy), [200, 200, 200, 403, 403]);
    // One that was cleared denies nobody.
    fs::write(&list, "# nobody\n").unwrap();
    assert_eq!(proxy.post("/reload", "{}").status, 200);
    assert_eq!(statuses(&proxy), [200, 200, 200, 200, 403]);
    fs::write(&list, "127.0.0.6\n").unwrap();
    assert_eq!(proxy.post("/reload", "{}").status, 200);
    assert_eq!(statuses(&proxy), [200, 200, 200, 403, 403]);
}

#[test]
fn zc16_a_list_of_those_who_are_allowed_that_was_cleared_is_a_mistake() {
    let origin = mirror();
    for rest in ["allow = '{file.office.txt}'", "allow = 'a'\n[list]\na = '{file.office.txt}'"] {
        let folder = crate::harness::Scratch::new();
        let (path, list) = (folder.join("t.toml"), folder.join("office.txt"));
        fs::write(&path, with(&origin, rest)).unwrap();
        fs::write(&list, "127.0.0.2\n").unwrap();
        let proxy = Proxy::start(&["--config", &path]);
        fs::write(&list, "").unwrap();
        let refused = proxy.post("/reload", "{}");
        assert_eq!(refused.status, 400, "{}", refused.text());
        let found = ["127.0.0.1", "127.0.0.2"].map(|source| get_from(source, &proxy).status);
        assert_eq!(found, [403, 200], "{rest}");
    }
}

#[test]
fn zc03_a_route_says_otherwise_than_the_top() {
    let origin = mirror();
    let rest = "deny = '127.0.0.2'\n\
                [[route]]\npath = '/open'\ndeny = 'off'\npool = 'default'\n\
                [[route]]\npath = '/inner'\nallow = '127.0.0.3'\npool = 'default'\n\
                [[route]]\npath = '/here'\nrespond = 'here'\n\
                [[route]]\npath = '/all'\npool = 'default'";
    let case = Configured::new(&with(&origin, rest), &[]);
    for (path, served) in [
        ("/open", [200, 200, 200]),
        ("/inner", [403, 403, 200]),
        ("/here", [200, 403, 200]),
        ("/all", [200, 403, 200]),
        // What nobody serves is not told to those who are denied.
        ("/none", [404, 403, 404]),
    ] {
        let sources = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
        let found = sources
            .map(|source| asked(&mut Client::from(source, &case.proxy.address), path, "").status);
        assert_eq!(found, served, "{path}");
    }
}

#[test]
fn zc04_addresses_of_both_families_are_looked_at() {
    let origin = mirror();
    let url = origin.url();
    let flags =
        |deny| ["--upstream", url.as_str(), "--listen", "[::1]:0,127.0.0.1:0", "--deny", deny];
    for (deny, statuses) in [("::1", [403, 200]), ("127.0.0.1", [200, 403]), ("::/1", [403, 200])] {
        let proxy = Proxy::start(&flags(deny));
        let status = page(&proxy.ask("/status"));
        let listeners = [0, 1].map(|n| status["listeners"][n].as_str().unwrap());
        let found = listeners.map(|address| Client::to(address).get("/").status);
        assert_eq!(found, statuses, "{deny}");
    }
}

#[test]
fn zc05_a_proxy_that_is_trusted_says_who_asks_and_nobody_else() {
    let origin = mirror();
    let rest = "trusted-proxy = '127.0.0.1'\ndeny = ['192.0.2.0/24', '127.0.0.3']\n";
    let case = Configured::new(&with(&origin, rest), &["--access-log", "json"]);
    for (source, fields, status) in [
        ("127.0.0.1", "", 200),
        ("127.0.0.1", "X-Forwarded-For: 192.0.2.1\r\n", 403),
        ("127.0.0.1", "X-Forwarded-For: 192.0.2.1, 198.51.100.7\r\n", 200),
        ("127.0.0.1", "X-Forwarded-For: 198.51.100.7, 192.0.2.1\r\n", 403),
        ("127.0.0.2", "X-Forwarded-For: 192.0.2.1\r\n", 200),
        ("127.0.0.3", "X-Forwarded-For: 198.51.100.7\r\n", 403),
    ] {
        let mut client = Client::from(source, &case.proxy.address);
        assert_eq!(asked(&mut client, "/", fields).status, status, "{source} {fields}");
    }
}

// ---- the PROXY protocol, coming in ----

#[test]
fn zc06_a_header_says_who_asks_to_log_upstream_lists_and_limits() {
    let origin = mirror();
    let rest = "proxy-protocol = '127.0.0.1'\ndeny = '192.0.2.66'\n[limit.default]\nrate = '3/h'\n";
    let case = Configured::new(&with(&origin, rest), &["--access-log", "json"]);
    let v1 = |source: &str| format!("PROXY TCP4 {source} 198.51.100.1 5555 80\r\n").into_bytes();
    for (header, source) in [
        (v1("192.0.2.1"), "192.0.2.1"),
        (v2([192, 0, 2, 2], 5555), "192.0.2.2"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 5555 80\r\n".to_vec(), "2001:db8::1"),
        (v2_of_six([0x2001, 0xdb8, 0, 1, 0, 0, 0, 1]), "2001:db8:0:1::1"),
        (v2_of_six([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0203]), "192.0.2.3"),
    ] {
        let mut client = case.proxy.client();
        // Header and requests in one packet; the second request has none of its own.
        client.send([&header, GET.as_bytes(), GET.as_bytes()].concat());
        for left in [2, 1] {
            let answer = client.response();
            assert_eq!(answer.status, 200, "{source}");
            assert_eq!(seen(&answer.text(), "X-Forwarded-For"), Some(source));
            let limit = answer.get("RateLimit").unwrap();
            assert!(limit.starts_with(&format!("\"default\";r={left};")), "{source}: {limit}");
        }
        assert_eq!(seen(&client.get("/").text(), "X-Forwarded-For"), Some(source));
        assert_eq!(client.get("/").status, 429, "{source}");
    }
    let mut denied = case.proxy.client();
    denied.send([&v1("192.0.2.66")[..], GET.as_bytes()].concat());
    assert_refused(&denied.response());
    let lines = logged(&case.proxy, 21);
    let clients: Vec<_> = lines.iter().step_by(4).map(|line| line["client"].clone()).collect();
    let expected =
        ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1", "192.0.2.3", "192.0.2.66"];
    assert_eq!(clients, expected.map(|one| json!(one)));
}

#[test]
fn zc07_a_header_may_come_in_any_number_of_pieces() {
    let origin = mirror();
    let case = Configured::new(&with(&origin, "proxy-protocol = '127.0.0.0/8'\n"), &[]);
    for header in
        [b"PROXY TCP4 192.0.2.1 198.51.100.1 5555 80\r\n".to_vec(), v2([192, 0, 2, 1], 5555)]
    {
        let mut client = case.proxy.client();
        client.send_slowly([&header, GET.as_bytes()].concat());
        assert_eq!(seen(&client.response().text(), "X-Forwarded-For"), Some("192.0.2.1"));
    }
    // With all that may be behind the addresses (section 2.2).
    let mut header = v2([192, 0, 2, 1], 5555);
    header[15] += 3 + 200;
    header.extend([0x04, 0, 200]);
    header.extend([0; 200]);
    let mut client = case.proxy.client();
    client.send([&header, GET.as_bytes()].concat());
    assert_eq!(seen(&client.response().text(), "X-Forwarded-For"), Some("192.0.2.1"));
}

#[test]
fn zc08_who_names_nobody_speaks_for_itself() {
    let origin = mirror();
    let case = Configured::new(&with(&origin, "proxy-protocol = '127.0.0.1'\n"), &[]);
    let v2 = |rest: &[u8]| [SIGNATURE, rest].concat();
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
        v2(&[0x20, 0, 0, 0]),
        v2(&[0x20, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2]),
        v2(&[0x21, 0, 0, 0]),
    ] {
        let mut client = case.proxy.client();
        client.send([&header, GET.as_bytes()].concat());
        let answer = client.response();
        assert_eq!(seen(&answer.text(), "X-Forwarded-For"), Some("127.0.0.1"), "{header:?}");
    }
}

#[test]
fn zc09_where_a_header_is_due_nothing_else_is_taken() {
    let origin = mirror();
    let rest = "proxy-protocol = '127.0.0.1'\nread-timeout = '300ms'\n";
    let case = Configured::new(&with(&origin, rest), &[]);
    let mut refused = 0;
    for octets in [
        GET.as_bytes(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 5555\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.1 5555 80\r\n",
        b"proxy TCP4 192.0.2.1 198.51.100.1 5555 80\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 5555 80\n",
        &[SIGNATURE, &[0x31, 0x11, 0, 12]].concat(),
        &[b' '; 200],
    ] {
        let mut client = case.proxy.client();
        client.send(octets).send_if_taken(GET);
        let told = client.until_gone();
        assert!(told.is_empty(), "{}", told.escape_ascii());
        refused += 1;
    }
    // One that is never whole is not waited for.
    let mut client = case.proxy.client();
    client.send("PROXY TCP4 192.0.2.1");
    assert!(client.until_gone().is_empty());
    let counted = || case.proxy.metrics()["connections"]["proxy_headers_refused"].clone();
    eventually("they are counted", || counted() == refused);
    // The log tells why, and is not filled.
    let told = case.proxy.log();
    let told: Vec<_> = told.iter().filter(|line| line.contains("PROXY header")).collect();
    let [line] = told[..] else { panic!("{told:?}") };
    assert!(line.contains("WARN") && line.contains("cause=\"missing\""), "{line}");
    assert!(line.contains("peer=127.0.0.1:"), "{line}");
    assert_eq!(origin.connections(), 0);
    // A second header is no request.
    let header = "PROXY TCP4 192.0.2.1 198.51.100.1 5555 80\r\n";
    let mut client = case.proxy.client();
    client.send([header, header, GET].concat());
    assert_eq!(client.response().status, 400);
}

#[test]
fn zc10_a_header_of_those_who_are_not_named_is_a_bad_request() {
    let origin = mirror();
    let case = Configured::new(&with(&origin, "proxy-protocol = '127.0.0.1'\n"), &[]);
    for header in
        [b"PROXY TCP4 192.0.2.1 198.51.100.1 5555 80\r\n".to_vec(), v2([192, 0, 2, 1], 5555)]
    {
        let mut client = Client::from("127.0.0.2", &case.proxy.address);
        client.send([&header, GET.as_bytes()].concat());
        assert_eq!(client.response().status, 400);
        client.until_gone();
    }
    assert_eq!(get_from("127.0.0.2", &case.proxy).status, 200);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn zc11_one_listener_takes_headers_and_another_does_not() {
    let origin = mirror();
    let rest =
        "listen = ['127.0.0.1:0', { address = '127.0.0.2:0', proxy-protocol = '127.0.0.0/8' }]\n";
    let folder = crate::harness::Scratch::new();
    let path = folder.join("t.toml");
    fs::write(&path, with(&origin, rest)).unwrap();
    let flags = ["--config", &path, "--admin", "127.0.0.1:0", "--workers", "1"];
    let proxy = Proxy::start_as(&flags, |_| {});
    let status = page(&proxy.ask("/status"));
    let listeners = [0, 1].map(|n| status["listeners"][n].as_str().unwrap().to_owned());
    let header = "PROXY TCP4 192.0.2.1 198.51.100.1 5555 80\r\n";
    let mut plain = Client::to(&listeners[0]);
    assert_eq!(plain.get("/").status, 200);
    let mut announced = Client::to(&listeners[1]);
    announced.send([header, GET].concat());
    assert_eq!(seen(&announced.response().text(), "X-Forwarded-For"), Some("192.0.2.1"));
    let mut missing = Client::to(&listeners[1]);
    missing.send(GET);
    assert!(missing.until_gone().is_empty());
    let mut odd = Client::to(&listeners[0]);
    odd.send([header, GET].concat());
    assert_eq!(odd.response().status, 400);
}

#[test]
fn zc12_who_is_announced_is_believed_only_where_that_one_is_trusted() {
    let origin = mirror();
    let rest = "proxy-protocol = '127.0.0.1'\ntrusted-proxy = '192.0.2.0/24'\n";
    let case = Configured::new(&with(&origin, rest), &[]);
    for (source, expected) in
        [("192.0.2.1", "203.0.113.5, 192.0.2.1"), ("198.51.100.9", "198.51.100.9")]
    {
        let mut client = case.proxy.client();
        client.send(format!("PROXY TCP4 {source} 198.51.100.1 5555 80\r\n"));
        let answer = asked(&mut client, "/", "X-Forwarded-For: 203.0.113.5\r\n");
        assert_eq!(seen(&answer.text(), "X-Forwarded-For"), Some(expected));
    }
}

// ---- the PROXY protocol, going out ----

/// An origin that wants a header, and answers with it and with all else that it was sent.
fn announced_to(version: u8) -> Origin {
    Origin::start(move |peer| {
        let header = match version {
            1 => peer.line()?.into_bytes(),
            _ => {
                let mut fixed = peer.exactly(16)?;
                let rest = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
                fixed.extend(peer.exactly(rest)?);
                fixed
            }
        };
        loop {
            let request = peer.request()?;
            let xff = request.head.get("X-Forwarded-For").unwrap_or_default();
            let told = format!("{} {xff} {}", peer.number, header.escape_ascii());
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", told.len());
            peer.send(head + &told)?;
        }
    })
}

#[test]
fn zc13_an_upstream_is_told_who_asks_on_a_connection_for_each_request() {
    for version in [1, 2] {
        let origin = announced_to(version);
        let rest =
            format!("proxy-protocol = '127.0.0.1'\nupstream-proxy-protocol = 'v{version}'\n");
        let case = Configured::new(&with(&origin, &rest), &[]);
        let port = case.proxy.address.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
        let mut client = case.proxy.client();
        client.send("PROXY TCP4 192.0.2.1 198.51.100.1 5555 80\r\n");
        for n in 0..3 {
            let text = client.get("/").text();
            let header = match version {
                1 => format!("PROXY TCP4 192.0.2.1 127.0.0.1 5555 {port}"),
                _ => {
                    let ends = [192, 0, 2, 1, 127, 0, 0, 1, 0x15, 0xb3];
                    let whole = [SIGNATURE, &[0x21, 0x11, 0, 12], &ends, &port.to_be_bytes()];
                    whole.concat().escape_ascii().to_string()
                }
            };
            assert_eq!(text, format!("{n} 192.0.2.1 {header}"));
        }
        assert_eq!(origin.connections(), 3);
        let body = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc";
        client.send(body);
        assert_eq!(client.response().status, 200);
        assert_eq!(origin.requests().last().unwrap().body, b"abc");
    }
}

#[test]
fn zc15_an_upstream_is_told_the_client_that_a_trusted_proxy_names() {
    let origin = announced_to(1);
    let rest = "trusted-proxy = '127.0.0.1'\nupstream-proxy-protocol = 'v1'\n";
    let case = Configured::new(&with(&origin, rest), &[]);
    let (_, port) = case.proxy.address.rsplit_once(':').unwrap();
    for (fields, expected) in [
        ("X-Forwarded-For: 192.0.2.1, 127.0.0.1\r\n", "TCP4 192.0.2.1 127.0.0.1 0"),
        ("X-Forwarded-For: 2001:db8::1\r\n", "TCP6 2001:db8::1 ::ffff:7f00:1 0"),
        ("X-Forwarded-For: 192.0.2.66, 192.0.2.2\r\n", "TCP4 192.0.2.2 127.0.0.1 0"),
    ] {
        let told = ask(&case.proxy, "/", fields).text();
        assert!(told.ends_with(&format!("PROXY {expected} {port}")), "{fields}: {told}");
    }
    // Nobody is believed who is no such proxy.
    let mut client = Client::from("127.0.0.2", &case.proxy.address);
    let told = asked(&mut client, "/", "X-Forwarded-For: 192.0.2.1\r\n").text();
    assert!(told.contains("PROXY TCP4 127.0.0.2 127.0.0.1 "), "{told}");
    assert!(!told.contains(" 0 "), "the port of a connection is known: {told}");
}

#[test]
fn zc17_who_names_nobody_has_any_number_of_connections() {
    let origin = mirror();
    let rest = "max-client-connections = 1\nproxy-protocol = '127.0.0.1'\n";
    let case = Configured::new(&with(&origin, rest), &[]);
    let announced = |header: &[u8]| {
        let mut client = case.proxy.client();
        client.send_if_taken([header, GET.as_bytes()].concat());
        client
    };
    let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    let named = b"PROXY TCP4 127.0.0.1 198.51.100.1 5555 80\r\n";
    let mut held: Vec<Client> = Vec::new();
    for header in [&local[..], b"PROXY UNKNOWN\r\n", &local, named] {
        let mut client = announced(header);
        assert_eq!(client.response().status, 200, "{}", header.escape_ascii());
        held.push(client);
    }
    assert!(announced(named).until_gone().is_empty(), "one that is named is bounded");
}

#[test]
fn zc14_a_health_check_speaks_for_itself_in_the_same_words() {
    for version in [1, 2] {
        let origin = announced_to(version);
        let rest = format!(
            "upstream-proxy-protocol = 'v{version}'\n[health]\npath = '/healthz'\ninterval = '100ms'\n"
        );
        let case = Configured::new(&with(&origin, &rest), &[]);
        let checked = || origin.requests().iter().any(|request| request.target == "/healthz");
        eventually("it is asked", checked);
        let state = || page(&case.proxy.ask("/status"))["upstreams"][0]["state"].clone();
        eventually("it is well", || state() == "up");
        let at = origin.requests().iter().position(|request| request.target == "/healthz");
        let octets = origin.received(at.unwrap());
        let header = match version {
            1 => b"PROXY UNKNOWN\r\n".to_vec(),
            _ => [SIGNATURE, &[0x20, 0, 0, 0]].concat(),
        };
        assert!(octets.starts_with(&header), "{}", octets.escape_ascii());
        assert_eq!(ask(&case.proxy, "/", "").status, 200);
    }
}
