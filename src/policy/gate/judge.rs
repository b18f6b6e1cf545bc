//! What a gate says of a request.

use std::sync::Arc;
use std::time::Duration;

use super::super::cors::{self, Cors};
use super::super::{MatchInput, media};
use super::authenticator::{AuthOutcome, Authentication, Fault};
use super::identity::Identity;
use super::limits::{LimitStanding, LinkedLimit};
use super::question::{Answer, AuthQuestion};
use super::{Authenticator, LinkedGate};
use crate::config::AuthKind;
use crate::http::write::field_line;
use crate::http::{Reason, Reply};

/// When a request is judged.
#[derive(Clone, Copy, Debug)]
pub struct JudgedAt {
    /// Since any moment in the past: it never goes back.
    pub now: Duration,
    /// Seconds since 1970.
    pub unix_s: u64,
}

/// What a gate says.
pub enum Ruling {
    /// The request may go on.
    Pass(GateFacts),
    /// Somebody has to be asked; with the answer it is [judged](judge) again.
    Ask(Arc<AuthQuestion>),
    /// It is answered here.
    Reply(LocalReply),
}

/// What a gate finds out about a request.
#[derive(Clone, Debug, Default)]
pub struct GateFacts {
    /// Who asks, where that was asked.
    pub who: Option<Arc<Identity>>,
    /// Whoever the certificate of the client is made out to, where one is demanded.
    pub certified: Option<Arc<Identity>>,
    /// The limit that has the fewest requests left.
    pub nearest: Option<LimitStanding>,
    /// The limit that refuses it, or would in earnest.
    pub refused_by: Option<LimitStanding>,
    /// Field lines that the answer gets, for scripts of other origins to read it.
    pub lines: Vec<u8>,
}

impl GateFacts {
    /// Who asks: whoever credentials tell of; where they tell no name, the certificate.
    pub fn user(&self) -> Option<&Arc<Identity>> {
        let named = self.who.as_ref().filter(|who| !who.name.is_empty());
        named.or(self.certified.as_ref()).or(self.who.as_ref())
    }
}

