//! SVG by hand: bars with their spread, and curves of latency. No fonts are measured and nothing overlaps, for every
//! panel has the same grid.

use std::fmt::Write;

use crate::peers::{DIRECT, FLOOR, OURS};
use crate::progress::digits;
use crate::results::{Metric, Results};
use crate::workloads::Workload;

/// Width of a panel of bars, and how many stand side by side.
const PANEL: f64 = 400.0;
const COLUMNS: usize = 2;
/// Room for the names, and for the figures behind the bars.
const NAMES: f64 = 100.0;
const FIGURES: f64 = 60.0;
/// Height of a bar with its gap, and of a title.
const BAR: f64 = 18.0;
const TITLE: f64 = 34.0;

/// Ours first, then peers in the order of their table; the reference points are grey.
const COLOURS: [&str; 9] = [
    "#0b6e4f", "#1f77b4", "#6baed6", "#d62728", "#9467bd", "#e377c2", "#ff7f0e", "#8c564b",
    "#bcbd22",
];

/// A picture under construction.
struct Svg {
    body: String,
    width: f64,
    height: f64,
}

impl Svg {
    fn new(width: f64, height: f64) -> Svg {
        Svg { body: String::new(), width, height }
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        // A `String` takes everything.
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, size: u32, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.put(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}">{text}</text>"#
        ));
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.put(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}"/>"#
        ));
    }

    fn finish(self) -> String {
        let Svg { body, width, height } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
        )
    }
}

/// Bars for `metric`, a panel for each workload: the bar is the median, the thin line the spread over all rounds.
pub fn bars(
    results: &Results,
    order: &[&'static str],
    workloads: &[&Workload],
    metric: Metric,
) -> String {
    let any = |name: &&&'static str| {
        workloads.iter().any(|one| results.spread(one.name, name, metric).is_some())
    };
    let shown: Vec<&'static str> = order.iter().filter(any).copied().collect();
    let rows = workloads.len().div_ceil(COLUMNS);
    let tall = TITLE + BAR * shown.len() as f64 + 12.0;
    let mut svg = Svg::new(PANEL * COLUMNS as f64, tall * rows as f64);
    for (at, workload) in workloads.iter().enumerate() {
        let left = PANEL * (at % COLUMNS) as f64;
        let top = tall * (at / COLUMNS) as f64;
        panel(&mut svg, (left, top), results, &shown, workload, metric);
    }
    svg.finish()
}

