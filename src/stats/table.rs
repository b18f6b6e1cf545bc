//! The table of metrics: a row for each family, with its help, its cell, its name for scrapers and its place in JSON.
//!
//! A name without `tidegate_` in front and without `_total` behind; `_bytes` and `_seconds` are its unit.

use super::cells::{Answers, Cell, Classes, Copies, Handshakes, Kind, Labels, Reasons, Sample};
use super::{Counter, Gauge, Histogram};

/// Samples under one name.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name for scrapers, without prefix and `_total`.
    pub name: &'static str,
    /// Its place in a JSON object: keys with dots between them; empty if it is for scrapers alone.
    pub place: &'static str,
    /// What it counts: a sentence.
    pub help: &'static str,
    /// How its samples behave.
    pub kind: Kind,
    /// A sample for each set of labels.
    pub samples: Vec<Sample>,
}

macro_rules! metrics {
    (
        $(#[$meta:meta])* $cells:ident;
        $(#[$sums_meta:meta])* $sums:ident;
        $($(#[doc = $help:literal])+ $field:ident: $cell:ident $name:literal $place:literal;)*
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $cells {
            $($(#[doc = $help])+ pub $field: $cell,)*
        }

        impl $cells {
            /// Nothing counted yet.
            pub fn new(labels: &Labels) -> $cells {
                $cells { $($field: <$cell as Cell>::new(labels),)* }
            }
        }

        $(#[$sums_meta])*
        #[derive(Clone, Debug, Default)]
        pub struct $sums {
            $($(#[doc = $help])+ pub $field: <$cell as Cell>::Sum,)*
        }

        impl $sums {
            /// What all of `cells` counted. They go on meanwhile, so sums may be a request apart from each other.
            pub fn of<'a>(cells: impl IntoIterator<Item = &'a $cells>) -> $sums {
                let mut sums = $sums::default();
                for one in cells {
                    $(one.$field.add_to(&mut sums.$field);)*
                }
                sums
            }

            /// Every family, in the order of the table.
            pub fn families(&self, labels: &Labels) -> Vec<Family> {
                vec![$(Family {
                    name: $name,
                    place: $place,
                    help: concat!($($help),+).trim_ascii(),
                    kind: <$cell as Cell>::KIND,
                    samples: <$cell as Cell>::samples(&self.$field, labels),
                },)*]
            }
        }
    };
}

metrics! {
    /// What one core counted.
    Core;
    /// The sum over all cores.
    Totals;

    /// Client connections accepted.
    accepted: Counter "connections_accepted" "connections.accepted";
    /// Client connections open.
    connections: Gauge "connections" "connections.current";
    /// Pauses of accepting for want of connections or descriptors.
    accept_pauses: Counter "accept_pauses" "connections.accept_pauses";
    /// Connections closed because their client had as many as it may have.
    client_refused: Counter "connections_refused" "connections.refused";
    /// Connections closed for want of a good PROXY header.
    proxy_header_refused: Counter "proxy_headers_refused" "connections.proxy_headers_refused";
    /// TLS handshakes with a key exchange of their own.
    tls_handshakes: Counter "tls_handshakes" "tls.handshakes";
    /// TLS handshakes that resumed an earlier session.
    tls_resumed: Counter "tls_resumed" "tls.resumed";
    /// TLS handshakes that failed, by the cause.
    tls_failed: Handshakes "tls_failed" "tls.failed";
    /// Idle clients closed to make room.
    idle_closed: Counter "idle_closed" "connections.idle_closed";
    /// Requests whose head was read and judged good, or refused.
    requests: Counter "requests" "requests";
    /// Requests under way.
    active: Gauge "requests_active" "active";
    /// Final answers sent, and switches to another protocol, by method and status.
    answers: Answers "responses" "statuses";
    /// Requests by how they ended and whose fault that was.
    reasons: Reasons "requests_ended" "reasons";
    /// From a request's first octet to its end.
    duration: Histogram "request_duration_seconds" "duration_s";
    /// Octets read from clients.
    client_received: Counter "client_received_bytes" "bytes.client_received";
    /// Octets written to clients.
    client_sent: Counter "client_sent_bytes" "bytes.client_sent";
    /// WebSockets and other tunnels open.
    tunnels: Gauge "tunnels" "tunnels.open";
    /// Tunnels opened by a 101.
    tunnels_opened: Counter "tunnels_opened" "tunnels.opened";
    /// From the first octet of a request to the end of the tunnel it became.
    tunnel_duration: Histogram "tunnel_duration_seconds" "tunnels.duration_s";
    /// Bodies moved by splice.
    spliced: Counter "bodies_spliced" "splice.bodies";
    /// Octets moved by splice.
    spliced_bytes: Counter "spliced_bytes" "splice.bytes";
    /// Bodies large enough for splice that were copied, by the reason.
    copied: Copies "bodies_copied" "splice.copied";
    /// Further attempts at another upstream.
    retries: Counter "retries" "retries";
    /// Second attempts after a reused connection had died.
    replays: Counter "replays" "replays";
    /// Requests that wait for room at an upstream.
    queued: Gauge "requests_queued" "queue.waiting";
    /// Requests refused because too many waited already.
    queue_refused: Counter "requests_queue_refused" "queue.refused";
    /// Requests sent to a second upstream as well.
    hedges: Counter "hedges" "hedges.sent";
    /// Of those, requests that the second answered sooner.
    hedges_won: Counter "hedges_won" "hedges.won";
    /// Requests not sent again for want of budget.
    retries_refused: Counter "retries_refused" "retries_refused";
    /// Octets read from upstreams.
    upstream_received: Counter "upstream_received_bytes" "bytes.upstream_received";
    /// Octets written to upstreams.
    upstream_sent: Counter "upstream_sent_bytes" "bytes.upstream_sent";
    /// Buffers lent out, those for heads aside, as of the last request that began or ended.
    buffers_used: Gauge "buffers_used" "buffers.used";
    /// Requests that had to wait for buffers.
    buffer_waits: Counter "buffer_waits" "buffers.waits";
    /// Connections ended by a panic.
    panics: Counter "panics" "panics";
    /// Access log records that found the queue full.
    records_dropped: Counter "log_records_dropped" "log_records_dropped";
}

metrics! {
    /// What one core counted about one upstream.
    Upstream;
    /// The sum over all cores for one upstream.
    UpstreamTotals;

    /// Requests under way.
    active: Gauge "upstream_requests_active" "active";
    /// Open connections without a request.
    idle: Gauge "upstream_connections_idle" "idle";
    /// Requests sent, retries included.
    requests: Counter "upstream_requests" "requests";
    /// Answers received, by class of status.
    responses: Classes "upstream_responses" "codes";
    /// Attempts that ended without a usable answer, connect failures included.
    failures: Counter "upstream_failures" "failures";
    /// Connections opened.
    connects: Counter "upstream_connects" "connects";
    /// Connections that could not be made.
    connect_failures: Counter "upstream_connect_failures" "connect_failures";
    /// Requests that went over a connection used before.
    reused: Counter "upstream_reused" "reused";
    /// From the request's last octet out to the answer's first octet in.
    first_byte: Histogram "upstream_first_byte_seconds" "first_byte_s";
}

impl Totals {
    /// Requests that ended by a fault: the client's, an upstream's or our own.
    pub fn errors(&self, labels: &Labels) -> u64 {
        let reasons = labels.reasons.iter().zip(&self.reasons);
        reasons.filter(|((_, fault), _)| fault.is_some()).map(|(_, count)| count).sum()
    }

    /// Answers sent, whatever their status.
    pub fn responses(&self) -> u64 {
        self.answers.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::stats::by_class;

    const LABELS: Labels = Labels {
        methods: &["GET", "_OTHER"],
        reasons: &[("done", None), ("connect_failed", Some("upstream"))],
        copies: &["small"],
        handshakes: &["unknown_ca"],
    };

    #[test]
    fn cores_are_added_up() {
        let cores = [Core::new(&LABELS), Core::new(&LABELS)];
        for (core, status) in cores.iter().zip([200, 502]) {
            core.requests.add(2);
            core.connections.set(3);
            core.answers.of(1, status).add(1);
            core.answers.of(0, 299).add(1);
        }
        cores[0].reasons[0].add(1);
        cores[1].reasons[1].add(1);
        let totals = Totals::of(&cores);
        assert_eq!((totals.requests, totals.connections, totals.responses()), (4, 6, 4));
        assert_eq!((totals.reasons.as_slice(), totals.errors(&LABELS)), (&[1, 1][..], 1));
        let classes: Vec<_> = by_class(&totals.answers).collect();
        assert_eq!(classes, [("1xx", 0), ("2xx", 3), ("3xx", 0), ("4xx", 0), ("5xx", 1)]);
        let families = totals.families(&LABELS);
        let answers = families.iter().find(|family| family.name == "responses").unwrap();
        let labels: Vec<_> = answers.samples.iter().map(|one| &one.labels[..]).collect();
        let pair = |method: &str, code: &str| [("method", method.into()), ("code", code.into())];
        assert_eq!(labels, [pair("GET", "299"), pair("_OTHER", "200"), pair("_OTHER", "502")]);
    }

    #[test]
    fn no_two_rows_have_a_name_or_a_place_in_common() {
        let (core, upstream) =
            (Totals::default().families(&LABELS), UpstreamTotals::default().families(&LABELS));
        let names: HashSet<_> = core.iter().chain(&upstream).map(|family| family.name).collect();
        assert_eq!(names.len(), core.len() + upstream.len());
        for families in [core, upstream] {
            let places: HashSet<_> = families.iter().map(|family| family.place).collect();
            assert_eq!(places.len(), families.len());
            assert!(
                families.iter().all(|one| one.help.ends_with('.') && !one.name.ends_with("_total"))
            );
        }
    }
}
