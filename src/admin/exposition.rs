//! The metrics as text for scrapers: OpenMetrics 1.0.0 and Prometheus 0.0.4.
//!
//! Every label is bounded by the settings: upstreams, methods, statuses, and the tables of reasons.

use std::fmt::Write;

use super::{View, families};
use crate::stats::{Distribution, Family, Kind, Sample, Value};

/// A form of text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// Names a counter's family without `_total`, tells units, and ends with a mark.
    OpenMetrics,
    /// 0.0.4: a counter's family has the name of its samples.
    Prometheus,
}

/// All metrics in this form.
pub(super) fn page(view: &View, text: Text) -> String {
    let mut out = String::new();
    for (name, family) in families::all(view) {
        announce(&mut out, &name, &family, text);
        let counter = if family.kind == Kind::Counter { "_total" } else { "" };
        for Sample { labels, value } in &family.samples {
            match value {
                Value::Count(count) => line(&mut out, &[&name, counter], labels, None, *count),
                Value::Number(number) => line(&mut out, &[&name, counter], labels, None, *number),
                Value::Distribution(values) => histogram(&mut out, &name, labels, values),
            }
        }
    }
    if text == Text::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

/// The comment lines before a family's samples. Writing to a `String` cannot fail, here and below.
fn announce(out: &mut String, name: &str, family: &Family, text: Text) {
    let (kind, total) = match (family.kind, text) {
        (Kind::Counter, Text::Prometheus) => ("counter", "_total"),
        (Kind::Counter, Text::OpenMetrics) => ("counter", ""),
        (Kind::Gauge, _) => ("gauge", ""),
        (Kind::Histogram, _) => ("histogram", ""),
    };
    let _ = writeln!(out, "# HELP {name}{total} {}", family.help);
    let _ = writeln!(out, "# TYPE {name}{total} {kind}");
    let unit = ["bytes", "seconds"].into_iter().find(|unit| name.ends_with(unit));
    if let (Some(unit), Text::OpenMetrics) = (unit, text) {
        let _ = writeln!(out, "# UNIT {name} {unit}");
    }
}

fn histogram(out: &mut String, name: &str, labels: &[(&str, String)], values: &Distribution) {
    for (bound, count) in values.at_most() {
        let bound = if bound.is_finite() { format!("{bound:?}") } else { "+Inf".to_owned() };
        line(out, &[name, "_bucket"], labels, Some(("le", bound)), count);
    }
    line(out, &[name, "_sum"], labels, None, values.sum_s());
    line(out, &[name, "_count"], labels, None, values.count());
}

/// `NAME{LABEL="VALUE",...} NUMBER`.
fn line(
    out: &mut String,
    name: &[&str],
    labels: &[(&str, String)],
    last: Option<(&'static str, String)>,
    number: impl std::fmt::Display,
) {
    out.extend(name.iter().copied());
    for (at, (label, value)) in labels.iter().chain(last.as_ref()).enumerate() {
        let _ = write!(out, "{}{label}=\"", if at == 0 { "{" } else { "," });
        for c in value.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    let close = if labels.is_empty() && last.is_none() { "" } else { "}" };
    let _ = writeln!(out, "{close} {number}");
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::str::FromStr;
    use std::sync::Arc;

    use super::*;
    use crate::admin::testing::busy;
    use crate::stats::{BreakerState, CheckOutcome};

    /// What a scraper makes of a page: the type of each family, and the value of each sample.
    struct Scraped<'a> {
        types: HashMap<&'a str, &'a str>,
        samples: HashMap<&'a str, f64>,
    }

    fn scrape(page: &str) -> Scraped<'_> {
        let mut scraped = Scraped { types: HashMap::new(), samples: HashMap::new() };
        for line in page.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').unwrap();
                assert!(scraped.types.insert(name, kind).is_none(), "{name} twice");
            } else if !line.starts_with('#') {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                let value = f64::from_str(value).unwrap_or_else(|_| panic!("{line}"));
                assert!(scraped.samples.insert(sample, value).is_none(), "{sample} twice");
            }
        }
        scraped
    }

    #[test]
    fn a_scraper_reads_back_what_was_counted() {
        let view = busy();
        let down = &view.upstreams[1];
        down.set_alive(false);
        down.breaker.store(BreakerState::Open);
        down.checks(CheckOutcome::Closed).add(3);
        let text = page(&view, Text::Prometheus);
        let Scraped { types, samples } = scrape(&text);
        for (sample, value) in [
            ("tidegate_requests_total", 4.0),
            ("tidegate_errors_total", 1.0),
            ("tidegate_connections", 3.0),
            ("tidegate_ready", 0.0),
            ("tidegate_build_info{version=\"1.2.3\"}", 1.0),
            ("tidegate_responses_total{method=\"GET\",code=\"200\"}", 3.0),
            ("tidegate_requests_ended_total{reason=\"done\",fault=\"nobody\"}", 3.0),
            ("tidegate_requests_ended_total{reason=\"connect_failed\",fault=\"upstream\"}", 1.0),
            ("tidegate_client_received_bytes_total", 400.0),
            ("tidegate_tunnels", 3.0),
            ("tidegate_tunnels_opened_total", 7.0),
            ("tidegate_bodies_copied_total{reason=\"no_pipe\"}", 7.0),
            ("tidegate_upstream_requests_total{upstream=\"http://127.0.0.1:9002\"}", 4.0),
            ("tidegate_upstream_alive{upstream=\"http://127.0.0.1:9001\"}", 1.0),
            ("tidegate_upstream_up{upstream=\"http://127.0.0.1:9001\"}", 1.0),
            ("tidegate_upstream_up{upstream=\"http://127.0.0.1:9002\"}", 0.0),
            ("tidegate_upstream_breaker_open{upstream=\"http://127.0.0.1:9002\"}", 1.0),
            (
                "tidegate_upstream_health_checks_total{upstream=\"http://127.0.0.1:9002\",result=\"closed\"}",
                3.0,
            ),
            ("tidegate_request_duration_seconds_bucket{le=\"0.001\"}", 1.0),
            ("tidegate_request_duration_seconds_bucket{le=\"10.0\"}", 3.0),
            ("tidegate_request_duration_seconds_bucket{le=\"+Inf\"}", 4.0),
            ("tidegate_request_duration_seconds_count", 4.0),
        ] {
            assert_eq!(samples.get(sample), Some(&value), "{sample}\n{text}");
        }
        assert_eq!(types["tidegate_requests_total"], "counter");
        assert_eq!(types["tidegate_request_duration_seconds"], "histogram");
        // Every sample belongs to a family that was announced.
        for sample in samples.keys() {
            let name = sample.split('{').next().unwrap();
            let parts = ["_bucket", "_count", "_sum"].map(|part| name.strip_suffix(part));
            let families = parts.into_iter().flatten().chain([name]);
            assert!(families.into_iter().any(|family| types.contains_key(family)), "{sample}");
        }
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
    }

    #[test]
    fn openmetrics_names_families_without_total_and_ends() {
        let text = page(&busy(), Text::OpenMetrics);
        assert!(text.contains("# TYPE tidegate_requests counter\n"));
        assert!(text.contains("# UNIT tidegate_spliced_bytes bytes\n"));
        assert!(text.contains("tidegate_requests_total 4\n"));
        assert!(text.ends_with("# EOF\n"));
        let ours = |family: &str| ["tidegate_", "process_"].iter().any(|p| family.starts_with(p));
        assert!(scrape(&text).types.into_keys().all(ours));
    }

    #[test]
    fn labels_cannot_break_out_of_their_quotes() {
        let mut view = busy();
        view.upstreams[0] =
            Arc::new(crate::stats::UpstreamState::new("default", "http://unix:/a\"b\\c\nd", 2));
        let text = page(&view, Text::Prometheus);
        assert!(
            text.contains(r#"tidegate_upstream_alive{upstream="http://unix:/a\"b\\c\nd"} 1"#),
            "{text}"
        );
    }
}
