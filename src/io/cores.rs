//! The threads of the data plane and the loop each of them runs.
//!
//! One turn: run tasks that are ready, and those that had a slice already while there is time; take events from the
//! kernel (which makes tasks ready); take commands from the control plane.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use smol::{LocalExecutor, Task};

use super::buffer::BufferPool;
use super::error::Result;
use super::reactor::Reactor;
use super::splice::Pipes;
use super::sys;

/// How long tasks run before the kernel is asked for events again: nobody who becomes ready waits much longer.
const TURN: Duration = Duration::from_millis(4);
/// The same where only those are left that had a slice already.
const TURN_OF_SLICES: Duration = Duration::from_micros(250);
/// Tasks run between two looks at the clock.
const TASKS_PER_LOOK: u32 = 16;
/// Tasks run before the kernel is asked for events again, should the clock stand still.
const TASKS_PER_TURN: u32 = 512;
/// Commands taken before tasks run again.
const LETTERS_PER_TURN: usize = 64;

/// What one core owns. Never leaves its thread.
pub struct Core {
    /// 0 for the first core.
    pub index: usize,
    /// Readiness and time.
    pub reactor: Rc<Reactor>,
    /// Buffers.
    pub pool: Rc<BufferPool>,
    /// Pipes for splice.
    pub pipes: Pipes,
    executor: LocalExecutor<'static>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Core({})", self.index)
    }
}

impl Core {
    /// A core that owns at most `buffers` buffers and `pipes` pipes.
    pub fn new(index: usize, buffers: usize, pipes: usize) -> io::Result<Rc<Core>> {
        Ok(Rc::new(Core {
            index,
            reactor: Rc::new(Reactor::new()?),
            pool: BufferPool::new(buffers),
            pipes: Pipes::new(pipes),
            executor: LocalExecutor::new(),
        }))
    }

    /// Runs `future` on this core, beside all others.
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        self.executor.spawn(future)
    }

    /// Runs tasks, and hands `commands` to `read`, until no task is left.
    ///
    /// # Errors
    /// When the kernel refuses to wait for events, which is a defect.
    pub fn run<T>(&self, commands: &flume::Receiver<T>, mut read: impl FnMut(T)) -> io::Result<()> {
        loop {
            let unfinished = self.run_tasks();
            if self.executor.is_empty() {
                return Ok(());
            }
            let more = unfinished || !commands.is_empty();
            if self.reactor.turn(more)?.notified || more {
                commands.try_iter().take(LETTERS_PER_TURN).for_each(&mut read);
            }
        }
    }

    /// Runs tasks for one turn. `true`: some are left that could go on.
    fn run_tasks(&self) -> bool {
        let clock = self.reactor.clock();
        let begun = clock.now();
        let mut ran = 0;
        // One of those in line goes on in every turn, however much else there is to do.
        self.reactor.lines().begin_turn();
        loop {
            while self.executor.try_tick() {
                ran += 1;
                if ran % TASKS_PER_LOOK == 0
                    && (ran >= TASKS_PER_TURN || clock.tick() >= begun + TURN)
                {
                    return true;
                }
            }
            if self.reactor.lines().slices.is_empty() {
                return !self.reactor.lines().handshakes.is_empty();
            }
            if ran >= TASKS_PER_TURN || clock.tick() >= begun + TURN_OF_SLICES {
                return true;
            }
            self.reactor.lines().slices.call();
        }
    }

    /// Processor time the calling thread has taken so far: its own code, and the kernel's for it.
    pub fn spent() -> [Duration; 2] {
        sys::thread_times()
    }

    /// Waits for `duration`, coarse to a tick. Fails only when the core is told to abort.
    pub async fn sleep(&self, duration: Duration) -> Result<()> {
        self.reactor.sleep(duration).await
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn tasks_that_always_have_more_to_do_do_not_keep_others_waiting() {
        let core = Core::new(0, 0, 0).unwrap();
        let slices = Rc::new(Cell::new(0_u32));
        let over = Rc::new(Cell::new(false));
        for _ in 0..2 {
            let spawner = Rc::clone(&core);
            let (core, slices, over) = (Rc::clone(&core), Rc::clone(&slices), Rc::clone(&over));
            let greedy = async move {
                while !over.get() {
                    // A slice of some work: 256 KiB are moved about as fast.
                    let begun = super::super::kernel::monotonic();
                    while begun.elapsed() < TURN / 5 {}
                    slices.set(slices.get() + 1);
                    core.reactor.next_turn().await;
                }
            };
            spawner.spawn(greedy).detach();
        }
        let inner = Rc::clone(&core);
        let others = async move {
            for _ in 0..20 {
                // It is due at once, and only the kernel's turn can tell.
                let before = slices.get();
                inner.reactor.sleep(Duration::ZERO).await.unwrap();
                let ticks = super::super::timer::TICK.as_micros() / TURN.as_micros() + 2;
                let fair = 6 * u32::try_from(ticks).unwrap();
                assert!(slices.get() - before <= fair, "{} slices", slices.get() - before);
            }
            over.set(true);
        };
        core.spawn(others).detach();
        core.run(&flume::bounded::<()>(1).1, |()| {}).unwrap();
    }
}
