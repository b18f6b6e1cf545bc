//! What a plan promises, and what is told to whoever made a mistake.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::config::{Action, Listen, Place, Plan, Rejected, Surroundings, load};
use crate::http::{Name, OURS};

/// An empty directory of this process.
pub static HOME: LazyLock<PathBuf> = LazyLock::new(|| {
    let home = std::env::temp_dir().join(format!("tidegate-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&home).expect("a directory");
    home
});

/// Settings that make sense only beside another, by the beginnings of their names, and that one as a flag.
pub const BESIDE: [(&str, &str); 27] = [
    ("sticky-max-age", "--sticky-cookie=tg"),
    ("sticky-secret", "--sticky-cookie=tg"),
    ("queue-size", "--queue-max-requests=9"),
    ("queue-wait", "--queue-max-requests=9"),
    ("limit-burst", "--limit-rate=20/s"),
    ("limit-by", "--limit-rate=20/s"),
    ("limit-window", "--limit-rate=20/s"),
    ("limit-keys", "--limit-rate=20/s"),
    ("limit-dry-run", "--limit-rate=20/s"),
    ("auth-header", "--auth-token=0123456789abcdef"),
    ("auth-pass", "--auth-token=0123456789abcdef"),
    ("auth-timeout", "--auth-url=http://a:1"),
    ("auth-copy", "--auth-url=http://a:1"),
    ("auth-cache", "--auth-url=http://a:1"),
    ("auth-refresh", "--auth-jwks=http://a:1"),
    ("auth-algorithm", "--auth-key=0123456789abcdef0123456789abcdef"),
    ("auth-issuer", "--auth-key=0123456789abcdef0123456789abcdef"),
    ("auth-audience", "--auth-key=0123456789abcdef0123456789abcdef"),
    ("auth-leeway", "--auth-key=0123456789abcdef0123456789abcdef"),
    ("auth-role", "--auth-key=0123456789abcdef0123456789abcdef"),
    ("auth-forward", "--auth-key=0123456789abcdef0123456789abcdef"),
    ("cors-method", "--cors-origin=https://a"),
    ("cors-header", "--cors-origin=https://a"),
    ("cors-expose", "--cors-origin=https://a"),
    ("cors-credentials", "--cors-origin=https://a"),
    ("cors-max-age", "--cors-origin=https://a"),
    ("tls-acme-eab-kid", "--tls-acme-eab-key=0123456789abcdef"),
];

/// What makes sense only beside a certificate: an address where TLS is spoken.
pub const SECURE: (&str, &str) = ("--listen=https://", "--tls-self-signed=localhost");
/// Flags whose values are files, of which there are none; and what needs such a flag beside it.
const OF_FILES: [&str; 7] = [
    "--config",
    "--env-file",
    "--tls-cert",
    "--tls-key",
    "--tls-acme-ca",
    "--tls-client-ca",
    "--tls-crl",
];
const BESIDE_FILES: [&str; 1] = ["client-cert"];

/// Loads the settings, and looks at what came of it.
pub fn check(args: &[OsString], env: &[(OsString, OsString)]) {
    let around =
        Surroundings { cwd: &HOME, cores: 2, descriptors: 100_000, stdout_is_terminal: false };
    match load(args.to_vec(), env.to_vec(), &around) {
        Ok(Action::Run(plan, told)) => {
            assert!(plan.pools.iter().all(|pool| !pool.upstreams.is_empty()));
            sane(&plan);
            assert!(told.warnings.iter().all(|line| is_one_line(line)), "{:?}", told.warnings);
        }
        Ok(Action::Demo(plan, _)) => sane(&plan),
        Ok(Action::Check(text, _) | Action::Show(text)) => assert!(text.ends_with('\n')),
        Ok(Action::Refuse(text, exit)) => assert!(text.ends_with('\n') && exit > 0),
        Ok(Action::Ask(..) | Action::Look(..) | Action::Explain(..)) => {}
        Err(rejected) => {
            well_told(&rejected);
            advice_holds(&rejected);
        }
    }
}

/// Words that begin advice in prose: not to be written as they stand.
const PROSE: [&str; 16] = [
    "a ", "all ", "an ", "another ", "at ", "blanks ", "digits ", "four ", "it ", "its ",
    "letters", "off, ", "one", "quotes ", "the ", "true, ",
];
/// What begins advice about the syntax of a file, where it says what else has to stand in its line.
const SYNTAX: [&str; 11] =
    ["KEY=VALUE", "name = value", "{ ", "{{", "} ", "[", "]", "\" ", "\"name\": value", "' ", "\\"];
/// Where a setting has its place in a file.
const PLACES: [&str; 3] = [" under [", " in the table ", " in a configuration file"];

/// Keys of a file that are options of commands, too, where they stand for something else.
const OF_COMMANDS: [&str; 2] = ["client", "pool"];

/// Whoever writes what the advice says has one mistake less: each value that is offered is taken for its setting, and
/// so is each flag that is spelled out; and nothing else is told to be written word for word.
fn advice_holds(rejected: &Rejected) {
    let (text, offers) = (&rejected.text(), &rejected.offers);
    let is_flag =
        |setting: &str| !OF_COMMANDS.contains(&setting) && !BESIDE_FILES.contains(&setting);
    for (setting, value) in offers.iter().filter(|(setting, _)| is_flag(setting)) {
        let taken = reads(&[format!("--{setting}={value}")]);
        // What only files have is no flag: `advice` has its reader try each offer, and tests/mistakes.txt shows them.
        let is_flag = |why: &Rejected| {
            !["is no flag", "there is no flag", "is not a command"]
                .iter()
                .any(|no| why.text().contains(no))
        };
        assert!(
            !taken.as_ref().is_err_and(is_flag),
            "{setting}: {value} is offered\n{text}{taken:?}"
        );
    }
    for told in advice(text).iter().filter_map(|told| told.strip_prefix("write ")) {
        // An offer may look like a flag: names of fields begin with dashes if they like.
        if offers.iter().any(|(_, value)| told.starts_with(value)) {
            continue;
        }
        let words: Vec<String> = told.split_whitespace().map(str::to_owned).collect();
        match words.first().filter(|word| word.starts_with('-')) {
            Some(flag) if OF_FILES.contains(&flag.as_str()) => {}
            Some(_) => assert!(reads(&words).is_ok(), "{words:?} is told\n{text}"),
            None if told.starts_with("tidegate ") => commands_hold(told),
            None => {
                let form = PROSE.iter().chain(&SYNTAX).any(|begin| told.starts_with(begin));
                let assigns = told.split_once(" = ").is_some_and(|(name, _)| is_key(name));
                let moves = PLACES.iter().any(|place| told.contains(place));
                assert!(form || assigns || moves, "nobody tried {told:?}\n{text}");
            }
        }
    }
}

/// Commands that are told are commands: `tidegate config show, or tidegate config schema`.
fn commands_hold(told: &str) {
    for command in told.split("tidegate ").skip(1) {
        let command = command.trim_end_matches(", or ");
        let words: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        let given = ["--upstream=unix:/service", "--admin=127.0.0.1:1"].map(OsString::from);
        let around =
            Surroundings { cwd: &HOME, cores: 2, descriptors: 100_000, stdout_is_terminal: false };
        let taken = load(words.into_iter().chain(given), [], &around);
        assert!(taken.is_ok(), "{command:?} is told\n{taken:?}");
    }
}

fn is_key(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// The last line of each block of a report: what would be right.
pub fn advice(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let within = |line: &&&[&str]| line[0].starts_with("    ") && !line[1].starts_with("    ");
    let pairs: Vec<&[&str]> = lines.windows(2).collect();
    let last = pairs.iter().filter(within).map(|pair| pair[0].trim_start());
    last.map(|line| line.trim_start_matches('^').trim_start()).collect()
}

/// What comes of these words where nothing else can be wrong.
pub fn reads(words: &[String]) -> Result<Action, Rejected> {
    let others = ["--listen=unix:/clients", "--admin=off", "--upstream=unix:/service"];
    let given = |flag: &str| {
        let name = flag.split('=').next().unwrap_or_default();
        words.iter().any(|word| word.split('=').next() == Some(name))
    };
    let is_beside = |name: &str| words.iter().any(|word| word.starts_with(&format!("--{name}")));
    let beside = BESIDE.iter().filter(|(name, _)| is_beside(name)).map(|(_, flag)| *flag);
    let is_secure = words.iter().any(|word| word.starts_with(SECURE.0));
    let others = others.into_iter().chain(beside).chain(is_secure.then_some(SECURE.1));
    let others = others.filter(|flag| !given(flag)).map(OsString::from);
    let cwd = Path::new("/nonexistent");
    let around = Surroundings { cwd, cores: 2, descriptors: 100_000, stdout_is_terminal: false };
    load(others.chain(words.iter().map(OsString::from)), [], &around)
}

fn is_one_line(text: &str) -> bool {
    !text.chars().any(|c| c.is_control())
}

/// A plan is valid by construction.
fn sane(plan: &Plan) {
    assert!(!plan.listener.addresses.is_empty() && plan.process.workers > 0);
    let names: BTreeSet<_> =
        plan.upstreams().map(|(pool, upstream)| (&pool.name, &upstream.name)).collect();
    assert_eq!(names.len(), plan.upstreams().count(), "two upstreams with one name");
    for (_, upstream) in plan.upstreams() {
        assert!(is_one_line(&upstream.name) && upstream.name.is_ascii());
        assert!(crate::http::grammar::is_authority(upstream.authority.as_bytes()));
        match &upstream.place {
            Place::Tcp { host, port } => assert!(!host.is_empty() && *port > 0),
            Place::Unix(path) => assert!(!path.as_os_str().is_empty()),
        }
    }
    for listen in plan.listener.addresses.iter().chain(&plan.process.admin) {
        assert!(!matches!(listen, Listen::Unix(path) if path.as_os_str().is_empty()));
    }
    let limits = &plan.listener.limits;
    assert!(limits.head > 0 && limits.head <= 64 * 1024);
    assert!(plan.process.max_connections > 0 && plan.process.buffers > 0);
    // Host bits are zero: the network begins with its own address.
    assert!(plan.listener.trusted.iter().all(|network| network.trunc() == *network));
    let names = &plan.listener.trusted_names;
    assert!(names.len() <= 32 && names.iter().all(|name| !Name::of(name.as_bytes()).is(OURS)));
    assert!(names.iter().all(|name| crate::http::grammar::is_token(name.as_bytes())));
    for protocol in &plan.exchange.upgrades {
        assert!(protocol.bytes().all(|b| (b'!'..=b'~').contains(&b)) && !protocol.is_empty());
    }
}

/// Every mistake has a place; and a caret stands below the text it is about, not beside it.
fn well_told(rejected: &Rejected) {
    assert!(matches!(rejected.exit, 1 | 2));
    let text = &rejected.text();
    assert!(text.contains("error: ") && text.ends_with('\n'), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("error: ")) {
        let [Some(shown), Some(below)] = [lines.get(at + 1), lines.get(at + 2)] else { continue };
        let blank = below.chars().take_while(|c| *c == ' ').count();
        let carets = below.chars().skip(blank).take_while(|c| *c == '^').count();
        // Advice alone begins in column 4, like the text it would be below.
        if carets > 0 && below.starts_with("    ") && !shown.is_empty() {
            let width = shown.chars().count();
            assert!(blank + carets <= width + 1, "{line}\n{shown}\n{below}");
        }
    }
}
