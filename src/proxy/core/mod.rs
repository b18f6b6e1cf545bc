//! One core of the data plane: the thread that everything else in this room runs on.

mod command;
mod epoch;
mod ids;
mod labels;
pub(super) mod room;
mod spec;
mod worker;

pub use command::{Addresses, Adoption, Change, Command, Event, Lack};
pub(super) use epoch::Epoch;
pub(super) use ids::Id;
pub use labels::LABELS;
pub use spec::CoreSpec;
pub(super) use worker::{Heads, Worker};
