//! What a run has shown: a table for people, one JSON object for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::tally::Tally;
use super::workload::Workload;

/// Latencies that are told, with what they are called in JSON and in the table.
const QUANTILES: &[(&str, &str, f64)] = &[
    ("p50", "p50", 0.5),
    ("p75", "p75", 0.75),
    ("p90", "p90", 0.9),
    ("p99", "p99", 0.99),
    ("p99_9", "p99.9", 0.999),
    ("p99_99", "p99.99", 0.9999),
];

/// What a run has shown.
#[derive(Debug)]
pub struct LoadReport<'a> {
    /// What was to be done.
    pub workload: &'a Workload,
    /// What happened.
    pub tally: &'a Tally,
    /// Somebody could be connected to.
    pub connected: bool,
}

impl LoadReport<'_> {
    /// 0: all went well; 1: some requests failed; 3: nobody could be connected to.
    pub fn exit_code(&self) -> u8 {
        match (self.connected, self.tally.failed()) {
            (false, _) => 3,
            (true, 0) => 0,
            (true, _) => 1,
        }
    }

    /// Requests per second that ended well.
    fn rps(&self) -> f64 {
        let seconds = self.tally.elapsed.as_secs_f64();
        if seconds > 0.0 { self.tally.ok as f64 / seconds } else { 0.0 }
    }

    /// User and system time of the load's own threads for each request, in microseconds.
    fn cpu(&self) -> [f64; 2] {
        let requests = self.tally.requests().max(1) as f64;
        self.tally.spent.map(|spent| rounded(spent.as_secs_f64() * 1e6 / requests))
    }

    /// One JSON object, without a line end. Latencies are in microseconds.
    pub fn json(&self) -> String {
        let LoadReport { workload, tally, .. } = self;
        let latencies = &tally.latencies;
        let mut latency = Map::new();
        latency.insert("min".to_owned(), latencies.min().into());
        latency.insert("mean".to_owned(), rounded(latencies.mean()).into());
        for (name, _, quantile) in QUANTILES {
            latency.insert((*name).to_owned(), latencies.value_at_quantile(*quantile).into());
        }
        latency.insert("max".to_owned(), latencies.max().into());
        let errors: Map<String, Value> =
            tally.errors().map(|(kind, count)| (kind.to_owned(), count.into())).collect();
        let statuses: Map<String, Value> =
            tally.statuses().map(|(status, count)| (status.to_string(), count.into())).collect();
        let histogram: Vec<[u64; 2]> = latencies
            .iter_recorded()
            .map(|step| [step.value_iterated_to(), step.count_at_value()])
            .collect();
        let [user, system] = self.cpu();
        json!({
            "url": workload.url,
            "mode": workload.mode(),
            "connections": workload.connections,
            "threads": workload.threads,
            "rate": workload.rate.map(|rate| rate.per_second()),
            "duration_s": tally.elapsed.as_secs_f64(),
            "requests": tally.requests(),
            "ok": tally.ok,
            "rps": rounded(self.rps()),
            "unsent": tally.unsent,
            "bytes_in": tally.bytes_in,
            "bytes_out": tally.bytes_out,
            "reconnects": tally.reconnects,
            "tls": tally.agreed.as_ref().map(|agreed| {
                let [full, resumed] = tally.handshakes;
                json!({"agreed": agreed, "full": full, "resumed": resumed})
            }),
            "errors": errors,
            "status": statuses,
            "latency_us": latency,
            "histogram": histogram,
            "cpu": {"user_us_per_request": user, "system_us_per_request": system},
            "version": env!("CARGO_PKG_VERSION"),
        })
        .to_string()
    }

    /// SHA-256 of the last body in hexadecimal, where bodies were hashed.
    pub fn digest(&self) -> Option<String> {
        let digest = self.tally.digest?;
        Some(digest.iter().map(|octet| format!("{octet:02x}")).collect())
    }

    /// A table of some lines.
    pub fn table(&self) -> String {
        let LoadReport { workload, tally, .. } = self;
        let mut out = format!("{}\n", heading(workload));
        let mut line = |name: &str, value: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {name:<11} {value}");
        };
        let seconds = tally.elapsed.as_secs_f64();
        line("requests", format!("{} in {seconds:.2} s", tally.requests()));
        line("ok", format!("{}, {:.1}/s", tally.ok, self.rps()));
        let failed: Vec<_> = tally.errors().map(|(kind, n)| format!("{kind} {n}")).collect();
        line("errors", if failed.is_empty() { "none".to_owned() } else { failed.join(", ") });
        let statuses: Vec<_> = tally.statuses().map(|(code, n)| format!("{code}: {n}")).collect();
        if !statuses.is_empty() {
            line("status", statuses.join(", "));
        }
        if tally.unsent > 0 {
            line("unsent", format!("{} were due, and no connection was free", tally.unsent));
        }
        if tally.reconnects > 0 {
            line("reconnects", tally.reconnects.to_string());
        }
        if let Some(agreed) = &tally.agreed {
            let [full, resumed] = tally.handshakes;
            line("TLS", format!("{agreed}; handshakes: {full} full, {resumed} resumed"));
        }
        let [came, went] = [tally.bytes_in, tally.bytes_out].map(octets);
        line("transfer", format!("{came} in, {went} out"));
        let [user, system] = self.cpu();
        // Of a short run the kernel knows the sum much better than the parts.
        line("own cost", format!("{:.2} us of processor time for each request", user + system));
        if tally.ok > 0 {
            let since = if workload.rate.is_some() { "was due" } else { "was made" };
            line("latency", format!("from when a request {since}"));
            for (name, value) in self.latencies() {
                line("", format!("{name:<6} {:>10}", micros(value)));
            }
        }
        out
    }

    fn latencies(&self) -> Vec<(&'static str, f64)> {
        let latencies = &self.tally.latencies;
        let quantiles = QUANTILES.iter();
        let mut all = vec![("min", latencies.min() as f64), ("mean", latencies.mean())];
        all.extend(quantiles.map(|(_, name, q)| (*name, latencies.value_at_quantile(*q) as f64)));
        all.push(("max", latencies.max() as f64));
        all
    }
}

