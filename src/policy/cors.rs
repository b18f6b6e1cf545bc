//! What scripts of other origins may: the answers of the CORS protocol (Fetch, "CORS protocol").
//!
//! ```text
//!   OPTIONS, Origin, Access-Control-Request-Method  ->  Preflight: answered here with a 204
//!                                                       Refused: 403, browsers then ask nothing
//!   anything else                                   ->  Actual: goes on; the answer gets these fields
//! ```
//! Who asks without a browser can say any origin: this keeps pages from reading, and nobody from asking.
//!
//! Where the answer depends on `Origin` it says so, with or without one, so that no cache gives one origin the answer
//! of another (Fetch, "CORS protocol and HTTP caches"); where all origins may, all get the same fields.

use std::borrow::Cow;

use crate::config::CorsSpec;
use crate::http::cors::Origin;
use crate::http::{Method, grammar};

/// Names and values of fields.
pub type Fields = Vec<(&'static str, Cow<'static, str>)>;

pub use crate::http::cors::OWNED;

/// Fields that a preflight may ask for.
const ASKED_MOST: usize = 64;
/// Methods that are asked for without a preflight, too (Fetch, "CORS-safelisted method").
const SAFELISTED: [&str; 3] = ["GET", "HEAD", "POST"];

/// What a policy says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// A preflight whose request may follow: a 204 with these fields.
    Preflight(Fields),
    /// A preflight whose request may not follow: a 403.
    Refused(Refusal),
    /// No preflight: it goes on, and the answer gets these fields besides its own, in place of [`OWNED`].
    Actual(Fields),
}

/// Why a request may not follow its preflight, or is refused itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More than one origin is named.
    SeveralOrigins,
    /// Pages of this origin may nothing.
    Origin,
    /// The method is not listed.
    Method,
    /// A field is not listed.
    Header,
    /// More fields are asked for than are looked at.
    TooManyHeaders,
}

impl Refusal {
    /// What is wrong, for people.
    pub const fn explain(self) -> &'static str {
        match self {
            Refusal::SeveralOrigins => "more than one Origin is named",
            Refusal::Origin => "pages of this origin may not ask here",
            Refusal::Method => "pages of other origins may not use this method here",
            Refusal::Header => "pages of other origins may not send one of these fields here",
            Refusal::TooManyHeaders => "more than 64 fields are asked for",
        }
    }
}

/// What `spec` says of a request with these values of `Origin`, `Access-Control-Request-Method` and
/// `Access-Control-Request-Headers`. A request with several `Origin` is to be refused before.
///
/// The lists are to have passed [`check`](crate::http::cors::check).
pub fn answer(
    spec: &CorsSpec,
    method: Method,
    origin: Option<&[u8]>,
    request_method: Option<&[u8]>,
    request_headers: Option<&[u8]>,
) -> Cors {
    match (method, origin, request_method) {
        (Method::Options, Some(origin), Some(asked)) => {
            let allowed = preflight(spec, origin, asked, request_headers.unwrap_or_default());
            allowed.map_or_else(Cors::Refused, Cors::Preflight)
        }
        _ => Cors::Actual(actual(spec, origin)),
    }
}

/// The fields of a 204.
fn preflight(
    spec: &CorsSpec,
    origin: &[u8],
    method: &[u8],
    headers: &[u8],
) -> Result<Fields, Refusal> {
    let mut fields = Fields::new();
    allow(spec, Some(origin), &mut fields).ok_or(Refusal::Origin)?;
    // Methods are told apart by case.
    let mut methods = SAFELISTED.to_vec();
    methods.extend(spec.method.iter().map(String::as_str).filter(|m| !SAFELISTED.contains(m)));
    if !methods.iter().any(|listed| listed.as_bytes() == method) {
        return Err(Refusal::Method);
    }
    judge_headers(spec, headers)?;
    fields.push(("Access-Control-Allow-Methods", methods.join(", ").into()));
    if !spec.header.is_empty() {
        fields.push(("Access-Control-Allow-Headers", spec.header.join(", ").into()));
    }
    fields.push(("Access-Control-Max-Age", spec.max_age.as_secs().to_string().into()));
    vary(spec, &mut fields);
    Ok(fields)
}

/// Whether all of the fields that are asked for may be sent.
fn judge_headers(spec: &CorsSpec, headers: &[u8]) -> Result<(), Refusal> {
    for (i, name) in grammar::list(headers).enumerate() {
        if i == ASKED_MOST {
            return Err(Refusal::TooManyHeaders);
        }
        if !spec.header.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(name)) {
            return Err(Refusal::Header);
        }
    }
    Ok(())
}

