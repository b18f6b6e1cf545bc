//! What tests share: plans from texts.

use std::ffi::OsString;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::{Action, Plan, Rejected, Report, Surroundings, load};

/// What comes of a configuration file with this text, and of these flags.
pub fn loaded(text: &str, flags: &[&str]) -> Result<(Plan, Report), Rejected> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Relaxed);
    let folder = std::env::temp_dir();
    let file = folder.join(format!("tidegate-plan-{}-{number}.toml", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let around =
        Surroundings { cwd: &folder, cores: 1, descriptors: 100_000, stdout_is_terminal: false };
    let flags = flags.iter().map(OsString::from);
    let args = [OsString::from("--config"), file.clone().into()].into_iter().chain(flags);
    let loaded = load(args, [], &around);
    let _ = std::fs::remove_file(&file);
    loaded.map(|action| match action {
        Action::Run(plan, report) => (*plan, report),
        other => panic!("{other:?}"),
    })
}

/// The plan of a configuration file with this text.
#[track_caller]
pub fn plan(text: &str) -> Plan {
    loaded(text, &[]).unwrap_or_else(|rejected| panic!("{}", rejected.text())).0
}
