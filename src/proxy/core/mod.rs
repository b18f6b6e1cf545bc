//! One core of the data plane: the thread that everything else in this room runs on.

mod client_permits;
mod command;
mod complaint;
mod epoch;
mod ids;
pub(super) mod labels;
pub(super) mod room;
mod runtime;
mod spec;
mod worker;

pub use client_permits::{ClientPermit, ClientPermits};
pub use command::{
    Addresses, Adoption, AnswerSlot, BreakerReport, Change, Command, Event, Lack, PageRequest,
    PageSlot,
};
pub(super) use complaint::Complaint;
pub(super) use epoch::{Epoch, LinkedAction};
pub(super) use ids::Id;
pub use labels::LABELS;
pub(super) use runtime::Chosen;
pub use runtime::{LinkedTls, ListenerTls, Runtime};
pub use spec::{CoreSpec, OpenListener};
pub(super) use worker::{Heads, Worker};
