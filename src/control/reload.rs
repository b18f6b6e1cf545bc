//! What is wanted put in force: other settings, all of them or nothing; or another set of upstreams.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use async_io::Timer;
use futures_lite::FutureExt;
use serde_json::json;

use super::tls::Renewal;
use super::watch::Watcher;
use super::{ControlPlane, keys, names, served_certificates};
use crate::admin::{Loaded, Outcome, Refused};
use crate::config::{self, Action, Difference, Plan, Rejected, UpstreamOrder};
use crate::policy::gate;
use crate::proxy::{Addresses, Adoption, Command, Runtime};

/// Octets of the stack on which settings are read: as many as the first thread of a process usually has.
const STACK: usize = 8 * 1024 * 1024;
/// Cores take a command up between two turns, which are short; no longer is waited for them than this.
const ADOPTION: Duration = Duration::from_secs(1);

impl ControlPlane {
    /// Reads the settings anew and goes by them. Requests under way end under the plan they began with.
    pub(super) async fn reload(&mut self) -> Outcome {
        self.notify.reloading();
        let outcome = self.read_and_adopt().await;
        self.notify.tell("READY=1");
        outcome
    }

    async fn read_and_adopt(&mut self) -> Outcome {
        let (plan, mut report) = match self.load_again().await {
            Ok(Action::Run(plan, report)) => (*plan, report),
            Ok(Action::Demo(mut plan, report)) => {
                // Its upstreams are origins of its own, and they live as long as it does.
                plan.pools.clone_from(self.desired.asked_pools());
                (*plan, report)
            }
            // The arguments are still those that made us run.
            Ok(
                Action::Check(..)
                | Action::Show(_)
                | Action::Ask(..)
                | Action::Refuse(..)
                | Action::Look(..)
                | Action::Explain(..),
            ) => unreachable!("the command has changed"),
            Err(mut rejected) => {
                self.watcher = Watcher::new(std::mem::take(&mut rejected.files).into());
                return Err(self.refuse(rejected));
            }
        };
        self.watcher = Watcher::new(std::mem::take(&mut report.files));
        let unusable = gate::unusable(&plan);
        if !unusable.is_empty() {
            let why = unusable.join("; ");
            return Err(self.refuse_with("credentials", why));
        }
        if let Err(why) = self.tls.prepare(&plan) {
            return Err(self.refuse_with("tls", why));
        }
        let opened = self.open_new(&plan, &report).map_err(|why| self.refuse_sockets(why))?;
        let outcome = self.put_in_force(plan, &report.warnings).await;
        self.listen_as_planned(opened);
        Ok(outcome)
    }

    /// Reads the settings in a thread of its own, for that may take a while, and the admin answers meanwhile.
    async fn load_again(&self) -> Result<Action, Rejected> {
        let (give, loaded) = flume::bounded(1);
        let sources = self.sources.clone();
        let load = move || drop(give.send(sources.load_again()));
        let thread = thread::Builder::new().name("settings".to_owned()).stack_size(STACK);
        match thread.spawn(load) {
            Ok(_) => loaded.recv_async().await.unwrap_or_else(|_| self.sources.load_again()),
            Err(_) => self.sources.load_again(), // no thread is to be had
        }
    }

    /// Says that everything stays as it is, because an address cannot be had.
    fn refuse_sockets(&self, why: String) -> Refused {
        self.refuse_with("listen", why)
    }

    /// The same for any reason that no setting shows by itself.
    fn refuse_with(&self, code: &'static str, why: String) -> Refused {
        tracing::error!("not reloaded: {why}");
        self.view.update(|view| view.loaded.successful = false);
        let text = format!("error: {why}\n");
        Refused { text, ..Refused::new(400, code, "not reloaded; the old settings stay in force") }
    }

    /// Has every core go by `plan`, as far as this process can.
    async fn put_in_force(&mut self, asked: Plan, warnings: &[String]) -> serde_json::Value {
        let before = self.desired.plan();
        let possible = config::within(asked.clone(), &before);
        let needs_new_process = words(&config::difference(&possible, &asked));
        let dropped = self.desired.ask(possible);
        let plan = self.desired.plan();
        let changed = words(&config::difference(&before, &plan));
        let loaded = Loaded { successful: true, at: SystemTime::now() };
        self.go_by(plan, loaded).await;
        if changed.is_empty() {
            tracing::info!("reloaded: nothing has changed");
        }
        changed.iter().for_each(|change| tracing::info!("reloaded: {change}"));
        for difference in &needs_new_process {
            tracing::warn!("not in force until a new process begins (SIGUSR2): {difference}");
        }
        let warnings: Vec<&String> = warnings.iter().chain(&dropped).collect();
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        json!({
            "changed": changed,
            "needs_new_process": needs_new_process,
            "warnings": warnings,
        })
    }

