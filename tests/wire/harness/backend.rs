//! `tidegate-origin` as a child process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::Client;

/// A running origin; killed on drop.
pub struct Backend {
    child: Child,
    /// As `--upstream` wants it.
    pub url: String,
}

impl Backend {
    /// Starts the binary with `flags` on a free port, and waits until it listens.
    #[track_caller]
    pub fn start(flags: &[&str]) -> Backend {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate-origin"))
            .args([&["--port", "0"], flags].concat())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the origin starts");
        let mut line = String::new();
        let told = child.stderr.take().expect("stderr is piped");
        BufReader::new(told).read_line(&mut line).expect("a line");
        let url = line.trim().rsplit(' ').next().expect("an address").to_owned();
        Backend { child, url }
    }

    /// Requests it has answered.
    #[track_caller]
    pub fn served(&self) -> u64 {
        let answer = Client::to(self.url.trim_start_matches("http://")).get("/whoami");
        let who: Value = serde_json::from_str(&answer.text()).expect("JSON");
        who["requests"].as_u64().expect("a number")
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.end();
    }
}
