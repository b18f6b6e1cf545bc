//! What a reader gets: Markdown, the first table first.

use std::fmt::Write;

use crate::machine::Machine;
use crate::peers::{FLOOR, Found, OURS};
use crate::progress::{digits, main_metric};
use crate::results::{Metric, Results, is_peer};
use crate::targets::{Judged, TARGETS, Verdict};
use crate::workloads::{Kind, Workload};

/// Everything a report is made of.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was measured.
    pub results: &'a Results,
    /// In this order, but only those of a run.
    pub workloads: &'a [&'static Workload],
    /// Who was measured: columns, in this order.
    pub order: &'a [&'static str],
    /// Who was found.
    pub found: &'a [Found],
    /// Where.
    pub machine: &'a Machine,
    /// How: rounds, seconds, seed, and the command line that says so.
    pub how: &'a str,
    /// The pictures, by file name and title.
    pub pictures: Vec<(String, String)>,
}

impl Report<'_> {
    /// The whole page.
    pub fn markdown(&self) -> String {
        let mut page = String::new();
        let judged: Vec<Judged> = TARGETS.iter().map(|target| target.judge(self.results)).collect();
        self.head(&mut page);
        self.first_table(&mut page, &judged);
        targets(&mut page, &judged);
        self.pictures(&mut page);
        self.tables(&mut page);
        self.who(&mut page);
        page.push_str(METHOD);
        page
    }

    fn head(&self, page: &mut String) {
        let Machine { cores, kernel, model, date, commit } = self.machine;
        put(page, format_args!("# tidegate compared\n"));
        put(
            page,
            format_args!("{date}; {model}, {cores} processors, Linux {kernel}; tidegate {commit}."),
        );
        put(page, format_args!("{}\n", self.how));
    }

    /// The one that is looked at.
    fn first_table(&self, page: &mut String, judged: &[Judged]) {
        put(page, format_args!("## CPU for each request or message, µs, user and system\n"));
        put(
            page,
            format_args!(
                "The least of all proxies in bold. `floor` is a byte relay without HTTP on tidegate's own `io` room.\n"
            ),
        );
        let names: Vec<&str> = self.with(Metric::Cpu);
        let mut head = vec!["workload"];
        head.extend(&names);
        head.push("target: tidegate takes");
        row(page, &head);
        rule(page, head.len(), head.len() - 1);
        for workload in self.workloads.iter().filter(|workload| workload.has_cpu()) {
            let mut cells = vec![workload.what.to_owned()];
            cells.extend(self.cells(workload, Metric::Cpu, &names));
            let ours = |one: &&Judged| {
                one.target.workload == workload.name && one.target.metric == Metric::Cpu
            };
            let verdicts: Vec<String> = judged.iter().filter(ours).map(verdict).collect();
            cells.push(verdicts.join("; "));
            row(page, &cells);
        }
        page.push('\n');
    }

    /// The columns for which there is such a figure.
    fn with(&self, metric: Metric) -> Vec<&'static str> {
        let has = |name: &&&'static str| {
            let any =
                |workload: &&&Workload| self.results.median(workload.name, name, metric).is_some();
            self.workloads.iter().any(|workload| any(&workload))
        };
        self.order.iter().filter(has).copied().collect()
    }

    fn cells(&self, workload: &Workload, metric: Metric, names: &[&'static str]) -> Vec<String> {
        let value = |name: &&'static str| self.results.median(workload.name, name, metric);
        let proxies = names.iter().filter(|name| is_peer(name) || **name == OURS);
        let sound = proxies.filter(|name| self.results.is_sound(workload.name, name));
        let values: Vec<f64> = sound.filter_map(value).collect();
        let best = match metric.is_gain() {
            true => values.iter().copied().max_by(f64::total_cmp),
            false => values.iter().copied().min_by(f64::total_cmp),
        };
        let cell = |name: &&'static str| match value(name) {
            None => "–".to_owned(),
            Some(_) if self.results.fell_behind(workload.name, name) => "falls behind".to_owned(),
            Some(found) => {
                let errors: u64 = self.results.errors(workload.name, name).values().sum();
                let compared = is_peer(name) || *name == OURS;
                let text = digits(found);
                match errors {
                    0 if compared && Some(found) == best => format!("**{text}**"),
                    0 => text,
                    _ => format!("{text} ({errors} errors)"),
                }
            }
        };
        names.iter().map(cell).collect()
    }

    /// A table for each metric, with our ratio to the best peer and to the floor.
    fn tables(&self, page: &mut String) {
        for (metric, _, title) in Metric::ALL {
            let names = self.with(metric);
            if names.is_empty() {
                continue;
            }
            put(page, format_args!("## All figures: {title}\n"));
            let mut head = vec!["workload"];
            head.extend(&names);
            head.extend(["of the best peer", "of the floor"]);
            row(page, &head);
            rule(page, head.len(), head.len());
            for workload in self.workloads {
                let mut cells = self.cells(workload, metric, &names);
                if cells.iter().all(|cell| cell == "–") {
                    continue;
                }
                cells.insert(0, format!("`{}`", workload.name));
                let ours = self.results.median(workload.name, OURS, metric);
                let best = self.results.best_peer(workload.name, metric).map(|(_, value)| value);
                let floor = self.results.median(workload.name, FLOOR, metric);
                for other in [best, floor] {
                    let ratio = ours.zip(other).map(|(ours, other)| ours / other);
                    cells.push(ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")));
                }
                row(page, &cells);
            }
            page.push('\n');
        }
        for (workload, note) in &self.results.notes {
            put(page, format_args!("`{workload}`: {note}\n"));
        }
    }

    fn pictures(&self, page: &mut String) {
        for (file, title) in &self.pictures {
            put(page, format_args!("![{title}](results/{file})\n"));
        }
    }

    fn who(&self, page: &mut String) {
        put(page, format_args!("## Who was compared\n"));
        for found in self.found {
            put(page, format_args!("- {}: {}", found.peer.name, found.version));
        }
        for (name, why) in &self.results.missing {
            put(page, format_args!("- **{name} is missing**: {why}"));
        }
        for ((workload, proxy), why) in &self.results.failed {
            put(page, format_args!("- **{proxy} was not measured in `{workload}`**: {why}"));
        }
        for workload in self.workloads {
            for proxy in self.order {
                let errors = self.results.errors(workload.name, proxy);
                if !errors.is_empty() {
                    put(
                        page,
                        format_args!("- **{proxy} had errors in `{}`**: {errors:?}", workload.name),
                    );
                }
                if self.results.fell_behind(workload.name, proxy) {
                    put(
                        page,
                        format_args!("- {proxy} cannot permit the rate of `{}`", workload.name),
                    );
                }
            }
        }
        put(page, format_args!("\n## The workloads\n"));
        for workload in self.workloads {
            let rate = match workload.kind {
                Kind::Latency { .. } => self.rate(workload),
                _ => String::new(),
            };
            put(page, format_args!("- `{}`: {}{rate}", workload.name, workload.what));
        }
        page.push('\n');
    }

    fn rate(&self, workload: &Workload) -> String {
        let mut samples = self.order.iter().flat_map(|n| self.results.samples(workload.name, n));
        let rate = samples.find_map(|sample| sample.rate);
        rate.map_or(String::new(), |rate| format!(": {} a second", digits(rate)))
    }
}

