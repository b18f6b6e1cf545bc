//! Who is compared: how each is found, configured, started, and asked for its version.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Places, Running, free_port};
use crate::secure;
use crate::stage::Play;

/// The line that everybody is compared with: a byte relay without HTTP on tidegate's own `io` room.
pub const FLOOR: &str = "floor";
/// No proxy at all.
pub const DIRECT: &str = "direct";
/// Ourselves.
pub const OURS: &str = "tidegate";

/// A program that may be installed.
#[derive(Debug)]
pub struct Peer {
    /// What it is called here, and on the command line.
    pub name: &'static str,
    /// The program: in `target/peers/bin`, else in `PATH`.
    program: &'static str,
    /// Its configuration, and files besides, out of `benches/peers`.
    templates: &'static [&'static str],
    /// Arguments; `@...@` are filled in.
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// What else is filled in: for plain clients, and for those who speak TLS.
    values: &'static [(&'static str, &'static str, &'static str)],
    /// Arguments besides, for clients that speak TLS. `None`: it is not measured with them.
    tls: Option<&'static [&'static str]>,
    /// What makes it tell its version.
    version: &'static [&'static str],
}

/// Buffers of nginx of 16 KiB.
const SIXTEEN: &str = "proxy_buffer_size 16k; proxy_buffers 8 16k;";
/// nginx with TLS. Each server has its usual settings for sessions: tickets, two for a full handshake of TLS 1.3.
const NGINX: &str = "ssl_certificate @dir@/leaf.pem; ssl_certificate_key @dir@/leaf.key; \
    ssl_protocols TLSv1.2 TLSv1.3;";

/// All of them. Ourselves are one of them.
pub const PEERS: &[Peer] = &[
    Peer {
        name: OURS,
        program: env!("CARGO_BIN_EXE_tidegate"),
        templates: &[],
        // The same fairness: one worker, no access log, idle connections kept as long as the others keep them.
        arguments: &[
            "--listen",
            "@scheme@127.0.0.1:@port@",
            "--upstream",
            "http://127.0.0.1:@origin@",
            "--admin",
            "off",
            "--workers",
            "@workers@",
            "--access-log",
            "off",
            "--log",
            "error",
            "--idle-timeout",
            "5m",
            "--upstream-idle-timeout",
            "5m",
            "--max-upstream-idle",
            "4096",
        ],
        environment: &[],
        values: &[("@scheme@", "", "https://")],
        tls: Some(&["--tls-cert", "@dir@/leaf.pem", "--tls-key", "@dir@/leaf.key"]),
        version: &["--version"],
    },
    Peer {
        name: "nginx",
        program: "nginx",
        templates: &["nginx.conf"],
        arguments: &["-c", "@dir@/nginx.conf", "-p", "@dir@", "-e", "stderr"],
        environment: &[],
        values: &[("@buffers@", "", ""), ("@ssl@", "", "ssl"), ("@tls@", "", NGINX)],
        tls: Some(&[]),
        version: &["-v"],
    },
    // The same with buffers of the size that HAProxy and tidegate have.
    Peer {
        name: "nginx-16k",
        program: "nginx",
        templates: &["nginx.conf"],
        arguments: &["-c", "@dir@/nginx.conf", "-p", "@dir@", "-e", "stderr"],
        environment: &[],
        values: &[("@buffers@", SIXTEEN, SIXTEEN), ("@ssl@", "", "ssl"), ("@tls@", "", NGINX)],
        tls: Some(&[]),
        version: &["-v"],
    },
    Peer {
        name: "nginx-newest",
        program: "nginx-newest",
        templates: &["nginx.conf"],
        arguments: &["-c", "@dir@/nginx.conf", "-p", "@dir@", "-e", "stderr"],
        environment: &[],
        values: &[("@buffers@", "", ""), ("@ssl@", "", "ssl"), ("@tls@", "", NGINX)],
        tls: Some(&[]),
        version: &["-v"],
    },
    Peer {
        name: "haproxy",
        program: "haproxy",
        templates: &["haproxy.cfg"],
        arguments: &["-db", "-f", "@dir@/haproxy.cfg"],
        environment: &[],
        values: &[("@tls@", "", "ssl crt @dir@/both.pem alpn http/1.1")],
        tls: Some(&[]),
        version: &["-v"],
    },
    Peer {
        name: "envoy",
        program: "envoy",
        templates: &["envoy.yaml"],
        arguments: &[
            "-c",
            "@dir@/envoy.yaml",
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "error",
        ],
        environment: &[],
        values: &[],
        tls: None,
        version: &["--version"],
    },
    Peer {
        name: "caddy",
        program: "caddy",
        templates: &["Caddyfile"],
        arguments: &["run", "--adapter", "caddyfile", "--config", "@dir@/Caddyfile"],
        environment: &[("GOMAXPROCS", "1")],
        values: &[],
        tls: None,
        version: &["version"],
    },
    Peer {
        name: "traefik",
        program: "traefik",
        templates: &["traefik.yml", "traefik-routes.yml"],
        arguments: &["--configFile=@dir@/traefik.yml"],
        environment: &[("GOMAXPROCS", "1")],
        values: &[],
        tls: None,
        version: &["version"],
    },
    Peer {
        name: "sozu",
        program: "sozu",
        templates: &["sozu.toml"],
        arguments: &["start", "-c", "@dir@/sozu.toml"],
        environment: &[],
        values: &[],
        tls: None,
        version: &["--version"],
    },
    Peer {
        name: "pingora",
        program: "pingora",
        templates: &[],
        arguments: &["@port@", "@origin@"],
        environment: &[],
        values: &[],
        tls: None,
        version: &["--version"],
    },
];

