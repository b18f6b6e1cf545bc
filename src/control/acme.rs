//! Certificates from an ACME server: ordered when there is none, and again when a third of their time is left. What was
//! issued lies in a folder first, and is then put in force like any other file. One name is ordered after the other.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_io::Timer;
use flume::{Receiver, Sender};
use futures_lite::FutureExt;
use smol::{LocalExecutor, Task};

use super::clock::since_epoch;
use super::current::Current;
use super::tls::{self as linking, served_certificates};
use super::urls;
use crate::acme::{self, Asked, Refused, Response, Store, Terms};
use crate::admin::{AcmeOrders, CurrentView};
use crate::base::{CertificateFacts, digits};
use crate::client::{Answer, ClientSecurity};
use crate::config::{AcmeSpec, AskedUrl, CertificateSpec, UpstreamTlsSpec};
use crate::http::Method;
use crate::proxy::Runtime;
use crate::tls::{self, ChallengeAnswer, Challenges, ClientTls, ShownAnswer};
use crate::upstream::PoolTls;

/// How often it is looked whether other certificates are wanted.
const OFTEN: Duration = Duration::from_secs(1);
/// How often it is looked whether another process has kept one.
const LOOK: Duration = Duration::from_secs(10 * 60);
/// How long an order may take.
const ORDER: Duration = Duration::from_secs(5 * 60);
/// How long one answer may take, and how many octets it may have.
const PATIENCE: Duration = Duration::from_secs(30);
const BODY_MOST: usize = 256 * 1024;
/// How soon an order that failed is tried again; each failure doubles it, up to the most. Servers count failures: some
/// take five in an hour.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5 * 60), Duration::from_secs(6 * 60 * 60));
/// How long a server can have us wait at most.
const RETRY_MOST: Duration = Duration::from_secs(24 * 60 * 60);
/// How soon it is looked again whether another process is done with an order.
const LOCKED: Duration = Duration::from_secs(15);
/// Field lines of each question (RFC 8555 section 6.1).
const FIELDS: &str = concat!("User-Agent: tidegate/", env!("CARGO_PKG_VERSION"), "\r\n");

/// The certificates that can be served of those that are ordered.
///
/// # Errors
/// When there is no place to keep any.
pub fn kept(spec: &AcmeSpec, state: &Path) -> Result<Vec<CertificateSpec>, String> {
    let store = Store::open(state, spec)?;
    let now = since_epoch().as_secs();
    let kept = |name: &String| match usable(&store, name) {
        Ok(found) => found.filter(|(_, facts)| facts.holds(now)).map(|(spec, _)| spec),
        Err(why) => {
            tracing::warn!("{why}: another one is ordered");
            None
        }
    };
    Ok(spec.names.iter().filter_map(kept).collect())
}

/// The certificate that is kept for a name, whatever its dates are.
fn usable(
    store: &Store,
    name: &str,
) -> Result<Option<(CertificateSpec, CertificateFacts)>, String> {
    let Some(kept) = store.certificate(name)? else { return Ok(None) };
    let facts = tls::facts_of(&kept, name)?;
    Ok(Some((kept, facts)))
}

/// When the next certificate of a name is to be ordered, in seconds after the epoch: servers want a third of the time of
/// the one that is kept to be left.
fn renewal_due_at(kept: Option<&CertificateFacts>) -> u64 {
    let due = |facts: &CertificateFacts| {
        facts.not_after.saturating_sub(facts.not_after.saturating_sub(facts.not_before) / 3)
    };
    kept.map_or(0, due)
}

/// How long to wait after so many failures, and what the server said of that.
fn wait_after(failures: u32, retry_after: Option<Duration>) -> Duration {
    let (first, most) = AGAIN;
    let own = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most);
    own.max(retry_after.unwrap_or_default().min(RETRY_MOST))
}

