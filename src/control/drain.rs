//! The end: what is under way finishes, nothing new begins, and all of it has a bound.
//!
//! ```text
//! told ── not ready, still accepting ──▶ accept what waits, close what is idle ──▶ ended
//!         (--drain-delay)                (--drain-timeout)                │
//!                                                                  cut what is left
//! ```
//! A second signal goes to the cut at once. After a hand-over there is no delay: the other process is
//! ready, and accepts.

use std::time::Duration;

use async_io::Timer;
use async_signal::Signal;
use futures_lite::{FutureExt, StreamExt};

use crate::config::ProcessSpec;
use crate::proxy::Command;
use crate::stats::Phase;

use super::{ControlPlane, Shutdown};

/// Cores that were told to stop have so long to do it.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// How often we say what is left.
const COUNT: Duration = Duration::from_secs(1);

/// Everything that has not ended yet.
struct Left {
    requests: u64,
    tunnels: u64,
    /// Of clients, idle ones and those of the above.
    connections: u64,
}

impl ControlPlane {
    /// Goes from `shutdown` to the end.
    ///
    /// # Errors
    /// When a core failed, or did not stop.
    pub(super) async fn drain(&mut self, shutdown: Shutdown) -> Result<(), String> {
        let ProcessSpec { drain_delay: delay, drain_timeout: drain, .. } =
            self.current.get().plan.process;
        // Whoever gives an order from now on hears that it is not carried out.
        if let Some(orders) = self.orders.take() {
            drop(orders.drain()); // each is answered by going away
        }
        let mut hurry = false;
        // After a hand-over `/ready` stays as it is: whoever still asks here reaches the other process
        // with his next connection, and that one is ready.
        if shutdown == Shutdown::Stop {
            self.state.set(Phase::Draining);
            self.notify.tell("STOPPING=1");
            if !delay.is_zero() {
                tracing::info!(?delay, "not ready any more; still accepting");
                self.count(delay + drain);
                hurry = self.pass(delay, drain).await;
            }
        }
        self.count(drain);
        // With these the kernel would go on completing connections for sockets nobody accepts from.
        self.listening.close_copies();
        self.cores.tell(&Command::Drain);
        let mut running = self.cores.mailboxes.len();
        if !hurry {
            let all = async { self.cores.wait(&mut running).await.map(|()| true) };
            let enough = async {
                self.pass(drain, Duration::ZERO).await;
                Ok(false)
            };
            all.or(enough).await?;
        }
        if running > 0 {
            self.cut(&mut running).await?;
        }
        tracing::info!("ended");
        Ok(())
    }

    /// Ends what is left, and says how much that was.
    async fn cut(&self, running: &mut usize) -> Result<(), String> {
        let Left { requests, tunnels, connections } = self.left();
        if requests + tunnels > 0 {
            tracing::warn!(requests, tunnels, connections, "cut what was left");
        } else {
            tracing::info!(connections, "closed what was left");
        }
        self.cores.tell(&Command::Stop);
        let late = async {
            Timer::after(STOP_WAIT).await;
            Err("cores did not stop, which is a defect in tidegate".to_owned())
        };
        self.cores.wait(running).or(late).await
    }

    /// Lets `time` pass, after which there will be `then` more, and counts it down. `true`: a signal
    /// says that it is enough.
    async fn pass(&self, time: Duration, then: Duration) -> bool {
        let whole = async {
            Timer::after(time).await;
            false
        };
        let countdown = async {
            let mut left = time;
            loop {
                Timer::after(COUNT).await;
                left = left.saturating_sub(COUNT);
                self.count(left + then);
            }
        };
        let again = async {
            let mut signals = &self.signals;
            loop {
                match signals.next().await {
                    Some(Ok(Signal::Hup | Signal::Usr2)) => {}
                    Some(Ok(Signal::Usr1)) => self.reopen_log(),
                    _ => return true,
                }
            }
        };
        whole.or(again).or(countdown).await
    }

    /// Says what is left, and how long it has.
    fn count(&self, left: Duration) {
        let left_s = u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        self.state.set_left_s(left_s);
        let Left { requests, tunnels, connections } = self.left();
        tracing::info!(requests, tunnels, connections, left_s, "draining");
    }

    fn left(&self) -> Left {
        let cores = &self.view.get().cores;
        let sum = |figure: fn(&crate::stats::Core) -> u64| cores.iter().map(|c| figure(c)).sum();
        Left {
            requests: sum(|core| core.active.get()),
            tunnels: sum(|core| core.tunnels.get()),
            connections: sum(|core| core.connections.get()),
        }
    }
}
