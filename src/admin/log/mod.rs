//! The access log: finished requests as lines, written by a thread of its own.
//!
//! Cores put records in a bounded queue and never wait. The writer takes what has piled up, makes
//! lines, writes them together. While there is traffic it pauses between batches instead of
//! waiting on the queue, so that a core's send does not have to wake it.

mod audit;
mod colour;
mod line;
mod output;

pub use audit::write as audit_line;
pub use colour::colours;
pub use line::string;
pub use output::Output;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use flume::{Receiver, RecvTimeoutError, Selector};

use crate::base::Date;
use crate::config::LogFormat;
use crate::stats::{AuditRecord, Counter, Record};
use line::Formatter;
use output::LogSink;

/// The longest a line waits for others to be written with.
const PAUSE: Duration = Duration::from_millis(2);

/// Octets written together at most.
const BATCH: usize = 64 * 1024;

/// How often a failing output is complained about.
const COMPLAINT: Duration = Duration::from_secs(60);

/// Starts the writer. It opens its output again on every message from `reopen`, ends when all senders of records
/// are gone, and then has written what was left. Lines it could not write are counted in `unwritten`.
///
/// An error is that of opening a file or of starting the thread.
pub fn writer(
    records: Receiver<Box<Record>>,
    format: LogFormat,
    output: Output,
    reopen: Receiver<()>,
    unwritten: Arc<Counter>,
) -> io::Result<JoinHandle<()>> {
    let sink = output.open()?;
    let formatter = Formatter::new(format, colours(sink.is_terminal()));
    let lines: Lines<Record> = Box::new(move |record, out| formatter.write(record, out));
    let (name, complained) = ("access log", None);
    let writer = LogWriter { name, records, reopen, output, sink, lines, unwritten, complained };
    thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run())
}

/// The same for the audit log, which is a file.
pub fn audit_writer(
    records: Receiver<Box<AuditRecord>>,
    file: PathBuf,
    reopen: Receiver<()>,
    unwritten: Arc<Counter>,
) -> io::Result<JoinHandle<()>> {
    let output = Output::File(file);
    let (sink, lines) = (output.open()?, Box::new(audit_line));
    let (name, complained) = ("audit log", None);
    let writer = LogWriter { name, records, reopen, output, sink, lines, unwritten, complained };
    thread::Builder::new().name("audit-log".to_owned()).spawn(move || writer.run())
}

/// Makes a line of a record.
type Lines<R> = Box<dyn Fn(&R, &mut String) + Send>;

/// Appends a moment as logs write it: `2026-11-21T04:05:06.789Z`.
pub fn timestamp(time: SystemTime, out: &mut String) {
    Date::of(time).rfc3339(out);
}

struct LogWriter<R> {
    /// What it is called in complaints.
    name: &'static str,
    records: Receiver<Box<R>>,
    reopen: Receiver<()>,
    output: Output,
    sink: LogSink,
    lines: Lines<R>,
    /// Lines that could not be written.
    unwritten: Arc<Counter>,
    complained: Option<Instant>,
}

/// The event that ended a wait.
enum Wakeup<R> {
    Record(Box<R>),
    Reopen,
    /// The sender of reopen requests is gone.
    NoReopen,
    End,
}

impl<R> LogWriter<R> {
    fn run(mut self) {
        let mut may_reopen = true;
        loop {
            match self.wait(may_reopen) {
                Wakeup::Record(record) => self.write_while_they_come(record),
                Wakeup::Reopen => self.reopen(),
                Wakeup::NoReopen => may_reopen = false,
                Wakeup::End => return,
            }
        }
    }

    /// Waits for anything to happen; costs nothing until then.
    fn wait(&self, may_reopen: bool) -> Wakeup<R> {
        let record = |got: Result<_, _>| got.map_or(Wakeup::End, Wakeup::Record);
        let reopen = |got: Result<(), _>| got.map_or(Wakeup::NoReopen, |()| Wakeup::Reopen);
        let selector = Selector::new().recv(&self.records, record);
        let selector = if may_reopen { selector.recv(&self.reopen, reopen) } else { selector };
        selector.wait()
    }

