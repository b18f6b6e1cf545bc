//! `tidegate` as a child process: started, waited for, asked, stopped.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use serde_json::Value;

use super::{Client, DEADLINE, Origin, Response, Scratch};

/// What every case wants unless it says otherwise.
const USUAL: [(&str, &str); 4] = [
    ("--listen", "127.0.0.1:0"),
    ("--admin", "127.0.0.1:0"),
    ("--workers", "1"),
    ("--access-log", "off"),
];

/// A running proxy; killed on drop, and the processes that took over from it as well.
pub struct Proxy {
    child: Child,
    /// Who took over, the last one last.
    heirs: Vec<(u32, OwnedFd)>,
    /// Where clients connect to.
    pub address: String,
    /// Where the admin API is; empty with `--admin off`.
    pub admin: String,
    log: Arc<Lines>,
    access_log: Arc<Lines>,
    _home: Scratch,
}

/// How a process ended.
pub struct Finished {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
}

impl Proxy {
    /// Starts the binary with `flags` and waits until it is ready.
    #[track_caller]
    pub fn start(flags: &[&str]) -> Proxy {
        let home = Scratch::new();
        Proxy::launch(command(&usual_and(flags), &home), home)
    }

    /// Starts it with these flags and no others, by `edit`ing the command.
    #[track_caller]
    pub fn start_as(flags: &[&str], edit: impl FnOnce(&mut Command)) -> Proxy {
        let home = Scratch::new();
        let flags: Vec<_> = flags.iter().map(|flag| flag.to_string()).collect();
        let mut command = command(&flags, &home);
        edit(&mut command);
        Proxy::launch(command, home)
    }

    /// Starts it with the usual flags and a hard limit on descriptors.
    #[track_caller]
    pub fn with_descriptors(most: usize, flags: &[&str]) -> Proxy {
        let home = Scratch::new();
        Proxy::launch(prepared(limited(most), &usual_and(flags), &home), home)
    }

    #[track_caller]
    fn launch(mut command: Command, home: Scratch) -> Proxy {
        let mut child = command.spawn().expect("the binary starts");
        let log = Lines::of(child.stderr.take().expect("stderr is piped"));
        let access_log = Lines::of(child.stdout.take().expect("stdout is piped"));
        let mut proxy = Proxy {
            child,
            heirs: Vec::new(),
            address: String::new(),
            admin: String::new(),
            log,
            access_log,
            _home: home,
        };
        let is_admin = |line: &str| line.contains("admin");
        let is_address = |line: &str| line.contains("address=");
        proxy.log.wait_for("ready", |line| line.contains("ready") && !is_address(line));
        let lines = proxy.log.all();
        let mut addresses = lines.iter().filter(|line| is_address(line));
        proxy.address = addresses
            .clone()
            .find(|line| line.contains("listening") && !is_admin(line))
            .map_or_else(|| panic!("no address in {lines:#?}"), |line| address_in(line));
        proxy.admin =
            addresses.find(|line| is_admin(line)).map(|line| address_in(line)).unwrap_or_default();
        proxy
    }

    /// In front of one origin.
    #[track_caller]
    pub fn before(origin: &Origin) -> Proxy {
        Proxy::with(origin, &[])
    }

    /// In front of one origin, with flags.
    #[track_caller]
    pub fn with(origin: &Origin, flags: &[&str]) -> Proxy {
        let url = origin.url();
        Proxy::start(&[&["--upstream", &url], flags].concat())
    }

