//! A reload: the settings are read anew, checked, compiled and put in force; all of them, or nothing changes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_io::Timer;
use futures_lite::FutureExt;
use serde_json::json;

use super::{ControlPlane, names};
use crate::admin::{Loaded, Outcome, Refused};
use crate::config::{self, Action, Difference, Plan, Rejected};
use crate::proxy::{Addresses, Adoption, Command};
use crate::upstream::Runtime;

/// Cores take a command up between two turns, which are short; no longer is waited for them than this.
const ADOPTION: Duration = Duration::from_secs(1);

impl ControlPlane<'_> {
    /// Reads the settings anew and goes by them. Requests under way end under the plan they began with.
    pub(super) async fn reload(&mut self) -> Outcome {
        self.notify.reloading();
        let outcome = self.read_and_adopt().await;
        self.notify.tell("READY=1");
        outcome
    }

    async fn read_and_adopt(&mut self) -> Outcome {
        let (plan, report) = match self.sources.load() {
            Ok(Action::Run(plan, report)) => (*plan, report),
            Ok(Action::Demo(mut plan, report)) => {
                // Its upstreams are origins of its own, and they live as long as it does.
                plan.pool.upstreams.clone_from(&self.current.get().plan.pool.upstreams);
                (*plan, report)
            }
            // The arguments are still those that made us run.
            Ok(Action::Check(_) | Action::Show(_) | Action::Ask(..)) => {
                unreachable!("the command has changed")
            }
            Err(rejected) => return Err(self.refuse(rejected)),
        };
        Ok(self.put_in_force(plan, &report.warnings).await)
    }

    /// Has every core go by `plan`, as far as this process can.
    async fn put_in_force(&mut self, asked: Plan, warnings: &[String]) -> serde_json::Value {
        let before = self.current.get();
        let (later, now): (Vec<_>, Vec<_>) = config::difference(&before.plan, &asked)
            .into_iter()
            .partition(|difference| difference.needs_process);
        let runtime = self.registry.link(Arc::new(config::within(asked, &before.plan)));
        // Before anybody is sent there: whoever comes first should not be the one who finds out.
        let addresses = names::resolve_new(&runtime, &before).await;
        self.adopt(Arc::clone(&runtime), addresses.into()).await;
        let mut view = (*self.view.get()).clone();
        view.plan = Arc::clone(&runtime.plan);
        view.upstreams = runtime.upstreams.clone();
        view.loaded = Loaded { successful: true, at: SystemTime::now() };
        self.view.set(view);
        self.current.set(runtime);
        let words = |differences: &[Difference]| -> Vec<String> {
            differences.iter().map(ToString::to_string).collect()
        };
        let (changed, needs_new_process) = (words(&now), words(&later));
        if changed.is_empty() {
            tracing::info!("reloaded: nothing has changed");
        }
        changed.iter().for_each(|change| tracing::info!("reloaded: {change}"));
        for difference in &needs_new_process {
            tracing::warn!("not in force until a new process begins (SIGUSR2): {difference}");
        }
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        json!({
            "changed": changed,
            "needs_new_process": needs_new_process,
            "warnings": warnings,
        })
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
        let mut view = (*self.view.get()).clone();
        view.loaded.successful = false;
        self.view.set(view);
        Refused { code: "mistakes", message, text: rejected.blocks }
    }
}
