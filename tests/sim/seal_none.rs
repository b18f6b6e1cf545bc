//! In a build without TLS nobody speaks it.

use std::collections::VecDeque;

use crate::chance::Chance;
use crate::config::Plan;
use crate::net::Micros;
use crate::proxy::LinkedTls;
use crate::scenario::Scenario;

/// Nothing.
#[derive(Clone, Debug)]
pub enum Sealing {}

impl Sealing {
    pub fn has_upstream(&self, _: usize) -> bool {
        match *self {}
    }
}

pub fn has(_: u64) -> bool {
    false
}

pub fn add(_: &mut Scenario, _: u64) {}

/// Nobody.
pub enum Sealer {}

impl Sealer {
    pub fn new(_: &Scenario) -> Option<Sealer> {
        None
    }

    pub fn apply(&self, _: &mut Plan) -> LinkedTls {
        match *self {}
    }

    pub fn client(&self) -> Option<Seal> {
        match *self {}
    }

    pub fn origin(&self, _: usize) -> Option<Seal> {
        match *self {}
    }
}

/// None.
#[derive(Debug)]
pub enum Seal {}

impl Seal {
    pub fn has_ended(&self) -> bool {
        match *self {}
    }

    pub fn open(&mut self, _: &[u8]) -> Result<Vec<u8>, String> {
        match *self {}
    }

    pub fn keep_back(&mut self, _: Micros, _: &mut Chance) -> Option<Micros> {
        match *self {}
    }

    pub fn has_something(&self, _: usize, _: Micros) -> bool {
        match *self {}
    }

    pub fn seal(&mut self, _: &VecDeque<u8>, _: bool, _: &mut Chance) {
        match *self {}
    }

    pub fn wire(&mut self) -> &mut VecDeque<u8> {
        match *self {}
    }

    pub fn sent(&mut self, _: usize) -> (usize, bool) {
        match *self {}
    }

    pub fn last_words(&mut self) -> Option<Vec<u8>> {
        match *self {}
    }
}
