//! Our ACME client: orders a certificate when there is none, and the next one in time. What was issued lies in a folder
//! first, and is then put in force like any other file. One name is ordered after the other.
//!
//! The files: `schedule` (when), `choice` (which one is served), `server` (who is asked).

mod choice;
mod schedule;
mod server;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
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
use super::tls::{NO_STATE, acme_server_tls};
use crate::acme::{self, OrderError, OrderSpec, Store};
use crate::admin::CurrentView;
use crate::base::CertificateFacts;
use crate::config::{AcmeSpec, CertificateSpec};
use crate::tls::{self, Challenges, Served};
use crate::upstream::PoolTls;
use choice::{servable, verdict};
use schedule::{Schedule, first_due, renewal_due_at};
use server::Server;

/// How often it is looked whether the plan wants other certificates.
const PLAN_LOOK: Duration = Duration::from_secs(1);
/// How often it is looked whether another process has stored one.
const STORE_LOOK: Duration = Duration::from_secs(10 * 60);
/// How long an order may take.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Schedules of names that are not wanted now.
const REMEMBERED_MOST: usize = 1000;

/// The certificates in the folder that are served, by what is `served` already; `None`: nothing, this is the start.
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
    let is_served = served.map(|served| |facts: &CertificateFacts| served.has_certificate(facts));
    let is_served = is_served.as_ref().map(|is_served| is_served as &dyn Fn(&_) -> bool);
    let stored = |name: &String| {
        let own = read(&store, name).unwrap_or_else(|why| {
            tracing::warn!("{why}: another one is to be ordered");
            None
        });
        // Their folders are looked into for those names alone that need it.
        let of_other = |other: Store| read(&other, name).ok().flatten();
        servable(own, || store.others().filter_map(of_other).collect(), is_served, now)
    };
    Ok(spec.names.iter().filter_map(stored).collect())
}

/// The certificate that is stored for a name, and what it says.
fn read(store: &Store, name: &str) -> Result<Option<(CertificateSpec, CertificateFacts)>, String> {
    let Some(stored) = store.certificate(name)? else { return Ok(None) };
    let facts = tls::facts_of(&stored, name)?;
    Ok(Some((stored, facts)))
}

/// What it says, if it is any good.
fn stored_facts(store: &Store, name: &str) -> Option<CertificateFacts> {
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
    /// Told when a certificate is stored that is not in force.
    pub stored: Sender<()>,
    /// Where it is told how orders go.
    pub view: Arc<CurrentView>,
}

impl Context {
    /// What the plan in force wants.
    fn wanted(&self) -> Option<Arc<AcmeSpec>> {
        self.current.get().plan.listener.tls.as_ref()?.acme.clone()
    }

    /// The fingerprints of the certificates that are in force for clients.
    fn in_force(&self) -> HashSet<String> {
        let runtime = self.current.get();
        let all = runtime.tls.listener.iter().flat_map(|tls| &tls.certificates);
        all.map(|facts| facts.fingerprint_sha256.clone()).collect()
    }
}

