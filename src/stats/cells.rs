//! What a row of the table of metrics may hold, how it is added up, and which samples come of it.

use std::fmt::Debug;
use std::iter::repeat_with;
use std::ops::Deref;

use super::{Counter, Distribution, Gauge, Histogram};

/// The names that other rooms give to what is counted here by index.
#[derive(Clone, Copy, Debug, Default)]
pub struct Labels {
    /// Request methods; every method there is has one of them.
    pub methods: &'static [&'static str],
    /// How a request can end, and whose fault that is (`None`: nobody's).
    pub reasons: &'static [(&'static str, Option<&'static str>)],
    /// Why a large body was copied instead of spliced.
    pub copies: &'static [&'static str],
    /// Why a TLS handshake failed.
    pub handshakes: &'static [&'static str],
}

/// How a family's samples behave, in the words of OpenMetrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// The value of a sample.
#[derive(Clone, Debug)]
pub enum Value {
    /// A whole number.
    Count(u64),
    /// A number with a fraction.
    Number(f64),
    /// What a histogram counted.
    Distribution(Distribution),
}

/// One value, and the labels that tell it from its family's others.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Label and value of each.
    pub labels: Vec<(&'static str, String)>,
    /// What was counted.
    pub value: Value,
}

impl Sample {
    /// The sample of a family that has one.
    pub fn only(value: Value) -> Sample {
        Sample { labels: Vec::new(), value }
    }

    fn labelled<const N: usize>(labels: [(&'static str, &str); N], count: u64) -> Sample {
        let labels = labels.map(|(label, value)| (label, value.to_owned())).to_vec();
        Sample { labels, value: Value::Count(count) }
    }
}

/// What one core writes, and a row of the table holds.
pub trait Cell {
    /// The sum of the cores' cells.
    type Sum: Clone + Debug + Default;

    /// How its samples behave.
    const KIND: Kind;

    /// Nothing counted yet.
    fn new(labels: &Labels) -> Self;

    /// Adds what it has counted.
    fn add_to(&self, sum: &mut Self::Sum);

    /// The samples of a sum.
    fn samples(sum: &Self::Sum, labels: &Labels) -> Vec<Sample>;
}

impl Cell for Counter {
    type Sum = u64;
    const KIND: Kind = Kind::Counter;

    fn new(_: &Labels) -> Counter {
        Counter::default()
    }

    fn add_to(&self, sum: &mut u64) {
        *sum += self.get();
    }

    fn samples(sum: &u64, _: &Labels) -> Vec<Sample> {
        vec![Sample::only(Value::Count(*sum))]
    }
}

impl Cell for Gauge {
    type Sum = u64;
    const KIND: Kind = Kind::Gauge;

    fn new(_: &Labels) -> Gauge {
        Gauge::default()
    }

    fn add_to(&self, sum: &mut u64) {
        *sum += self.get();
    }

    fn samples(sum: &u64, _: &Labels) -> Vec<Sample> {
        vec![Sample::only(Value::Count(*sum))]
    }
}

impl Cell for Histogram {
    type Sum = Distribution;
    const KIND: Kind = Kind::Histogram;

    fn new(_: &Labels) -> Histogram {
        Histogram::default()
    }

    fn add_to(&self, sum: &mut Distribution) {
        sum.add(self);
    }

    fn samples(sum: &Distribution, _: &Labels) -> Vec<Sample> {
        vec![Sample::only(Value::Distribution(sum.clone()))]
    }
}

/// A counter for each of several things, by index.
macro_rules! counters {
    ($(#[$meta:meta])* $name:ident, |$labels:ident| $size:expr, |$sums:ident| $samples:expr) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $name(Box<[Counter]>);

        impl Deref for $name {
            type Target = [Counter];

            fn deref(&self) -> &[Counter] {
                &self.0
            }
        }

        impl Cell for $name {
            type Sum = Vec<u64>;
            const KIND: Kind = Kind::Counter;

            fn new($labels: &Labels) -> $name {
                $name(repeat_with(Counter::default).take($size).collect())
            }

            fn add_to(&self, sums: &mut Vec<u64>) {
                sums.resize(self.0.len(), 0);
                for (sum, counter) in sums.iter_mut().zip(&self.0) {
                    *sum += counter.get();
                }
            }

            fn samples($sums: &Vec<u64>, $labels: &Labels) -> Vec<Sample> {
                $samples.collect()
            }
        }
    };
}

counters! {
    /// By the reason a request ended with.
    Reasons,
    |labels| labels.reasons.len(),
    |sums| labels.reasons.iter().zip(sums).map(|((reason, fault), count)| {
        Sample::labelled([("reason", *reason), ("fault", fault.unwrap_or("nobody"))], *count)
    })
}

counters! {
    /// By the reason a body was copied for.
    Copies,
    |labels| labels.copies.len(),
    |sums| labels.copies.iter().zip(sums).map(|(copy, n)| Sample::labelled([("reason", *copy)], *n))
}

counters! {
    /// By the reason a TLS handshake failed for. A family of these has a sample for each reason that was seen.
    Handshakes,
    |labels| labels.handshakes.len(),
    |sums| labels.handshakes.iter().zip(sums).filter(|(_, count)| **count > 0).map(|(reason, n)| {
        Sample::labelled([("reason", *reason)], *n)
    })
}

/// The statuses there are: 100 to 599 (RFC 9110 section 15).
const STATUSES: usize = 500;

counters! {
    /// By method and status. A family of these has a sample for each pair that was seen.
    Answers,
    |labels| labels.methods.len() * STATUSES,
    |sums| sums.iter().enumerate().filter(|(_, count)| **count > 0).map(|(at, count)| {
        let method = labels.methods[at / STATUSES];
        Sample::labelled([("method", method), ("code", &(100 + at % STATUSES).to_string())], *count)
    })
}

impl Answers {
    /// The counter of answers with `status`, of 100 to 599, to the method of this index.
    pub fn of(&self, method: usize, status: u16) -> &Counter {
        &self.0[method * STATUSES + usize::from(status) - 100]
    }
}

/// The classes of statuses, by their first digit.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

counters! {
    /// By class of status; there may be ten thousand of these, so not by status.
    Classes,
    |_labels| CLASSES.len(),
    |sums| CLASSES.iter().zip(sums).map(|(class, n)| Sample::labelled([("code", *class)], *n))
}

impl Classes {
    /// The counter of answers with a `status` of 100 to 599.
    pub fn of(&self, status: u16) -> &Counter {
        &self.0[usize::from(status / 100) - 1]
    }
}

/// Sums of [`Answers`] by class of status.
pub fn by_class(answers: &[u64]) -> impl Iterator<Item = (&'static str, u64)> {
    CLASSES.into_iter().enumerate().map(|(class, name)| {
        let statuses = answers.iter().enumerate();
        (name, statuses.filter(|(at, _)| at % STATUSES / 100 == class).map(|(_, n)| n).sum())
    })
}