/// What was to be done, in one line.
pub fn heading(workload: &Workload) -> String {
    let connections = match workload.connections {
        1 => "1 connection".to_owned(),
        many => format!("{many} connections"),
    };
    let what = match (workload.mode(), workload.rate) {
        ("websocket", Some(rate)) => format!("WebSocket, {} messages/s", rate.per_second()),
        ("websocket", None) => "WebSocket, closed loop".to_owned(),
        (_, Some(rate)) => format!("open loop, {} requests/s", rate.per_second()),
        (mode, None) => format!("{mode} loop"),
    };
    let threads = if workload.threads > 1 {
        format!(", {} threads", workload.threads)
    } else {
        String::new()
    };
    format!("{}: {what}, {connections}{threads}", workload.url)
}

/// Two decimals: more would be noise.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn micros(value: f64) -> String {
    match value {
        short if short < 1_000.0 => format!("{short:.0} us"),
        middle if middle < 1_000_000.0 => format!("{:.2} ms", middle / 1e3),
        long => format!("{:.2} s ", long / 1e6),
    }
}

fn octets(count: u64) -> String {
    match count as f64 {
        few if few < 1e4 => format!("{few} B"),
        some if some < 1e7 => format!("{:.1} kB", some / 1e3),
        many if many < 1e10 => format!("{:.1} MB", many / 1e6),
        more => format!("{:.1} GB", more / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::arguments::{Invocation, read};
    use super::super::load_fault::LoadFault;
    use super::*;

    fn workload(words: &str) -> Workload {
        match read(words.split(' ').map(str::to_owned)) {
            Ok(Invocation::Run(workload)) => *workload,
            other => panic!("{words}: {other:?}"),
        }
    }

    fn tally() -> Tally {
        let mut tally = Tally::default();
        for micros in [100, 200, 300, 400_000] {
            tally.answered(Duration::from_micros(micros));
            tally.saw_status(200);
        }
        tally.failed_by(LoadFault::Timeout);
        tally.elapsed = Duration::from_secs(2);
        tally.spent = [Duration::from_micros(10), Duration::from_micros(25)];
        tally
    }

    #[test]
    fn the_json_has_all_that_was_promised() {
        let (workload, tally) = (workload("-c 2 http://127.0.0.1:1/"), tally());
        let report = LoadReport { workload: &workload, tally: &tally, connected: true };
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((&json["mode"], &json["connections"]), (&"closed".into(), &2.into()));
        assert_eq!(
            (&json["requests"], &json["ok"], &json["rps"]),
            (&5.into(), &4.into(), &2.0.into())
        );
        assert_eq!(json["errors"], json!({"timeout": 1}));
        assert_eq!(json["status"], json!({"200": 4}));
        let cpu = json!({"user_us_per_request": 2.0, "system_us_per_request": 5.0});
        assert_eq!(json["cpu"], cpu);
        assert_eq!(json["tls"], Value::Null);
        assert_eq!(
            (&json["latency_us"]["min"], &json["latency_us"]["p50"]),
            (&100.into(), &200.into())
        );
        assert!(json["latency_us"]["p99_99"].as_u64().unwrap() >= 400_000);
        let histogram = json["histogram"].as_array().unwrap();
        let counted: u64 = histogram.iter().map(|step| step[1].as_u64().unwrap()).sum();
        assert_eq!(counted, 4);
        assert_eq!(report.exit_code(), 1);
    }

    #[test]
    fn the_table_tells_what_happened() {
        let (workload, mut tally) = (workload("--rps 5 http://127.0.0.1:1/"), tally());
        tally.unsent = 7;
        (tally.handshakes, tally.agreed) = ([1, 2], Some("TLSv1_3".to_owned()));
        let table = LoadReport { workload: &workload, tally: &tally, connected: true }.table();
        for part in [
            "open loop, 5 requests/s, 64 connections",
            "timeout 1",
            "7 were due",
            "TLSv1_3; handshakes: 1 full, 2 resumed",
            "p99.99",
        ] {
            assert!(table.contains(part), "{part:?} in {table}");
        }
    }

    #[test]
    fn exit_codes_tell_how_it_went() {
        let workload = workload("http://127.0.0.1:1/");
        let mut tally = Tally::default();
        assert_eq!(
            LoadReport { workload: &workload, tally: &tally, connected: true }.exit_code(),
            0
        );
        tally.failed_by(LoadFault::ConnectRefused);
        assert_eq!(
            LoadReport { workload: &workload, tally: &tally, connected: true }.exit_code(),
            1
        );
        assert_eq!(
            LoadReport { workload: &workload, tally: &tally, connected: false }.exit_code(),
            3
        );
    }
}
