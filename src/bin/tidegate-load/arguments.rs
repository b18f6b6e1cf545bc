//! The command line of `tidegate-load`, and the workload that comes out of it.

use std::fs;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::Duration;
use tidegate::base;

use argh::FromArgs;

use super::echo;
use super::request::{self, RequestTemplate};
use super::response::Digest;
use super::schedule::Rate;
#[cfg(feature = "tls")]
use super::secure::{TlsOffer, TlsTarget};
use super::target::TargetUrl;
use super::workload::{Expected, Workload, WorkloadKind};
use tidegate::http::{Method, grammar};

/// Connections of the open loop, unless another number is given.
const OPEN_CONNECTIONS: usize = 64;
/// How long is measured, unless something else is said.
const DURATION: Duration = Duration::from_secs(10);
/// Octets of a body, at most; it lies in memory.
const BODY_MOST: u64 = 1 << 30;
/// Connections and threads, at most.
const CONNECTIONS_MOST: u64 = 1_000_000;
const THREADS_MOST: u64 = 256;
/// The longest time that can be asked for: a day.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Puts a server under load and tells what it answered and how fast.
///
/// Closed loop: each connection asks again as soon as it is answered. Open loop (--rps): requests are due at
/// fixed moments, and latency is counted from then.
#[derive(Debug, FromArgs)]
struct LoadArguments {
    /// connections (default 1; 64 with --rps)
    #[argh(option, short = 'c')]
    connections: Option<String>,

    /// open loop: requests per second, such as 100 or 0.5
    #[argh(option)]
    rps: Option<String>,

    /// how long to measure: 10, 10s, 1m, 500ms (default 10s; without limit if only --requests is given)
    #[argh(option)]
    duration: Option<String>,

    /// requests to make; the run ends with them or with --duration, whichever comes first
    #[argh(option)]
    requests: Option<String>,

    /// method (default GET; POST with a body)
    #[argh(option)]
    method: Option<String>,

    /// a field line, 'name: value'; may be given more than once
    #[argh(option, short = 'H', long = "header")]
    header: Vec<String>,

    /// the body, as text
    #[argh(option)]
    body: Option<String>,

    /// a body of so many octets (a pattern)
    #[argh(option)]
    body_size: Option<String>,

    /// the body, from a file
    #[argh(option)]
    body_file: Option<PathBuf>,

    /// send the body in chunks
    #[argh(switch)]
    chunked: bool,

    /// a new connection for each request
    #[argh(switch)]
    no_keepalive: bool,

    /// send binary WebSocket messages, which the server has to echo
    #[argh(switch)]
    ws: bool,

    /// octets of a message (default 64)
    #[argh(option)]
    message_size: Option<String>,

    /// open so many connections, make one request on each, and keep them until the duration ends
    #[argh(option)]
    idle: Option<String>,

    /// the one good status (default: any from 200 to 399)
    #[argh(option)]
    expect_status: Option<String>,

    /// the SHA-256 of a good body, in hexadecimal
    #[argh(option)]
    expect_body_hash: Option<String>,

    /// make one request and print the SHA-256 of its answer's body
    #[argh(switch)]
    print_body_hash: bool,

    /// how long to make requests before they count (default 0)
    #[argh(option)]
    warmup: Option<String>,

    /// how long connecting, and then an answer, may take (default 10s)
    #[argh(option)]
    timeout: Option<String>,

    /// threads (default 1)
    #[argh(option)]
    threads: Option<String>,

    /// the oldest version of TLS that is offered, 1.2 or 1.3 (default 1.2); certificates are not checked
    #[argh(option)]
    tls_min: Option<String>,

    /// the newest one (default 1.3)
    #[argh(option)]
    tls_max: Option<String>,

    /// the cipher suites that are offered, with commas, such as TLS13_AES_128_GCM_SHA256 (default all)
    #[argh(option)]
    tls_cipher: Option<String>,

    /// the key exchanges that are offered, with commas, such as X25519 (default all)
    #[argh(option)]
    tls_group: Option<String>,

    /// make a full handshake for each connection, where else a session is resumed
    #[argh(switch)]
    no_tls_resumption: bool,

    /// print the report as one JSON object
    #[argh(switch)]
    json: bool,

    /// the server, as `http://host[:port][/path][?query]`, or `https://`
    #[argh(positional)]
    url: String,
}