fn panel(
    svg: &mut Svg,
    (left, top): (f64, f64),
    results: &Results,
    order: &[&'static str],
    workload: &Workload,
    metric: Metric,
) {
    svg.text(left + 10.0, top + 22.0, "start", 13, workload.what);
    let spread = |name| results.spread(workload.name, name, metric);
    let most = order.iter().filter_map(|name| spread(name)).map(|spread| spread.max);
    let most = most.fold(f64::MIN_POSITIVE, f64::max);
    let zero = left + NAMES;
    let scale = (PANEL - NAMES - FIGURES) / most;
    for (at, name) in order.iter().enumerate() {
        let y = top + TITLE + BAR * at as f64;
        svg.text(zero - 6.0, y + 11.0, "end", 11, name);
        let Some(spread) = spread(name) else {
            svg.text(zero + 4.0, y + 11.0, "start", 11, "–");
            continue;
        };
        let (wide, fill) = (spread.median * scale, colour(name, order));
        svg.put(format_args!(
            r#"<rect x="{zero:.1}" y="{y:.1}" width="{wide:.1}" height="{:.1}" fill="{fill}"/>"#,
            BAR - 4.0
        ));
        let middle = y + BAR / 2.0 - 2.0;
        let (min, max) = (zero + spread.min * scale, zero + spread.max * scale);
        svg.line((min, middle), (max, middle), "black");
        svg.text(max + 5.0, y + 11.0, "start", 11, &digits(spread.median));
    }
}

/// Latency over percentiles at a fixed rate, all rounds together; both axes are logarithmic.
pub fn curves(results: &Results, order: &[&'static str], workload: &Workload) -> String {
    const SIZE: (f64, f64) = (800.0, 420.0);
    const AREA: (f64, f64, f64, f64) = (70.0, 40.0, 600.0, 320.0);
    let (left, top, wide, tall) = AREA;
    let lines: Vec<_> = order
        .iter()
        .map(|name| (*name, curve(results, workload.name, name)))
        .filter(|(_, points)| !points.is_empty())
        .collect();
    let values = || lines.iter().flat_map(|(_, points)| points.iter().map(|(_, us)| *us));
    let low = values().fold(f64::INFINITY, f64::min).clamp(1.0, 1e9).log10().floor();
    let high = values().fold(1.0, f64::max).log10().ceil().max(low + 1.0);
    // 50 % stands at 0.3 of a decade, 99.99 % at 4.
    let x = |quota: f64| left + (-(1.0 - quota).log10() - 0.3) / 3.7 * wide;
    let y = |us: f64| top + tall * (1.0 - (us.max(1.0).log10() - low) / (high - low));
    let mut svg = Svg::new(SIZE.0, SIZE.1);
    svg.text(left, 24.0, "start", 14, &format!("{}: latency in µs", workload.what));
    for decade in low as i32..=high as i32 {
        let us = 10_f64.powi(decade);
        svg.line((left, y(us)), (left + wide, y(us)), "#dddddd");
        svg.text(left - 8.0, y(us) + 4.0, "end", 11, &digits(us));
    }
    for (quota, label) in
        [(0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")]
    {
        svg.line((x(quota), top), (x(quota), top + tall), "#dddddd");
        svg.text(x(quota), top + tall + 18.0, "middle", 11, label);
    }
    for (at, (name, points)) in lines.iter().enumerate() {
        let path: Vec<String> =
            points.iter().map(|(quota, us)| format!("{:.1},{:.1}", x(*quota), y(*us))).collect();
        let (stroke, width) = (colour(name, order), if *name == OURS { 3 } else { 1 });
        svg.put(format_args!(
            r#"<polyline points="{}" fill="none" stroke="{stroke}" stroke-width="{width}"/>"#,
            path.join(" ")
        ));
        let row = top + 16.0 + 18.0 * at as f64;
        svg.put(format_args!(
            r#"<rect x="{:.1}" y="{:.1}" width="12" height="12" fill="{stroke}"/>"#,
            left + wide + 20.0,
            row - 10.0
        ));
        svg.text(left + wide + 38.0, row, "start", 11, name);
    }
    svg.finish()
}

/// Latency over shares of requests, all rounds together: see [`percentiles`].
pub fn curve(results: &Results, workload: &str, proxy: &str) -> Vec<(f64, f64)> {
    percentiles(&merged(results, workload, proxy))
}

/// The histograms of all rounds in one, in ascending order.
fn merged(results: &Results, workload: &str, proxy: &str) -> Vec<(f64, u64)> {
    let samples = results.samples(workload, proxy).iter();
    let mut all: Vec<(f64, u64)> = samples.flat_map(|sample| sample.histogram.clone()).collect();
    all.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    all.dedup_by(|(later, more), (earlier, count)| {
        let same = later == earlier;
        *count += if same { *more } else { 0 };
        same
    });
    all
}

/// Shares from 0.5 to 0.9999, evenly spread over the axis, each with the latency that so many had at most.
fn percentiles(histogram: &[(f64, u64)]) -> Vec<(f64, f64)> {
    let total: u64 = histogram.iter().map(|(_, count)| count).sum();
    if total == 0 {
        return Vec::new();
    }
    let shares = (0..=74).map(|step| 1.0 - 10_f64.powf(-0.3 - f64::from(step) * 0.05));
    let mut points = Vec::new();
    let (mut at, mut passed) = (0, histogram[0].1);
    for quota in shares {
        while (passed as f64) < quota * total as f64 && at + 1 < histogram.len() {
            at += 1;
            passed += histogram[at].1;
        }
        points.push((quota, histogram[at].0));
    }
    points
}

fn colour(name: &str, order: &[&str]) -> &'static str {
    match name {
        OURS => COLOURS[0],
        FLOOR => "#999999",
        DIRECT => "#cccccc",
        _ => {
            let peers = order.iter().filter(|one| crate::results::is_peer(one));
            let at = peers.enumerate().find(|(_, one)| **one == name).map_or(0, |(at, _)| at);
            COLOURS[1 + at % (COLOURS.len() - 1)]
        }
    }
}
