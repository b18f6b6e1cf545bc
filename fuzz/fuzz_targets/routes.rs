//! Two targets that an origin may take for the same path never take different routes: whether it decodes first or cuts
//! parameters first, merges slashes, or resolves dot segments.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::config::{Action, Listen, Plan, Surroundings, load};
use tidegate_fuzz::http::{Limits, Request};
use tidegate_fuzz::policy::{MatchInput, Router, Scratch, Verdict};
use tidegate_fuzz::settings::HOME;

const ROUTES: [&str; 9] = ["/", "/a", "/a/", "/a/*", "/a/b", "/b/*", "/a%20b", "/%7e/*", "/a/%2B"];

static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let route = |path: &&str| format!("[[route]]\npath = '{path}'\nrespond = 'x'\n");
    let file = HOME.join("routes.toml");
    std::fs::write(&file, ROUTES.iter().map(route).collect::<String>()).expect("a file");
    let around =
        Surroundings { cwd: &HOME, cores: 1, descriptors: 1000, stdout_is_terminal: false };
    match load(["--config".into(), file.into()], [], &around) {
        Ok(Action::Run(plan, _)) => *plan,
        other => panic!("{other:?}"),
    }
});

static ROUTER: LazyLock<Router> = LazyLock::new(|| Router::new(&PLAN, None));

fuzz_target!(|data: &[u8]| {
    let mut targets = data.splitn(2, |octet| *octet == b'\n');
    let (Some(one), Some(other)) = (targets.next(), targets.next()) else { return };
    if views(one).iter().any(|view| views(other).contains(view))
        && let (Some(first), Some(second)) = (found(one), found(other))
    {
        assert_eq!(first, second, "{one:?} {other:?}");
    }
});

/// The verdict on a request for this target; `None`: it is refused.
fn found(target: &[u8]) -> Option<Verdict> {
    let head = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let mut request = Request::default();
    request.read(&head, &Limits::default()).ok()?;
    let listen = &Listen::Any(80);
    let input = MatchInput {
        head: &request,
        bytes: &head,
        method: request.method_text.of(&head),
        listen,
        peer: None,
        secure: false,
        trusted: &[],
        withheld: &[],
        certificate: None,
    };
    match ROUTER.find(&input, &mut Scratch::default()) {
        Verdict::AmbiguousPath => None,
        verdict => Some(verdict),
    }
}

/// What different origins see.
fn views(target: &[u8]) -> [Vec<u8>; 5] {
    let path = target.split(|octet| *octet == b'?').next().unwrap_or_default();
    let plain = decoded(path);
    let cut_first = decoded(&cut(path));
    let cut_last = cut(&plain);
    [plain.clone(), cut_first.clone(), cut_last, resolved(&plain), resolved(&cut_first)]
}

fn decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path;
    while let Some((octet, behind)) = rest.split_first() {
        rest = behind;
        let digits = behind.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) if *octet == b'%' && !digits.unwrap_or_default().starts_with('+') => {
                out.push(value);
                rest = &behind[2..];
            }
            _ => out.push(*octet),
        }
    }
    out
}

/// Without the parameters of segments.
fn cut(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|octet| *octet == b'/');
    let bare = segments.map(|segment| segment.split(|octet| *octet == b';').next().unwrap_or(b""));
    bare.collect::<Vec<_>>().join(&b'/')
}

/// Slashes merged, and dot segments resolved.
fn resolved(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|octet| matches!(octet, b'/' | b'\\')) {
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let mut out = b"/".to_vec();
    out.extend_from_slice(&kept.join(&b'/'));
    if path.ends_with(b"/") && !kept.is_empty() {
        out.push(b'/');
    }
    out
}