/// What is needed of the process.
pub struct Surroundings {
    /// What is in force.
    pub current: Rc<Current>,
    /// The folder of all that outlives it.
    pub state: Option<PathBuf>,
    /// What clients of ours are shown that look whether a name is ours.
    pub challenges: Arc<Challenges>,
    /// Told when a certificate was kept that is not in force.
    pub issued: Sender<()>,
    /// Where it is told how orders go.
    pub view: Arc<CurrentView>,
}

impl Surroundings {
    /// Clients are shown this certificate.
    fn is_in_force(&self, facts: &CertificateFacts) -> bool {
        let all = served_certificates(&self.current.get().tls);
        all.iter().any(|one| one.facts.fingerprint_sha256 == facts.fingerprint_sha256)
    }
}

/// Orders what the plan in force wants, for as long as it is held.
pub async fn keep(around: Surroundings) {
    let around = Rc::new(around);
    let executor = LocalExecutor::new();
    let keeping = async {
        let mut ordered: Option<(Arc<AcmeSpec>, Task<()>)> = None;
        let (again, retry) = flume::bounded(1);
        let mut loaded = around.view.get().loaded.at;
        loop {
            let wanted = of_plan(&around.current.get());
            if ordered.as_ref().map(|(spec, _)| spec) != wanted.as_ref() {
                drop(ordered.take()); // what it showed is shown no more
                around.view.update(|view| view.acme.retain(|one| is_of(one, wanted.as_deref())));
                ordered = wanted.map(|spec| {
                    let ordering = order_all(Arc::clone(&spec), Rc::clone(&around), retry.clone());
                    (spec, executor.spawn(ordering))
                });
            }
            let read: SystemTime = around.view.get().loaded.at;
            if std::mem::replace(&mut loaded, read) != read {
                let _ = again.try_send(()); // somebody may have put right what was wrong
            }
            Timer::after(OFTEN).await;
        }
    };
    executor.run(keeping).await;
}

fn is_of(one: &AcmeOrders, spec: Option<&AcmeSpec>) -> bool {
    spec.is_some_and(|spec| spec.names.contains(&one.name))
}

fn of_plan(runtime: &Runtime) -> Option<Arc<AcmeSpec>> {
    runtime.plan.listener.tls.as_ref()?.acme.clone()
}

/// Orders what `spec` names, again and again.
async fn order_all(spec: Arc<AcmeSpec>, around: Rc<Surroundings>, retry: Receiver<()>) {
    let orders = loop {
        match Orders::new(&spec, &around) {
            Ok(orders) => break orders,
            Err(why) => tracing::error!("no certificate can be ordered: {why}"),
        }
        Timer::after(LOOK).await;
    };
    orders.run(retry).await;
}

/// What is known of the orders of a name, which begin anew.
fn told(name: &str, before: &[AcmeOrders]) -> AcmeOrders {
    let new = AcmeOrders::new(name);
    match before.iter().find(|one| one.name == name) {
        Some(AcmeOrders { issued, failed, last_error, .. }) => {
            AcmeOrders { issued: *issued, failed: *failed, last_error: last_error.clone(), ..new }
        }
        None => new,
    }
}

/// Orders of one server.
struct Orders {
    spec: Arc<AcmeSpec>,
    around: Rc<Surroundings>,
    store: Store,
    server: PoolTls,
    /// How the order of each name goes, in the order of the settings.
    all: Vec<AcmeOrders>,
}

impl Orders {
    fn new(spec: &Arc<AcmeSpec>, around: &Rc<Surroundings>) -> Result<Orders, String> {
        let state = around.state.as_deref().ok_or(linking::NO_STATE)?;
        let of_server = UpstreamTlsSpec { ca: spec.ca.clone(), ..UpstreamTlsSpec::default() };
        Ok(Orders {
            server: Arc::new(ClientTls::link(&of_server, None)?),
            all: spec.names.iter().map(|name| told(name, &around.view.get().acme)).collect(),
            spec: Arc::clone(spec),
            around: Rc::clone(around),
            store: Store::open(state, spec)?,
        })
    }

