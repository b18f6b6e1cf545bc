//! Keys of signed tokens, fetched and fetched again. Those that were there stay in use while the source is away.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::FutureExt;

use super::current::Current;
use crate::client::{self, Question};
use crate::http::Method;
use crate::policy::gate::{Authenticator, KeySource};
use crate::proxy::Runtime;
use crate::upstream::resolve::resolve;

/// How often it is looked whether keys are due.
const OFTEN: Duration = Duration::from_millis(500);
/// How soon a source that failed is asked again; each failure doubles it, up to its own interval.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a source may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a start or a reload waits for keys.
const WAIT: Duration = Duration::from_secs(2);

/// Fetches the keys that were never there: whoever comes first should not be the one who finds out.
pub async fn fetch_new(runtime: &Runtime) {
    let new = |auth: &&Arc<Authenticator>| !auth.has_keys();
    for auth in runtime.gates.auths.iter().filter(new) {
        let Some(source) = auth.source() else { continue };
        let fetched = async { fetch(&source).await.and_then(|set| auth.set_keys(&set)) };
        let late = async {
            Timer::after(WAIT).await;
            Err("it does not answer".to_owned())
        };
        // That there are none is told where they are fetched again.
        let _ = fetched.or(late).await;
    }
}

/// Someone whose keys are fetched.
struct Fetched {
    auth: Arc<Authenticator>,
    due: Instant,
    /// Failures since the last time that it went well.
    failures: u32,
}

/// Fetches the keys that the plan in force needs, for as long as it is held.
#[expect(clippy::disallowed_methods, reason = "the control plane has no clock of its own")]
pub async fn keep(current: Rc<Current>) {
    let mut all: Vec<Fetched> = Vec::new();
    loop {
        let now = Instant::now();
        let runtime = current.get();
        let wanted = runtime.gates.auths.iter().filter(|auth| auth.source().is_some());
        let wanted: Vec<&Arc<Authenticator>> = wanted.collect();
        all.retain(|one| wanted.iter().any(|auth| Arc::ptr_eq(auth, &one.auth)));
        for auth in wanted {
            if !all.iter().any(|one| Arc::ptr_eq(auth, &one.auth)) {
                let wait = auth.source().filter(|_| auth.has_keys()).map(|source| source.refresh);
                let due = now + wait.unwrap_or_default();
                all.push(Fetched { auth: Arc::clone(auth), due, failures: 0 });
            }
        }
        for one in all.iter_mut().filter(|one| one.due <= now) {
            let Some(source) = one.auth.source() else { continue };
            let auth = &one.auth.spec.name;
            match fetch(&source).await.and_then(|set| one.auth.set_keys(&set)) {
                Ok(()) => {
                    if one.failures > 0 {
                        tracing::info!(%auth, "the keys of signed tokens can be had again");
                    }
                    (one.failures, one.due) = (0, now + source.refresh);
                }
                Err(why) => {
                    let wait = AGAIN.saturating_mul(1 << one.failures.min(8)).min(source.refresh);
                    let url = &source.url.text;
                    if one.failures == 0 {
                        let kept = "those that there are stay in use";
                        tracing::warn!(%auth, %url, "no keys of signed tokens: {why}; {kept}");
                    }
                    one.failures = one.failures.saturating_add(1);
                    one.due = now + wait;
                }
            }
        }
        drop(runtime);
        Timer::after(OFTEN).await;
    }
}

/// The octets of a key set.
async fn fetch(KeySource { url, .. }: &KeySource) -> Result<Vec<u8>, String> {
    let addresses = resolve(&url.place).await.map_err(|error| error.to_string())?;
    let address = addresses.first().ok_or("its name has no address")?;
    let question = Question {
        method: Method::Get,
        target: &url.target,
        host: &url.authority,
        fields: b"Accept: application/json\r\n",
        body: "",
    };
    let answer = client::ask(address, question, PATIENCE).await;
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.status {
        200 => Ok(answer.body),
        status => Err(format!("the answer has the status {status}")),
    }
}
