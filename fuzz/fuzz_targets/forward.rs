//! What leaves is read again as exactly one request that means the same, and says of the client only
//! what it may say.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::http::forward::{self, FieldEdits, PathEdits, RequestEdits};
use tidegate_fuzz::http::write::{Full, Writer};
use tidegate_fuzz::http::{Field, Limits, Method, Name, OURS, Progress, Reason, Request, Version};
use tidegate_fuzz::{WITHHELD, countable, folded, is_withheld};

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let flag = |bit: u8| choice & (1 << bit) != 0;
    let mut head = Request::default();
    if head.read(bytes, &Limits::default()) != Ok(Progress::Complete) {
        return;
    }
    let peer =
        if flag(0) { IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)) } else { Ipv6Addr::LOCALHOST.into() };
    let upstream = flag(4) || head.host.is_empty();
    let edits = RequestEdits {
        peer: flag(1).then_some(peer),
        trusted: flag(2),
        withheld: if flag(2) || flag(5) { &[] } else { &WITHHELD },
        fields: FieldEdits::default(),
        path: PathEdits::default(),
        secure: flag(3),
        host: upstream.then_some(b"upstream:1"),
        request_id: b"id",
        upgrade: None,
    };
    let mut buffer = vec![0; 40_000];
    let mut out = Writer::new(&mut buffer);
    forward::request(&mut out, &head, bytes, &edits).expect("room");
    let sent = out.written();
    check(&head, bytes, &edits, sent);
    let mut small = vec![0; sent.len() - 1];
    assert_eq!(forward::request(&mut Writer::new(&mut small), &head, bytes, &edits), Err(Full));
});

fn check(head: &Request, bytes: &[u8], edits: &RequestEdits, sent: &[u8]) {
    let limits = Limits { head: 40_000, fields: 100, target: 10_000 };
    let mut again = Request::default();
    let read = again.read(sent, &limits);
    match read {
        // The fields that are added may be too many for the same limit; the last hop may be done.
        Err(Reason::TooManyFields) if head.fields.len() > 90 => return,
        Err(Reason::MaxForwardsSpent) => return,
        read => assert_eq!(read, Ok(Progress::Complete)),
    }
    assert_eq!(again.len, sent.len(), "one request and no octet more");
    assert_eq!(again.method_text.of(sent), head.method_text.of(bytes));
    assert_eq!(again.framing, head.framing);
    assert_eq!(again.expects_continue, head.expects_continue);
    assert_eq!((again.version, again.persistent), (Version::Http11, true));
    assert_eq!(again.host.of(sent), edits.host.unwrap_or(head.host.of(bytes)));
    let path = match head.path.of(bytes) {
        b"" if head.method == Method::Options => b"*".to_vec(),
        path if path.starts_with(b"/") || path == b"*" => path.to_vec(),
        path => [b"/", path].concat(),
    };
    assert_eq!(again.target.of(sent), path);
    let count = |name| again.fields.iter().filter(|field| field.id == name).count();
    for gone in
        [Name::Connection, Name::KeepAlive, Name::Te, Name::Upgrade, Name::ProxyAuthorization]
    {
        assert_eq!(count(gone), 0);
    }
    assert_eq!((count(Name::Host), count(Name::XRequestId)), (1, 1));
    assert!(countable(&again.fields, sent));
    assert!(count(Name::XForwardedFor) <= 1);
    let mut left = others_left(head, bytes);
    left.retain(|(name, _)| edits.withheld.is_empty() || !is_withheld(name));
    assert_eq!(others(&again.fields, sent), left);
    let ours = [Name::XForwardedFor, Name::XForwardedProto, Name::XForwardedHost];
    for field in &again.fields {
        let name = folded(field.name.of(sent));
        assert_ne!(name, "PROXY", "CGI takes it for a setting");
        let claim = name.starts_with("X_FORWARDED_") || is_claim(&name);
        let own = ours.contains(&field.id) && count(field.id) == 1;
        assert!(edits.trusted || !claim || own, "{name} of somebody who is not trusted");
        assert!(edits.withheld.is_empty() || !is_withheld(name.as_bytes()), "{name} is withheld");
    }
}

/// What a proxy says of its client, besides `X-Forwarded-*`.
fn is_claim(name: &str) -> bool {
    matches!(name, "X_FORWARDED" | "FORWARDED" | "X_REAL_IP")
}

/// The fields that we have no hand in, in order.
fn others<'b>(fields: &[Field], bytes: &'b [u8]) -> Vec<(&'b [u8], &'b [u8])> {
    let others = fields.iter().filter(|field| !field.id.is(OURS));
    others.map(|field| (field.name.of(bytes), field.value.of(bytes))).collect()
}

/// Those that came and are not named by `Connection`; looked up naively.
fn others_left<'b>(head: &Request, bytes: &'b [u8]) -> Vec<(&'b [u8], &'b [u8])> {
    let mut named: Vec<Vec<u8>> = Vec::new();
    for field in head.fields.iter().filter(|field| field.id == Name::Connection) {
        let options = tidegate_fuzz::http::grammar::list(field.value.of(bytes));
        named.extend(options.map(<[u8]>::to_ascii_lowercase));
    }
    let mut fields = others(&head.fields, bytes);
    fields.retain(|(name, _)| !named.contains(&name.to_ascii_lowercase()));
    fields
}
