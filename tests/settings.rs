//! Every setting with every odd value: what a user is told to write is then taken. The promises are those of the fuzz
//! targets `arguments` and `dotenv`; here they are kept for a table, on every run.

#[path = "../fuzz/settings.rs"]
mod promises;

use std::ffi::OsString;
use std::path::Path;

use promises::{advice, check};
use tidegate::config::{self, Action, Rejected, Surroundings};
use tidegate::http;

/// What people write who have other programs in their fingers, or none.
const ODD: &str = "\
    | |0|1|-1|+5|007|42|80|8080|8082|9001|65536|99999|100000|30000|18446744073709551616|1e3|1e6|1E6|1e99|1_000|\
    1,000|1,000,000|1'000|20k|1M|1.5|0.5|.5|4.0|1.5k|1.5MB|0.3KiB|1.5s|2h30m|30s1m|30|30S|30 s|30sec|30us|1d|7d|\
    0s|0ms|0B|0KiB|10|10mb|10 MB|64K|64kib|2PB|1e6B|off|OFF|Off|on|yes|no|NO|none|never|true|false|null|\
    disabled|unlimited|infinite|max|auto|default|*|all|any|localhost|localhost:80|example.org|example.org:80|\
    127.0.0.1|127.0.0.1:80|127.1:80|0.0.0.0|0:80|80:80|:0|:80|:8080|:8082|:|:x|*:80|*:http|::1|::1:9001|:::80|\
    [::1]|[::1]:80|[::1|2001:db8::1|2001:db8::1:80|fe80::1%eth0|[fe80::1%eth0]:80|http://|https://|http://a|\
    https://a|https://a:443/x|http://a:1/|http://a:1/x|http://a:1?x|http://u:p@a:1|http://a:1 http://b:2|\
    http://a:1;http://b:2|a:1|b:2|a:1 b:2|http://a:1,http://b:2|http://a:1 weight=3|http:a:1|http:/a:1|\
    http//a:1|HTTP://A:1|ws://a:1|wss://::1|h2c://a|tcp://0.0.0.0:80|ftp://a|http://::1|http://::1:80|\
    http://[::1|http://*:80|http://0:80|http://a:0|http://a:99999|http://a:x|http://a b|http://é|unix:|unix:a|\
    unix:/a|unix:///a|unix://a|/run/a.sock|./a.sock|http:///a|http://unix:a|http://unix:/a:/x|\"http://a:1\"|\
    'json'|\"80\"|`on`|json,|warning|WARN|verbose|info;|JSON|jsn|/var/log/x.log|x.log|-|--|x=y|10.0.0.0/8|\
    10.0.0.1/8|10.0.0.0/33|10.0.0.0/|10.0.0.0/x|10.0.0.0/255.0.0.0|10.0.0.0/255.0.255.0|10.|[::1]/128|\
    [::ffff:10.0.0.1]:80|::ffff:10.0.0.1:80|True-Client-IP:|Host|X-Real-IP|X-A X-B|--a b|X-Internal-*|\
    ::ffff:10.0.0.0/104|::ffff:10.1.0.0/104|::ffff:10.0.0.0/90|10.0.0.0/8 ::1|a,,b|,|a b c|h2c|\u{202e}|\t|~|\
    $PORT|${PORT}|%d|{env.X}";

fn settings() -> Vec<String> {
    let table = config::markdown();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `--"));
    let names = rows.filter_map(|row| row.split(['`', ' ']).next()).map(str::to_owned);
    // Only builds with their features take these, whatever is written.
    let needs_jwt = |name: &str| {
        matches!(
            name,
            "auth-jwks"
                | "auth-key"
                | "auth-refresh"
                | "auth-algorithm"
                | "auth-issuer"
                | "auth-audience"
                | "auth-leeway"
                | "auth-role"
                | "auth-forward"
        )
    };
    let needs_tls = |name: &str| name.starts_with("tls-") || name.starts_with("upstream-tls-");
    let is_known = |name: &String| {
        (name != "resolver" || cfg!(feature = "dns"))
            && (name != "auth-user" || cfg!(feature = "passwords"))
            && (!needs_jwt(name) || cfg!(feature = "jwt"))
            && (!needs_tls(name) || cfg!(feature = "tls"))
            && name != "client-cert" // it needs a file
    };
    names.filter(is_known).collect()
}

fn read(words: &[String]) -> Result<Action, Rejected> {
    let cwd = Path::new("/nonexistent");
    let around = Surroundings { cwd, cores: 2, descriptors: 100_000, stdout_is_terminal: false };
    config::load(words.iter().map(OsString::from), [], &around)
}

/// A command line with the value, and nothing else that could be wrong.
fn line(setting: &str, value: &str) -> Vec<String> {
    let upstream = (setting != "upstream").then(|| "--upstream=http://service".to_owned());
    let beside = promises::BESIDE.iter().filter(|(name, _)| setting.starts_with(name));
    let beside = beside.map(|(_, flag)| (*flag).to_owned());
    let own = format!("--{setting}={value}");
    let secure = own.starts_with(promises::SECURE.0).then(|| promises::SECURE.1.to_owned());
    upstream.into_iter().chain(beside).chain(secure).chain([own]).collect()
}

