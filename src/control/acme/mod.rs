//! Our ACME client: orders a certificate when there is none, and the next one in time. What was issued lies in a folder
//! first, and is then put in force like any other file. One name is ordered after the other.
//!
//! The files: `schedule` (when), `server` (who is asked).

mod schedule;
mod server;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use flume::{Receiver, Sender};
use futures_lite::FutureExt;
use smol::{LocalExecutor, Task};

use super::clock::since_epoch;
use super::current::Current;
use super::tls::{NO_STATE, acme_server_tls, served_certificates};
use crate::acme::{self, OrderError, OrderSpec, Store};
use crate::admin::CurrentView;
use crate::base::CertificateFacts;
use crate::config::{AcmeSpec, CertificateSpec};
use crate::tls::{self, Challenges, Served};
use crate::upstream::PoolTls;
use schedule::{Schedule, first_due, renewal_due_at};
use server::Server;

/// How often it is looked whether the plan wants other certificates.
const PLAN_LOOK: Duration = Duration::from_secs(1);
/// How often it is looked whether another process has kept one.
const STORE_LOOK: Duration = Duration::from_secs(10 * 60);
/// How long an order may take.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The certificates in the folder that can be served. What is `served` already goes on until something better is there:
/// though it has expired, and though it is of the server that was asked before. At a start, which has `None` there, what
/// has expired is served as well.
///
/// # Errors
/// When there can be no folder.
pub fn stored(
    spec: &AcmeSpec,
    state: &Path,
    served: Option<&Served>,
) -> Result<Vec<CertificateSpec>, String> {
    let store = Store::open(state, spec)?;
    let now = since_epoch().as_secs();
    let counts = |facts: &CertificateFacts| {
        facts.holds(now) || served.is_none_or(|served| served.has_certificate(facts))
    };
    let stored = |name: &String| {
        let kept = read(&store, name).unwrap_or_else(|why| {
            tracing::warn!("{why}: another one is to be ordered");
            None
        });
        let kept = kept.filter(|(_, facts)| counts(facts));
        let (spec, _) = kept.or_else(|| {
            let mut others = store.others().filter_map(|other| read(&other, name).ok().flatten());
            others.find(|(_, facts)| served.is_some_and(|served| served.has_certificate(facts)))
        })?;
        Some(spec)
    };
    Ok(spec.names.iter().filter_map(stored).collect())
}

/// The certificate that is kept for a name.
fn read(store: &Store, name: &str) -> Result<Option<(CertificateSpec, CertificateFacts)>, String> {
    let Some(kept) = store.certificate(name)? else { return Ok(None) };
    let facts = tls::facts_of(&kept, name)?;
    Ok(Some((kept, facts)))
}

/// What it says, if it is any good.
fn facts_of_kept(store: &Store, name: &str) -> Option<CertificateFacts> {
    read(store, name).ok().flatten().map(|(_, facts)| facts)
}

/// What the client has of the process.
pub struct Context {
    /// What is in force.
    pub current: Rc<Current>,
    /// The folder of all that outlives the process.
    pub state: Option<PathBuf>,
    /// Where the answers to challenges are shown.
    pub challenges: Arc<Challenges>,
    /// Told when a certificate is kept that is not in force.
    pub issued: Sender<()>,
    /// Where it is told how orders go.
    pub view: Arc<CurrentView>,
}

impl Context {
    /// What the plan in force wants.
    fn wanted(&self) -> Option<Arc<AcmeSpec>> {
        self.current.get().plan.listener.tls.as_ref()?.acme.clone()
    }

    /// Clients are shown this certificate.
    fn is_in_force(&self, facts: &CertificateFacts) -> bool {
        let all = served_certificates(&self.current.get().tls);
        all.iter().any(|one| one.facts.fingerprint_sha256 == facts.fingerprint_sha256)
    }
}

/// Orders what the plan in force wants, for as long as it is held.
pub async fn run(context: Context) {
    let context = Rc::new(context);
    let executor = LocalExecutor::new();
    let running = async {
        let schedules = Rc::default();
        let mut client: Option<(Arc<AcmeSpec>, Task<()>)> = None;
        let (reload, reloaded) = flume::bounded(1);
        let mut loaded_at = context.view.get().loaded.at;
        loop {
            let wanted = context.wanted();
            if client.as_ref().map(|(spec, _)| spec) != wanted.as_ref() {
                let before = client.take().map(|(spec, _)| spec); // what it shows is shown no more
                adapt(&schedules, before.as_deref(), wanted.as_deref());
                publish(&context, &schedules.borrow());
                while reloaded.try_recv().is_ok() {} // what begins now has heard of it
                client = wanted.map(|spec| {
                    let (context, schedules) = (Rc::clone(&context), Rc::clone(&schedules));
                    let one = run_client(Arc::clone(&spec), context, schedules, reloaded.clone());
                    (spec, executor.spawn(one))
                });
            }
            Timer::after(PLAN_LOOK).await;
            let read_at = context.view.get().loaded.at;
            if std::mem::replace(&mut loaded_at, read_at) != read_at {
                let _ = reload.try_send(()); // full: it is known already
            }
        }
    };
    executor.run(running).await;
}