fn targets(page: &mut String, judged: &[Judged]) {
    put(page, format_args!("## Targets\n"));
    row(page, &["workload", "figure", "tidegate", "reached", "asked", ""]);
    rule(page, 6, 6);
    for one in judged {
        let title = Metric::ALL.iter().find(|(metric, ..)| *metric == one.target.metric);
        let sign = if one.target.metric.is_gain() { "≥" } else { "≤" };
        row(
            page,
            &[
                format!("`{}`", one.target.workload),
                title.map_or(String::new(), |(_, _, title)| (*title).to_owned()),
                one.ours.map_or("–".to_owned(), digits),
                one.reached.map_or("–".to_owned(), |reached| multiple(reached, &one.whom)),
                format!("{sign} {}", digits(one.bound)),
                word(&one.verdict).to_owned(),
            ],
        );
    }
    page.push('\n');
}

fn verdict(one: &Judged) -> String {
    let reached = one.reached.map_or("?".to_owned(), |reached| multiple(reached, &one.whom));
    format!("{reached} (≤ {}): {}", digits(one.bound), word(&one.verdict))
}

fn multiple(reached: f64, whom: &str) -> String {
    if whom.is_empty() { digits(reached) } else { format!("{} of {whom}", digits(reached)) }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Reached => "reached",
        Verdict::Missed => "**not reached**",
        Verdict::Unknown => "not measured",
    }
}

