//! The metrics as text for scrapers: OpenMetrics 1.0.0, and from it Prometheus 0.0.4.
//!
//! Every label is bounded by the settings: upstreams, status classes, and the tables of reasons.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::View;
use super::figures::{Distribution, Figures, UpstreamFigures};
use crate::stats::Phase;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// All metrics in OpenMetrics text.
pub(super) fn openmetrics(view: &View) -> String {
    let mut registry = Registry::with_prefix("tidegate");
    registry.register_collector(Box::new(Snapshot::of(view)));
    let mut out = String::new();
    // Writing to a `String` cannot fail, and every label set here can be encoded.
    let _ = text::encode(&mut out, &registry);
    out
}

/// All metrics in Prometheus text 0.0.4: there a counter's family carries its `_total`, and units are not told.
pub(super) fn prometheus(view: &View) -> String {
    let text = openmetrics(view);
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: HashSet<&str> = types.filter_map(|line| line.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => continue,
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                out.extend(["# ", what, " ", name, "_total ", rest]);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// The figures of one scrape and the labels they get.
#[derive(Debug)]
struct Snapshot {
    figures: Figures,
    version: &'static str,
    ready: bool,
    uptime: Duration,
    buffers: u64,
    unwritten: u64,
    errors: u64,
    /// Label and fault of each reason.
    reasons: Vec<(&'static str, &'static str)>,
    copies: &'static [&'static str],
    /// Name and liveness of each upstream.
    upstreams: Vec<(Arc<str>, bool)>,
}

impl Snapshot {
    fn of(view: &View) -> Snapshot {
        let figures = Figures::of(&view.cores, &view.upstreams);
        let reasons = view.reasons.iter().enumerate();
        let upstreams = view.upstreams.iter();
        Snapshot {
            version: view.version,
            ready: view.state.get() == Phase::Ready,
            uptime: view.started.elapsed(),
            unwritten: view.unwritten.get(),
            buffers: (view.plan.limits.buffers * view.cores.len()) as u64,
            errors: figures.errors(view.fault),
            reasons: reasons
                .map(|(at, label)| (*label, (view.fault)(at).unwrap_or("nobody")))
                .collect(),
            copies: view.copies,
            upstreams: upstreams.map(|one| (one.name.clone(), one.is_alive())).collect(),
            figures,
        }
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.process(&mut page)?;
        self.clients(&mut page)?;
        self.tunnels(&mut page)?;
        self.bodies(&mut page)?;
        self.upstreams(&mut page)
    }
}

impl Snapshot {
    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let figures = &self.figures;
        page.gauges(
            "build_info",
            "Always 1; the label says what runs",
            [([("version", self.version)], 1)],
        )?;
        page.gauge(
            "ready",
            "1 while requests are served, 0 while starting or draining",
            u64::from(self.ready),
        )?;
        page.seconds("uptime", "Time since the process started", self.uptime)?;
        page.counter("panics", "Connections ended by a panic", figures.panics)?;
        page.counter(
            "log_records_dropped",
            "Access log records that found the queue full",
            figures.records_dropped,
        )?;
        page.counter(
            "log_lines_unwritten",
            "Access log lines that could not be written",
            self.unwritten,
        )?;
        page.gauge("buffers", "Buffers there are", self.buffers)?;
        page.gauge(
            "buffers_used",
            "Buffers lent out, those for heads aside",
            figures.buffers_used,
        )?;
        page.counter("buffer_waits", "Requests that had to wait for buffers", figures.buffer_waits)
    }

    fn clients(&self, page: &mut Page<'_>) -> fmt::Result {
        let figures = &self.figures;
        page.counter("connections_accepted", "Client connections accepted", figures.accepted)?;
        page.gauge("connections", "Client connections open", figures.connections)?;
        page.counter(
            "accept_pauses",
            "Pauses of accepting for want of room",
            figures.accept_pauses,
        )?;
        page.counter("idle_closed", "Idle clients closed to make room", figures.idle_closed)?;
        page.counter("requests", "Requests read", figures.requests)?;
        page.gauge("requests_active", "Requests under way", figures.active)?;
        let classes = CLASSES.into_iter().zip(figures.responses).skip(1);
        page.counters(
            "responses",
            "Final answers sent",
            classes.map(|(class, n)| ([("code", class)], n)),
        )?;
        page.counter("errors", "Requests that ended by somebody's fault", self.errors)?;
        let reasons = self.reasons.iter().zip(&figures.reasons);
        let reasons =
            reasons.map(|((label, fault), n)| ([("reason", *label), ("fault", *fault)], *n));
        page.counters(
            "requests_ended",
            "Requests by how they ended and whose fault that was",
            reasons,
        )?;
        page.histogram(
            "request_duration",
            "From a request's first octet to its end",
            &figures.duration,
        )?;
        page.bytes("client_received", "Octets read from clients", figures.client_bytes[0])?;
        page.bytes("client_sent", "Octets written to clients", figures.client_bytes[1])
    }

    fn tunnels(&self, page: &mut Page<'_>) -> fmt::Result {
        let figures = &self.figures;
        page.gauge("tunnels", "WebSockets and other tunnels open", figures.tunnels)?;
        page.counter("tunnels_opened", "Tunnels opened by a 101", figures.tunnels_opened)
    }

    fn bodies(&self, page: &mut Page<'_>) -> fmt::Result {
        let figures = &self.figures;
        page.counter("bodies_spliced", "Bodies moved by splice", figures.spliced)?;
        page.bytes("spliced", "Octets moved by splice", figures.spliced_bytes)?;
        let copies = self.copies.iter().zip(&figures.copied);
        let copies = copies.map(|(reason, n)| ([("reason", *reason)], *n));
        page.counters("bodies_copied", "Bodies large enough for splice that were copied", copies)
    }

    fn upstreams(&self, page: &mut Page<'_>) -> fmt::Result {
        let figures = &self.figures;
        page.counter("retries", "Further attempts after a connect failure", figures.retries)?;
        page.counter(
            "replays",
            "Second attempts after a reused connection had died",
            figures.replays,
        )?;
        page.bytes("upstream_received", "Octets read from upstreams", figures.upstream_bytes[0])?;
        page.bytes("upstream_sent", "Octets written to upstreams", figures.upstream_bytes[1])?;

        let alive =
            self.upstreams.iter().map(|(name, alive)| ([("upstream", &**name)], u64::from(*alive)));
        page.gauges("upstream_alive", "1 if the upstream is believed to answer", alive)?;
        page.gauges("upstream_requests_active", "Requests under way", self.each(|one| one.active))?;
        page.gauges(
            "upstream_connections_idle",
            "Connections without a request",
            self.each(|one| one.idle),
        )?;
        page.counters(
            "upstream_requests",
            "Requests sent, retries included",
            self.each(|one| one.requests),
        )?;
        let responses = self.named().flat_map(|(name, one)| {
            let classes = CLASSES.into_iter().zip(one.responses);
            classes.map(move |(class, n)| ([("upstream", name), ("code", class)], n))
        });
        page.counters("upstream_responses", "Answers received", responses)?;
        page.counters(
            "upstream_failures",
            "Attempts without a usable answer",
            self.each(|one| one.failures),
        )?;
        page.counters("upstream_connects", "Connections opened", self.each(|one| one.connects))?;
        let failed = self.each(|one| one.connect_failures);
        page.counters("upstream_connect_failures", "Connections that could not be made", failed)?;
        page.counters(
            "upstream_reused",
            "Requests over a connection used before",
            self.each(|one| one.reused),
        )?;
        let first_byte = self.named().map(|(name, one)| ([("upstream", name)], &one.first_byte));
        page.histograms(
            "upstream_first_byte",
            "From a request sent to the first octet of its answer",
            first_byte,
        )
    }

    fn named(&self) -> impl Iterator<Item = (&str, &UpstreamFigures)> {
        self.upstreams.iter().map(|(name, _)| &**name).zip(&self.figures.upstreams)
    }

    /// One figure of each upstream.
    fn each(
        &self,
        figure: fn(&UpstreamFigures) -> u64,
    ) -> impl Iterator<Item = ([(&str, &str); 1], u64)> {
        self.named().map(move |(name, one)| ([("upstream", name)], figure(one)))
    }
}

