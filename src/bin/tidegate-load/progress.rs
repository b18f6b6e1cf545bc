//! The line that shows on a terminal how a run goes.

use std::future;
use std::io::{Write, stderr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::StreamExt;

use super::load_thread::LiveCounts;
use super::workload::Workload;

/// How often the line is drawn.
const PERIOD: Duration = Duration::from_secs(1);

/// What is shown, and when.
#[derive(Debug)]
pub struct ProgressLine {
    lives: Vec<Arc<LiveCounts>>,
    timer: Timer,
    started: Instant,
    total: Option<Duration>,
    shown: u64,
}

impl ProgressLine {
    /// Shows what `lives` count.
    pub fn new(workload: &Workload, lives: Vec<Arc<LiveCounts>>) -> ProgressLine {
        let total = workload.duration.map(|duration| duration + workload.warm_up);
        let timer = Timer::interval(PERIOD);
        ProgressLine { lives, timer, started: now(), total, shown: 0 }
    }

    /// Draws the line when it is time; without one, it never is.
    pub async fn tick(progress: Option<&mut ProgressLine>) {
        let Some(progress) = progress else { return future::pending().await };
        progress.timer.next().await;
        progress.draw();
    }

    /// Takes the line away.
    pub fn clear(progress: Option<&mut ProgressLine>) {
        if progress.is_some() {
            show("\r\x1b[K");
        }
    }

    fn draw(&mut self) {
        let sum =
            |count: fn(&LiveCounts) -> u64| self.lives.iter().map(|live| count(live)).sum::<u64>();
        let ok = sum(|live| live.ok.load(Relaxed));
        let failed = sum(|live| live.failed.load(Relaxed));
        let seconds = self.started.elapsed().as_secs();
        let rate = ok.saturating_sub(self.shown);
        self.shown = ok;
        show(&line(seconds, self.total, ok, rate, failed));
    }
}

fn line(seconds: u64, total: Option<Duration>, ok: u64, rate: u64, failed: u64) -> String {
    const WIDTH: u64 = 20;
    let bar = total.filter(|total| !total.is_zero()).map_or_else(String::new, |total| {
        let done = seconds.min(total.as_secs()) * WIDTH / total.as_secs().max(1);
        let (done, rest) = ("#".repeat(done as usize), ".".repeat((WIDTH - done) as usize));
        format!("[{done}{rest}] ")
    });
    format!("\r\x1b[K{bar}{seconds} s  {ok} ok  {rate}/s  {failed} errors")
}

/// Standard error may be gone; then nobody misses the line.
fn show(text: &str) {
    let mut stderr = stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

#[expect(
    clippy::disallowed_methods,
    reason = "the main thread is no core whose clock it could ask"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_grows_with_the_time() {
        let ten = Some(Duration::from_secs(10));
        let half = line(5, ten, 500, 100, 1);
        assert!(half.ends_with("[##########..........] 5 s  500 ok  100/s  1 errors"), "{half}");
        assert!(line(11, ten, 0, 0, 0).contains("[####################] 11 s"));
        assert!(line(1, None, 0, 0, 0).ends_with("K1 s  0 ok  0/s  0 errors"));
    }
}
