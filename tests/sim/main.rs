//! The data path on a kernel in memory: the rooms of `src` as they are, but for `io/kernel.rs`.
//!
//! A seed decides everything: who asks what, who answers how, how the way is, what goes wrong and when.
//! Time is virtual and jumps to whatever happens next, so a scenario of a minute takes a millisecond.
//!
//! Laws:
//! - A run is a pure function of its seed. Nothing here reads a clock, an address or a hash of the process.
//! - The core is driven through the front door: a `Seed`, letters, and a kernel to call. Nothing of it is
//!   changed or looked into; what it did is judged by what it sent, counted and wrote down.
//! - The world is stricter than the kernel where that is allowed (cuts, interrupts, any order of events),
//!   and never laxer.
//! - A seed that failed once is a case for ever, at the bottom. So kinds of trouble that came later (`edges`,
//!   `sick`, `gate`, `seal`) have seeds of their own.
//!
//! ```text
//! cargo test --test sim                          some thousand seeds, and those that failed once
//! SIM_SEEDS=100000 cargo test --test sim         more of them; SIM_FIRST=n: from there on
//! SIM_SICK=1 cargo test --test sim               of those seeds the ones that have sick upstreams
//! SIM_SEALED=1 cargo test --test sim             the ones in which somebody speaks TLS, in builds with it
//! SIM_SEED=17 cargo test --test sim              one, aloud
//! ```

#[expect(unused, reason = "only the data path is used")]
#[path = "../../src/base/mod.rs"]
mod base;
#[expect(unused, reason = "only the data path is used")]
#[path = "../../src/config/mod.rs"]
mod config;
#[expect(unused, reason = "only the data path is used")]
#[path = "../../src/http/mod.rs"]
mod http;
#[expect(unused, reason = "only the data path is used")]
mod io;
#[expect(unused, reason = "only the data path is used")]
#[path = "../../src/policy/mod.rs"]
mod policy;
#[expect(unused, reason = "only the data path is used")]
#[path = "../../src/proxy/mod.rs"]
mod proxy;
#[expect(unused, reason = "only the data path is used")]
#[path = "../../src/stats/mod.rs"]
mod stats;
#[cfg(feature = "tls")]
#[expect(unused, reason = "only the data path is used")]
#[path = "../../src/tls/mod.rs"]
mod tls;
#[expect(unused, reason = "only the data path is used")]
#[path = "../../src/upstream/mod.rs"]
mod upstream;

mod book;
mod chance;
mod client;
mod edges;
mod end;
mod evidence;
mod frames;
mod gate;
mod ledger;
mod message;
mod net;
mod octets;
mod origin;
mod porter;
mod press;
mod run;
mod scenario;
#[cfg(feature = "tls")]
mod seal;
#[cfg(not(feature = "tls"))]
#[path = "seal_none.rs"]
mod seal;
mod sick;
mod trace;
mod world;

use std::env;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use run::{Outcome, run};

/// Seeds in a usual run.
const USUAL: u64 = 4000;

/// Seeds that failed once, and what they found. Whoever changes what a seed decides finds others for the
/// same defects: by undoing what mended them.
const FAILED_ONCE: &[(u64, &str)] = &[
    (33, "a head that broke off was read on where the next answer began: a panic"),
    (149, "the same: the status of another answer"),
    (1237, "a request behind a body that is too large was lost, and answers went to others"),
    (17, "what came too early for a tunnel was counted twice"),
    (15454, "an answer of ours in the middle of an interim one"),
    (21401, "a reset that only the upload noticed was taken for the end of an answer"),
    (196_750, "a close that octets not told of yet made a reset, and the answer was lost"),
    (163, "a body whose first octets could not be sent was read as the next requests"),
    (1667, "the same, through a Unix socket"),
    (240, "the same: a refusal of the body came where an answer was waited for"),
    (10823, "the same: what could not be sent kept its buffer without the right to it: a panic"),
    (3022, "an answer refused before any of it had left was taken for begun: the client got none"),
    (64, "a read that stopped at an urgent octet was taken to have emptied the socket"),
    (7223, "the same: splice never gets past such an octet"),
    (6795, "the same, when the mark came while splice was waited with"),
    (156, "a lack of descriptors was counted as a failure of the upstream"),
    (11231, "a replay went to the upstream that had just failed, and so did not reach the other"),
    (2090, "frames that came with a head beyond a buffer were lost on the way into the tunnel"),
    (6835, "a receiver of a tunnel that took nothing more was waited for without an end"),
    (123, "a replay went to an upstream whose breaker its failure had just opened"),
    (
        347,
        "what was sent to a second upstream was not counted when the first one answered meanwhile",
    ),
    (658, "a flight of a TLS handshake that had left in part was never sent whole"),
    (1421, "an end that was announced in one piece with the last octets was waited for"),
];

