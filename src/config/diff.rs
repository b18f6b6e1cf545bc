//! What differs between two plans, setting by setting.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::gate::NetworkList;
use super::plan::{Plan, ProcessSpec};
use super::route::{RouteSource, RouteSpec};
use super::sections::DEFAULT;
use super::show;
use super::table::{self, Effect, Setting};
use super::written_tls;

/// A setting that two plans differ in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub setting: &'static str,
    /// Only a new process can go by it.
    pub needs_process: bool,
    /// What was, and what is asked now.
    values: [String; 2],
}

/// Every setting in which `after` is not as `before`, in the order of the table.
pub fn difference(before: &Plan, after: &Plan) -> Vec<Difference> {
    let settings = table::settings().filter(|setting| setting.effect != Effect::NoPlan);
    let differences = settings.map(|&Setting { name, effect, .. }| Difference {
        setting: name,
        needs_process: effect == Effect::NewProcess,
        values: [before, after].map(|plan| show::value_of(name, plan)),
    });
    let differences = differences.filter(|one| one.values[0] != one.values[1]);
    let differences: Vec<Difference> = differences.collect();
    let of_files = of_contents(before, after, &differences);
    let named = of_pools(before, after).into_iter().chain(of_gate(before, after));
    let differences = differences.into_iter().chain(of_files);
    differences.chain(named).chain(of_routes(before, after)).collect()
}

