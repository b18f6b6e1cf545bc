//! One core of the data plane: the thread that everything else in this room runs on.

mod command;
mod epoch;
mod ids;
mod labels;
mod places;
pub(super) mod room;
mod runtime;
mod spec;
mod worker;

pub use command::{
    Addresses, Adoption, AnswerSlot, BreakerReport, Change, Command, Event, Lack, PageRequest,
    PageSlot,
};
pub(super) use epoch::{Epoch, LinkedAction};
pub(super) use ids::Id;
pub use labels::LABELS;
pub use places::{Place, Places};
pub(super) use runtime::Chosen;
pub use runtime::Runtime;
pub use spec::{CoreSpec, OpenListener};
pub(super) use worker::{Heads, Worker};