    /// Writes batch after batch until a pause brings nothing new.
    fn write_while_they_come(&mut self, first: Box<R>) {
        let mut next = Some(first);
        let mut batch = String::with_capacity(BATCH);
        while next.is_some() {
            while let Some(record) = next.take() {
                (self.lines)(&record, &mut batch);
                next = if batch.len() < BATCH { self.records.try_recv().ok() } else { None };
            }
            let full = batch.len() >= BATCH;
            self.write(&batch);
            batch.clear();
            if !full {
                self.pause();
            }
            next = self.records.try_recv().ok();
        }
    }

    /// Lets records pile up, listening for a wish to reopen meanwhile.
    fn pause(&mut self) {
        match self.reopen.recv_timeout(PAUSE) {
            Ok(()) => self.reopen(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if self.records.is_disconnected() => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(PAUSE),
        }
    }

    fn write(&mut self, batch: &str) {
        if let Err((error, lost)) = self.sink.write(batch.as_bytes()) {
            self.unwritten.add_shared(lost);
            self.complain(&error);
        }
    }

    /// The old file stays in use if there is no new one to be had.
    fn reopen(&mut self) {
        match self.output.open() {
            Ok(sink) => self.sink = sink,
            Err(error) => self.complain(&error),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the writer is a thread of its own, not a core")]
    fn complain(&mut self, error: &io::Error) {
        if self.complained.is_some_and(|last| last.elapsed() < COMPLAINT) {
            return;
        }
        self.complained = Some(Instant::now());
        let (name, output, lost) = (self.name, &self.output, self.unwritten.get());
        tracing::warn!(%output, %error, lost, "the {name} cannot be written; lines are dropped");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::admin::testing::{record, scratch};
    use crate::stats::records;

    fn start(path: PathBuf) -> (crate::stats::Recorder, flume::Sender<()>, JoinHandle<()>) {
        let (recorder, receiver) = records(1000);
        let (reopen, wishes) = flume::bounded(1);
        let (output, unwritten) = (Output::File(path), Arc::clone(recorder.unwritten()));
        let writer = writer(receiver, LogFormat::Common, output, wishes, unwritten).unwrap();
        (recorder, reopen, writer)
    }

    #[test]
    fn every_record_is_a_line_when_the_writer_ends() {
        let path = scratch("every.log");
        let (recorder, _reopen, writer) = start(path.clone());
        for _ in 0..500 {
            assert!(recorder.record(Box::new(record())));
        }
        let unwritten = Arc::clone(recorder.unwritten());
        drop(recorder);
        writer.join().unwrap();
        assert_eq!(unwritten.get(), 0);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 500);
    }

    #[test]
    fn the_file_is_opened_again_on_demand() {
        let path = scratch("rotated.log");
        let old = path.with_extension("1");
        let (recorder, reopen, writer) = start(path.clone());
        fs::rename(&path, &old).unwrap();
        reopen.send(()).unwrap();
        while !path.exists() {
            thread::yield_now();
        }
        recorder.record(Box::new(record()));
        drop((recorder, reopen));
        writer.join().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        assert_eq!(fs::read_to_string(&old).unwrap(), "");
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let (recorder, _reopen, writer) = start(PathBuf::from("/dev/full"));
        for _ in 0..10 {
            recorder.record(Box::new(record()));
        }
        let unwritten = Arc::clone(recorder.unwritten());
        drop(recorder);
        writer.join().unwrap();
        assert_eq!(unwritten.get(), 10);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_at_once() {
        let (_recorder, receiver) = records(1);
        let output = Output::File(PathBuf::from("/nonexistent/access.log"));
        let reopen = flume::bounded(1).1;
        let error = writer(receiver, LogFormat::Json, output, reopen, Arc::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