/// The fields that the answer of an upstream gets.
fn actual(spec: &CorsSpec, origin: Option<&[u8]>) -> Fields {
    let mut fields = Fields::new();
    if allow(spec, origin, &mut fields).is_some() && !spec.expose.is_empty() {
        fields.push(("Access-Control-Expose-Headers", spec.expose.join(", ").into()));
    }
    vary(spec, &mut fields);
    fields
}

/// Puts in that the origin may, and whether with credentials; `None`: it may not.
fn allow(spec: &CorsSpec, origin: Option<&[u8]>, fields: &mut Fields) -> Option<()> {
    if allows_all(spec) {
        // Never with credentials, whatever the policy says.
        fields.push(("Access-Control-Allow-Origin", "*".into()));
        return Some(());
    }
    let text = origin?;
    let origin = Origin::of(text)?;
    spec.origin.iter().find(|pattern| origin.is_in(pattern))?;
    // As it came, since browsers compare octets: of those that an origin is made of, none ends a field.
    fields.push(("Access-Control-Allow-Origin", String::from_utf8(text.to_vec()).ok()?.into()));
    if spec.credentials {
        fields.push(("Access-Control-Allow-Credentials", "true".into()));
    }
    Some(())
}

/// Puts in that the answer depends on `Origin`, where it does.
fn vary(spec: &CorsSpec, fields: &mut Fields) {
    if !allows_all(spec) {
        fields.push(("Vary", "Origin".into()));
    }
}

