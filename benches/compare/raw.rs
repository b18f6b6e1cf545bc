//! Everything that was measured, as JSON: for those who want other statistics.

use serde_json::{Value, json};

use crate::plot::curve;
use crate::report::Report;
use crate::results::{Metric, Sample};
use crate::targets::{TARGETS, Verdict};
use crate::workloads::Kind;

/// The whole of it, a line for each run.
pub fn text(report: &Report<'_>) -> String {
    let mut lines = Vec::new();
    for (name, value) in raw(report) {
        let text = match &value {
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| format!("\n    {item}")).collect();
                format!("[{}]", items.join(","))
            }
            _ => value.to_string(),
        };
        lines.push(format!("  {}: {text}", Value::from(name)));
    }
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

fn raw(report: &Report<'_>) -> serde_json::Map<String, Value> {
    let Report { results, workloads, found, machine, how, .. } = report;
    let versions: serde_json::Map<String, Value> =
        found.iter().map(|found| (found.peer.name.to_owned(), json!(found.version))).collect();
    let runs: Vec<Value> = results
        .all()
        .map(|(workload, proxy, samples)| {
            let samples: Vec<Value> = samples.iter().map(sample).collect();
            let mut run = json!({"workload": workload, "proxy": proxy, "rounds": samples});
            let of_latency = |one: &&&'static crate::workloads::Workload| {
                one.name == workload && matches!(one.kind, Kind::Latency { .. })
            };
            if workloads.iter().any(|one| of_latency(&one)) {
                run["share_and_us"] = json!(curve(results, workload, proxy));
            }
            run
        })
        .collect();
    let failed: Vec<Value> = results
        .failed
        .iter()
        .map(|((workload, proxy), why)| json!({"workload": workload, "proxy": proxy, "why": why}))
        .collect();
    let whole = json!({
        "date": machine.date,
        "machine": {"processors": machine.cores, "model": machine.model, "kernel": machine.kernel},
        "tidegate": machine.commit,
        "how": how,
        "versions": versions,
        "missing": results.missing,
        "failed": failed,
        "notes": results.notes,
        "targets": TARGETS.iter().map(|target| {
            let judged = target.judge(results);
            json!({
                "workload": target.workload, "metric": name(target.metric), "against": judged.whom,
                "ours": judged.ours, "reached": judged.reached, "bound": judged.bound,
                "verdict": match judged.verdict {
                    Verdict::Reached => "reached",
                    Verdict::Missed => "missed",
                    Verdict::Unknown => "unknown",
                },
            })
        }).collect::<Vec<_>>(),
        "runs": runs,
    });
    match whole {
        Value::Object(members) => members,
        _ => unreachable!("an object was written"),
    }
}

fn sample(sample: &Sample) -> Value {
    let figures: serde_json::Map<String, Value> = sample
        .figures
        .iter()
        .map(|(metric, value)| (name(*metric).to_owned(), json!(value)))
        .collect();
    json!({"figures": figures, "answered": sample.answered, "errors": sample.errors, "asked_rate": sample.rate})
}

fn name(metric: Metric) -> &'static str {
    Metric::ALL.iter().find(|(one, ..)| *one == metric).map_or("?", |(_, name, _)| name)
}
