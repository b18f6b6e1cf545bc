//! The load: a program beside this one that asks, and tells how it went.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::secure::{SUITE, Sealed};
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
    /// How TLS went, where it was spoken.
    pub tls: Option<Met>,
    /// What went wrong, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Percentiles in microseconds: p50, p99, p99.9.
    pub percentiles_us: [f64; 3],
    /// Latency in microseconds, and how many had it.
    pub histogram: Vec<(f64, u64)>,
}

/// What was agreed on.
#[derive(Clone, Debug, Default)]
pub struct Met {
    /// Version, suite and key exchange.
    agreed: String,
    /// Full handshakes, and those that resumed a session.
    handshakes: [u64; 2],
}

impl Met {
    /// Only what was agreed on as it was meant is compared. An error says what else was.
    pub fn judge(&self, wanted: Sealed, kept: bool) -> Result<(), String> {
        let [full, resumed] = self.handshakes;
        let odd = match wanted.resumed {
            _ if !self.agreed.starts_with(&format!("TLSv1_3 {SUITE} ")) => true,
            // The first on each connection has nothing to resume.
            true => !kept && resumed < 9 * full,
            false => resumed > 0,
        };
        let Met { agreed, .. } = self;
        match odd {
            true => {
                Err(format!("not as asked for: {agreed}, {full} handshakes full, {resumed} not"))
            }
            false => Ok(()),
        }
    }
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
        let mut scheme = "http";
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
                if let Some(tls) = requests.tls {
                    command.args(["--tls-min", "1.3", "--tls-cipher", SUITE]);
                    command.args(["--tls-group", tls.groups]);
                    if !tls.resumed {
                        command.arg("--no-tls-resumption");
                    }
                    scheme = "https";
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
        command.arg(format!("{scheme}://{address}{path}"));
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
        tls: met(&value["tls"]),
        errors: errors.iter().map(|(k, n)| (k.clone(), n.as_u64().unwrap_or(0))).collect(),
        percentiles_us: [percentile("p50"), percentile("p99"), percentile("p99_9")],
        histogram: pairs.iter().filter_map(|pair| pair[0].as_f64().zip(pair[1].as_u64())).collect(),
    })
}

fn met(value: &Value) -> Option<Met> {
    let handshakes = ["full", "resumed"].map(|name| value[name].as_u64().unwrap_or(0));
    Some(Met { agreed: value["agreed"].as_str()?.to_owned(), handshakes })
}