    /// A client connected to it.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::to(&self.address)
    }

    /// What the admin API answers to a GET.
    #[track_caller]
    pub fn ask(&self, path: &str) -> Response {
        // As curl does where the address is a path, which is no host.
        let host = if self.admin.starts_with("unix:") { "localhost" } else { &self.admin };
        let mut client = Client::to(&self.admin);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        client.response()
    }

    /// What the admin API answers to a POST of JSON.
    #[track_caller]
    pub fn post(&self, path: &str, body: &str) -> Response {
        let (host, len) = (&self.admin, body.len());
        let mut client = Client::to(&self.admin);
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {len}\r\n\r\n{body}"
        ));
        client.response()
    }

    /// The counters, as JSON.
    #[track_caller]
    pub fn metrics(&self) -> Value {
        let answer = self.ask("/metrics?format=json");
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).expect("metrics are JSON")
    }

    /// One counter by its place in the JSON (`/requests`).
    #[track_caller]
    pub fn metric(&self, pointer: &str) -> u64 {
        let metrics = self.metrics();
        let value = metrics.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("no number at {pointer} in {metrics:#}"))
    }

    /// One counter about the upstream `origin`.
    #[track_caller]
    pub fn metric_of(&self, origin: &Origin, name: &str) -> u64 {
        let metrics = self.metrics();
        let value = metrics["upstreams"][origin.url()][name].as_u64();
        value.unwrap_or_else(|| panic!("no {name} of {} in {metrics:#}", origin.url()))
    }

    /// How many file descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// Waits for a line of its own log that holds `text`.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        self.log.wait_for(text, |line| line.contains(text));
    }

    /// Its own log so far, one line each.
    pub fn log(&self) -> Vec<String> {
        self.log.all()
    }

    /// Has a new process take over, and waits until it has.
    #[track_caller]
    pub fn upgrade(&mut self) {
        const DONE: &str = "handed over to the new process";
        self.signal(Signal::USR2);
        let nth = self.heirs.len();
        let all = |lines: &[String]| -> Vec<String> {
            lines.iter().filter(|line| line.contains(DONE)).cloned().collect()
        };
        let done = self.log.wait(|lines, _| all(lines).len() > nth);
        assert!(done, "nobody took over: {:#?}", self.log.all());
        let line = &all(&self.log.all())[nth];
        let pid = line.rsplit("pid=").next().and_then(|pid| pid.trim().parse::<u32>().ok());
        let pid = pid.unwrap_or_else(|| panic!("no process in {line}"));
        let handle = pidfd_open(Pid::from_raw(pid as i32).unwrap(), PidfdFlags::empty());
        self.heirs.push((pid, handle.expect("the new process lives")));
    }

    /// Waits for `n` lines of access log and gives all there are.
    #[track_caller]
    pub fn access_log(&self, n: usize) -> Vec<String> {
        self.access_log.wait_for_count(n);
        self.access_log.all()
    }

    /// The process id of whoever serves now.
    pub fn pid(&self) -> u32 {
        self.heirs.last().map_or(self.child.id(), |(pid, _)| *pid)
    }

    /// Octets of memory that are resident: now, and the most that there ever were.
    pub fn resident(&self) -> [u64; 2] {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        ["VmRSS:", "VmHWM:"].map(|name| {
            let line = status.lines().find(|line| line.starts_with(name)).expect("Linux tells");
            let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
            kib.expect("a number") * 1024
        })
    }

    /// Sends a signal to whoever serves now.
    pub fn signal(&self, signal: Signal) {
        match self.heirs.last() {
            Some((_, handle)) => pidfd_send_signal(handle, signal),
            None => kill_process(Pid::from_child(&self.child), signal),
        }
        .expect("the process is ours");
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    #[track_caller]
    pub fn stop(self) -> Finished {
        self.signal(Signal::TERM);
        self.finish()
    }

    /// Waits for the end of all processes; the exit code is the first one's.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        self.log.wait_for_end();
        let status = self.child.wait().expect("the child can be waited for");
        self.access_log.wait_for_end();
        let [stdout, stderr] = [&self.access_log, &self.log].map(|l| l.all().join("\n"));
        Finished { code: status.code(), stdout, stderr }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for (_, handle) in &self.heirs {
            let _ = pidfd_send_signal(handle, Signal::KILL);
        }
        let log = self.log.all();
        if thread::panicking() {
            eprintln!("--- log of the proxy ---\n{}\n---", log.join("\n"));
        } else if let Some(line) = log.iter().find(|line| line.contains("panic")) {
            panic!("the proxy panicked while the case held: {line}");
        }
    }
}