/// What came, what went, and what is another thing under the same name.
fn of_names<'p, T: PartialEq + 'p>(
    what: &'static str,
    [before, after]: [impl Iterator<Item = (&'p str, &'p T)>; 2],
) -> Option<Difference> {
    let before: HashMap<&str, &T> = before.collect();
    let mut went: BTreeSet<&str> = before.keys().copied().collect();
    let (mut came, mut changed) = (Vec::new(), Vec::new());
    for (name, thing) in after {
        went.remove(name);
        match before.get(name) {
            None => came.push(name),
            Some(known) if *known != thing => changed.push(name),
            Some(_) => {}
        }
    }
    let told = |sign, names: &[&str]| {
        told(sign, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    };
    let went: Vec<&str> = went.into_iter().collect();
    let text = told('+', &came) + &told('~', &changed) + &told('-', &went);
    (!text.is_empty()).then(|| Difference {
        setting: what,
        needs_process: false,
        values: [String::new(), text],
    })
}

/// Pools but for the one that the settings at the top make.
fn of_pools(before: &Plan, after: &Plan) -> Option<Difference> {
    let pools = [before, after].map(|plan| {
        let named = plan.pools.iter().filter(|pool| *pool.name != *DEFAULT);
        named.map(|pool| (&*pool.name, pool))
    });
    of_names("pool", pools)
}

/// Credentials and limits, but for those that flags are about.
fn of_gate(before: &Plan, after: &Plan) -> impl Iterator<Item = Difference> {
    let auths = [before, after].map(|plan| {
        let named = plan.auths.iter().filter(|auth| *auth.name != *DEFAULT);
        named.map(|auth| (&*auth.name, auth))
    });
    let limits = [before, after].map(|plan| {
        let named = plan.limits.iter().filter(|limit| *limit.name != *DEFAULT);
        named.map(|limit| (&*limit.name, limit))
    });
    let lists = [before, after].map(|plan| plan.lists.iter().map(|(name, list)| (&**name, list)));
    let networks = of_top_networks(before, after).into_iter();
    let named = of_names("list", lists).into_iter().chain(of_names("auth", auths));
    named.chain(of_names("limit", limits)).chain(networks)
}

/// Networks at the top that are written as they were, and read as others from a file.
fn of_top_networks(before: &Plan, after: &Plan) -> Vec<Difference> {
    let each = [
        ("allow", [&before.gate.allow, &after.gate.allow]),
        ("deny", [&before.gate.deny, &after.gate.deny]),
    ];
    let is_other = |(_, [before, after]): &(_, [&Option<Arc<NetworkList>>; 2])| {
        let (Some(before), Some(after)) = (before, after) else { return false };
        before.written == after.written && before.networks != after.networks
    };
    let difference = |(setting, _)| Difference {
        setting,
        needs_process: false,
        values: [String::new(), "other networks".to_owned()],
    };
    each.into_iter().filter(is_other).map(difference).collect()
}

/// Files of TLS that have other contents under the names they had.
fn of_contents(before: &Plan, after: &Plan, told: &[Difference]) -> Vec<Difference> {
    let [before, after] = [before, after].map(written_tls::contents);
    let pairs = before.into_iter().zip(after).filter(|(before, after)| before != after);
    let untold = pairs.filter(|((name, _), _)| told.iter().all(|one| one.setting != *name));
    let difference = |((setting, _), _)| Difference {
        setting,
        needs_process: false,
        values: [String::new(), CHANGED.to_owned()],
    };
    untold.map(difference).collect()
}

/// Routes but for those that the settings at the top make.
fn named_routes(plan: &Plan) -> Vec<&RouteSpec> {
    plan.routes.iter().filter(|route| route.source == RouteSource::Section).collect()
}

fn of_routes(before: &Plan, after: &Plan) -> Option<Difference> {
    if Arc::ptr_eq(&before.routes, &after.routes) {
        return None;
    }
    let [before, after] = [named_routes(before), named_routes(after)];
    let by_name = [&before, &after];
    let by_name = by_name.map(|routes| routes.iter().map(|route| (&*route.name, *route)));
    if let Some(difference) = of_names("route", by_name) {
        return Some(difference);
    }
    let [one, other] = [&before, &after].map(|routes| routes.iter().map(|route| &route.name));
    (!one.eq(other)).then(|| Difference {
        setting: "route",
        needs_process: false,
        values: [String::new(), " in another order".to_owned()],
    })
}

/// `plan` as far as the process that runs by `running` can go by it.
pub fn within(mut plan: Plan, running: &Plan) -> Plan {
    let ProcessSpec { admin, workers, buffers, access_log, audit, log, log_format, state, .. } =
        &running.process;
    plan.process = ProcessSpec {
        admin: admin.clone(),
        workers: *workers,
        buffers: *buffers,
        access_log: access_log.clone(),
        audit: audit.clone(),
        log: *log,
        log_format: *log_format,
        state: state.clone(),
        ..plan.process
    };
    plan
}

/// `read-timeout: 5s, which was 30s`; of a list what came and what went.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { setting, values: [before, after], .. } = self;
        if after == CHANGED {
            return write!(f, "{setting}: {after}");
        }
        if matches!(*setting, "pool" | "list" | "auth" | "limit" | "route") {
            return write!(f, "{setting}:{after}");
        }
        if !before.contains(',') && !after.contains(',') {
            let [before, after] =
                [before, after].map(|value| if value.is_empty() { "nothing" } else { value });
            let [before, after] = [before, after].map(|value| value.replace('\n', "; "));
            return write!(f, "{setting}: {after}, which was {before}");
        }
        let [old, new] = [before, after].map(|value| value.split(',').collect::<HashSet<_>>());
        let only = |of: &str, other: &HashSet<&str>| -> Vec<String> {
            of.split(',')
                .filter(|item| !other.contains(item) && !item.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let (came, went) = (only(after, &old), only(before, &new));
        if came.is_empty() && went.is_empty() {
            return write!(f, "{setting}: in another order");
        }
        write!(f, "{setting}:{}{}", told('+', &came), told('-', &went))
    }
}

/// The items behind their sign, or how many there are.
fn told(sign: char, items: &[String]) -> String {
    match items.len() {
        0 => String::new(),
        n if n > TOLD => format!(" {sign}{n}"),
        _ => items.iter().map(|item| format!(" {sign}{item}")).collect(),
    }
}

/// What is told of a file whose name stayed.
const CHANGED: &str = "other contents of its files";

/// Items of a list that are told by name; of more only their number.
const TOLD: usize = 10;

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use std::time::Duration;

    use super::*;
    use crate::config::{
        AcmeBinding, AcmeChallenge, AcmeSpec, Action, AskedUrl, AuthKind, AuthSpec,
        CertificateSpec, JwtAlgorithm, JwtKeys, JwtSpec, PemFile, Secret, Surroundings, TlsSpec,
        TlsVersion, UpstreamTlsSpec, Verify, load,
    };

    fn plan(line: &str) -> Plan {
        let around = Surroundings {
            cwd: Path::new("/"),
            cores: 4,
            descriptors: 100_000,
            stdout_is_terminal: false,
        };
        match load(line.split(' ').map(OsString::from), [], &around) {
            Ok(Action::Run(plan, _)) => *plan,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_difference_is_told_by_setting() {
        let before = "--upstream a:1,b:2 --read-timeout 30s --trusted-proxy 10.0.0.0/8";
        for (after, told) in [
            (before, vec![]),
            (
                "--upstream b:2,c:3 --read-timeout 5s",
                vec![
                    "upstream: +http://c:3 -http://a:1",
                    "trusted-proxy: nothing, which was 10.0.0.0/8",
                    "read-timeout: 5s, which was 30s",
                ],
            ),
            (
                "--upstream b:2,a:1 --trusted-proxy 10.0.0.0/8 --workers 2",
                vec!["upstream: in another order", "workers: 2, which was 4"],
            ),
        ] {
            let found = difference(&plan(before), &plan(after));
            let words: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(words, told, "{after}");
        }
    }

    #[test]
    fn long_lists_are_counted() {
        let many: Vec<String> = (1..=20).map(|port| format!("a:{port}")).collect();
        let found =
            difference(&plan("--upstream a:1"), &plan(&format!("--upstream {}", many.join(","))));
        assert_eq!(found[0].to_string(), "upstream: +19");
    }

    /// Credentials of other kinds than tokens.
    const KINDS: [&str; 1] =
        ["--auth-url http://a --auth-timeout 32s --auth-copy X-U --auth-cache 33s"];

    /// The same, with signed tokens; only some builds read their settings.
    fn signed(plan: &Plan) -> Plan {
        let jwt = JwtSpec {
            keys: JwtKeys::Url { url: url(), refresh: Duration::from_secs(30) },
            algorithms: vec![JwtAlgorithm::Es256],
            issuer: vec!["i".into()],
            audience: vec!["a".into()],
            leeway: Duration::from_secs(31),
            role: Some("r".into()),
            forward: vec![("X-U".into(), "sub".into())],
        };
        let (kind, fields) = (AuthKind::Jwt(jwt), vec!["Authorization".into()]);
        let auth = AuthSpec { name: DEFAULT.into(), kind, fields, pass: false };
        Plan { auths: vec![Arc::new(auth)], ..plan.clone() }
    }

    fn url() -> AskedUrl {
        AskedUrl::read("http://a").unwrap()
    }

    fn pem(path: &str, text: &str) -> PemFile {
        PemFile { path: path.into(), text: text.into() }
    }

    fn certificate() -> CertificateSpec {
        let (chain, key) = (pem("a.pem", "a"), Secret::new("secret", "a.key"));
        CertificateSpec { chain, key, ocsp: None }
    }

    /// With who signs the server's certificate.
    fn ordered(ca: &str) -> Option<Arc<AcmeSpec>> {
        Some(Arc::new(AcmeSpec {
            names: vec!["a.test".into()],
            directory: url(),
            contact: Some("a@b".into()),
            challenge: AcmeChallenge::Http01,
            ca: Some(pem("ca.pem", ca)),
            binding: Some(AcmeBinding { id: "a".into(), key: Secret::new("b", "***") }),
        }))
    }

    /// TLS on both sides; only some builds read its settings.
    fn secure(plan: &mut Plan) {
        plan.listener.secure = plan.listener.addresses.clone();
        plan.listener.tls = Some(Arc::new(TlsSpec {
            certificates: vec![certificate()],
            self_signed: vec!["localhost".into()],
            acme: ordered("ca"),
            min_version: TlsVersion::Tls13,
            client_ca: Some(pem("ca.pem", "ca")),
            crl: Some(pem("crl.pem", "crl")),
        }));
        Arc::make_mut(&mut plan.gate).client_cert = true;
        Arc::make_mut(&mut plan.pools[0]).tls = Arc::new(UpstreamTlsSpec {
            ca: Some(pem("ca.pem", "ca")),
            server_name: Some("a".into()),
            certificate: Some(certificate()),
            verify: Verify::Off,
        });
    }

    #[test]
    fn a_file_of_another_content_is_another_setting() {
        let mut before = plan("--upstream a:1");
        secure(&mut before);
        let told = |change: fn(&mut TlsSpec, &mut UpstreamTlsSpec)| {
            let mut after = before.clone();
            let pool = Arc::make_mut(&mut after.pools[0]);
            let clients = Arc::make_mut(after.listener.tls.as_mut().unwrap());
            change(clients, Arc::make_mut(&mut pool.tls));
            let found = difference(&before, &after);
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(told(|_, _| {}), "");
        for (change, name) in [
            (
                (|one, _| one.certificates[0].chain.text = "b".into())
                    as fn(&mut TlsSpec, &mut UpstreamTlsSpec),
                "tls-cert",
            ),
            (|one, _| one.certificates[0].key = Secret::new("other", "a.key"), "tls-cert"),
            (|one, _| one.client_ca = Some(pem("ca.pem", "b")), "tls-client-ca"),
            (|one, _| one.crl = Some(pem("crl.pem", "b")), "tls-crl"),
            (|one, _| one.acme = ordered("b"), "tls-acme-ca"),
            (|_, two| two.ca = Some(pem("ca.pem", "b")), "upstream-tls-ca"),
        ] {
            assert_eq!(told(change), format!("{name}: {CHANGED}"));
        }
        assert_eq!(
            told(|one, _| one.certificates[0].chain.path = "b.pem".into()),
            "tls-cert: b.pem key=a.key, which was a.pem key=a.key"
        );
    }

    #[test]
    fn every_setting_is_in_force_or_told_to_need_a_process() {
        let running = plan("--upstream a:1");
        let mut asked = plan(
            "--upstream b:1 --listen :1 --admin :2 --workers 3 --max-retries 4 --host-header upstream \
             --backend-header --trusted-proxy 10.0.0.0/8 --trusted-header A --allow-upgrade x --half-close \
             --read-timeout 5s --write-timeout 6s --connect-timeout 7s --response-timeout 8s --idle-timeout 9s \
             --upstream-idle-timeout 10s --tunnel-idle-timeout 11s --expect-timeout 12s --drain-delay 13s \
             --drain-timeout 14s --max-head 1KiB --max-target 512B --max-fields 10 --max-body 1MB \
             --max-connections 1000 --buffers 2000 --max-upstream-idle 15 --access-log common \
             --access-log-file a \
             --balance hash --hash path --sticky-cookie tg --sticky-max-age 1h --sticky-secret 0123456789abcdef \
             --slow-start 16s --queue-max-requests 17 --queue-size 18 --queue-wait 19s --resolve 20s \
             --upstream-proxy-protocol v1 --upstream-max-age 21s --upstream-max-requests 22 \
             --upstream-keep-alive 23s --upstream-bind ::1 \
             --retry-on 503 --retry-budget 24% --try-timeout 25s --hedge 26s --retry-buffer 27B \
             --health --health-body x --breaker \
             --allow 10.0.0.0/8 --deny 10.1.0.0/16 --content-type text/* --security-headers \
             --limit-rate 20/s --limit-burst 40 --limit-by host --limit-keys 100 --limit-dry-run \
             --cors-origin https://a --cors-method PUT --cors-header A --cors-expose B --cors-credentials \
             --cors-max-age 28s --auth-token 0123456789abcdef --auth-header A --auth-pass \
             --admin-token 0123456789abcdef --proxy-protocol 10.0.0.0/8 --min-rate 1KiB \
             --max-client-connections 29 --access-log-audit a \
             --path /a --method GET --serve-admin /health --request-header A:b --response-header A:b \
             --log debug --log-format json --state s --watch",
        );
        asked.process.resolver = vec![([127, 0, 0, 1], 53).into()]; // only some builds read it
        secure(&mut asked);
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for kind in KINDS {
            let other = plan(&format!("--upstream b:1 --limit-rate 20/s {kind}"));
            told.extend(difference(&running, &other).iter().map(|one| one.setting));
        }
        told.extend(difference(&running, &signed(&asked)).iter().map(|one| one.setting));
        let all = difference(&running, &asked);
        told.extend(all.iter().map(|one| one.setting));
        told.extend(["auth-key", "auth-user"]); // in place of a key set; not in every build
        told.insert("tls-key"); // it is told with its certificate
        let known = table::settings().filter(|setting| setting.effect != Effect::NoPlan);
        let missing: Vec<&str> =
            known.map(|setting| setting.name).filter(|name| !told.contains(name)).collect();
        assert!(missing.is_empty(), "the test names every setting: {missing:?}");
        let (process, live): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|difference| difference.needs_process);
        let merged = within(asked.clone(), &running);
        assert_eq!(difference(&merged, &asked), process);
        assert_eq!(difference(&running, &merged), live);
        let names: Vec<&str> = process.iter().map(|difference| difference.setting).collect();
        assert_eq!(names.len(), 9, "{names:?}");
    }
}