/// The answer to a request that does not go on.
#[derive(Debug)]
pub struct LocalReply {
    /// Why.
    pub reason: Reason,
    /// More of it, for operators; empty: there is no more.
    pub detail: &'static str,
    /// The answer, where it is not one of ours that says why.
    pub reply: Option<Reply>,
    /// Further fields of the answer.
    pub fields: Vec<(&'static str, String)>,
    /// What was found out so far.
    pub facts: GateFacts,
}

impl LocalReply {
    fn of(reason: Reason) -> LocalReply {
        let (fields, facts) = (Vec::new(), GateFacts::default());
        LocalReply { reason, detail: "", reply: None, fields, facts }
    }
}

/// What `gate` says of the request. `answered`: the answers to all that it asked before, so that it asks each kind of
/// credentials once at most.
pub fn judge(
    gate: &LinkedGate,
    input: &MatchInput<'_>,
    route: &str,
    at: JudgedAt,
    answered: &[(Arc<AuthQuestion>, Answer)],
) -> Ruling {
    let mut facts = GateFacts::default();
    let verdict = preliminary(gate, input, &mut facts)
        .and_then(|()| certificate(gate, input, at, &mut facts))
        .and_then(|()| authenticate(gate, input, at, answered, &mut facts))
        .and_then(|()| role(gate, &facts))
        .and_then(|()| limits(gate, input, route, at, &mut facts));
    match verdict {
        Ok(()) => Ruling::Pass(facts),
        Err(Stop::Ask(question)) => Ruling::Ask(question),
        Err(Stop::Reply(reply)) => Ruling::Reply(LocalReply { facts, ..*reply }),
    }
}

/// Whether clients of this address are served, for requests that no route takes.
pub fn serves(gate: &LinkedGate, input: &MatchInput<'_>) -> bool {
    let client = input.client();
    let is_in = |set: &super::NetworkSet| client.is_some_and(|client| set.contains(client));
    gate.allow.as_deref().is_none_or(is_in) && !gate.deny.as_deref().is_some_and(is_in)
}

/// Field lines by which scripts of other origins may read the answer to a request that no route takes.
pub fn readable(gate: &LinkedGate, input: &MatchInput<'_>) -> Vec<u8> {
    match cross_origin(gate, input) {
        Some(Cors::Actual(fields)) => lines(fields),
        _ => Vec::new(),
    }
}

/// Why a request does not go on, at least not now.
enum Stop {
    Ask(Arc<AuthQuestion>),
    Reply(Box<LocalReply>),
}

impl From<LocalReply> for Stop {
    fn from(reply: LocalReply) -> Stop {
        Stop::Reply(Box::new(reply))
    }
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Stop {
        LocalReply::of(reason).into()
    }
}

/// What is decided without knowing who asks. Whatever the answer is, scripts may read it.
fn preliminary(
    gate: &LinkedGate,
    input: &MatchInput<'_>,
    facts: &mut GateFacts,
) -> Result<(), Stop> {
    let preflight = match cross_origin(gate, input) {
        Some(Cors::Actual(fields)) => {
            facts.lines = lines(fields);
            None
        }
        other => other,
    };
    if !serves(gate, input) {
        return Err(Reason::NetworkRefused.into());
    }
    let types = &gate.spec.content_type;
    if !media::fits(types, input.head, input.bytes) {
        let fields = vec![("Accept", types.join(", "))];
        return Err(LocalReply { fields, ..LocalReply::of(Reason::UnsupportedMediaType) }.into());
    }
    match preflight {
        Some(Cors::Preflight(fields)) => {
            let fields = fields.into_iter().map(|(name, value)| (name, value.into_owned()));
            let reply = LocalReply::of(Reason::PreflightAnswered);
            Err(LocalReply { fields: fields.collect(), ..reply }.into())
        }
        Some(Cors::Refused(why)) => {
            Err(LocalReply { detail: why.explain(), ..LocalReply::of(Reason::CorsRefused) }.into())
        }
        Some(Cors::Actual(_)) | None => Ok(()),
    }
}

/// What the policy for scripts of other origins says of the request; `None`: there is none.
fn cross_origin(gate: &LinkedGate, input: &MatchInput<'_>) -> Option<Cors> {
    let spec = gate.spec.cors.as_ref()?;
    if input.fields("Origin").count() > 1 {
        return Some(Cors::Refused(cors::Refusal::SeveralOrigins));
    }
    let asked = ["Access-Control-Request-Method", "Access-Control-Request-Headers"];
    let [method, fields] = asked.map(|name| input.field(name));
    Some(cors::answer(spec, input.head.method, input.field("Origin"), method, fields))
}

fn lines(fields: cors::Fields) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in &fields {
        field_line(&mut lines, name.as_bytes(), value.as_bytes());
    }
    lines
}

/// The certificate that the gate demands.
fn certificate(
    gate: &LinkedGate,
    input: &MatchInput<'_>,
    at: JudgedAt,
    facts: &mut GateFacts,
) -> Result<(), Stop> {
    if !gate.spec.client_cert {
        return Ok(());
    }
    let Some(shown) = input.certificate_at(at.unix_s) else {
        let detail = if input.certificate.is_some() { "expired" } else { "" };
        let reply = LocalReply::of(Reason::ClientCertificateRequired);
        return Err(LocalReply { detail, ..reply }.into());
    };
    facts.certified = Some(Arc::clone(&shown.identity));
    Ok(())
}

/// Who asks, where the gate wants to know: of several kinds of credentials one has to be good.
fn authenticate(
    gate: &LinkedGate,
    input: &MatchInput<'_>,
    at: JudgedAt,
    answered: &[(Arc<AuthQuestion>, Answer)],
    facts: &mut GateFacts,
) -> Result<(), Stop> {
    if gate.auths.is_empty() {
        return Ok(());
    }
    let (mut question, mut relayed, mut worst) = (None, None, None);
    for auth in &gate.auths {
        let its = answered.iter().find(|(question, _)| Arc::ptr_eq(&question.auth, auth));
        let found = match its {
            Some((question, answer)) => question.answered(answer.clone(), at.now),
            None => auth.authenticate(input, at),
        };
        match found {
            Authentication::Accepted(identity) => {
                auth.count(AuthOutcome::Accepted);
                facts.who = Some(identity);
                return Ok(());
            }
            Authentication::Absent => {}
            Authentication::Ask(asked) => question = question.or(Some(asked)),
            Authentication::Relayed(reply) => relayed = relayed.or(Some((auth, reply))),
            Authentication::Rejected(fault) => {
                let is_ambiguous = fault.reason == Reason::AmbiguousCredentials;
                if worst.as_ref().is_none_or(|(_, known)| fault.outweighs(known)) {
                    worst = Some((auth, fault));
                }
                // Neither we nor another table may choose which of them counts.
                if is_ambiguous {
                    (question, relayed) = (None, None);
                    break;
                }
            }
        }
    }
    if let Some(question) = question {
        return Err(Stop::Ask(question));
    }
    if let Some((auth, reply)) = relayed {
        auth.count(AuthOutcome::Refused);
        let reply = Some((*reply).clone());
        return Err(LocalReply { reply, ..LocalReply::of(Reason::AuthRefused) }.into());
    }
    let at_fault = worst.as_ref().map(|(auth, _)| *auth);
    if let Some(auth) = at_fault {
        auth.count(match worst {
            Some((_, Fault { reason: Reason::AuthUnavailable, .. })) => AuthOutcome::Unavailable,
            _ => AuthOutcome::Refused,
        });
    }
    let Fault { reason, detail } = worst.map_or(Reason::NoCredentials.into(), |(_, fault)| fault);
    let fields = match reason.status() {
        Some(401) => challenges(&gate.auths, at_fault),
        _ => Vec::new(),
    };
    Err(LocalReply { fields, detail, ..LocalReply::of(reason) }.into())
}