    async fn run(mut self, retry: Receiver<()>) {
        loop {
            let next = self.next();
            self.around.view.update(|view| view.acme.clone_from(&self.all));
            let wait = match next {
                Some((place, Duration::ZERO)) => {
                    self.order(place).await;
                    continue;
                }
                Some((_, wait)) => wait.min(LOOK),
                None => LOOK,
            };
            let waited = async {
                Timer::after(wait).await;
                false
            };
            let asked = async { retry.recv_async().await.is_ok() };
            if waited.or(asked).await {
                self.all.iter_mut().filter(|one| !one.server_said).for_each(|one| one.again_at = 0);
            }
        }
    }

    /// The name that is to be ordered next, by its place, and how long that has time.
    fn next(&mut self) -> Option<(usize, Duration)> {
        let now = since_epoch();
        let mut is_outdated = false;
        for one in &mut self.all {
            let kept = usable(&self.store, &one.name).ok().flatten().map(|(_, facts)| facts);
            one.due_at = renewal_due_at(kept.as_ref()).max(one.again_at);
            is_outdated |= kept
                .is_some_and(|kept| kept.holds(now.as_secs()) && !self.around.is_in_force(&kept));
        }
        if is_outdated {
            let _ = self.around.issued.try_send(()); // full: it is known already
        }
        let left = |one: &AcmeOrders| Duration::from_secs(one.due_at).saturating_sub(now);
        self.all.iter().map(left).enumerate().min_by_key(|(_, left)| *left)
    }

    /// Orders the certificate of one name, and writes down how that went.
    async fn order(&mut self, place: usize) {
        let name = self.all[place].name.clone();
        let outcome = self.ordered(&name).await;
        let now = since_epoch().as_secs();
        let one = &mut self.all[place];
        match outcome {
            Ok(None) => one.again_at = now + LOCKED.as_secs(),
            Ok(Some(facts)) => {
                tracing::info!(
                    name,
                    days_left = facts.days_left(now),
                    issuer = facts.issuer,
                    "a certificate was issued"
                );
                (one.issued, one.failures, one.again_at) = (one.issued + 1, 0, 0);
                (one.last_error, one.server_said) = (None, false);
            }
            Err(Refused { why, retry_after }) => {
                (one.failed, one.failures) = (one.failed + 1, one.failures.saturating_add(1));
                let wait = wait_after(one.failures, retry_after);
                tracing::error!(name, again_in = ?wait, "no certificate was issued: {why}");
                one.again_at = now + wait.as_secs();
                one.server_said = retry_after.is_some();
                one.last_error = Some((now, why));
            }
        }
    }

    /// The certificate of `name`, kept; `None`: another process is at it, or was.
    async fn ordered(&self, name: &str) -> Result<Option<CertificateFacts>, Refused> {
        let Some(_lock) = self.store.lock()? else { return Ok(None) };
        let kept = usable(&self.store, name).ok().flatten().map(|(_, facts)| facts);
        if since_epoch().as_secs() < renewal_due_at(kept.as_ref()) {
            return Ok(None);
        }
        let AcmeSpec { directory, contact, challenge, binding, .. } = &*self.spec;
        let account = self.store.account()?;
        tracing::info!(name, directory = directory.shown(), "ordering a certificate");
        let terms = Terms {
            directory: &directory.text,
            account: &account,
            contact: contact.as_deref(),
            name,
            challenge: *challenge,
            binding: binding.as_ref(),
        };
        let mut server = Server { orders: self, shown: None };
        let late = async {
            Timer::after(ORDER).await;
            Err(Refused::new(format!("there is none after {ORDER:?}")))
        };
        let issued = acme::order(&mut server, terms).or(late).await?;
        let facts = tls::facts_of(&self.store.preview(name, &issued), name)
            .map_err(|why| format!("what the server issued cannot be used: {why}"))?;
        if since_epoch().as_secs() >= renewal_due_at(Some(&facts)) {
            return Err(Refused::new("what the server issued is to be renewed already"));
        }
        self.store.keep(name, &issued)?;
        Ok(Some(facts))
    }
}

