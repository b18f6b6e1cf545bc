//! What is started once: the cores with what they share, and the writer of the access log.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::{Instant, SystemTime};

use flume::{Receiver, Sender};

use crate::admin::{Loaded, View, log};
use crate::config::{Marks, Overlay, Plan, in_use};
use crate::io::clock;
use crate::proxy::{ClientPermits, CoreSpec, Event, LABELS, OpenListener, Runtime};
use crate::stats::{self, AuditRecord, Recorder};

use super::cores::Cores;
use super::served_certificates;
use crate::process::listeners::ListenerSockets;
use crate::process::remedies;

/// Records that wait for the log writer at most.
const RECORDS: usize = 16 * 1024;
/// Events that wait for us at most; what does not fit is lost, and told again by the next failure.
const EVENTS: usize = 1024;

/// Starts a core for each worker; sockets are dealt out in turn. `named` is the plan before names became addresses.
pub fn cores(
    runtime: &Arc<Runtime>,
    named: Arc<Plan>,
    changes: Overlay,
    listeners: Vec<ListenerSockets>,
    (recorder, auditor): (Option<Recorder>, Option<Recorder<AuditRecord>>),
) -> Result<(View, Receiver<Event>, Cores), String> {
    let plan = &runtime.plan;
    let (connections, client_permits) =
        (Arc::new(AtomicUsize::new(0)), Arc::<ClientPermits>::default());
    let (report, events) = flume::bounded(EVENTS);
    let listen = listeners.iter().map(|sockets| sockets.url(plan)).collect();
    let mut dealt: Vec<Vec<OpenListener>> = (0..plan.process.workers).map(|_| Vec::new()).collect();
    for ListenerSockets { listen, bound, .. } in listeners {
        for (turn, socket) in bound.sockets.into_iter().enumerate() {
            dealt[turn % plan.process.workers]
                .push(OpenListener { listen: listen.clone(), socket });
        }
    }
    let mut counters = Vec::new();
    let origin = clock::origin();
    let mut cores = Cores::new(plan.process.workers);
    for (index, listeners) in dealt.into_iter().enumerate() {
        let stats = Arc::new(stats::Core::new(&LABELS));
        counters.push(Arc::clone(&stats));
        cores.start(CoreSpec {
            index,
            origin,
            runtime: Arc::clone(runtime),
            stats,
            recorder: recorder.clone(),
            auditor: auditor.clone(),
            connections: Arc::clone(&connections),
            client_permits: Arc::clone(&client_permits),
            listeners,
            events: report.clone(),
        })?;
    }
    let view = View {
        version: env!("CARGO_PKG_VERSION"),
        plan: Arc::clone(plan),
        named,
        router: runtime.router.clone(),
        auths: runtime.gates.auths.clone(),
        limits: runtime.gates.limits.clone(),
        certificates: served_certificates(&runtime.tls),
        acme: Vec::new(),
        changes,
        listen,
        state: Arc::default(),
        started: started(),
        started_at: SystemTime::now(),
        cores: counters,
        unwritten: recorder.map_or_else(Arc::default, |one| Arc::clone(one.unwritten())),
        audit_lost: auditor.map_or_else(Arc::default, |one| Arc::clone(one.unwritten())),
        upstreams: runtime.upstreams().cloned().collect(),
        labels: LABELS,
        loaded: Loaded { successful: true, at: SystemTime::now() },
    };
    Ok((view, events, cores))
}

/// Refuses to start where there would be no descriptor for a client.
pub fn enough_descriptors(plan: &Plan) -> Result<(), String> {
    let (have, workers) = (plan.process.descriptors, plan.process.workers);
    let used = in_use(workers, &plan.listener.addresses);
    if used + workers < Marks::of(have).clients {
        return Ok(());
    }
    let what =
        format!("{have} descriptors are too few for --workers {workers} and what they listen on");
    Err(format!("{what}: raise the hard limit (ulimit -Hn) to {} or more", 2 * used + 64))
}

/// Where requests are written down, the thread that does it, and how to have it open its file again.
type Log = (Option<Recorder>, Option<thread::JoinHandle<()>>, Option<Sender<()>>);

/// Starts the writer of the access log, if there is to be one.
pub fn log(plan: &Plan) -> Result<Log, String> {
    let Some(format) = plan.process.access_log.format else { return Ok((None, None, None)) };
    let output =
        plan.process.access_log.file.clone().map_or(log::Output::Stdout, log::Output::File);
    let (recorder, records) = stats::records(RECORDS);
    let (reopen, reopened) = flume::bounded(1);
    let unwritten = Arc::clone(recorder.unwritten());
    let writer =
        log::writer(records, format, output.clone(), reopened, unwritten).map_err(|error| {
            let remedy = remedies::logging(&error);
            format!("cannot write the access log to {output} (--access-log-file): {error}{remedy}")
        })?;
    Ok((Some(recorder), Some(writer), Some(reopen)))
}

/// Where the audit log is written to, the thread that does it, and how to have it open its file again.
type Audit = (Option<Recorder<AuditRecord>>, Option<thread::JoinHandle<()>>, Option<Sender<()>>);

/// Starts the writer of the audit log, if there is to be one.
pub fn audit(plan: &Plan) -> Result<Audit, String> {
    let Some(file) = plan.process.audit.clone() else { return Ok((None, None, None)) };
    let (auditor, records) = stats::records(RECORDS);
    let (reopen, reopened) = flume::bounded(1);
    let unwritten = Arc::clone(auditor.unwritten());
    let shown = file.display().to_string();
    let writer = log::audit_writer(records, file, reopened, unwritten).map_err(|error| {
        let remedy = remedies::logging(&error);
        format!("cannot write the audit log to {shown} (--access-log-audit): {error}{remedy}")
    })?;
    Ok((Some(auditor), Some(writer), Some(reopen)))
}

#[expect(clippy::disallowed_methods, reason = "the admin shows how long the process runs")]
fn started() -> Instant {
    Instant::now()
}