/// A peer that is on this machine.
#[derive(Debug)]
pub struct Found {
    /// What it is.
    pub peer: &'static Peer,
    /// Where it is.
    pub program: PathBuf,
    /// What it says of itself.
    pub version: String,
}

impl Peer {
    /// Looks for it.
    pub fn find(&'static self) -> Option<Found> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(own)
            .chain(std::env::split_paths(&path))
            .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
        // An absolute path, ours, stays what it is when it is joined.
        let program =
            folders.map(|folder| folder.join(self.program)).find(|file| file.is_file())?;
        let version = self.ask_version(&program);
        Some(Found { peer: self, program, version })
    }

    /// The first word in what it says that looks like a version: digits with at least one point between.
    fn ask_version(&self, program: &Path) -> String {
        if self.name == "pingora" {
            return locked("pingora-proxy");
        }
        let output = Command::new(program).args(self.version).envs(clean()).output();
        let Ok(output) = output else { return UNKNOWN.to_owned() };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let words = text.split(|c: char| c.is_whitespace() || c == '/');
        let is_version = |word: &&str| {
            let word = word.trim_start_matches('v');
            word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')
        };
        words.into_iter().find(is_version).unwrap_or(UNKNOWN).to_owned()
    }
}

const UNKNOWN: &str = "of an unknown version";

/// The version of a library in the lock file of the Pingora proxy, which has no version of its own.
fn locked(library: &str) -> String {
    let lock = include_str!("../pingora/Cargo.lock");
    let line = format!("name = \"{library}\"\nversion = \"");
    let version = lock.split_once(&line).and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or(UNKNOWN).to_owned()
}

impl Found {
    /// Is it measured there?
    pub fn can(&self, play: Play) -> bool {
        !play.is_tls() || self.peer.tls.is_some()
    }

    /// Starts it between clients and the origin at port `origin`, with a folder of its own below `home`; does not wait
    /// until it listens.
    pub fn start(
        &self,
        play: Play,
        home: &Path,
        origin: u16,
        workers: usize,
        processors: &[usize],
    ) -> io::Result<Running> {
        let port = free_port()?;
        let folder = home.join(format!("{}-{port}", self.peer.name));
        fs::create_dir_all(&folder)?;
        if let Play::Tls(key) = play {
            secure::write_certificate(key, &folder)?;
        }
        let values = [
            ("@port@", port.to_string()),
            ("@origin@", origin.to_string()),
            ("@dir@", folder.display().to_string()),
            ("@workers@", workers.to_string()),
        ];
        let fill = |text: &str| {
            // Its own first, for the others may be in them.
            let text = self.peer.values.iter().fold(text.to_owned(), |text, (name, plain, tls)| {
                text.replace(name, if play.is_tls() { tls } else { plain })
            });
            values.iter().fold(text, |text, (name, value)| text.replace(name, value))
        };
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
        for template in self.peer.templates {
            let text = fs::read_to_string(templates.join(template))?;
            fs::write(folder.join(template), fill(&text))?;
        }
        let mut command = Command::new(&self.program);
        let more = self.peer.tls.filter(|_| play.is_tls()).unwrap_or_default();
        command.args(self.peer.arguments.iter().chain(more).map(|word| fill(word)));
        command.current_dir(&folder);
        command.env_clear().envs(clean()).env("HOME", &folder);
        command.envs(self.peer.environment.iter().copied());
        Running::start(&mut command, port, processors, &folder.join("said"))
    }
}

/// The environment without what somebody may have set for tidegate or a peer.
fn clean() -> impl Iterator<Item = (String, String)> {
    let kept = BTreeSet::from(["PATH", "LANG", "TZ"]);
    std::env::vars().filter(move |(name, _)| kept.contains(&**name))
}

/// This very program as the byte relay.
pub fn start_floor(home: &Path, origin: u16, places: &Places) -> io::Result<Running> {
    let port = free_port()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args([FLOOR, &port.to_string(), &origin.to_string()]);
    Running::start(&mut command, port, &[places.proxy], &home.join(format!("floor-{port}")))
}