/// What credentials there may be (RFC 9110 section 11.6.1): one challenge for each scheme. `at_fault`: whose were
/// presented and are not good.
fn challenges(
    auths: &[Arc<Authenticator>],
    at_fault: Option<&Arc<Authenticator>>,
) -> Vec<(&'static str, String)> {
    let is_basic = |auth: &Authenticator| matches!(auth.spec.kind, AuthKind::Basic(_));
    // Of two with the same scheme the one at fault is told.
    let of_scheme = |basic| {
        let mut of_it = at_fault.into_iter().chain(auths).filter(|auth| is_basic(auth) == basic);
        of_it.next().map(|auth| &auth.spec.name)
    };
    // RFC 6750 section 3.1: a token that is no good is named so.
    let error = match at_fault.is_some_and(|auth| !is_basic(auth)) {
        true => ", error=\"invalid_token\"",
        false => "",
    };
    let bearer = of_scheme(false).map(|name| format!("Bearer realm=\"{name}\"{error}"));
    let basic = of_scheme(true).map(|name| format!("Basic realm=\"{name}\", charset=\"UTF-8\""));
    bearer.into_iter().chain(basic).map(|challenge| ("WWW-Authenticate", challenge)).collect()
}

/// One role of those that are needed, by credentials or by a certificate.
fn role(gate: &LinkedGate, facts: &GateFacts) -> Result<(), Stop> {
    let needed = &gate.spec.roles;
    let both = [&facts.who, &facts.certified].into_iter().flatten();
    let mut has = both.flat_map(|identity| &identity.roles);
    match needed.is_empty() || has.any(|role| needed.contains(role)) {
        true => Ok(()),
        false => Err(Reason::RoleMissing.into()),
    }
}

/// Every limit lets the request through, or none counts it.
fn limits(
    gate: &LinkedGate,
    input: &MatchInput<'_>,
    route: &str,
    JudgedAt { now, .. }: JudgedAt,
    facts: &mut GateFacts,
) -> Result<(), Stop> {
    let who = facts.user().cloned();
    let key = |limit: &LinkedLimit| limit.key(input, route, who.as_deref());
    // One limit decides by itself.
    if gate.limits.len() > 1 {
        for limit in gate.limits.iter().filter(|limit| !limit.spec.dry_run) {
            let standing = limit.peek(key(limit), now);
            if !standing.admitted {
                limit.refused();
                let limit = Arc::clone(limit);
                return Err(too_many(LimitStanding { limit, standing }, facts));
            }
        }
    }
    for limit in &gate.limits {
        let standing = limit.take(key(limit), now);
        let standing = LimitStanding { limit: Arc::clone(limit), standing };
        match (standing.admitted(), limit.spec.dry_run) {
            (false, true) => facts.refused_by = Some(standing),
            (false, false) => return Err(too_many(standing, facts)),
            (true, true) => {}
            (true, false) => {
                if facts.nearest.as_ref().is_none_or(|known| standing.is_nearer(known)) {
                    facts.nearest = Some(standing);
                }
            }
        }
    }
    Ok(())
}

