//! What happens to header fields on their way.

use std::collections::HashSet;

use crate::harness::{Head, Origin, Proxy, run};

/// The request an origin saw after `fields` were sent through a proxy with `flags`.
#[track_caller]
fn forwarded(flags: &[&str], fields: &str) -> Head {
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, flags);
    let mut client = proxy.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
    assert_eq!(client.response().status, 200);
    origin.request().head
}

/// The answer a client saw after an origin sent `fields` through a proxy with `flags`.
#[track_caller]
fn answered(flags: &[&str], fields: &str) -> Head {
    let origin = Origin::answering(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n"));
    Proxy::with(&origin, flags).client().get("/").head
}

#[test]
fn b01_fields_pass_as_they_are_in_order() {
    let seen =
        forwarded(&[], "Accept: a\r\nX-One: 1\r\naccept: b\r\nX-Two: \t2  2 \r\nX-Three:\r\n");
    assert_eq!(seen.all("Accept"), ["a", "b"]);
    assert_eq!(seen.get("X-Two"), Some("2  2"));
    assert_eq!(seen.get("X-Three"), Some(""));
    let seen = answered(&[], "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n");
    assert_eq!(seen.all("Set-Cookie"), ["a=1", "b=2"]);
}

#[test]
fn b02_the_upstream_learns_who_asked_and_how() {
    let seen = forwarded(&[], "");
    assert_eq!(seen.get("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(seen.get("X-Forwarded-Proto"), Some("http"));
    assert_eq!(seen.get("X-Forwarded-Host"), Some("test"));
}

#[test]
fn b03_what_a_stranger_says_about_it_is_replaced() {
    let seen = forwarded(
        &[],
        "X-Forwarded-For: 9.9.9.9\r\nx-forwarded-for: 8.8.8.8\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n",
    );
    assert_eq!(seen.get("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(seen.get("X-Forwarded-Proto"), Some("http"));
    assert_eq!(seen.get("X-Forwarded-Host"), Some("test"));
}

#[test]
fn b04_what_a_trusted_proxy_says_is_kept() {
    let seen = forwarded(
        &["--trusted-proxy", "127.0.0.0/8"],
        "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: front.example\r\n",
    );
    let path = seen.all("X-Forwarded-For").join(", ");
    assert_eq!(path.replace(' ', ""), "9.9.9.9,127.0.0.1");
    assert_eq!(seen.get("X-Forwarded-Proto"), Some("https"));
    assert_eq!(seen.get("X-Forwarded-Host"), Some("front.example"));
}

#[test]
fn b05_trust_ends_at_the_network_named() {
    let seen = forwarded(&["--trusted-proxy", "10.0.0.0/8"], "X-Forwarded-For: 9.9.9.9\r\n");
    assert_eq!(seen.get("X-Forwarded-For"), Some("127.0.0.1"));
}

#[test]
fn b06_via_names_the_protocol_received_and_us_last() {
    let seen = forwarded(&[], "Via: 1.0 fred\r\n");
    let via = seen.all("Via").join(", ");
    let members: Vec<_> = via.split(',').map(str::trim).collect();
    assert_eq!(members.len(), 2, "{via}");
    assert_eq!(members[0], "1.0 fred");
    assert!(members[1].starts_with("1.1 "), "{via}");
}

#[test]
fn b07_every_request_has_an_id_of_its_own() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    (0..50).for_each(|_| drop(client.get("/")));
    let ids: HashSet<_> = origin
        .requests()
        .iter()
        .map(|request| request.head.get("X-Request-Id").expect("an id").to_owned())
        .collect();
    assert_eq!(ids.len(), 50);
    assert!(ids.iter().all(|id| id.len() >= 8), "{ids:?}");
}

#[test]
fn b08_an_id_given_is_honoured_unless_it_is_not_one() {
    assert_eq!(forwarded(&[], "X-Request-Id: my-id.1\r\n").get("X-Request-Id"), Some("my-id.1"));
    let long = format!("X-Request-Id: {}\r\n", "x".repeat(500));
    for bad in ["X-Request-Id: a b\"c\r\n", "X-Request-Id:\r\n", &long] {
        let seen = forwarded(&[], bad);
        let id = seen.get("X-Request-Id").expect("an id");
        assert!(!bad.contains(id), "{id} came of {bad}");
    }
}

#[test]
fn b09_hop_by_hop_fields_end_at_the_hop() {
    let hop_by_hop = "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n\
                      TE: gzip\r\nUpgrade: h2c\r\n";
    let names = ["Keep-Alive", "Proxy-Connection", "Upgrade"];
    let seen = forwarded(&[], hop_by_hop);
    names.iter().for_each(|name| assert!(seen.all(name).is_empty(), "{name} in {seen:?}"));
    assert!(!seen.lists("TE", "gzip"));
    let seen = answered(&[], "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n");
    names.iter().for_each(|name| assert!(seen.all(name).is_empty(), "{name} in {seen:?}"));
}

#[test]
fn b10_what_connection_names_ends_at_the_hop() {
    let fields = "Connection: X-Secret , x-other\r\nX-Secret: 1\r\nX-Other: 2\r\nX-Kept: 3\r\n";
    for seen in [forwarded(&[], fields), answered(&[], fields)] {
        assert!(seen.all("X-Secret").is_empty() && seen.all("X-Other").is_empty(), "{seen:?}");
        assert_eq!(seen.get("X-Kept"), Some("3"));
    }
}

#[test]
fn b11_a_client_cannot_name_our_own_fields_away() {
    let ours = "X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Request-Id, Via, Host";
    let seen = forwarded(&[], &format!("Connection: {ours}\r\nX-Forwarded-For: 9.9.9.9\r\n"));
    assert_eq!(seen.get("X-Forwarded-For"), Some("127.0.0.1"));
    for name in ours.split(", ") {
        assert!(seen.get(name).is_some(), "{name} is gone from {seen:?}");
    }
}

#[test]
fn b12_a_client_cannot_name_the_length_away() {
    let origin = Origin::echoing();
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nConnection: Content-Length\r\n");
    client.send("Content-Length: 5\r\n\r\nhello");
    let answer = client.response();
    match answer.status {
        200 => assert_eq!(origin.request().body, b"hello"),
        status => assert_eq!((status, origin.connections()), (400, 0)),
    }
}

#[test]
fn b13_host_passes_or_is_the_upstreams_own() {
    assert_eq!(forwarded(&[], "").get("Host"), Some("test"));
    assert_eq!(forwarded(&["--host-header", "pass"], "").get("Host"), Some("test"));
    let origin = Origin::named("a");
    let proxy = Proxy::with(&origin, &["--host-header", "upstream"]);
    proxy.client().get("/");
    let seen = origin.request().head;
    assert_eq!(seen.get("Host"), Some(origin.address()));
    assert_eq!(seen.get("X-Forwarded-Host"), Some("test"));
}

#[test]
fn b14_the_backend_is_named_when_asked_for() {
    let origin = Origin::named("a");
    assert_eq!(Proxy::before(&origin).client().get("/").get("X-Backend-Server"), None);
    let answer = Proxy::with(&origin, &["--backend-header"]).client().get("/");
    assert!(answer.get("X-Backend-Server").expect("named").contains(origin.address()));
}

#[test]
fn b15_an_answer_without_a_date_gets_one() {
    let made = answered(&[], "");
    let date = made.get("Date").expect("a date");
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
    let given = "Sun, 06 Nov 1994 08:49:37 GMT";
    assert_eq!(answered(&[], &format!("Date: {given}\r\n")).get("Date"), Some(given));
}

#[test]
fn b16_no_server_of_ours_is_added() {
    assert_eq!(answered(&[], "").get("Server"), None);
    assert_eq!(answered(&[], "Server: theirs\r\n").get("Server"), Some("theirs"));
}

#[test]
fn b17_octets_beyond_ascii_in_values_pass_untouched() {
    let origin = Origin::named("a");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send(b"GET / HTTP/1.1\r\nHost: test\r\nX-Name: caf\xe9 \xff\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let raw = origin.request().head.raw;
    assert!(raw.windows(6).any(|w| w == b"caf\xe9 \xff"), "\"{}\"", raw.escape_ascii());
}

#[test]
fn b18_names_that_some_origins_take_for_ours_do_not_pass() {
    let seen =
        forwarded(&[], "X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_Proto: https\r\nX_Own: 1\r\n");
    assert!(!String::from_utf8_lossy(&seen.raw).contains("6.6.6.6"), "{seen:?}");
    assert!(!String::from_utf8_lossy(&seen.raw).contains("https"), "{seen:?}");
    assert_eq!(seen.get("X_Own"), Some("1"));
}

const CLAIMS: &str = "True-Client-IP: 6.6.6.6\r\nX-Kept: 1\r\ntrue_client.ip: 6.6.6.7\r\n\
                      X-Original-URL: /admin\r\nTrue-Client: 2\r\n";
const SOMEWHERE: [&str; 4] = ["--upstream", "127.0.0.1:9", "--listen", "127.0.0.1:0"];
const TRUSTED_HEADERS: [&str; 2] = ["--trusted-header", "true-client-ip, X-Original-URL"];

#[test]
fn b19_further_claims_of_strangers_are_dropped_where_they_are_named() {
    let seen = forwarded(&TRUSTED_HEADERS, CLAIMS);
    let raw = String::from_utf8_lossy(&seen.raw).into_owned();
    assert!(!raw.contains("6.6.6") && !raw.contains("/admin"), "{raw}");
    assert_eq!((seen.get("X-Kept"), seen.get("True-Client")), (Some("1"), Some("2")));
    let nearer = [&TRUSTED_HEADERS[..], &["--trusted-proxy", "10.0.0.0/8"]].concat();
    assert_eq!(forwarded(&nearer, CLAIMS).get("True-Client-IP"), None);
    assert_eq!(forwarded(&[], CLAIMS).get("True-Client-IP"), Some("6.6.6.6"));
}

#[test]
fn b20_and_kept_where_a_trusted_proxy_says_them() {
    let flags = [&TRUSTED_HEADERS[..], &["--trusted-proxy", "127.0.0.0/8"]].concat();
    let seen = forwarded(&flags, CLAIMS);
    assert_eq!(seen.get("True-Client-IP"), Some("6.6.6.6"));
    assert_eq!(seen.get("X-Original-URL"), Some("/admin"));
}

/// The names of the trailers an origin saw of `CLAIMS`, which came with their head or after it.
fn trailers_through(flags: &[&str], later: bool) -> Vec<String> {
    let origin = Origin::echoing();
    let proxy = Proxy::with(&origin, flags);
    let mut client = proxy.client();
    let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let end = format!("0\r\n{CLAIMS}\r\n");
    if later {
        client.send(head);
        origin.wait_for_connections(1);
        client.send(end);
    } else {
        client.send([head, &end].concat());
    }
    assert_eq!(client.response().status, 200);
    origin.request().trailers.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn b21_trailers_of_strangers_have_none_of_them_either() {
    for later in [false, true] {
        assert_eq!(trailers_through(&TRUSTED_HEADERS, later), ["X-Kept", "True-Client"]);
        let trusting = [&TRUSTED_HEADERS[..], &["--trusted-proxy", "127.0.0.0/8"]].concat();
        assert_eq!(trailers_through(&trusting, later).len(), 5);
    }
}

#[test]
fn b22_what_cgi_takes_for_a_setting_of_its_own_never_passes() {
    for flags in [&[][..], &["--trusted-proxy", "127.0.0.0/8"]] {
        let seen = forwarded(flags, "Proxy: http://6.6.6.6:1\r\nproxy: b\r\nX-Proxy: c\r\n");
        assert_eq!((seen.get("Proxy"), seen.get("X-Proxy")), (None, Some("c")));
    }
}

#[test]
fn b23_x_forwarded_alone_is_a_claim_as_well() {
    assert_eq!(forwarded(&[], "X-Forwarded: for=6.6.6.6\r\n").get("X-Forwarded"), None);
    let trusting = ["--trusted-proxy", "127.0.0.0/8"];
    let seen = forwarded(&trusting, "X-Forwarded: for=6.6.6.6\r\n");
    assert_eq!(seen.get("X-Forwarded"), Some("for=6.6.6.6"));
}

#[test]
fn b24_fields_that_cannot_be_taken_away_are_told_at_the_start() {
    let names = ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "X-*"];
    for name in names.into_iter().chain(["X-Forwarded-For", "Proxy", "a b"]) {
        let end = run(&[&SOMEWHERE[..], &["--trusted-header", name]].concat(), &[]);
        assert_eq!(end.code, Some(2), "{name}: {}", end.stderr);
        assert!(end.stderr.contains("error: --trusted-header: "), "{}", end.stderr);
    }
}