/// A page of metrics under way. A family is one metric for each set of labels.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, u64>(&value, None)
    }

    /// A counter of octets.
    fn bytes(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric =
            self.0.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, u64>(&value, None)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// A gauge of a duration.
    fn seconds(&mut self, name: &str, help: &str, value: Duration) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        metric.encode_gauge(&value.as_secs_f64())
    }

    fn histogram(&mut self, name: &str, help: &str, values: &Distribution) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        let buckets: Vec<_> = values.buckets().collect();
        metric.encode_histogram::<NoLabelSet>(values.sum_s, values.count(), &buckets, None)
    }

    fn histograms<'v, L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, &'v Distribution)>,
    ) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (labels, values) in values {
            let buckets: Vec<_> = values.buckets().collect();
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(values.sum_s, values.count(), &buckets, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::str::FromStr;

    use super::*;
    use crate::admin::testing::busy;

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
        let page = prometheus(&busy());
        let Scraped { types, samples } = scrape(&page);
        for (sample, value) in [
            ("tidegate_requests_total", 4.0),
            ("tidegate_errors_total", 1.0),
            ("tidegate_connections", 3.0),
            ("tidegate_ready", 0.0),
            ("tidegate_build_info{version=\"1.2.3\"}", 1.0),
            ("tidegate_responses_total{code=\"2xx\"}", 3.0),
            ("tidegate_requests_ended_total{reason=\"done\",fault=\"nobody\"}", 3.0),
            ("tidegate_requests_ended_total{reason=\"connect_failed\",fault=\"upstream\"}", 1.0),
            ("tidegate_client_received_bytes_total", 400.0),
            ("tidegate_tunnels", 3.0),
            ("tidegate_tunnels_opened_total", 7.0),
            ("tidegate_bodies_copied_total{reason=\"no_pipe\"}", 7.0),
            ("tidegate_upstream_requests_total{upstream=\"http://127.0.0.1:9002\"}", 4.0),
            ("tidegate_upstream_alive{upstream=\"http://127.0.0.1:9001\"}", 1.0),
            ("tidegate_request_duration_seconds_bucket{le=\"0.001\"}", 1.0),
            ("tidegate_request_duration_seconds_bucket{le=\"10.0\"}", 3.0),
            ("tidegate_request_duration_seconds_bucket{le=\"+Inf\"}", 4.0),
            ("tidegate_request_duration_seconds_count", 4.0),
        ] {
            assert_eq!(samples.get(sample), Some(&value), "{sample}\n{page}");
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
        assert!(!page.contains("# EOF") && !page.contains("# UNIT"));
    }

    #[test]
    fn openmetrics_names_families_without_total_and_ends() {
        let page = openmetrics(&busy());
        assert!(page.contains("# TYPE tidegate_requests counter\n"));
        assert!(page.contains("# UNIT tidegate_spliced_bytes bytes\n"));
        assert!(page.contains("tidegate_requests_total 4\n"));
        assert!(page.ends_with("# EOF\n"));
        let families: HashSet<_> = scrape(&page).types.into_keys().collect();
        assert!(families.iter().all(|family| family.starts_with("tidegate_")));
    }

    #[test]
    fn labels_cannot_break_out_of_their_quotes() {
        let mut view = busy();
        view.upstreams[0] =
            Arc::new(crate::stats::UpstreamState::new("http://unix:/a\"b\\c\nd", 2));
        let page = prometheus(&view);
        assert!(
            page.contains(r#"tidegate_upstream_alive{upstream="http://unix:/a\"b\\c\nd"} 1"#),
            "{page}"
        );
    }
}
