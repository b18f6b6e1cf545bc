//! What a person at a terminal, or a pipe in their place, sees of the program itself.

use std::fs::{File, OpenOptions};
use std::io::{PipeWriter, Read, pipe};
use std::process::{Command, Output, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::harness::{DEADLINE, Origin, Proxy, Scratch};

/// What prints and ends.
const PRINTS: [&[&str]; 6] = [
    &["check", "--upstream", "http://a:1"],
    &["--check", "--upstream", "http://a:1"],
    &["--help"],
    &["--version"],
    &["config", "show"],
    &["config", "show", "--origin"],
];

/// What is refused, with its exit code.
const REFUSED: [(&[&str], i32); 2] = [(&["--no-such-flag"], 2), (&["--log", "x"], 2)];

/// Runs the binary to its end, which has to come in time; an empty directory is its own.
fn end(flags: &[&str], edit: impl FnOnce(&mut Command)) -> Output {
    let home = Scratch::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(flags).env_clear().current_dir(home.path()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    edit(&mut command);
    let mut child = command.spawn().expect("the binary starts");
    let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
    let deadline = Timespec::try_from(DEADLINE).unwrap();
    let in_time = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&deadline)) == Ok(1);
    if !in_time {
        let _ = child.kill();
    }
    let ended = child.wait_with_output().expect("the child can be waited for");
    assert!(in_time, "{flags:?} did not end: {}", String::from_utf8_lossy(&ended.stderr));
    ended
}

/// Takes nothing: every write fails, for want of space.
fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("there is a full device")
}

/// The writing end of a pipe whose reader has left.
fn broken() -> PipeWriter {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    writer
}

#[test]
fn s01_output_that_nobody_takes_is_an_exit_code_and_one_line() {
    for flags in PRINTS {
        let outputs: [Stdio; 2] = [full().into(), broken().into()];
        for (output, why) in outputs.into_iter().zip(["No space left", "Broken pipe"]) {
            let ended = end(flags, |command| _ = command.stdout(output));
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(1), "{flags:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(said.starts_with("tidegate: cannot write to standard output: "), "{said}");
            assert!(said.contains(why), "{said}");
        }
    }
}

#[test]
fn s02_where_standard_error_fails_the_exit_code_still_tells() {
    for (flags, code) in PRINTS.map(|flags| (flags, 1)).into_iter().chain(REFUSED) {
        let outputs: [(Stdio, Stdio); 2] =
            [(full().into(), full().into()), (broken().into(), broken().into())];
        for (out, err) in outputs {
            let ended = end(flags, |command| _ = command.stdout(out).stderr(err));
            assert_eq!(ended.status.code(), Some(code), "{flags:?}");
        }
    }
}

#[test]
fn s03_a_log_that_cannot_be_written_stops_nothing() {
    let origin = Origin::named("a");
    // A port that is taken: it says so in its log, and ends.
    let taken = ["--listen", origin.address(), "--upstream", "http://a:1", "--admin", "off"];
    for stderr in [Stdio::from(full()), Stdio::from(broken())] {
        assert_eq!(end(&taken, |command| _ = command.stderr(stderr)).status.code(), Some(1));
    }
}

#[test]
fn s04_the_log_is_a_json_object_a_line_where_that_is_asked_for() {
    let flags = ["--listen", "127.0.0.1:0", "--admin", "off", "--log-format", "json"];
    let origin = Origin::named("a");
    let taken = ["--listen", origin.address(), "--upstream", "http://a:1"];
    let flags = [&taken[..], &flags[2..], &["--trusted-proxy", "0.0.0.0/0"]].concat();
    let ended = end(&flags, |_| {});
    let said = String::from_utf8(ended.stderr).unwrap();
    let lines: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let levels: Vec<&str> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
    assert!(levels.contains(&"warn") && levels.contains(&"error"), "{said}");
    for line in &lines {
        let time = line["time"].as_str().expect("a time");
        assert!(time.len() == "2026-11-21T04:05:06.789Z".len() && time.ends_with('Z'), "{time}");
        assert!(!line["message"].as_str().expect("a message").is_empty());
    }
}

