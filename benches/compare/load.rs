//! The load: a program beside this one that asks, and tells how it went.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::workloads::Requests;

/// The load generator of this very build.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate-load");

/// One run against one address.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What is sent.
    pub what: What,
    /// For how long.
    pub seconds: f64,
    /// Requests a second; `None`: as many as can be.
    pub rate: Option<f64>,
}

/// Requests, or messages through WebSockets.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// As many connections as it says, one request under way on each.
    Requests(Requests),
    /// As many connections, with one message of so many octets under way on each.
    Messages(usize, usize),
}

/// How it went.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Answers, or echoes, that were right.
    pub answered: u64,
    /// Of them, a second.
    pub rate: f64,
    /// What went wrong, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Percentiles in microseconds: p50, p99, p99.9.
    pub percentiles_us: [f64; 3],
    /// Latency in microseconds, and how many had it.
    pub histogram: Vec<(f64, u64)>,
}

impl Load {
    /// Runs it against `address`, on whatever processors this thread is on.
    pub fn run(&self, address: SocketAddr) -> Result<Told, String> {
        let output = self
            .command(address)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("the load cannot be started: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().rev().find(|line| line.starts_with('{')).unwrap_or_default();
        serde_json::from_str(line).ok().and_then(|value| told(&value)).ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("the load ended with {}: {}", output.status, said.trim())
        })
    }

    fn command(&self, address: SocketAddr) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--json").args(["--duration", &format!("{}ms", (self.seconds * 1e3) as u64)]);
        let path = match self.what {
            What::Requests(requests) => {
                command.args(["-c", &requests.connections.to_string()]);
                command.args(["--method", requests.method, "--expect-status", "200"]);
                for line in requests.fields.lines() {
                    command.args(["-H", &line]);
                }
                if requests.body > 0 {
                    command.args(["--body-size", &requests.body.to_string()]);
                }
                if !requests.kept {
                    command.arg("--no-keepalive");
                }
                requests.path
            }
            What::Messages(connections, octets) => {
                command.args(["--ws", "-c", &connections.to_string()]);
                command.args(["--message-size", &octets.to_string()]);
                "/ws"
            }
        };
        if let Some(rate) = self.rate {
            command.args(["--rps", &format!("{rate:.0}")]);
        }
        command.arg(format!("http://{address}{path}"));
        command
    }
}

/// The report of the load. Nothing if it is not one.
fn told(value: &Value) -> Option<Told> {
    let latency = &value["latency_us"];
    let percentile = |name| latency[name].as_f64().unwrap_or(f64::NAN);
    let errors = value["errors"].as_object()?;
    let pairs = value["histogram"].as_array()?;
    Some(Told {
        answered: value["ok"].as_u64()?,
        rate: value["rps"].as_f64()?,
        errors: errors.iter().map(|(k, n)| (k.clone(), n.as_u64().unwrap_or(0))).collect(),
        percentiles_us: [percentile("p50"), percentile("p99"), percentile("p99_9")],
        histogram: pairs.iter().filter_map(|pair| pair[0].as_f64().zip(pair[1].as_u64())).collect(),
    })
}