/// Flags there are, for suggestions.
const FLAGS: &[&str] = &[
    "--connections",
    "--rps",
    "--duration",
    "--requests",
    "--method",
    "--header",
    "--body",
    "--body-size",
    "--body-file",
    "--chunked",
    "--no-keepalive",
    "--ws",
    "--message-size",
    "--idle",
    "--expect-status",
    "--expect-body-hash",
    "--print-body-hash",
    "--warmup",
    "--timeout",
    "--threads",
    "--tls-min",
    "--tls-max",
    "--tls-cipher",
    "--tls-group",
    "--no-tls-resumption",
    "--json",
    "--help",
    "--version",
];

/// The action that the words ask for.
#[derive(Debug)]
pub enum Invocation {
    /// A run.
    Run(Box<Workload>),
    /// This text, and nothing else.
    Print(String),
}

/// Reads the words behind the program's name; resolves the host. An error says what is wrong.
pub fn read(words: impl IntoIterator<Item = String>) -> Result<Invocation, String> {
    let words: Vec<String> = words.into_iter().flat_map(in_argh_shape).collect();
    if words.iter().any(|word| word == "--version") {
        return Ok(Invocation::Print(format!("tidegate-load {}\n", env!("CARGO_PKG_VERSION"))));
    }
    if let Some(unknown) = words.iter().find(|word| is_unknown(word)) {
        return Err(format!("there is no flag {unknown}{}", suggestion(unknown)));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match LoadArguments::from_args(&["tidegate-load"], &words) {
        Ok(line) => line.workload().map(|workload| Invocation::Run(Box::new(workload))),
        Err(exit) if exit.status.is_ok() => {
            Ok(Invocation::Print(format!("{}\n", exit.output.trim_end())))
        }
        Err(exit) => Err(exit.output.trim_end().to_owned()),
    }
}

/// argh knows neither `--flag=value` nor `-c8` nor `-h`, which users write.
fn in_argh_shape(word: String) -> Vec<String> {
    match word.as_str() {
        "-h" => vec!["--help".to_owned()],
        "-V" => vec!["--version".to_owned()],
        long if long.starts_with("--") => match long.split_once('=') {
            Some((flag, value)) => vec![flag.to_owned(), value.to_owned()],
            None => vec![word],
        },
        short if short.len() > 2 && (short.starts_with("-c") || short.starts_with("-H")) => {
            vec![short[..2].to_owned(), short[2..].to_owned()]
        }
        _ => vec![word],
    }
}

fn is_unknown(word: &str) -> bool {
    word.len() > 2 && word.starts_with("--") && !FLAGS.contains(&word)
}

fn suggestion(unknown: &str) -> String {
    let distance = |flag: &&&str| strsim::damerau_levenshtein(unknown, flag);
    let nearest = FLAGS.iter().filter(|flag| distance(flag) <= 3).min_by_key(distance);
    nearest.map_or_else(String::new, |flag| format!("; did you mean {flag}?"))
}

impl LoadArguments {
    fn workload(self) -> Result<Workload, String> {
        let target = TargetUrl::of(&self.url).map_err(|wrong| format!("{}: {wrong}", self.url))?;
        self.check_together()?;
        self.check_tls(&target)?;
        let kind = match (self.ws, &self.idle) {
            (true, _) => WorkloadKind::WebSocket,
            (false, Some(_)) => WorkloadKind::Idle,
            (false, None) => WorkloadKind::Http,
        };
        let rate = self.rps.as_deref().map(rate).transpose()?;
        let requests = number("--requests", self.requests.as_deref(), 1, u64::MAX)?;
        let requests = if self.print_body_hash { Some(1) } else { requests };
        let duration = duration("--duration", self.duration.as_deref())?;
        let connections = self.how_many_connections(rate, requests)?;
        let threads = number("--threads", self.threads.as_deref(), 1, THREADS_MOST)?.unwrap_or(1);
        let method = self.method()?;
        let (octets, payload, handshake) = self.wire(&target, &method)?;
        Ok(Workload {
            addresses: resolve(&target)?,
            #[cfg(feature = "tls")]
            tls: self.tls(&target)?,
            kind,
            octets,
            payload,
            handshake,
            method: Method::of(method.as_bytes()),
            connections,
            threads: (threads as usize).min(connections),
            rate,
            duration: duration.or(if requests.is_some() { None } else { Some(DURATION) }),
            requests,
            warm_up: self::duration("--warmup", self.warmup.as_deref())?.unwrap_or_default(),
            timeout: self::duration("--timeout", self.timeout.as_deref())?
                .map_or(DURATION, |timeout| timeout.max(Duration::from_millis(1))),
            keep_alive: !self.no_keepalive,
            expected: self.expected()?,
            prints_hash: self.print_body_hash,
            json: self.json,
            url: self.url,
        })
    }

    /// Flags that exclude each other.
    fn check_together(&self) -> Result<(), String> {
        let bodies = [self.body.is_some(), self.body_size.is_some(), self.body_file.is_some()];
        let has_body = bodies.contains(&true);
        if bodies.iter().filter(|given| **given).count() > 1 {
            return Err("give one of --body, --body-size and --body-file".to_owned());
        }
        if self.chunked && !has_body {
            return Err("--chunked needs a body: --body, --body-size or --body-file".to_owned());
        }
        if self.message_size.is_some() && !self.ws {
            return Err("--message-size is about WebSocket messages: add --ws".to_owned());
        }
        let about_answers = self.expect_body_hash.is_some() || self.expect_status.is_some();
        if self.ws && (has_body || self.method.is_some() || self.no_keepalive || about_answers) {
            return Err("--ws has no method, no body and no answers but the echo".to_owned());
        }
        if self.idle.is_some() && (self.ws || self.rps.is_some() || self.no_keepalive) {
            return Err("--idle goes neither with --ws nor with --rps or --no-keepalive".to_owned());
        }
        if self.print_body_hash && (self.ws || self.idle.is_some()) {
            return Err("--print-body-hash is about one HTTP answer".to_owned());
        }
        Ok(())
    }

    /// Flags that are of no use without TLS.
    fn check_tls(&self, target: &TargetUrl) -> Result<(), String> {
        let texts = [&self.tls_min, &self.tls_max, &self.tls_cipher, &self.tls_group];
        let about_tls = self.no_tls_resumption || texts.iter().any(|text| text.is_some());
        match about_tls && !target.secure {
            true => Err("the --tls flags are about a URL with https://".to_owned()),
            false => Ok(()),
        }
    }

    #[cfg(feature = "tls")]
    fn tls(&self, target: &TargetUrl) -> Result<Option<TlsTarget>, String> {
        let offer = TlsOffer {
            min: self.tls_min.as_deref(),
            max: self.tls_max.as_deref(),
            ciphers: self.tls_cipher.as_deref(),
            groups: self.tls_group.as_deref(),
            resumes: !self.no_tls_resumption,
        };
        target.secure.then(|| TlsTarget::new(&target.host, offer)).transpose()
    }

    fn how_many_connections(
        &self,
        rate: Option<Rate>,
        requests: Option<u64>,
    ) -> Result<usize, String> {
        let idle = number("--idle", self.idle.as_deref(), 1, CONNECTIONS_MOST)?;
        let given = number("--connections", self.connections.as_deref(), 1, CONNECTIONS_MOST)?;
        let usual = if rate.is_some() { OPEN_CONNECTIONS as u64 } else { 1 };
        let wanted = idle.or(given).unwrap_or(usual);
        let useful = if idle.is_some() { u64::MAX } else { requests.unwrap_or(u64::MAX) };
        Ok(wanted.min(useful) as usize)
    }

    fn method(&self) -> Result<String, String> {
        let has_body = self.body.is_some() || self.body_size.is_some() || self.body_file.is_some();
        let method = self.method.clone();
        let method = method.unwrap_or_else(|| if has_body { "POST" } else { "GET" }.to_owned());
        match method.as_str() {
            "CONNECT" => Err("--method CONNECT is not supported".to_owned()),
            method if !grammar::is_token(method.as_bytes()) => {
                Err(format!("--method {method:?} is not a token"))
            }
            _ => Ok(method),
        }
    }

    /// What goes over the wire: a request or a message, what a message carries, and what comes first.
    #[expect(clippy::type_complexity, reason = "three parts of a workload, taken apart at once")]
    fn wire(
        &self,
        target: &TargetUrl,
        method: &str,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>, Option<super::workload::Handshake>), String> {
        let fields =
            self.header.iter().map(|line| request::field(line).map_err(|e| format!("-H: {e}")));
        let fields = fields.collect::<Result<Vec<_>, _>>()?;
        let body = self.body()?;
        let draft = RequestTemplate {
            target,
            method,
            fields: &fields,
            body: body.as_deref(),
            chunked: self.chunked,
            keep_alive: !self.no_keepalive,
        };
        if !self.ws {
            return Ok((draft.octets(), None, None));
        }
        let size = number("--message-size", self.message_size.as_deref(), 0, BODY_MOST)?;
        let payload = request::pattern(size.unwrap_or(64) as usize);
        Ok((echo::message(&payload), Some(payload), Some(draft.handshake())))
    }

    fn body(&self) -> Result<Option<Vec<u8>>, String> {
        if let Some(size) = number("--body-size", self.body_size.as_deref(), 0, BODY_MOST)? {
            return Ok(Some(request::pattern(size as usize)));
        }
        if let Some(path) = &self.body_file {
            let wrong = |error| format!("--body-file {}: {error}", path.display());
            let size = fs::metadata(path).map_err(wrong)?.len();
            if size > BODY_MOST {
                return Err(format!("--body-file {}: more than 1 GiB", path.display()));
            }
            return fs::read(path).map(Some).map_err(wrong);
        }
        Ok(self.body.clone().map(String::into_bytes))
    }

    fn expected(&self) -> Result<Expected, String> {
        let status = number("--expect-status", self.expect_status.as_deref(), 200, 599)?;
        let digest = self.expect_body_hash.as_deref().map(digest).transpose()?;
        Ok(Expected { status: status.map(|status| status as u16), digest })
    }
}

fn resolve(target: &TargetUrl) -> Result<Vec<std::net::SocketAddr>, String> {
    let found = (target.host.as_str(), target.port).to_socket_addrs();
    let addresses: Vec<_> = found.map_err(|error| format!("{}: {error}", target.host))?.collect();
    if addresses.is_empty() {
        Err(format!("{} has no address", target.host))
    } else {
        Ok(addresses)
    }
}

fn number(flag: &str, text: Option<&str>, least: u64, most: u64) -> Result<Option<u64>, String> {
    let Some(text) = text else { return Ok(None) };
    let number = base::digits(text.as_bytes()).filter(|n| (least..=most).contains(n));
    let wrong = || format!("{flag} {text}: a number from {least} to {most} is wanted");
    number.map(Some).ok_or_else(wrong)
}

/// A duration with or without a unit: seconds.
fn duration(flag: &str, text: Option<&str>) -> Result<Option<Duration>, String> {
    let Some(text) = text else { return Ok(None) };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let millis = match &text[digits.len()..] {
        "ms" => Some(1),
        "" | "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let number = base::digits(digits.as_bytes());
    let total = millis.zip(number).and_then(|(unit, number)| number.checked_mul(unit));
    let total = total.map(Duration::from_millis).filter(|total| *total <= LONGEST);
    total.map(Some).ok_or_else(|| format!("{flag} {text}: write 10, 10s, 500ms, 1m; at most a day"))
}

/// Requests per second, with up to three decimals.
fn rate(text: &str) -> Result<Rate, String> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let thousandths = || {
        let whole = base::digits(whole.as_bytes())?;
        let part = base::digits(decimals.as_bytes()).filter(|_| decimals.len() <= 3)?;
        let part = part * 10_u64.pow(3 - decimals.len() as u32);
        Rate::per_thousand_seconds(whole.checked_mul(1000)?.checked_add(part)?)
    };
    let wrong =
        || format!("--rps {text}: a number from 0.001 to {} is wanted", Rate::FASTEST / 1000);
    thousandths().ok_or_else(wrong)
}

fn digest(text: &str) -> Result<Digest, String> {
    let mut digest = Digest::default();
    let wrong = || "--expect-body-hash: 64 hexadecimal digits are wanted (SHA-256)".to_owned();
    if text.len() != 2 * digest.len() {
        return Err(wrong());
    }
    for (octet, digits) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        let [high, low] = [digits[0], digits[1]].map(grammar::hex);
        *octet = high.zip(low).map(|(high, low)| high << 4 | low).ok_or_else(wrong)?;
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(words: &str) -> Workload {
        match read(words.split(' ').map(str::to_owned)) {
            Ok(Invocation::Run(workload)) => *workload,
            other => panic!("{words}: {other:?}"),
        }
    }

    fn refusal(words: &[&str]) -> String {
        read(words.iter().map(|word| (*word).to_owned())).unwrap_err()
    }

    #[test]
    fn the_everyday_call() {
        let workload = workload("--rps 100 --duration 10 http://127.0.0.1:9001/a");
        assert_eq!(workload.rate, Rate::per_thousand_seconds(100_000));
        assert_eq!((workload.duration, workload.connections), (Some(Duration::from_secs(10)), 64));
        assert_eq!(workload.addresses, [([127, 0, 0, 1], 9001).into()]);
        assert_eq!(workload.octets, b"GET /a HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n\r\n");
        assert_eq!((workload.mode(), workload.keep_alive, workload.json), ("open", true, false));
    }

    #[test]
    fn flags_in_every_shape() {
        let workload =
            workload("-c8 --duration=500ms -HX-A:b --body-size=3 --no-keepalive 127.0.0.1:1");
        assert_eq!(
            (workload.connections, workload.duration),
            (8, Some(Duration::from_millis(500)))
        );
        assert_eq!(
            String::from_utf8_lossy(&workload.octets),
            "POST / HTTP/1.1\r\nHost: 127.0.0.1:1\r\nX-A: b\r\nContent-Length: 3\r\n\
             Connection: close\r\n\r\n !\""
        );
        assert_eq!((workload.mode(), workload.method), ("closed", Method::Post));
    }

    #[test]
    fn the_end_is_what_was_said_of_it() {
        let ends = |words| (workload(words).duration, workload(words).requests);
        assert_eq!(ends("127.0.0.1:1"), (Some(DURATION), None));
        assert_eq!(ends("--requests 9 127.0.0.1:1"), (None, Some(9)));
        let both = ends("--requests 9 --duration 1m 127.0.0.1:1");
        assert_eq!(both, (Some(Duration::from_secs(60)), Some(9)));
        assert_eq!(workload("-c 64 --requests 9 127.0.0.1:1").connections, 9);
        assert_eq!(workload("--rps 0.5 127.0.0.1:1").rate, Rate::per_thousand_seconds(500));
        assert_eq!(workload("--threads 9 -c 2 127.0.0.1:1").threads, 2);
    }

    #[test]
    fn a_websocket_has_an_opening_and_a_message() {
        let workload = workload("--ws --message-size 3 ws://127.0.0.1:1/x");
        assert_eq!((workload.mode(), &workload.payload), ("websocket", &Some(b" !\"".to_vec())));
        assert!(workload.handshake.unwrap().octets.starts_with(b"GET /x HTTP/1.1\r\n"));
        assert_eq!(workload.octets[..2], [0x82, 0x83]);
    }

    #[test]
    fn mistakes_are_told() {
        let url = "http://127.0.0.1:1/";
        assert!(refusal(&["--rsp", "1", url]).ends_with("did you mean --rps?"));
        for words in [
            &["--rps", "+5", url][..],
            &["--rps", "0", url],
            &["--rps", "1.2345", url],
            &["-c", "0", url],
            &["--duration", "10x", url],
            &["--duration", "-1", url],
            &["--requests", "0", url],
            &["--expect-status", "99", url],
            &["--expect-body-hash", "abc", url],
            &["--body", "a", "--body-size", "1", url],
            &["--chunked", url],
            &["--ws", "--body", "a", url],
            &["--idle", "5", "--rps", "1", url],
            &["--message-size", "5", url],
            &["--method", "A B", url],
            &["-H", "Content-Length: 5", url],
            &["--body-file", "there/is/no/such/file", url],
            &["--tls-max", "1.2", url],
            &["--no-tls-resumption", url],
            &["https://not a name/"],
            &[],
        ] {
            assert!(!refusal(words).is_empty(), "{words:?}");
        }
    }

    #[test]
    fn a_hash_is_read() {
        let text = "00ff".repeat(16);
        assert_eq!(digest(&text).unwrap()[..3], [0, 255, 0]);
    }

    #[test]
    fn every_flag_is_known_to_the_suggestions() {
        let Ok(Invocation::Print(help)) = read(["--help".to_owned()]) else { panic!("help") };
        let shown = help.split_whitespace().filter(|word| word.starts_with("--"));
        for flag in shown.map(|flag| flag.trim_matches(|c: char| !c.is_alphanumeric() && c != '-'))
        {
            assert!(FLAGS.contains(&flag), "{flag}");
        }
    }
}
