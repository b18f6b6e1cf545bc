//! Where and when: what a figure means nothing without.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use tidegate::base::imf_fixdate;

/// The machine, the time and the version.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Processors that we may use.
    pub cores: usize,
    /// Version of Linux.
    pub kernel: String,
    /// Name of the processor.
    pub model: String,
    /// Now, as HTTP says it.
    pub date: String,
    /// Version of ours, with the commit if this is a clone.
    pub commit: String,
}

impl Machine {
    /// Looks around.
    pub fn look(cores: usize) -> Machine {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.and_then(|rest| rest.split_once(':')).map_or("?", |(_, model)| model);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut commit = env!("CARGO_PKG_VERSION").to_owned();
        let described = Command::new("git")
            .args(["describe", "--always", "--dirty"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output();
        if let Ok(described) = described
            && described.status.success()
        {
            let described = String::from_utf8_lossy(&described.stdout);
            commit.push_str(&format!(" ({})", described.trim()));
        }
        Machine {
            cores,
            kernel: kernel.trim().to_owned(),
            model: model.trim().to_owned(),
            date: String::from_utf8_lossy(&imf_fixdate(now)).into_owned(),
            commit,
        }
    }
}