    /// Changes one upstream, and has that in force before it is answered.
    pub(super) async fn change_upstream(&mut self, order: &UpstreamOrder) -> Outcome {
        let tls = &mut self.tls;
        let changed = self.desired.change(order, |plan| tls.prepare(plan))?;
        if changed {
            let loaded = self.view.get().loaded;
            self.go_by(self.desired.plan(), loaded).await;
            let (verb, url) = (order.verb.word(), &order.url);
            tracing::info!(%url, kept = self.desired.is_kept(), "upstream changed: {verb}");
        }
        let runtime = self.current.get();
        let upstreams = runtime.plan.upstreams().zip(runtime.upstreams());
        let upstreams = upstreams.map(|((pool, upstream), state)| {
            json!({
                "id": state.id,
                "url": upstream.name,
                "pool": *pool.name,
                "draining": upstream.draining,
                "weight": upstream.weight,
            })
        });
        Ok(json!({
            "changed": changed,
            "kept": self.desired.is_kept(),
            "upstreams": upstreams.collect::<serde_json::Value>(),
        }))
    }

    /// Goes by the addresses that names of upstreams have now, where those are upstreams.
    pub(super) async fn find_addresses(&mut self) {
        let plan = self.desired.plan();
        if !config::lookups(&plan).is_empty() {
            let loaded = self.view.get().loaded;
            self.go_by(plan, loaded).await;
        }
    }

    /// Puts a certificate in force that can be had.
    pub(super) async fn renew_certificate(&mut self, renewal: Renewal) {
        self.tls.note_renewal(renewal);
        let loaded = self.view.get().loaded;
        self.go_by(self.desired.plan(), loaded).await;
    }

    /// Puts `named` in force, with addresses in place of the names that are followed, and shows it.
    async fn go_by(&mut self, named: Plan, loaded: Loaded) {
        let before = self.current.get();
        self.followed.follow(&named);
        self.followed.settled().await;
        let plan = self.followed.expand(&named);
        let tls = self.tls.link(&named).unwrap_or_else(|why| {
            tracing::error!("TLS stays as it was: {why}"); // it was asked before, and the files are in the plan
            before.tls.clone()
        });
        let runtime = Runtime::link_with(tls, Arc::new(plan), &mut self.registry, Some(&before));
        // Before anybody is sent there: whoever comes first should not be the one who finds out.
        let addresses = names::resolve_new(&runtime, &before).await;
        keys::fetch_new(&runtime).await;
        self.adopt(Arc::clone(&runtime), addresses.into()).await;
        self.view.update(|view| {
            view.plan = Arc::clone(&runtime.plan);
            view.named = Arc::new(named);
            view.router = runtime.router.clone();
            view.auths.clone_from(&runtime.gates.auths);
            view.limits.clone_from(&runtime.gates.limits);
            view.certificates = served_certificates(&runtime.tls);
            view.changes = self.desired.changes().clone();
            view.upstreams = runtime.upstreams().cloned().collect();
            view.loaded = loaded;
        });
        self.current.set(runtime);
    }

    /// Has every core go by `runtime`, and waits until they do: requests that come after the answer to a reload are to
    /// find it in force.
    async fn adopt(&self, runtime: Arc<Runtime>, addresses: Arc<[Addresses]>) {
        let (adoption, adopted) = Adoption::new(runtime, addresses);
        self.cores.tell(&Command::Adopt(adoption));
        let done = async {
            let _ = adopted.recv_async().await; // disconnected: that is the sign
        };
        let late = async {
            Timer::after(ADOPTION).await;
            tracing::warn!("a core is slow to take up the new settings");
        };
        done.or(late).await;
    }

    /// Says that everything stays as it is, and why.
    fn refuse(&self, rejected: Rejected) -> Refused {
        for mistake in &rejected.lines {
            tracing::error!("{mistake}");
        }
        let s = if rejected.count == 1 { "" } else { "s" };
        let message = format!(
            "not reloaded: {} mistake{s} in the settings; the old ones stay in force",
            rejected.count
        );
        tracing::error!("{message}");
        self.view.update(|view| view.loaded.successful = false);
        Refused { text: rejected.blocks, ..Refused::new(400, "mistakes", message) }
    }
}

fn words(differences: &[Difference]) -> Vec<String> {
    differences.iter().map(ToString::to_string).collect()
}
