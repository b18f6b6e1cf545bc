//! Where the process is in its life.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

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
pub struct ProcessState {
    phase: AtomicU8,
    left_s: AtomicU32,
}

impl ProcessState {
    /// Starting.
    pub const fn new() -> ProcessState {
        ProcessState { phase: AtomicU8::new(Phase::Starting as u8), left_s: AtomicU32::new(0) }
    }

    /// The phase now.
    pub fn get(&self) -> Phase {
        match self.phase.load(Relaxed) {
            phase if phase == Phase::Starting as u8 => Phase::Starting,
            phase if phase == Phase::Ready as u8 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Moves on to `phase`.
    pub fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// While draining, the seconds until what is left is cut; `None` at any other time.
    pub fn left_s(&self) -> Option<u32> {
        (self.get() == Phase::Draining).then(|| self.left_s.load(Relaxed))
    }

    /// Draining lasts `seconds` more at most.
    pub fn set_left_s(&self, seconds: u32) {
        self.left_s.store(seconds, Relaxed);
    }
}

impl Default for ProcessState {
    fn default() -> ProcessState {
        ProcessState::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_read_as_it_was_set() {
        let state = ProcessState::new();
        assert_eq!(state.get(), Phase::Starting);
        for phase in [Phase::Ready, Phase::Draining, Phase::Starting] {
            state.set(phase);
            assert_eq!(state.get(), phase);
        }
        state.set_left_s(7);
        assert_eq!(state.left_s(), None);
        state.set(Phase::Draining);
        assert_eq!(state.left_s(), Some(7));
    }
}
