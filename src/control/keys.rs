//! Keys of signed tokens, fetched and fetched again. Those that were there stay in use while the source is away.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::FutureExt;
use smol::lock::Semaphore;
use smol::{LocalExecutor, Task};

use super::current::Current;
use super::urls::{self, Request};
use crate::client::ClientSecurity;
use crate::policy::gate::{Authenticator, KeySource};
use crate::proxy::Runtime;

/// Octets of a key set.
const SET_MOST: usize = 256 * 1024;
/// Sources that are asked at a time.
const SOURCES: usize = 16;
/// How long a source may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a start or a reload waits for keys.
const WAIT: Duration = Duration::from_secs(2);
/// How often it is looked whether there are other sources, and whether a token has named an unknown key.
const OFTEN: Duration = Duration::from_millis(500);
/// How soon a source that failed is asked again; each failure doubles it, up to its own interval.
const AGAIN: Duration = Duration::from_secs(2);
/// How often a source is asked out of turn at most: anybody can name an unknown key.
const OUT_OF_TURN: Duration = Duration::from_secs(10);

/// Fetches the keys that were never there: whoever comes first should not be the one who finds out.
pub async fn fetch_new(runtime: &Runtime) {
    let asking = Semaphore::new(SOURCES);
    let executor = LocalExecutor::new();
    let fetch_one = |auth: &Arc<Authenticator>| {
        let source = auth.source().filter(|_| !auth.has_keys())?;
        let (auth, asking) = (Arc::clone(auth), &asking);
        let security = urls::security(&source.url, runtime);
        // That there are none is told where they are fetched again.
        Some(executor.spawn(async move { drop(fetch(&auth, &source, &security, asking).await) }))
    };
    let tasks: Vec<Task<()>> = runtime.gates.auths.iter().filter_map(fetch_one).collect();
    let fetched = async {
        for task in tasks {
            task.await;
        }
    };
    let late = async {
        Timer::after(WAIT).await;
    };
    executor.run(fetched.or(late)).await;
}

/// Keys that are fetched as long as this is held.
struct Kept {
    auth: Arc<Authenticator>,
    /// What their source is asked through: another one may find what this one did not.
    security: ClientSecurity,
    _task: Task<()>,
}

/// Fetches the keys that the plan in force needs, for as long as it is held.
pub async fn keep(current: Rc<Current>) {
    let asking = Semaphore::new(SOURCES);
    let executor = LocalExecutor::new();
    let keeping = async {
        let mut kept: Vec<Kept> = Vec::new();
        loop {
            let runtime = current.get();
            let mut before = std::mem::take(&mut kept);
            for auth in &runtime.gates.auths {
                let Some(source) = auth.source() else { continue };
                let security = urls::security(&source.url, &runtime);
                let is_it = |one: &Kept| Arc::ptr_eq(&one.auth, auth) && one.security == security;
                kept.push(match before.iter().position(is_it) {
                    Some(at) => before.swap_remove(at),
                    None => {
                        let keeping = keep_one(Arc::clone(auth), source, security.clone(), &asking);
                        let task = executor.spawn(keeping);
                        Kept { auth: Arc::clone(auth), security, _task: task }
                    }
                });
            }
            drop((runtime, before)); // whoever is not wanted any more is fetched no more
            Timer::after(OFTEN).await;
        }
    };
    executor.run(keeping).await;
}

/// Fetches the keys of one source, again and again.
async fn keep_one(
    auth: Arc<Authenticator>,
    source: KeySource,
    security: ClientSecurity,
    asking: &Semaphore,
) {
    let name = &auth.spec.name;
    let (mut failures, mut out_of_turn) = (0_u32, None);
    let mut wait = if auth.has_keys() { source.refresh } else { Duration::ZERO };
    loop {
        until_due(&auth, wait, &mut out_of_turn).await;
        match fetch(&auth, &source, &security, asking).await {
            Ok(()) => {
                if failures > 0 {
                    tracing::info!(auth = %name, "the keys of signed tokens can be had again");
                }
                (failures, wait) = (0, source.refresh);
            }
            Err(why) => {
                wait = AGAIN.saturating_mul(1 << failures.min(8)).min(source.refresh);
                if failures == 0 {
                    let rest = match auth.has_keys() {
                        true => "the last ones stay in use",
                        false => "no token is good until there are some",
                    };
                    let url = source.url.shown();
                    tracing::warn!(auth = %name, %url, "no keys of signed tokens: {why}; {rest}");
                }
                failures = failures.saturating_add(1);
            }
        }
    }
}

/// Waits for `wait`; less if a token names an unknown key, for the source may have changed its keys.
#[expect(clippy::disallowed_methods, reason = "the control plane has no clock of its own")]
async fn until_due(auth: &Authenticator, wait: Duration, out_of_turn: &mut Option<Instant>) {
    let since = Instant::now();
    loop {
        let left = wait.saturating_sub(since.elapsed());
        if left.is_zero() {
            return;
        }
        let may = out_of_turn.is_none_or(|last| last.elapsed() >= OUT_OF_TURN);
        if may && auth.take_wants_keys() {
            *out_of_turn = Some(Instant::now());
            return;
        }
        Timer::after(left.min(OFTEN)).await;
    }
}

/// Has `auth` go by the keys of its source from now on.
async fn fetch(
    auth: &Authenticator,
    source: &KeySource,
    security: &ClientSecurity,
    asking: &Semaphore,
) -> Result<(), String> {
    let _permit = asking.acquire().await;
    let fields = b"Accept: application/json\r\nAccept-Encoding: identity\r\n";
    let answer = urls::ask(&source.url, security, Request::get(fields), SET_MOST, PATIENCE).await;
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.status {
        200 => auth.set_keys(&answer.body),
        status => Err(format!("the answer has the status {status}")),
    }
}