type Case = (&'static str, fn() -> Vec<String>);

const CASES: &[Case] = &[
    ("sim::the_same_seed_goes_the_same_way", the_same_seed_goes_the_same_way),
    ("sim::seeds_that_failed_once_do_not_fail_again", seeds_that_failed_once_do_not_fail_again),
    ("sim::whatever_goes_wrong_the_promises_are_kept", whatever_goes_wrong_the_promises_are_kept),
];

fn main() -> ExitCode {
    if let Some(seed) = number("SIM_SEED") {
        let Outcome { hash, complaints, .. } = run(seed, true);
        println!("seed {seed}: {hash:016x}\n{}", complaints.join("\n"));
        return ExitCode::from(u8::from(!complaints.is_empty()));
    }
    // The words of whoever runs all tests with one command: names, and switches that mean nothing here.
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let asked = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    std::panic::set_hook(Box::new(|_| {})); // a panic is told with its seed
    let mut failed = 0;
    for (name, case) in CASES.iter().filter(|(name, _)| asked(name)) {
        let complaints = case();
        println!("test {name} ... {}", if complaints.is_empty() { "ok" } else { "FAILED" });
        complaints.iter().for_each(|complaint| println!("    {complaint}"));
        failed += usize::from(!complaints.is_empty());
    }
    println!("\ntest result: {}. {failed} failed", if failed == 0 { "ok" } else { "FAILED" });
    ExitCode::from(u8::from(failed > 0))
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(message::decimal(&text).unwrap_or_else(|_| panic!("{name} is a number")))
}

fn the_same_seed_goes_the_same_way() -> Vec<String> {
    let differ = |seed: &u64| run(*seed, false).hash != run(*seed, false).hash;
    let differing = (0..20).filter(differ);
    differing.map(|seed| format!("seed {seed} went another way")).collect()
}

fn seeds_that_failed_once_do_not_fail_again() -> Vec<String> {
    let told = |(seed, what): &(u64, &str)| {
        let complaints = run(*seed, false).complaints;
        (!complaints.is_empty()).then(|| format!("seed {seed} ({what}): {complaints:?}"))
    };
    FAILED_ONCE.iter().filter_map(told).collect()
}

fn whatever_goes_wrong_the_promises_are_kept() -> Vec<String> {
    let first = number("SIM_FIRST").unwrap_or(0);
    let last = first + number("SIM_SEEDS").unwrap_or(USUAL);
    let only_sick = number("SIM_SICK").is_some();
    let only_sealed = number("SIM_SEALED").is_some();
    let next = AtomicU64::new(first);
    let told = Mutex::new((Vec::new(), vec![0; http::Reason::ALL.len()], 0));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= last {
                return;
            }
            if only_sick && !sick::has(seed) || only_sealed && !seal::has(seed) {
                continue;
            }
            let Outcome { complaints, reasons, .. } = run(seed, false);
            let mut told = told.lock().expect("nobody panics with it");
            told.1.iter_mut().zip(&reasons).for_each(|(sum, n)| *sum += n);
            told.2 += usize::from(!complaints.is_empty());
            if !complaints.is_empty() && told.0.len() < 20 {
                told.0.push(format!("SIM_SEED={seed}: {}", complaints.join("; ")));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let (complaints, reasons, failed) = told.into_inner().expect("nobody panics with it");
    let all = http::Reason::ALL.iter().zip(reasons);
    let met: Vec<_> =
        all.filter(|(_, n)| *n > 0).map(|(why, n)| format!("{} {n}", why.label())).collect();
    println!("{} seeds, {failed} failed; requests ended: {}", last - first, met.join(", "));
    complaints
}
