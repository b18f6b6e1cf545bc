//! The names of what a core counts by index.

use crate::http::{Method, Reason};
use crate::io::splice::Copied;
use crate::stats::Labels;

/// Those of every core.
pub const LABELS: Labels =
    Labels { methods: Method::LABELS, reasons: &REASONS, copies: &Copied::LABELS };

const REASONS: [(&str, Option<&str>); Reason::ALL.len()] = {
    let mut labels = [("", None); Reason::ALL.len()];
    let mut at = 0;
    while at < labels.len() {
        labels[at] = (Reason::ALL[at].label(), Reason::ALL[at].fault().label());
        at += 1;
    }
    labels
};