/// A limit refuses the request, and is the one that the answer tells of.
fn too_many(standing: LimitStanding, facts: &mut GateFacts) -> Stop {
    let fields = vec![
        ("Retry-After", standing.retry_after().to_string()),
        ("RateLimit-Policy", standing.limit.policy().to_owned()),
        ("RateLimit", standing.to_string()),
    ];
    (facts.nearest, facts.refused_by) = (None, Some(standing));
    LocalReply { fields, ..LocalReply::of(Reason::RateLimited) }.into()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::str::FromStr;

    use super::super::{Gates, ShownCertificate};
    use super::*;
    use crate::config::Listen;
    use crate::config::testing::plan;
    use crate::http::{Limits, Request};

    fn ip(text: &str) -> IpAddr {
        IpAddr::from_str(text).unwrap()
    }

    const PLAN: &str = "listen = ':80'\nupstream = 'http://a:1'\ntrusted-proxy = '10.0.0.0/8'\n\
        [list]\noffice = ['192.0.2.0/24', '2001:db8::/48']\nbad = '192.0.2.66'\n\
        [auth.client]\ntoken = ['0123456789abcdef name=ann', 'fedcba9876543210 name=bob role=writer']\n\
        [auth.other]\ntoken = 'aaaaaaaaaaaaaaaa name=eve role=writer'\n\
        [limit.two]\nrate = '2/m'\nby = 'token'\n[limit.three]\nrate = '3/m'\nby = 'all'\n\
        [limit.dry]\nrate = '1/h'\nby = 'all'\ndry-run = true\n\
        [[route]]\nname = 'r'\nallow = 'office'\ndeny = 'bad'\ncontent-type = ['text/*']\n\
        auth = ['client', 'other']\nrole = 'writer'\nlimit = ['two', 'three', 'dry']\n\
        cors = { origin = 'https://app.example.org', method = 'PUT', header = 'X-A' }\n";

    /// What the gate of the first route says, in words: the reason, or who passes.
    fn said(gates: &Gates, head: &str, client: IpAddr, at: u64) -> String {
        match ruled(gates, head, client, at) {
            Ruling::Pass(passed) => passed.who.map_or("".into(), |who| who.name.to_string()),
            Ruling::Ask(_) => "asks".into(),
            Ruling::Reply(reply) => reply.reason.label().into(),
        }
    }

    fn ruled(gates: &Gates, head: &str, client: IpAddr, at: u64) -> Ruling {
        ruled_with(gates, head, client, at, None)
    }

    fn ruled_with(
        gates: &Gates,
        head: &str,
        client: IpAddr,
        at: u64,
        certificate: Option<&ShownCertificate>,
    ) -> Ruling {
        let text = format!("{head}\r\nHost: a\r\n\r\n");
        let mut request = Request::default();
        request.read(text.as_bytes(), &Limits::default()).unwrap();
        let input = MatchInput {
            head: &request,
            bytes: text.as_bytes(),
            method: request.method_text.of(text.as_bytes()),
            listen: &Listen::Any(80),
            peer: Some(client),
            secure: false,
            trusted: &[],
            withheld: &[],
            certificate,
        };
        let at = JudgedAt { now: Duration::from_secs(at), unix_s: at };
        judge(gates.of_route(0).unwrap(), &input, "r", at, &[])
    }

    #[test]
    fn what_comes_first_in_the_order_is_told() {
        let gates = Gates::link(&plan(PLAN), None);
        let (inside, outside) = (ip("192.0.2.1"), ip("198.51.100.1"));
        let bad = ip("192.0.2.66");
        let v6 = ip("2001:db8:0:7::1");
        let post = "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Type:";
        let preflight = "OPTIONS / HTTP/1.1\r\nOrigin: https://app.example.org\r\n\
                         Access-Control-Request-Method:";
        let other = "OPTIONS / HTTP/1.1\r\nOrigin: https://evil.example\r\n\
                     Access-Control-Request-Method: PUT";
        for (head, client, wanted) in [
            // Networks before all else.
            ("GET / HTTP/1.1", outside, "network_refused"),
            ("GET / HTTP/1.1\r\nX-API-Key: fedcba9876543210", bad, "network_refused"),
            (&format!("{preflight} PUT"), outside, "network_refused"),
            // Then the media type, a preflight, and credentials.
            (&format!("{post} application/json"), inside, "unsupported_media_type"),
            (
                &format!("{post} text/plain\r\nContent-Type: text/x"),
                inside,
                "unsupported_media_type",
            ),
            (&format!("{post} text/plain"), inside, "no_credentials"),
            (&format!("{preflight} PUT"), inside, "preflight_answered"),
            (&format!("{preflight} DELETE"), inside, "cors_refused"),
            (other, inside, "cors_refused"),
            ("OPTIONS / HTTP/1.1\r\nOrigin: https://app.example.org", inside, "no_credentials"),
            ("GET / HTTP/1.1", v6, "no_credentials"),
            ("GET / HTTP/1.1\r\nX-API-Key: 0123456789abcdeX", inside, "bad_credentials"),
            (
                "GET / HTTP/1.1\r\nX-API-Key: 0123456789abcdef\r\nX-Auth-Token: fedcba9876543210",
                inside,
                "ambiguous_credentials",
            ),
            // Then the role.
            ("GET / HTTP/1.1\r\nX-API-Key: 0123456789abcdef", inside, "role_missing"),
            ("GET / HTTP/1.1\r\nAuthorization: Bearer fedcba9876543210", inside, "bob"),
            ("GET / HTTP/1.1\r\nX-Auth-Token: aaaaaaaaaaaaaaaa", v6, "eve"),
        ] {
            assert_eq!(said(&gates, head, client, 0), wanted, "{head}");
        }
    }

    #[test]
    fn of_several_kinds_of_credentials_one_is_enough_and_the_worst_fault_is_told() {
        const TWO: &str = "listen = ':80'\nupstream = 'http://a:1'\n\
            [auth.a]\nheader = ['X-A', 'Authorization']\ntoken = '0123456789abcdef name=ann'\n\
            [auth.b]\nheader = ['X-B', 'Authorization']\ntoken = 'fedcba9876543210 name=bob'\n\
            [[route]]\nauth = ['a', 'b']\n";
        let (good, other) = ("0123456789abcdef", "fedcba9876543210");
        for (fields, wanted, realms, counts) in [
            (format!("X-A: {good}"), "ann", "", [1, 0, 0, 0]),
            (format!("Authorization: Bearer {other}"), "bob", "", [0, 0, 1, 0]),
            (format!("X-A: wrong\r\nX-B: {other}"), "bob", "", [0, 0, 1, 0]),
            ("X-C: 1".to_owned(), "no_credentials", "a", [0; 4]),
            ("X-A: wrong".to_owned(), "bad_credentials", "a invalid_token", [0, 1, 0, 0]),
            ("X-B: wrong".to_owned(), "bad_credentials", "b invalid_token", [0, 0, 0, 1]),
            // Counted once.
            (
                "X-A: wrong\r\nX-B: wrong".to_owned(),
                "bad_credentials",
                "a invalid_token",
                [0, 1, 0, 0],
            ),
            // Which of two is meant is not for another table to decide.
            (
                format!("X-A: {good}\r\nX-A: {other}\r\nX-B: {other}"),
                "ambiguous_credentials",
                "",
                [0, 1, 0, 0],
            ),
            (
                format!("X-A: wrong\r\nX-B: {good}\r\nX_B: {other}"),
                "ambiguous_credentials",
                "",
                [0, 0, 0, 1],
            ),
        ] {
            let gates = Gates::link(&plan(TWO), None);
            let head = format!("GET / HTTP/1.1\r\n{fields}");
            let (reason, told) = match ruled(&gates, &head, ip("192.0.2.1"), 0) {
                Ruling::Pass(passed) => (passed.who.unwrap().name.to_string(), String::new()),
                Ruling::Ask(_) => ("asks".to_owned(), String::new()),
                Ruling::Reply(LocalReply { reason, fields, .. }) => {
                    let told = fields.iter().map(|(_, value)| value.replace("Bearer realm=", ""));
                    let told = told.collect::<Vec<_>>().join(" ");
                    (reason.label().to_owned(), told.replace(", error=", " ").replace('"', ""))
                }
            };
            assert_eq!((&*reason, &*told), (wanted, realms), "{fields}");
            let accepted_and_refused = |auth: &Arc<Authenticator>| {
                let [(_, accepted), (_, refused), _] = auth.counts();
                [accepted, refused]
            };
            let counted: Vec<u64> =
                gates.auths[..2].iter().flat_map(accepted_and_refused).collect();
            assert_eq!(counted, counts, "{fields}");
        }
        let fault = |reason: Reason| Fault::from(reason);
        assert!(fault(Reason::AuthUnavailable).outweighs(&fault(Reason::BadCredentials)));
        assert!(!fault(Reason::BadCredentials).outweighs(&fault(Reason::BadCredentials)));
        assert!(fault(Reason::AmbiguousCredentials).outweighs(&fault(Reason::AuthUnavailable)));
    }

    #[test]
    fn a_certificate_comes_before_credentials_and_roles_of_both_count() {
        let shown = |name: &str| ShownCertificate::new(Some("CN=ann"), &[name.to_owned()], None, 9);
        let (worker, other) = (shown("DNS:worker"), shown("DNS:other"));
        let (none, token) = ("X-A: 1", "X-API-Key: 0123456789abcdef");
        for (auth, role, certificate, fields, at, wanted) in [
            ("off", "", None, none, 0, "client_certificate_required"),
            ("off", "", Some(&worker), none, 9, "CN=ann"),
            ("off", "", Some(&worker), none, 10, "client_certificate_required"),
            ("off", "DNS:worker", Some(&worker), none, 0, "CN=ann"),
            ("off", "CN=ann", Some(&other), none, 0, "CN=ann"),
            ("off", "DNS:worker", Some(&other), none, 0, "role_missing"),
            ("a", "", None, token, 0, "client_certificate_required"),
            ("a", "", Some(&worker), none, 0, "no_credentials"),
            ("a", "DNS:worker", Some(&worker), token, 0, "bob"),
            ("a", "writer", Some(&other), token, 0, "bob"),
            ("a", "DNS:worker", Some(&other), token, 0, "role_missing"),
        ] {
            let mut plan = plan(&format!(
                "listen = ':80'\nupstream = 'http://a:1'\n\
                 [auth.a]\ntoken = '0123456789abcdef name=bob role=writer'\n\
                 [[route]]\nauth = '{auth}'\n"
            ));
            let gate = Arc::make_mut(&mut Arc::make_mut(&mut plan.routes)[0].gate);
            gate.client_cert = true;
            gate.roles =
                [role].into_iter().filter(|role| !role.is_empty()).map(Arc::from).collect();
            let (gates, head) = (Gates::link(&plan, None), format!("GET / HTTP/1.1\r\n{fields}"));
            let said = match ruled_with(&gates, &head, ip("192.0.2.1"), at, certificate) {
                Ruling::Pass(passed) => passed.user().unwrap().name.to_string(),
                Ruling::Ask(_) => "asks".to_owned(),
                Ruling::Reply(reply) => reply.reason.label().to_owned(),
            };
            assert_eq!(said, wanted, "{auth} {role} {fields} {at}");
        }
    }

    #[test]
    fn a_request_that_one_limit_refuses_counts_in_none() {
        let gates = Gates::link(&plan(PLAN), None);
        let client = ip("192.0.2.1");
        let ask = |token: &str, at| {
            said(&gates, &format!("GET / HTTP/1.1\r\nX-API-Key: {token}"), client, at)
        };
        let (bob, eve) = ("fedcba9876543210", "aaaaaaaaaaaaaaaa");
        assert_eq!(
            [ask(bob, 0), ask(bob, 0), ask(bob, 1), ask(bob, 2)].concat(),
            "bobbobrate_limitedrate_limited"
        );
        assert_eq!(ask(eve, 3), "eve", "three of all: the refused ones did not count");
        assert_eq!(ask(eve, 4), "rate_limited", "three of all");
        assert_eq!(ask(eve, 61), "eve", "a minute later");
        // Dry run: it would have refused all but the first.
        let dry = gates.limits.iter().find(|one| &*one.spec.name == "dry").unwrap();
        assert_eq!(dry.outcomes().map(|(_, count)| count), [1, 0, 3, 0]);
    }

    #[test]
    fn what_was_counted_and_known_outlives_a_plan_that_says_the_same() {
        let before = Gates::link(&plan(PLAN), None);
        let client = ip("192.0.2.1");
        let head = "GET / HTTP/1.1\r\nX-API-Key: fedcba9876543210";
        let both = [said(&before, head, client, 0), said(&before, head, client, 0)];
        assert_eq!(both, ["bob", "bob"]);
        let same = Gates::link(&plan(&format!("{PLAN}security-headers = true\n")), Some(&before));
        assert_eq!(said(&same, head, client, 1), "rate_limited");
        let other = plan(&PLAN.replace("2/m", "20/m"));
        let other = Gates::link(&other, Some(&before));
        assert_eq!(said(&other, head, client, 1), "bob", "another limit counts from nothing");
    }
}