fn allows_all(spec: &CorsSpec) -> bool {
    spec.origin.iter().any(|pattern| pattern == "*")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn owned(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn spec(origins: &[&str], credentials: bool) -> CorsSpec {
        CorsSpec {
            origin: owned(origins),
            method: owned(&["PUT", "GET", "DELETE"]),
            header: owned(&["Content-Type", "X-A"]),
            expose: owned(&["X-Total", "X-Page"]),
            credentials,
            max_age: Duration::from_millis(600_900),
        }
    }

    /// A line for each field, and a word for what it is.
    fn shown(cors: Cors) -> String {
        let lines = |fields: Fields| {
            let lines = fields.iter().map(|(name, value)| {
                format!(" {}: {value}", name.trim_start_matches("Access-Control-"))
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        match cors {
            Cors::Preflight(fields) => format!("204\n{}", lines(fields)),
            Cors::Refused(why) => format!("403 {}", why.explain()),
            Cors::Actual(fields) => lines(fields),
        }
    }

    fn asked(spec: &CorsSpec, origin: &str, method: &str, headers: &str) -> String {
        let [origin, method, headers] =
            [origin, method, headers].map(|text| (text != "-").then_some(text.as_bytes()));
        shown(answer(spec, Method::Options, origin, method, headers))
    }

    #[test]
    fn a_preflight_is_answered_with_all_that_is_listed() {
        let named = spec(&["https://app.example", "https://*.example.org"], true);
        let expected = |origin: &str| {
            format!(
                "204\n Allow-Origin: {origin}\n Allow-Credentials: true\n \
                 Allow-Methods: GET, HEAD, POST, PUT, DELETE\n Allow-Headers: Content-Type, X-A\n \
                 Max-Age: 600\n Vary: Origin"
            )
        };
        for origin in ["https://app.example", "https://a.b.example.org"] {
            for method in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
                for headers in ["-", "", "x-a", "content-type,x-a", "X-A , CONTENT-TYPE,,"] {
                    assert_eq!(asked(&named, origin, method, headers), expected(origin));
                }
            }
        }
        let bare = CorsSpec {
            method: vec![],
            header: vec![],
            max_age: Duration::ZERO,
            ..spec(&["*"], false)
        };
        let expected = "204\n Allow-Origin: *\n Allow-Methods: GET, HEAD, POST\n Max-Age: 0";
        assert_eq!(asked(&bare, "null", "POST", "-"), expected);
        assert_eq!(asked(&bare, "nonsense\r\nX: y", "POST", ""), expected);
    }

    #[test]
    fn a_preflight_for_what_is_not_listed_is_refused() {
        const ORIGIN: &str = Refusal::Origin.explain();
        const METHOD: &str = Refusal::Method.explain();
        const HEADER: &str = Refusal::Header.explain();
        const TOO_MANY: &str = Refusal::TooManyHeaders.explain();
        let named = spec(&["https://app.example"], true);
        let many = |count| vec!["x-a"; count].join(",");
        for (origin, method, headers, why) in [
            ("https://other.example", "GET", "-", ORIGIN),
            ("http://app.example", "GET", "-", ORIGIN),
            ("https://app.example:8443", "GET", "-", ORIGIN),
            ("https://app.example, https://app.example", "GET", "-", ORIGIN),
            ("https://app.example\r\nX: y", "GET", "-", ORIGIN),
            ("https://APP.example", "GET", "-", ORIGIN),
            ("null", "GET", "-", ORIGIN),
            ("", "GET", "-", ORIGIN),
            ("*", "GET", "-", ORIGIN),
            ("https://app.example", "PATCH", "-", METHOD),
            ("https://app.example", "put", "-", METHOD),
            ("https://app.example", "", "-", METHOD),
            ("https://app.example", "GET, PUT", "-", METHOD),
            ("https://app.example", "GET", "x-b", HEADER),
            ("https://app.example", "GET", "x-a,authorization", HEADER),
            ("https://app.example", "GET", "x-a x-a", HEADER),
            ("https://app.example", "GET", "\"x-a\"", HEADER),
            ("https://app.example", "GET", "*", HEADER),
            ("https://app.example", "GET", &many(65), TOO_MANY),
        ] {
            let told = asked(&named, origin, method, headers);
            assert_eq!(told, format!("403 {why}"), "{origin:?} {method:?} {headers:?}");
        }
        assert!(asked(&named, "https://app.example", "GET", &many(64)).starts_with("204"));
    }

    #[test]
    fn an_answer_tells_whether_it_may_be_read() {
        let actual = |spec: &CorsSpec, method, origin: Option<&str>| {
            shown(answer(spec, method, origin.map(str::as_bytes), None, Some(b"x-b")))
        };
        let named = |credentials| spec(&["https://app.example"], credentials);
        let app = Some("https://app.example");
        for method in [Method::Get, Method::Put, Method::Options, Method::Other] {
            assert_eq!(
                actual(&named(true), method, app),
                " Allow-Origin: https://app.example\n Allow-Credentials: true\n \
                 Expose-Headers: X-Total, X-Page\n Vary: Origin"
            );
            assert_eq!(
                actual(&named(false), method, app),
                " Allow-Origin: https://app.example\n Expose-Headers: X-Total, X-Page\n Vary: Origin"
            );
            for other in [None, Some("null"), Some("https://a"), Some(""), Some("a\r\nb")] {
                assert_eq!(actual(&named(true), method, other), " Vary: Origin", "{other:?}");
                let all = " Allow-Origin: *\n Expose-Headers: X-Total, X-Page";
                assert_eq!(actual(&spec(&["*"], false), method, other), all, "{other:?}");
            }
        }
        let quiet = CorsSpec { expose: vec![], ..named(false) };
        let expected = " Allow-Origin: https://app.example\n Vary: Origin";
        assert_eq!(actual(&quiet, Method::Get, app), expected);
    }

    #[test]
    fn all_origins_never_come_with_credentials() {
        for origins in [&["*"][..], &["https://app.example", "*"]] {
            let spec = spec(origins, true);
            for asked in [None, Some(&b"GET"[..])] {
                let origin = Some(&b"https://app.example"[..]);
                let told = shown(answer(&spec, Method::Options, origin, asked, None));
                assert!(told.contains("Allow-Origin: *\n") && !told.contains("Credentials"));
            }
        }
    }

    #[test]
    fn only_a_preflight_is_one() {
        let named = spec(&["https://app.example"], false);
        let put = Some(&b"PUT"[..]);
        let app = Some(&b"https://app.example"[..]);
        for (method, origin, asked) in [
            (Method::Options, None, put),
            (Method::Options, app, None),
            (Method::Put, app, put),
            (Method::Get, app, put),
        ] {
            let told = answer(&named, method, origin, asked, None);
            assert!(matches!(told, Cors::Actual(_)), "{method:?} {origin:?} {asked:?}");
        }
        let known: Vec<&str> = ["Vary"].into_iter().chain(OWNED).collect();
        for asked in [None, put] {
            let told =
                answer(&spec(&["https://app.example"], true), Method::Options, app, asked, None);
            let (Cors::Actual(fields) | Cors::Preflight(fields)) = told else { panic!("refused") };
            assert!(fields.iter().all(|(name, _)| known.contains(name)));
        }
    }
}
