//! WHO ARE WE TO THE SYSTEM? Sockets that listen, the process before us and the one after us, the service manager,
//! the limit of descriptors, standard output and our own log.
//!
//! Laws:
//! - Knows the machine and the settings, and nothing of requests: never sees `proxy`, `upstream` or `control`.
//! - May use `io`, `config`, and of `admin` what takes a socket and what a line of a log looks like.
//! - Only `successor` starts a process, and only from the thread of the control plane.
//! - Whatever the machine refuses is told with the setting that asked for it and with what to do instead.
//!
//! The files: [`listeners`] (listening sockets, found or opened), [`remedies`] (what to do where the machine says no),
//! [`inherited`] (what the process before us left), [`successor`] (the next process), [`notify`] (the service
//! manager), [`program`] (where we are on the disk), [`descriptors`] (how many we may have), [`console`] (standard
//! output and error), [`own_log`] (what tidegate says of itself).

pub mod console;
pub mod descriptors;
pub mod inherited;
pub mod listeners;
pub mod notify;
pub mod own_log;
pub mod program;
pub mod remedies;
pub mod successor;