/// The schedules of the names, in order.
type Schedules = RefCell<Vec<Schedule>>;

/// Has a schedule for each name that is wanted. What is known of one stays, unless another server is asked for it.
fn adapt(schedules: &Schedules, before: Option<&AcmeSpec>, wanted: Option<&AcmeSpec>) {
    let directory = |spec: Option<&AcmeSpec>| spec.map(|spec| spec.directory.text.clone());
    let known = match directory(before) == directory(wanted) {
        true => schedules.take(),
        false => Vec::new(),
    };
    let schedule = |name: &String| {
        let known = known.iter().find(|one| one.status.name == *name);
        known.cloned().unwrap_or_else(|| Schedule::new(name))
    };
    let names = wanted.iter().flat_map(|spec| &spec.names);
    schedules.replace(names.map(schedule).collect());
}

fn publish(context: &Context, schedules: &[Schedule]) {
    let all = schedules.iter().map(|one| one.status.clone()).collect();
    context.view.update(|view| view.acme = all);
}

/// Orders what `spec` names, again and again.
async fn run_client(
    spec: Arc<AcmeSpec>,
    context: Rc<Context>,
    schedules: Rc<Schedules>,
    reloaded: Receiver<()>,
) {
    loop {
        match Client::new(&spec, &context, &schedules) {
            Ok(client) => client.run(&reloaded).await,
            Err(why) => {
                tracing::error!("no certificate can be ordered: {why}");
                let now = since_epoch().as_secs();
                for one in &mut *schedules.borrow_mut() {
                    one.status.last_error = Some((now, why.clone()));
                    one.status.next_order_at = Some(now + STORE_LOOK.as_secs());
                }
                publish(&context, &schedules.borrow());
                wait(STORE_LOOK, &reloaded).await;
            }
        }
    }
}

/// Waits for that time, or until settings were read anew. `true`: they were.
async fn wait(time: Duration, reloaded: &Receiver<()>) -> bool {
    let waited = async {
        Timer::after(time).await;
        false
    };
    let reload = async { reloaded.recv_async().await.is_ok() };
    waited.or(reload).await
}

/// The client of one server.
struct Client<'c> {
    spec: &'c AcmeSpec,
    context: &'c Context,
    schedules: &'c Schedules,
    store: Store,
    server_tls: PoolTls,
}