/// Orders what the plan in force wants, for as long as it is held.
pub async fn run(context: Context) {
    let context = Rc::new(context);
    let executor = LocalExecutor::new();
    let running = async {
        let schedules = Rc::new(Schedules::default());
        let mut client: Option<(Arc<AcmeSpec>, Task<()>)> = None;
        let (reload, reloaded) = flume::bounded(1);
        let mut loaded_at = context.view.get().loaded.at;
        loop {
            let wanted = context.wanted();
            if client.as_ref().map(|(spec, _)| spec) != wanted.as_ref() {
                let before = match client.take() {
                    Some((spec, task)) => {
                        task.cancel().await; // what it holds is free then
                        Some(spec)
                    }
                    None => None,
                };
                schedules.adapt(before.as_deref(), wanted.as_deref());
                publish(&context, &schedules);
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

/// When what is ordered.
#[derive(Default)]
struct Schedules {
    /// Of the names that are wanted, in order.
    names: RefCell<Vec<Schedule>>,
    /// Of a name that was not wanted before: it waits for what all wait for.
    new: RefCell<Schedule>,
    /// The same of what was wanted before, by directory and name; `new` has no name. A change there and back is to
    /// forget nothing.
    before: RefCell<HashMap<(String, String), Schedule>>,
}

impl Schedules {
    /// Has a schedule for each name that is wanted. It is tried anew: somebody may have put right what was wrong.
    fn adapt(&self, before: Option<&AcmeSpec>, wanted: Option<&AcmeSpec>) {
        let key = |spec: &AcmeSpec, name: &str| (spec.directory.text.clone(), name.to_owned());
        let (names, new) = (self.names.take(), self.new.take());
        let mut known = self.before.borrow_mut();
        if let Some(spec) = before {
            let all = names.into_iter().chain([new]);
            known.extend(all.map(|one| (key(spec, &one.status.name), one)));
        }
        let now = since_epoch().as_secs();
        if known.len() > REMEMBERED_MOST {
            known.retain(|_, one| one.is_waiting(now));
        }
        if known.len() > REMEMBERED_MOST {
            known.clear();
        }
        let Some(spec) = wanted else { return };
        let new = known.remove(&key(spec, "")).unwrap_or_default();
        let schedule = |name: &String| {
            let known = known.remove(&key(spec, name));
            let mut schedule = known.unwrap_or_else(|| new.for_name(name));
            schedule.note_reload();
            schedule
        };
        self.names.replace(spec.names.iter().map(schedule).collect());
        self.new.replace(new);
    }
}

fn publish(context: &Context, schedules: &Schedules) {
    let all = schedules.names.borrow().iter().map(|one| one.status.clone()).collect();
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
                for one in &mut *schedules.names.borrow_mut() {
                    one.status.last_error = Some((now, why.clone()));
                    one.status.next_order_at = Some(now + STORE_LOOK.as_secs());
                }
                publish(&context, &schedules);
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

/// What is to be done next.
enum Next {
    /// The certificate of the name at this place is ordered.
    Order(usize),
    /// Nothing, for so long.
    Wait(Duration),
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
            publish(self.context, self.schedules);
            match next {
                Next::Order(place) => self.renew(place).await,
                Next::Wait(time) => {
                    if wait(time, reloaded).await {
                        self.schedules
                            .names
                            .borrow_mut()
                            .iter_mut()
                            .for_each(Schedule::note_reload);
                    }
                }
            }
        }
    }

    /// What is to be done next. What is stored by then is put in force, if it is not and holds.
    fn next(&self) -> Next {
        let now = since_epoch();
        let (in_force, mut is_outdated) = (self.context.in_force(), false);
        let mut wake_at = now + STORE_LOOK;
        let mut schedules = self.schedules.names.borrow_mut();
        let due = schedules.iter_mut().map(|one| {
            let stored = stored_facts(&self.store, &one.status.name);
            if let Some(stored) = &stored
                && !in_force.contains(&stored.fingerprint_sha256)
            {
                is_outdated |= stored.holds(now.as_secs());
                // A clock that is a little slow is not to cost more than that.
                let begins = Duration::from_secs(stored.not_before);
                wake_at = if begins > now { wake_at.min(begins) } else { wake_at };
            }
            let due = one.due_at(stored.as_ref(), now.as_secs());
            one.status.next_order_at = Some(due).filter(|due| *due > now.as_secs());
            due
        });
        let first = first_due(due);
        if is_outdated {
            let _ = self.context.stored.try_send(()); // full: it is known already
        }
        match first.map(|(place, due)| (place, Duration::from_secs(due))) {
            Some((place, due)) if due <= now => Next::Order(place),
            first => {
                let due = first.map_or(wake_at, |(_, due)| due);
                Next::Wait(due.min(wake_at).saturating_sub(now))
            }
        }
    }

    /// Orders the next certificate of a name, and notes what came of it.
    async fn renew(&self, place: usize) {
        let name = self.schedules.names.borrow()[place].status.name.clone();
        let outcome = self.obtain(&name).await;
        let now = since_epoch().as_secs();
        let schedules = &mut *self.schedules.names.borrow_mut();
        let schedule = &mut schedules[place];
        match outcome {
            Ok(None) => schedule.note_locked(now),
            Ok(Some(facts)) => {
                schedule.note_issued(&facts, now);
                let (days_left, issuer) = (facts.days_left(now), &*facts.issuer);
                tracing::info!(name, days_left, issuer, "a certificate was issued");
            }
            Err(error) => {
                let stored = stored_facts(&self.store, &name);
                let again_in = schedule.note_failure(&error, stored.as_ref(), now);
                if error.is_for_all {
                    let new = &mut *self.schedules.new.borrow_mut();
                    let all = schedules.iter_mut().chain([new]);
                    all.for_each(|other| other.note_failure_of_all(&error, now));
                }
                let days_left =
                    stored.filter(|stored| stored.holds(now)).map(|one| one.days_left(now));
                let OrderError { why, .. } = error;
                match days_left {
                    Some(days_left) => {
                        tracing::warn!(
                            name,
                            ?again_in,
                            days_left,
                            "no certificate was issued: {why}"
                        );
                    }
                    None => tracing::error!(name, ?again_in, "no certificate was issued: {why}"),
                }
            }
        }
    }

    /// A new certificate of `name`, stored; `None`: another process is at it, or was.
    async fn obtain(&self, name: &str) -> Result<Option<CertificateFacts>, OrderError> {
        let Some(_lock) = self.store.lock()? else { return Ok(None) };
        let stored = stored_facts(&self.store, name);
        if stored.as_ref().is_some_and(|stored| renewal_due_at(stored) > since_epoch().as_secs()) {
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
        verdict(&facts, stored.as_ref(), since_epoch().as_secs())?;
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
    fn what_is_known_stays_whatever_is_wanted_meanwhile() {
        let schedules = Schedules::default();
        let [one, two] = ["https://a/", "https://b/"];
        let first = spec(&["a", "b"], one);
        schedules.adapt(None, Some(&first));
        let now = since_epoch().as_secs();
        let said = |seconds| OrderError {
            retry_after: Some(Duration::from_secs(seconds)),
            ..OrderError::new("no")
        };
        schedules.names.borrow_mut()[1].note_failure(&said(900), None, now);
        schedules.new.borrow_mut().note_failure_of_all(&said(600), now);
        let mut before = Some(first);
        // What the server said holds over a reload; names that are new wait as all do.
        for (wanted, expected) in [
            (spec(&["a", "b", "c"], one), &[("a", 0, 0), ("b", 1, 900), ("c", 0, 600)][..]),
            (spec(&["a"], one), &[("a", 0, 0)]),
            (spec(&["b"], one), &[("b", 1, 900)]),
            (spec(&["b", "d"], two), &[("b", 0, 0), ("d", 0, 0)]),
            (spec(&["d", "b"], one), &[("d", 0, 600), ("b", 1, 900)]),
        ] {
            schedules.adapt(before.as_ref(), Some(&wanted));
            let names = schedules.names.borrow();
            let found = names.iter().map(|one| {
                let due_in = one.due_at(None, now).saturating_sub(now);
                (&*one.status.name, one.status.failed, due_in)
            });
            assert_eq!(found.collect::<Vec<_>>(), expected);
            before = Some(wanted);
        }
        schedules.adapt(before.as_ref(), None);
        assert!(schedules.names.borrow().is_empty());
        for n in 0..3 * REMEMBERED_MOST {
            let [name, next] = [n, n + 1].map(|n| spec(&[&format!("n{n}")], two));
            schedules.adapt(Some(&name), Some(&next));
        }
        assert!(schedules.before.borrow().len() <= REMEMBERED_MOST + 2);
    }
}
