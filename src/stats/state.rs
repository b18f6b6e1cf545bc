//! Where the process is in its life.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// A time of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not every core listens yet.
    Starting,
    /// Requests are served.
    Ready,
    /// What is under way is finished; nothing new is wanted.
    Draining,
}

/// The phase as the control plane sets it and anyone may read it.
#[derive(Debug)]
pub struct State(AtomicU8);

impl State {
    /// Starting.
    pub const fn new() -> State {
        State(AtomicU8::new(Phase::Starting as u8))
    }

    /// The phase now.
    pub fn get(&self) -> Phase {
        match self.0.load(Relaxed) {
            phase if phase == Phase::Starting as u8 => Phase::Starting,
            phase if phase == Phase::Ready as u8 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Moves on to `phase`.
    pub fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Relaxed);
    }
}

impl Default for State {
    fn default() -> State {
        State::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_read_as_it_was_set() {
        let state = State::new();
        assert_eq!(state.get(), Phase::Starting);
        for phase in [Phase::Ready, Phase::Draining, Phase::Starting] {
            state.set(phase);
            assert_eq!(state.get(), phase);
        }
    }
}