#[test]
fn s05_fields_of_the_json_log_are_keys_with_their_types() {
    let origin = Origin::named("a");
    let proxy = Proxy::start_as(&["--upstream", &origin.url(), "--listen", "127.0.0.1:0"], |c| {
        c.args(["--admin", "off", "--access-log", "off", "--workers", "1"]);
    });
    let human = proxy.stop().stderr;
    assert!(
        human.lines().any(|line| line.contains(" INFO ready workers=1 upstreams=1")),
        "{human}"
    );
    let scratch = Scratch::new();
    let socket = format!("unix:{}", scratch.join("s"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["--upstream", &origin.url(), "--listen", &socket, "--admin", "off"])
        .args(["--access-log", "off", "--workers", "1", "--log-format", "json"])
        .env_clear()
        .current_dir(scratch.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
    let ready = loop {
        let mut line = String::new();
        let read = std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
        assert_ne!(read, 0, "it ended before it was ready");
        let line: Value = serde_json::from_str(&line).expect(&line);
        if line["message"] == "ready" {
            break line;
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!((&ready["workers"], &ready["upstreams"]), (&1.into(), &1.into()));
}

#[test]
fn s06_no_color_and_a_dumb_terminal_hold_for_every_log() {
    let cases: [(&[(&str, &str)], bool); 5] = [
        (&[("TERM", "xterm")], true),
        (&[], true),
        (&[("TERM", "xterm"), ("NO_COLOR", "")], true),
        (&[("TERM", "xterm"), ("NO_COLOR", "1")], false),
        (&[("TERM", "dumb")], false),
    ];
    for (environment, coloured) in cases {
        let shown = on_a_terminal(environment);
        assert!(shown.contains("ERROR"), "{shown}");
        assert_eq!(shown.contains('\x1b'), coloured, "{environment:?}: {shown:?}");
    }
}

/// What a terminal gets to see of a proxy that says why it cannot listen.
fn on_a_terminal(environment: &[(&str, &str)]) -> String {
    let origin = Origin::named("a");
    let ours =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let flags = ["--listen", origin.address(), "--upstream", "http://a:1", "--admin", "off"];
    end(&flags, |command| {
        command.envs(environment.iter().copied()).stderr(theirs);
    });
    let mut shown = Vec::new();
    // The other end is closed: what was written comes, and then an error.
    let _ = File::from(ours).read_to_end(&mut shown);
    String::from_utf8(shown).unwrap()
}

#[test]
fn s07_the_companions_do_not_panic_either() {
    let cases: [(&str, &[&str], i32); 4] = [
        (env!("CARGO_BIN_EXE_tidegate-origin"), &["--help"], 1),
        (env!("CARGO_BIN_EXE_tidegate-origin"), &["--paths"], 1),
        (env!("CARGO_BIN_EXE_tidegate-load"), &["--help"], 1),
        (env!("CARGO_BIN_EXE_tidegate-load"), &["--no-such-flag"], 2),
    ];
    for (program, flags, code) in cases {
        let ended = Command::new(program).args(flags).stdout(full()).stderr(full()).status();
        assert_eq!(ended.expect("the binary starts").code(), Some(code), "{program} {flags:?}");
    }
}

#[test]
fn s08_a_demo_that_cannot_say_what_to_try_ends() {
    for (output, why) in [(Stdio::from(full()), "No space left"), (broken().into(), "Broken pipe")]
    {
        let flags = ["--demo", "--listen", "127.0.0.1:0", "--admin", "off"];
        let ended = end(&flags, |command| _ = command.stdout(output));
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot write to standard output: ") && said.contains(why), "{said}");
    }
}
