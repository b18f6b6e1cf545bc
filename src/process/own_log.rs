//! tidegate's own log: standard error, how its lines look, and how not to get stuck there.
//!
//! Cores say what is odd themselves, so a reader of standard error that has stopped reading must not stop
//! them: what cannot be written at once is dropped. When it reads again, it is told how much that was.

use std::fmt::{self, Debug};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use crate::admin::log;
use crate::config::{LogLevel, OwnLogFormat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::writer::OptionalWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// Lines that were dropped since the last one that was written.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Octets a pipe takes whole when it has any room at all (pipe(7), `PIPE_BUF`).
const WHOLE: usize = 4096;

/// Characters that a line of JSON has of any one value: escaped, that of the message still leaves room for others.
const LONGEST: usize = 500;

/// Opens the log: from here on, whatever is traced goes to standard error.
pub fn open(level: LogLevel, format: OwnLogFormat) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let lines = tracing_subscriber::fmt().with_max_level(level).with_writer(Lines(format));
    match format {
        OwnLogFormat::Human => lines
            .with_ansi(log::colours(io::stderr().is_terminal()))
            .with_timer(Timestamp)
            .with_target(false)
            .init(),
        OwnLogFormat::Json => lines.event_format(Json).init(),
    }
}

/// Where lines go.
struct Lines(OwnLogFormat);

/// Libraries that warn of whatever a peer sends: how often that is, the peer decides.
const TALKATIVE: &str = "hickory";

impl<'a> MakeWriter<'a> for Lines {
    type Writer = OptionalWriter<Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        OptionalWriter::some(Stderr(self.0))
    }

    fn make_writer_for(&'a self, line: &Metadata<'_>) -> Self::Writer {
        match line.target().starts_with(TALKATIVE) && *line.level() > Level::ERROR {
            true => OptionalWriter::none(),
            false => self.make_writer(),
        }
    }
}

/// The time of a line for people, as in the access log.
struct Timestamp;

impl FormatTime for Timestamp {
    fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
        line.write_str(&now())
    }
}

fn now() -> String {
    let mut text = String::new();
    log::timestamp(SystemTime::now(), &mut text);
    text
}

/// One object a line: time, level, message, and each field of the event by its own name.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        line.write_str(&object(&now(), &level, &fields))?;
        line.write_char('\n')
    }
}

/// The fields of an event, each as `,"key":value`.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<String>,
}

impl Fields {
    fn text(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.others.push(pair(name, &value)),
        }
    }

    /// A value that is the same in JSON.
    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.others.push(format!(",\"{}\":{value}", field.name()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }
}

/// `,"key":"value"`, the value cut if it is very long.
fn pair(key: &str, value: &str) -> String {
    let mut text = String::new();
    let end = value.char_indices().nth(LONGEST).map_or(value.len(), |(end, _)| end);
    log::string(&mut text, key, Some(&value[..end]));
    text
}

/// A line without its end. Fields for which it has no room are left out, so that it is always a whole object.
fn object(time: &str, level: &str, fields: &Fields) -> String {
    let mut line = format!("{{\"time\":\"{time}\",\"level\":\"{level}\"");
    line.push_str(&pair("message", &fields.message));
    for field in &fields.others {
        if line.len() + field.len() + "}\n".len() <= WHOLE {
            line.push_str(field);
        }
    }
    line.push('}');
    line
}

/// Standard error. Each write is a line, and none fails: there would be nowhere to say so.
struct Stderr(OwnLogFormat);

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if put(line, self.0).is_err() {
            DROPPED.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a line, if that is possible at once.
fn put(line: &[u8], format: OwnLogFormat) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    if !has_room(&stderr) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let dropped = DROPPED.swap(0, Relaxed);
    if dropped > 0 {
        if let Err(error) = stderr.write_all(gap(dropped, format).as_bytes()) {
            DROPPED.fetch_add(dropped, Relaxed);
            return Err(error);
        }
        // They are told of; only this line is dropped now.
        if !has_room(&stderr) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
    }
    if line.len() > WHOLE {
        return stderr.write_all(&[&line[..WHOLE - 1], b"\n"].concat());
    }
    stderr.write_all(line)
}

/// The line that stands for those that were dropped.
fn gap(dropped: u64, format: OwnLogFormat) -> String {
    const WHAT: &str = "lines of this log were dropped: nobody read them";
    match format {
        OwnLogFormat::Human => format!("{dropped} {WHAT}\n"),
        OwnLogFormat::Json => {
            let others = vec![format!(",\"dropped\":{dropped}")];
            let mut line = object(&now(), "warn", &Fields { message: WHAT.to_owned(), others });
            line.push('\n');
            line
        }
    }
}

/// A line can be written without waiting.
fn has_room(stderr: &io::StderrLock<'_>) -> bool {
    let mut asked = [PollFd::new(stderr, PollFlags::OUT)];
    // Where asking fails, writing tells what is wrong.
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn read(fields: &Fields) -> Value {
        let line = object("2026-11-21T04:05:06.789Z", "info", fields);
        assert!(line.len() < WHOLE && !line.contains('\n'), "{} octets", line.len());
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn a_line_is_one_object_whatever_it_says() {
        let hostile = "a\n\"\\\u{1b}[2J\u{2028}";
        let mut fields = Fields { message: hostile.to_owned(), others: Vec::new() };
        fields.others.push(pair("upstream", hostile));
        let line = read(&fields);
        assert_eq!((&line["message"], &line["upstream"]), (&hostile.into(), &hostile.into()));
        assert_eq!(line["level"], "info");
    }

    #[test]
    fn lines_that_were_dropped_are_told_in_the_same_form() {
        assert!(gap(3, OwnLogFormat::Human).starts_with("3 lines of this log were dropped"));
        let line: Value = serde_json::from_str(&gap(3, OwnLogFormat::Json)).unwrap();
        assert_eq!((&line["level"], &line["dropped"]), (&"warn".into(), &3.into()));
    }

    #[test]
    fn a_line_that_would_be_too_long_leaves_fields_out_and_stays_whole() {
        let long = "\u{1b}".repeat(10_000);
        let mut fields = Fields { message: long.clone(), others: Vec::new() };
        for key in ["one", "two", "three"] {
            fields.others.push(pair(key, &long));
        }
        fields.others.push(pair("last", "short"));
        let line = read(&fields);
        assert_eq!(line["message"].as_str().unwrap().len(), LONGEST);
        assert_eq!((line.get("one"), &line["last"]), (None, &"short".into()));
    }
}