/// Runs the binary to its end with exactly these flags and this environment.
#[track_caller]
pub fn run(flags: &[&str], environment: &[(&str, &str)]) -> Finished {
    let home = Scratch::new();
    let flags = flags.iter().map(|flag| flag.to_string()).collect::<Vec<_>>();
    let mut command = command(&flags, &home);
    command.envs(environment.iter().copied());
    finished(command)
}

/// Runs the binary with a hard limit on descriptors, to its end.
#[track_caller]
pub fn run_with_descriptors(most: usize, flags: &[&str]) -> Finished {
    let flags: Vec<_> = flags.iter().map(|flag| flag.to_string()).collect();
    finished(prepared(limited(most), &flags, &Scratch::new()))
}

#[track_caller]
fn finished(mut command: Command) -> Finished {
    let mut child = command.spawn().expect("the binary starts");
    let [out, err] = [
        Lines::of(child.stdout.take().expect("stdout is piped")),
        Lines::of(child.stderr.take().expect("stderr is piped")),
    ];
    if !err.ends() || !out.ends() {
        let _ = child.kill();
        panic!("{command:?} did not end in time: {:?}", err.all());
    }
    let code = child.wait().expect("the child can be waited for").code();
    Finished { code, stdout: out.all().join("\n"), stderr: err.all().join("\n") }
}

fn command(flags: &[String], home: &Scratch) -> Command {
    prepared(Command::new(env!("CARGO_BIN_EXE_tidegate")), flags, home)
}

/// A shell that limits itself, and becomes the binary.
fn limited(descriptors: usize) -> Command {
    let mut shell = Command::new("/bin/sh");
    let limited = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
    shell.arg("-c").arg(limited).arg(env!("CARGO_BIN_EXE_tidegate"));
    shell
}

fn prepared(mut command: Command, flags: &[String], home: &Scratch) -> Command {
    command.args(flags).env_clear().current_dir(home.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn usual_and(flags: &[&str]) -> Vec<String> {
    let missing = USUAL.iter().filter(|(flag, _)| !flags.contains(flag));
    let usual = missing.flat_map(|(flag, value)| [*flag, *value]);
    usual.chain(flags.iter().copied()).map(str::to_owned).collect()
}

fn address_in(line: &str) -> String {
    let (_, after) = line.split_once("address=").expect("an address");
    after.split_whitespace().next().unwrap_or_default().trim_matches('"').to_owned()
}

/// The lines of a pipe, as they come.
#[derive(Default)]
struct Lines {
    state: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Arc<Lines> {
        let lines = Arc::new(Lines::default());
        let writer = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                writer.state.lock().unwrap().0.push(line);
                writer.changed.notify_all();
            }
            writer.state.lock().unwrap().1 = true;
            writer.changed.notify_all();
        });
        lines
    }

    fn all(&self) -> Vec<String> {
        self.state.lock().unwrap().0.clone()
    }

    /// Waits until `reached` holds or the pipe is closed; whether it holds.
    fn wait(&self, reached: impl Fn(&[String], bool) -> bool) -> bool {
        let state = self.state.lock().unwrap();
        let not_yet = |state: &mut (Vec<String>, bool)| !reached(&state.0, state.1) && !state.1;
        let (state, _) = self.changed.wait_timeout_while(state, 2 * DEADLINE, not_yet).unwrap();
        reached(&state.0, state.1)
    }

    #[track_caller]
    fn wait_for(&self, what: &str, is_it: impl Fn(&str) -> bool) {
        let reached = self.wait(|lines, _| lines.iter().any(|line| is_it(line)));
        assert!(reached, "the proxy never said \"{what}\": {:#?}", self.all());
    }

    #[track_caller]
    fn wait_for_count(&self, n: usize) {
        assert!(self.wait(|lines, _| lines.len() >= n), "{n} lines due, got {:#?}", self.all());
    }

    fn ends(&self) -> bool {
        self.wait(|_, ended| ended)
    }

    #[track_caller]
    fn wait_for_end(&self) {
        assert!(self.ends(), "the proxy did not end in time: {:#?}", self.all());
    }
}
