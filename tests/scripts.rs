//! Our scripts on a machine that lacks things: what they say, and that they install nothing unasked.
//!
//! Each case has a `PATH` of its own, with links to what any machine has and stand-ins that write down how they were
//! called.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What a script of the shell may expect of any machine.
const ORDINARY: [&str; 10] =
    ["bash", "cat", "dirname", "env", "grep", "id", "mkdir", "rm", "sed", "xargs"];

/// A folder with a copy of a script, and all the programs there are.
struct Machine {
    root: PathBuf,
}

impl Machine {
    fn new(name: &str, script: &str) -> Machine {
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("machine-{name}"));
        let _ = fs::remove_dir_all(&root);
        let copy = root.join(script);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(script), copy).unwrap();
        let path = std::env::var_os("PATH").expect("a PATH");
        for program in ORDINARY {
            let real = std::env::split_paths(&path).map(|folder| folder.join(program));
            let real = real.into_iter().find(|real| real.exists()).expect(program);
            symlink(real, root.join("bin").join(program)).unwrap();
        }
        Machine { root }
    }

    /// A program that writes down how it was called, and then does this.
    fn has(self, programs: &[&str], then: &str) -> Machine {
        for program in programs {
            let path = self.root.join("bin").join(program);
            let log = self.root.join("calls");
            let text =
                format!("#!/usr/bin/env bash\necho {program} \"$@\" >>{}\n{then}\n", log.display());
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        self
    }

    fn run(&self, words: &[&str], environment: &[(&str, &str)]) -> Output {
        let bin = self.root.join("bin");
        let mut command = Command::new(bin.join("bash"));
        command.args(words).current_dir(&self.root).env_clear().env("PATH", bin);
        command.envs(environment.iter().copied()).stdin(Stdio::null());
        command.output().expect("bash starts")
    }

    /// Every call of a stand-in.
    fn calls(&self) -> String {
        fs::read_to_string(self.root.join("calls")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// With a Rust of some kind, and without wrk, cargo-deny, a nightly and the packages of Python.
fn developers(name: &str) -> Machine {
    let there = [
        "cargo-fmt",
        "cargo-clippy",
        "cargo-fuzz",
        "curl",
        "dnsmasq",
        "openssl",
        "pebble",
        "slowhttptest",
        "valgrind",
    ];
    let installers = ["apt-get", "sudo", "cargo"];
    Machine::new(name, ".ci/run")
        .has(&there, "exit 0")
        .has(&["cc", "c++"], "exit 0")
        .has(&installers, "exit 0")
        .has(&["rustup"], "[ \"$1\" != run ]")
        .has(&["python3"], "[ \"$1\" = -m ]")
}

#[test]
fn ci_installs_nothing_unasked_and_says_what_is_missing() {
    for environment in [&[][..], &[("CI", "")], &[("CI", "false")]] {
        let machine = developers("unasked");
        let ended = machine.run(&[".ci/run"], environment);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        for part in [
            ".ci/run --install",
            "rustup toolchain install nightly",
            "cargo install cargo-deny --locked",
            "apt-get install -y -q --no-install-recommends wrk python3-venv",
            "pip install --quiet h11 httptools jsonschema requests sslyze websockets",
        ] {
            assert!(said.contains(part), "no {part} in {said}");
        }
        assert!(!said.contains("cargo-fuzz"), "it is there: {said}");
        let calls = machine.calls();
        assert!(!calls.contains("install") && !calls.contains("apt-get"), "{calls}");
    }
}

#[test]
fn ci_installs_what_is_missing_where_it_is_asked_to() {
    for (words, environment) in
        [(&[".ci/run"][..], &[("CI", "true")][..]), (&[".ci/run", "--install"], &[])]
    {
        let machine = developers("asked");
        // Nothing that it installs appears, so it fails at the end, having tried.
        assert_eq!(machine.run(words, environment).status.code(), Some(1));
        let calls = machine.calls();
        for part in
            ["toolchain install nightly", "cargo install cargo-deny", "apt-get update", " wrk "]
        {
            assert!(calls.contains(part), "no {part} in {calls}");
        }
    }
    let wrong = developers("wrong").run(&[".ci/run", "--instal"], &[]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn foreign_programs_that_are_missing_are_named_with_how_to_get_them() {
    let stand_in = "case $1 in -) echo h11 ;; *) exit 1 ;; esac";
    let machine = Machine::new("foreign", "tests/foreign/run")
        .has(&["curl", "openssl", "wrk", "tidegate", "tidegate-origin"], "exit 0")
        .has(&["python3"], stand_in);
    let ended = machine.run(&["tests/foreign/run", "bin"], &[]);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("lacks these packages, or has too old ones: h11\n"), "{said}");
    assert!(said.contains("bin/pip install --upgrade h11"), "{said}");
    assert!(!machine.calls().contains("clients.py"), "nothing runs: {}", machine.calls());
}