/// The summary for the terminal: the main figure of every workload.
pub fn summary(
    results: &Results,
    workloads: &[&'static Workload],
    order: &[&'static str],
) -> String {
    let mut text = String::new();
    let mut head = vec!["workload", "figure"];
    head.extend(order);
    row(&mut text, &head);
    rule(&mut text, head.len(), head.len());
    for workload in workloads {
        let metric = main_metric(workload);
        let title = Metric::ALL.iter().find(|(one, ..)| *one == metric).map_or("", |(_, n, _)| n);
        let mut cells = vec![workload.name.to_owned(), title.to_owned()];
        let value = |name| results.median(workload.name, name, metric);
        cells.extend(order.iter().map(|name| value(name).map_or("–".to_owned(), digits)));
        row(&mut text, &cells);
    }
    text
}

fn put(page: &mut String, line: std::fmt::Arguments<'_>) {
    // A `String` takes everything.
    let _ = writeln!(page, "{line}");
}

fn row(page: &mut String, cells: &[impl AsRef<str>]) {
    for cell in cells {
        let _ = write!(page, "| {} ", cell.as_ref());
    }
    page.push_str("|\n");
}

/// The line under a head of so many columns; numbers from the second to before column `text` stand to the right.
fn rule(page: &mut String, columns: usize, text: usize) {
    for column in 0..columns {
        page.push_str(if (1..text).contains(&column) { "|---:" } else { "|---" });
    }
    page.push_str("|\n");
}

const METHOD: &str = "\
## How it is measured

- Every proxy has one worker on a processor of its own; load and origin have another one, which they quota where there
  are only two. All run at the same time, one is asked at a time. The configurations are in `benches/peers`, each with
  the reasons why it is fair.
- Before a workload is measured, everybody is asked the same question, and whoever gives another answer (status, every
  octet of the body) than the origin itself is left out and named. During the runs the load checks each status and
  counts what goes wrong; figures with errors are shown as such and not compared.
- In each round every proxy is measured once, in an order that is shuffled anew. Figures are medians over the rounds;
  the thin line over a bar is from the least to the most.
- CPU is the time on a processor of the proxy's process and all that descend from it, as `/proc/PID/task/*/schedstat`
  tells it, over the whole run, the making of the connections included, over the number of answers. It is divided into
  user and system as `/proc/PID/stat` says, which counts in steps of 10 ms. It tells more than throughput, which the
  processor of load and origin limits.
- `direct` is the load on the origin itself. `floor` pairs every connection with one to the origin and moves octets: one
  `recv` and one `send` on a wake-up, splice for what fills a buffer; it knows nothing of what it moves, so it connects
  to the origin anew for each connection, where a proxy uses a kept one.
- At a fixed rate a request's latency counts from when it was due, so waiting is not hidden. Who answers less than 98 %
  of what was asked for is said to fall behind.
- Memory is `VmRSS` of the same processes: for an idle connection the difference that so many of them make to a fresh
  program, each of them asked once.
- `nginx` has its usual buffers, `nginx-16k` those of 16 KiB that others have, `nginx-newest` is what its
  packager builds: linked with musl and optimised for size, so it is slower than the older one.
- Start-up is from the start of the program to the first right answer through it.
";