#[test]
fn what_is_told_to_be_written_is_taken() {
    let settings = settings();
    assert!(settings.len() > 30, "{settings:?}");
    let mut offers = 0;
    for setting in &settings {
        for value in ODD.split('|') {
            let words = line(setting, value);
            check(&words.iter().map(OsString::from).collect::<Vec<_>>(), &[]);
            // Warnings are tried as well: with --strict they are mistakes.
            let strict = [&words[..], &["--strict".to_owned()]].concat();
            let Err(rejected) = read(&words).and_then(|_| read(&strict)) else { continue };
            // In the place of what was refused, not only where nothing else is given.
            for (name, offer) in rejected.offers {
                assert_eq!(name, setting);
                offers += 1;
                let taken = read(&line(setting, &offer));
                assert!(taken.is_ok(), "--{setting}={value}: {offer}, and then {taken:?}");
            }
        }
    }
    assert!(offers > 1000, "only {offers} offers were tried");
}

#[test]
fn what_is_told_of_wrong_files_holds() {
    let blocks = include_str!("mistakes.txt").split("--- told:").filter_map(|block| {
        let (_, file) = block.split_once("--- file")?;
        Some(file.split_once(":\n")?.1)
    });
    for text in blocks {
        for extension in ["toml", "yaml", "json"] {
            let path = promises::HOME.join(format!("wrong.{extension}"));
            std::fs::write(&path, text).unwrap();
            check(&["--config".into(), path.into()], &[]);
        }
    }
}

#[test]
fn examples_are_taken() {
    for setting in settings() {
        let Err(rejected) = read(&line(&setting, "")) else { continue };
        for told in advice(&rejected.text()) {
            let Some((_, examples)) = told.split_once(" such as ") else { continue };
            for example in examples.split([',', ' ']).filter(|word| !["", "or"].contains(word)) {
                assert!(read(&line(&setting, example)).is_ok(), "--{setting}: {example}");
            }
        }
    }
}

#[test]
fn a_flag_without_its_value_or_with_no_before_it_is_told_what_to_write() {
    for setting in settings() {
        for flag in [format!("--{setting}"), format!("--no-{setting}")] {
            // Nothing else: whatever the advice spells out is tried.
            check(&[OsString::from(&flag)], &[]);
            check(&["--upstream=a:1".into(), OsString::from(flag)], &[]);
        }
    }
}

#[test]
fn what_is_told_is_what_was_meant() {
    let cases = [
        ("max-connections", "1e6", "1000000"),
        ("max-connections", "20k", "20000"),
        ("max-body", "0", "off"),
        ("max-body", "0B", "off"),
        ("max-body", "unlimited", "off"),
        ("max-head", "8192", "8192B"),
        ("read-timeout", "30s1m", "90s"),
        ("tunnel-idle-timeout", "1day", "1d"),
        ("listen", "::1:9001", "[::1]:9001"),
        ("listen", ":::80", "[::]:80"),
        ("listen", "[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
        ("listen", "::ffff:10.0.0.1:80", "10.0.0.1:80"),
        ("listen", "http://localhost:80/", "127.0.0.1:80"),
        ("listen", "/run/a.sock", "unix:/run/a.sock"),
        ("upstream", "::1:9001", "http://[::1]:9001"),
        ("upstream", "http://a:1 http://b:2", "http://a:1,http://b:2"),
        ("upstream", "/run/a.sock", "http://unix:/run/a.sock"),
        ("upstream", "http//a:1/x", "http://a:1/x"),
        ("admin", "no", "off"),
        ("admin", "8083", "127.0.0.1:8083"),
        ("access-log", "none", "off"),
        ("log", "WARN", "warn"),
        ("half-close", "maybe", "on"),
        ("trusted-proxy", "10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("trusted-proxy", "10.0.0.0/8 ::1", "10.0.0.0/8,::1"),
        ("trusted-header", "X-A X-B", "X-A,X-B"),
        ("trusted-header", "\"X-A\"", "X-A"),
    ];
    for (setting, value, meant) in cases {
        let offers = read(&line(setting, value)).unwrap_err().offers;
        assert_eq!(
            offers.first().map(|(_, offer)| offer.as_str()),
            Some(meant),
            "{setting}={value}"
        );
    }
}

#[test]
fn what_nobody_can_guess_is_told_in_words() {
    let cases = [
        // The clients' port, and our own: no advice leads there.
        ("admin", "8080", "take another port, or off"),
        ("listen", "8082", "take another port"),
        ("upstream", "8080", "write the address of the service itself"),
        ("admin", "yes", "write an address such as 127.0.0.1:8082, unix:/run/admin.sock or off"),
        ("admin", "no", "write off, or an address such as 127.0.0.1:8082"),
        ("upstream", "", "write a URL such as http://127.0.0.1:9001"),
        ("upstream", "http://a:1 http://b:2", "or give the setting once for each"),
        ("upstream", "unix:a.sock", "write the whole path"),
        ("access-log", "/var/log/x.log", "name the file with --access-log-file"),
        ("workers", "auto", "leave it out: one per core"),
        ("max-connections", "auto", "leave it out: 20000, or by descriptors"),
        ("trusted-header", "", "write the name of a field such as True-Client-IP"),
        ("trusted-header", "X-Internal-*", "name every field in full"),
    ];
    for (setting, value, told) in cases {
        let text = read(&line(setting, value)).unwrap_err().text();
        assert!(text.contains(told) && text.contains("1 mistake,"), "{setting}={value}: {text}");
    }
}