/// The server, as an order sees it.
struct Server<'o> {
    orders: &'o Orders,
    shown: Option<ShownAnswer>,
}

impl acme::World for Server<'_> {
    async fn ask(&mut self, url: &str, asked: Asked<'_>) -> Result<Response, String> {
        let url = AskedUrl::read(url).ok_or("the server names a URL that cannot be asked")?;
        let security: ClientSecurity =
            linking::security(url.secure, None, url.host(), Some(&self.orders.server));
        let (method, body) = match asked {
            Asked::Get => (Method::Get, ""),
            Asked::Head => (Method::Head, ""),
            Asked::Signed(message) => (Method::Post, message),
        };
        let request = urls::Request {
            method,
            fields: FIELDS.as_bytes(),
            content_type: "application/jose+json",
            body,
        };
        let answer = urls::ask(&url, &security, request, BODY_MOST, PATIENCE).await;
        answer.map(response).map_err(|error| format!("{}: {error}", url.shown()))
    }

    async fn wait(&mut self, time: Duration) {
        Timer::after(time).await;
    }

    fn show(&mut self, answer: ChallengeAnswer) {
        self.shown = None; // before the next one: what goes takes what is shown away
        self.shown = Some(self.orders.around.challenges.show(answer));
    }
}

fn response(answer: Answer) -> Response {
    let field = |name: &str| {
        let (_, value) = answer.fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(value).trim().to_owned())
    };
    let seconds = |text: String| digits(&text).map(Duration::from_secs);
    Response {
        status: answer.status,
        location: field("Location"),
        nonce: field("Replay-Nonce"),
        retry_after: field("Retry-After").and_then(seconds),
        body: answer.body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_the_time_is_left_at_a_renewal() {
        for (not_before, not_after, expected) in
            [(0, 90, 60), (100, 130, 120), (7, 7, 7), (9, 7, 7)]
        {
            let facts = CertificateFacts {
                names: Vec::new(),
                issuer: String::new(),
                not_before,
                not_after,
                fingerprint_sha256: String::new(),
            };
            assert_eq!(renewal_due_at(Some(&facts)), expected);
        }
        assert_eq!(renewal_due_at(None), 0);
    }

    #[test]
    fn each_failure_waits_longer_and_the_server_longest() {
        const MINUTE: u64 = 60;
        for (failures, retry_after, minutes) in [
            (1, None, 5),
            (2, None, 10),
            (5, None, 80),
            (8, None, 360),
            (u32::MAX, None, 360),
            (1, Some(1), 5),
            (1, Some(90), 90),
            (1, Some(u64::MAX / MINUTE), 24 * 60),
        ] {
            let retry_after = retry_after.map(|n| Duration::from_secs(n * MINUTE));
            let expected = Duration::from_secs(minutes * MINUTE);
            assert_eq!(wait_after(failures, retry_after), expected, "{failures} {retry_after:?}");
        }
    }

    #[test]
    fn fields_of_an_answer_are_found_whatever_their_case() {
        let fields = [("replay-nonce", "n"), ("LOCATION", "https://a/1"), ("Retry-After", "7")];
        let answer = Answer {
            status: 201,
            fields: fields.map(|(name, value)| (name.into(), value.into())).into(),
            body: b"x".to_vec(),
        };
        let found = response(answer.clone());
        assert_eq!(
            (found.nonce.as_deref(), found.location.as_deref()),
            (Some("n"), Some("https://a/1"))
        );
        assert_eq!(found.retry_after, Some(Duration::from_secs(7)));
        let odd = Answer { fields: vec![("Retry-After".into(), b"soon".into())], ..answer };
        assert_eq!(response(odd).retry_after, None);
    }
}