impl<'c> Client<'c> {
    fn new(
        spec: &'c AcmeSpec,
        context: &'c Context,
        schedules: &'c Schedules,
    ) -> Result<Client<'c>, String> {
        let state = context.state.as_deref().ok_or(NO_STATE)?;
        let (store, server_tls) = (Store::open(state, spec)?, acme_server_tls(spec)?);
        Ok(Client { spec, context, schedules, store, server_tls })
    }

    async fn run(&self, reloaded: &Receiver<()>) {
        loop {
            let next = self.next();
            publish(self.context, &self.schedules.borrow());
            let now = since_epoch();
            let left = |due: u64| Duration::from_secs(due).saturating_sub(now);
            match next {
                Some((place, due)) if left(due).is_zero() => self.renew(place).await,
                _ => {
                    let time = next.map_or(STORE_LOOK, |(_, due)| left(due).min(STORE_LOOK));
                    if wait(time, reloaded).await {
                        self.schedules.borrow_mut().iter_mut().for_each(Schedule::note_reload);
                    }
                }
            }
        }
    }

    /// The name whose order is due first, by its place, and when that is. What is kept by then is put in force.
    fn next(&self) -> Option<(usize, u64)> {
        let now = since_epoch().as_secs();
        let mut is_outdated = false;
        let mut schedules = self.schedules.borrow_mut();
        let due = schedules.iter_mut().map(|one| {
            let kept = facts_of_kept(&self.store, &one.status.name);
            is_outdated |= kept
                .as_ref()
                .is_some_and(|kept| kept.holds(now) && !self.context.is_in_force(kept));
            let due = one.due_at(kept.as_ref());
            one.status.next_order_at = Some(due).filter(|due| *due > now);
            due
        });
        let next = first_due(due);
        if is_outdated {
            let _ = self.context.issued.try_send(()); // full: it is known already
        }
        next
    }

    /// Orders the next certificate of a name, and notes what came of it.
    async fn renew(&self, place: usize) {
        let name = self.schedules.borrow()[place].status.name.clone();
        let outcome = self.obtain(&name).await;
        let now = since_epoch().as_secs();
        let schedules = &mut *self.schedules.borrow_mut();
        let schedule = &mut schedules[place];
        match outcome {
            Ok(None) => schedule.note_locked(now),
            Ok(Some(facts)) => {
                schedule.note_issued(now);
                let (days_left, issuer) = (facts.days_left(now), &*facts.issuer);
                tracing::info!(name, days_left, issuer, "a certificate was issued");
            }
            Err(error) => {
                let again_in = schedule.note_failure(&error, now);
                if error.is_for_all {
                    let failed = schedule.clone();
                    schedules.iter_mut().for_each(|other| other.note_failure_of(&failed));
                }
                let kept = facts_of_kept(&self.store, &name).filter(|kept| kept.holds(now));
                match kept.map(|kept| kept.days_left(now)) {
                    Some(days_left) => tracing::warn!(
                        name,
                        ?again_in,
                        days_left,
                        "no certificate was issued: {}",
                        error.why
                    ),
                    None => {
                        tracing::error!(
                            name,
                            ?again_in,
                            "no certificate was issued: {}",
                            error.why
                        );
                    }
                }
            }
        }
    }

    /// A new certificate of `name`, kept; `None`: another process is at it, or was.
    async fn obtain(&self, name: &str) -> Result<Option<CertificateFacts>, OrderError> {
        let Some(_lock) = self.store.lock()? else { return Ok(None) };
        let is_due = |kept: &CertificateFacts| renewal_due_at(kept) <= since_epoch().as_secs();
        if facts_of_kept(&self.store, name).is_some_and(|kept| !is_due(&kept)) {
            return Ok(None);
        }
        let AcmeSpec { directory, contact, challenge, binding, .. } = self.spec;
        self.store.can_save(name)?;
        let account = self.store.account()?;
        tracing::info!(name, directory = directory.shown(), "ordering a certificate");
        let spec = OrderSpec {
            directory: &directory.text,
            account: &account,
            contact: contact.as_deref(),
            binding: binding.as_ref(),
            name,
            challenge: *challenge,
        };
        let mut server = Server::new(&self.server_tls, &self.context.challenges);
        let late = async {
            Timer::after(ORDER_TIMEOUT).await;
            Err(OrderError::new(format!("the order did not end within {ORDER_TIMEOUT:?}")))
        };
        let issued = acme::order(&mut server, spec).or(late).await?;
        let facts = tls::facts_of(&issued.certificate(), name)
            .map_err(|why| format!("what was issued cannot be used: {why}"))?;
        if is_due(&facts) {
            return Err(OrderError::new(
                "what was issued is to be renewed already: is our clock right?",
            ));
        }
        self.store.save(name, &issued)?;
        Ok(Some(facts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AcmeChallenge, AskedUrl};

    fn spec(names: &[&str], directory: &str) -> AcmeSpec {
        AcmeSpec {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            directory: AskedUrl::read(directory).unwrap(),
            contact: None,
            challenge: AcmeChallenge::Http01,
            ca: None,
            binding: None,
        }
    }

    #[test]
    fn what_is_known_of_a_name_stays_while_the_server_does() {
        let schedules = Schedules::default();
        let [one, two] = ["https://a/", "https://b/"];
        let first = spec(&["a", "b"], one);
        adapt(&schedules, None, Some(&first));
        schedules.borrow_mut()[1].note_issued(0);
        for (before, wanted, expected) in [
            (Some(&first), spec(&["b", "c"], one), &[("b", 1), ("c", 0)][..]),
            (Some(&first), spec(&["b"], two), &[("b", 0)]),
            (None, spec(&["b"], one), &[("b", 0)]),
        ] {
            adapt(&schedules, before, Some(&wanted));
            let schedules = schedules.borrow();
            let found = schedules.iter().map(|one| (&*one.status.name, one.status.issued));
            assert_eq!(found.collect::<Vec<_>>(), expected);
        }
        adapt(&schedules, Some(&first), None);
        assert!(schedules.borrow().is_empty());
    }
}
