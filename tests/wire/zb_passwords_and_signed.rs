//! Users with passwords, and tokens that somebody signed.
#![cfg(any(feature = "jwt", feature = "passwords"))]

#[cfg(feature = "passwords")]
mod passwords {
    use std::time::{Duration, Instant};

    use data_encoding::BASE64;
    use serde_json::json;

    use crate::harness::{Configured, Origin, asked, logged, mirror, run, seen, verdict};

    /// `password`, by the reference implementation of Argon2; and by libxcrypt `correct horse` and `hé`.
    const ADA: &str =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    const BOB: &str = "$2b$10$EixZaYVK1fsbw1ZfbX3OXehc5vBllSDXXmwTJR7L/HDK.G8Wkr3zu";
    const CY: &str = "$2y$04$abcdefghijklmnopqrstuuk1lOnefiDFz3Np4jMhy6J7wA.qMbDWO";

    fn with_users(origin: &Origin, rest: &str) -> Configured {
        let text = format!(
            "upstream = '{}'\n[auth.default]\nuser = ['ada:{ADA} role=admin', 'bob:{BOB}', \
             {{ name = 'cy', hash = '{CY}' }}]\n{rest}\n",
            origin.url()
        );
        Configured::new(&text, &["--access-log", "json", "--log", "trace"])
    }

    fn basic(user: &str, password: &str) -> String {
        let words = BASE64.encode(format!("{user}:{password}").as_bytes());
        format!("Authorization: Basic {words}\r\n")
    }

    #[test]
    fn zb01_a_user_has_the_right_password_or_is_nobody() {
        let origin = mirror();
        let case = with_users(&origin, "");
        let mut client = case.proxy.client();
        for (user, password, is_good) in [
            ("ada", "password", true),
            ("bob", "correct horse", true),
            ("cy", "hé", true),
            ("ada", "Password", false),
            ("ada", "", false),
            ("ada", "correct horse", false),
            ("bob", "correct horse ", false),
            ("eve", "password", false),
            ("Ada", "password", false),
            ("", "password", false),
        ] {
            let answer = asked(&mut client, "/", &basic(user, password));
            match is_good {
                true => assert_eq!(answer.status, 200, "{user} {password}"),
                false => {
                    let refused = (401, "bad_credentials".to_owned());
                    assert_eq!(verdict(&answer), refused, "{user} {password}");
                    let challenge = "Basic realm=\"default\", charset=\"UTF-8\"";
                    assert_eq!(answer.get("WWW-Authenticate"), Some(challenge));
                }
            }
        }
        for (fields, expected) in [
            ("", (401, "no_credentials")),
            ("Authorization: Bearer YWRhOnBhc3N3b3Jk\r\n", (401, "no_credentials")),
            ("Authorization: Basic\r\n", (401, "no_credentials")),
            ("Authorization: Basic YWRhOnBhc3N3b3Jk=\r\n", (400, "ambiguous_credentials")),
            ("Authorization: Basic YWRh\r\n", (400, "ambiguous_credentials")),
        ] {
            let answer = asked(&mut client, "/", fields);
            assert_eq!(verdict(&answer), (expected.0, expected.1.to_owned()), "{fields}");
        }
        assert_eq!(origin.requests().len(), 3);
        let lines = logged(&case.proxy, 15);
        let names: Vec<_> = lines[..4].iter().map(|line| line["auth"].clone()).collect();
        assert_eq!(names, [json!("ada"), json!("bob"), json!("cy"), json!(null)]);
        let shown =
            run(&["config", "show", "--format", "toml", "--config", &case.path], &[]).stdout;
        let pages = case.proxy.ask("/config").text() + &case.proxy.ask("/status").text();
        let Configured { proxy, path: _path, folder: _folder } = case;
        let end = proxy.stop();
        let told = shown + &pages + &end.stdout + &end.stderr;
        for secret in ["YWRhOnBhc3N3b3Jk", "correct horse", &ADA[30..], &BOB[10..], &CY[10..]] {
            assert!(!told.contains(secret), "{secret} is shown");
        }
    }

    #[test]
    fn zb02_a_password_is_looked_at_once() {
        let origin = mirror();
        let case = with_users(&origin, "");
        let mut client = case.proxy.client();
        for (password, status) in [("correct horse", 200), ("wrong", 401)] {
            let mut took = || {
                let started = Instant::now();
                let answer = asked(&mut client, "/", &basic("bob", password));
                assert_eq!(answer.status, status);
                started.elapsed()
            };
            let first = took();
            assert!(first > Duration::from_millis(10), "it is slow on purpose: {first:?}");
            // The fastest of a few: others are at work on this machine.
            let again = (0..10).map(|_| took()).min().unwrap();
            assert!(again * 4 < first, "{again:?} after {first:?}");
        }
    }

    #[test]
    fn zb03_others_are_served_while_a_password_is_looked_at() {
        let origin = mirror();
        let rest = "[[route]]\npath = '/open'\nauth = 'off'\npool = 'default'\n[[route]]\npool = 'default'";
        let case = with_users(&origin, rest);
        let mut waits: Vec<_> = (0..4).map(|_| case.proxy.client()).collect();
        for (n, client) in waits.iter_mut().enumerate() {
            let fields = basic("bob", &format!("wrong {n}"));
            client.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
        }
        let started = Instant::now();
        assert_eq!(asked(&mut case.proxy.client(), "/open", "").status, 200);
        let open = started.elapsed();
        assert!(waits.iter_mut().all(|client| client.response().status == 401));
        let all = started.elapsed();
        assert!(open * 2 < all, "{open:?} of {all:?}");
    }

    #[test]
    fn zb11_who_guesses_waits_behind_who_logs_in() {
        let origin = mirror();
        let case = Configured::new(
            &format!(
                "upstream = '{}'\ntrusted-proxy = '127.0.0.0/8'\n[auth.default]\n\
                 user = ['ada:{ADA}', 'bob:{BOB}']\n",
                origin.url()
            ),
            &[],
        );
        let from = |client: &str, fields: String| format!("X-Forwarded-For: {client}\r\n{fields}");
        let mut flood: Vec<_> = (0..70).map(|_| case.proxy.client()).collect();
        for (n, client) in flood.iter_mut().enumerate() {
            let fields = from("198.51.100.1", basic("bob", &format!("wrong {n}")));
            client.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
        }
        // The queue is full when the first is refused.
        std::thread::sleep(Duration::from_millis(200));
        let started = Instant::now();
        let fields = from("192.0.2.7", basic("ada", "password"));
        assert_eq!(asked(&mut case.proxy.client(), "/", &fields).status, 200);
        let login = started.elapsed();
        let answers: Vec<u16> = flood.iter_mut().map(|client| client.response().status).collect();
        let all = started.elapsed();
        assert!(answers.contains(&401) && answers.contains(&503), "{answers:?}");
        assert!(login * 4 < all, "{login:?} of {all:?}");
    }

    #[test]
    fn zb13_hashes_share_their_memory() {
        const LARGE: &str = "$argon2id$v=19$m=19456,t=2,p=1$YTE4ZmI2MDg3YmI2NmYwOQ$\
                             DpxWhf7OTUhm0u8H0gKZocHTGUUL5FGjHnBz7ROnas8";
        let text = format!(
            "[auth.default]\nuser = 'ada:{LARGE}'\n[[route]]\nrespond = 'ok'\nauth = 'default'\n"
        );
        let case = Configured::new(&text, &[]);
        let mut client = case.proxy.client();
        let [before, _] = case.proxy.resident();
        for n in 0..3 {
            assert_eq!(asked(&mut client, "/", &basic("ada", &n.to_string())).status, 401);
        }
        assert_eq!(asked(&mut client, "/", &basic("ada", "correct horse")).status, 200);
        let grown = case.proxy.resident()[1] - before;
        assert!((19 << 20..24 << 20).contains(&grown), "{grown} octets");
    }

    #[test]
    fn zb04_users_have_roles_and_their_passwords_stay_here() {
        let origin = mirror();
        let rest = "[[route]]\npath = '/admin'\nrole = 'admin'\npool = 'default'\n[[route]]\npool = 'default'";
        let case = with_users(&origin, rest);
        let mut client = case.proxy.client();
        let admin = asked(&mut client, "/admin", &basic("ada", "password"));
        assert_eq!((admin.status, seen(&admin.text(), "Authorization")), (200, None));
        let refused = asked(&mut client, "/admin", &basic("cy", "hé"));
        assert_eq!(verdict(&refused), (403, "role_missing".to_owned()));
        assert_eq!(asked(&mut client, "/", &basic("cy", "hé")).status, 200);
        // Who is no longer a user is none at once, whatever is remembered.
        let text = std::fs::read_to_string(&case.path).unwrap().replace(ADA, CY);
        assert_eq!(case.reload(&text).status, 200);
        assert_eq!(asked(&mut client, "/", &basic("ada", "password")).status, 401);
        assert_eq!(asked(&mut client, "/", &basic("ada", "hé")).status, 200);
    }
}

#[cfg(feature = "jwt")]
pub mod signed {
    use std::fs;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use data_encoding::{BASE64, BASE64URL_NOPAD};
    use serde_json::{Value, json};

    use crate::harness::{
        Configured, Origin, Proxy, Response, Scratch, Silent, ask, eventually, logged, mirror, run,
        seen, verdict,
    };

    const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    fn part(value: &Value) -> String {
        BASE64URL_NOPAD.encode(value.to_string().as_bytes())
    }

    /// A token with this head and these claims, signed by `sign`.
    fn token(head: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let text = format!("{}.{}", part(head), part(claims));
        let signature = BASE64URL_NOPAD.encode(&sign(text.as_bytes()));
        format!("{text}.{signature}")
    }

    fn hs256(claims: &Value, secret: &str) -> String {
        let sign = |text: &[u8]| hmac_sha256::HMAC::mac(text, secret.as_bytes()).to_vec();
        token(&json!({ "alg": "HS256", "typ": "JWT" }), claims, sign)
    }

    pub fn claims(subject: &str) -> Value {
        json!({ "sub": subject, "exp": now() + 3600 })
    }

    pub fn bearer(proxy: &Proxy, token: &str) -> Response {
        ask(proxy, "/", &format!("Authorization: Bearer {token}\r\n"))
    }

    fn with(origin: &Origin, auth: &str) -> Configured {
        let text = format!("upstream = '{}'\n[auth.default]\n{auth}\n", origin.url());
        Configured::new(&text, &["--access-log", "json", "--log", "trace"])
    }

    /// A key pair of P-256, called `kid`.
    pub struct Pair {
        pair: EcdsaKeyPair,
        kid: &'static str,
    }

    impl Pair {
        pub fn new(kid: &'static str) -> Pair {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            Pair { pair, kid }
        }

        /// As a key set shows it.
        fn shown(&self) -> Value {
            let point = self.pair.public_key().as_ref();
            let [x, y] = [&point[1..33], &point[33..]].map(|half| BASE64URL_NOPAD.encode(half));
            json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid, "x": x, "y": y })
        }

        /// As PEM has it (RFC 5480).
        fn pem(&self) -> String {
            const LEAD: [u8; 26] = [
                0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
                0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
            ];
            let der = BASE64.encode(&[&LEAD[..], self.pair.public_key().as_ref()].concat());
            let (one, two) = der.split_at(64);
            format!("-----BEGIN PUBLIC KEY-----\n{one}\n{two}\n-----END PUBLIC KEY-----\n")
        }

        pub fn sign(&self, claims: &Value) -> String {
            let sign =
                |text: &[u8]| self.pair.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec();
            token(&json!({ "alg": "ES256", "kid": self.kid }), claims, sign)
        }
    }

    /// A server of key sets: what it answers may be changed.
    fn key_server(pairs: &[&Pair]) -> (Origin, Arc<Mutex<String>>) {
        let answer = Arc::new(Mutex::new(set_of(pairs)));
        let given = answer.clone();
        let server = Origin::serving(move |_| given.lock().unwrap().clone().into_bytes());
        (server, answer)
    }

    pub fn set_of(pairs: &[&Pair]) -> String {
        let keys: Vec<Value> = pairs.iter().map(|pair| pair.shown()).collect();
        let set = json!({ "keys": keys }).to_string();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{set}", set.len())
    }

    fn assert_bad(answer: &Response, what: &str) {
        assert_eq!(verdict(answer), (401, "bad_credentials".to_owned()), "{what}");
    }

    #[test]
    fn zb05_a_signed_token_is_good_while_it_holds_and_its_signature_is_right() {
        let origin = mirror();
        let auth = format!(
            "key = '{SECRET}'\nissuer = 'https://id.test'\naudience = ['shop', 'api']\nleeway = '10s'"
        );
        let case = with(&origin, &auth);
        let with = |name: &str, value: Value| {
            let mut all = claims("ada");
            all["iss"] = json!("https://id.test");
            all["aud"] = json!(["other", "api"]);
            all[name] = value;
            hs256(&all, SECRET)
        };
        let good = with("x", json!(1));
        for token in [&good, &with("exp", json!(now() - 2)), &with("aud", json!("shop"))] {
            let answer = bearer(&case.proxy, token);
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(seen(&answer.text(), "Authorization"), None, "it stays here");
        }
        assert_eq!(ask(&case.proxy, "/", &format!("X-API-Key: {good}\r\n")).status, 200);
        for (name, value) in [
            ("exp", json!(now() - 60)),
            ("exp", json!(null)),
            ("nbf", json!(now() + 60)),
            ("iss", json!("https://evil.test")),
            ("iss", json!(null)),
            ("aud", json!("evil")),
            ("aud", json!([])),
        ] {
            assert_bad(
                &bearer(&case.proxy, &with(name, value.clone())),
                &format!("{name} {value}"),
            );
        }
        let (text, signature) = good.rsplit_once('.').unwrap();
        let other = claims("root");
        let forged = format!("{}.{}.{signature}", text.split('.').next().unwrap(), part(&other));
        let twice = format!("{good}.{signature}");
        let unsigned = format!("{text}.");
        for bad in [&forged, &twice, &unsigned, text, "a.b.c", "nonsense"] {
            assert_bad(&bearer(&case.proxy, bad), bad);
        }
        assert_bad(
            &bearer(&case.proxy, &hs256(&claims("ada"), "another secret")),
            "another secret",
        );
        assert_eq!(origin.requests().len(), 4);
        let name = logged(&case.proxy, 1)[0]["auth"].clone();
        assert_eq!(name, json!("ada"));
        let shown = run(&["config", "show", "--format", "toml", "--config", &case.path], &[])
            .stdout
            + &case.proxy.ask("/config").text();
        let Configured { proxy, path: _path, folder: _folder } = case;
        let end = proxy.stop();
        let told = shown + &end.stdout + &end.stderr;
        assert!(!told.contains(SECRET) && !told.contains(signature));
    }

    #[test]
    fn zb06_a_token_does_not_choose_how_it_is_checked() {
        let (origin, pair) = (mirror(), Pair::new("a"));
        let case = with(&origin, &format!("key = '''{}'''\nalgorithm = 'ES256'", pair.pem()));
        assert_eq!(bearer(&case.proxy, &pair.sign(&claims("ada"))).status, 200);
        let (pem, point) = (pair.pem(), pair.pair.public_key().as_ref().to_vec());
        // Whoever knows the public key knows a secret, if the token may say that it is one.
        for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &point] {
            let sign = |text: &[u8]| hmac_sha256::HMAC::mac(text, secret).to_vec();
            let forged = token(&json!({ "alg": "HS256" }), &claims("root"), sign);
            assert_bad(&bearer(&case.proxy, &forged), "HS256");
        }
        for algorithm in ["none", "None", "ES256", "ES384", "RS256", ""] {
            let forged = token(&json!({ "alg": algorithm }), &claims("root"), |_| Vec::new());
            assert_bad(&bearer(&case.proxy, &forged), algorithm);
        }
        // Its own key, and where to get it.
        let evil = Pair::new("a");
        let sign =
            |text: &[u8]| evil.pair.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec();
        for head in [
            json!({ "alg": "ES256" }),
            json!({ "alg": "ES256", "jwk": evil.shown() }),
            json!({ "alg": "ES256", "jku": "http://127.0.0.1:1/keys" }),
            json!({ "alg": "ES256", "kid": "../../dev/null" }),
            json!({ "alg": "ES256", "crit": ["b64"], "b64": false }),
        ] {
            assert_bad(
                &bearer(&case.proxy, &token(&head, &claims("root"), sign)),
                &head.to_string(),
            );
        }
        assert_eq!(origin.requests().len(), 1);
    }

    #[test]
    fn zb07_keys_are_fetched_and_others_take_their_place() {
        let (origin, old, new) = (mirror(), Pair::new("old"), Pair::new("new"));
        let (server, set) = key_server(&[&old]);
        let case = with(&origin, &format!("jwks = '{}/keys.json'\nrefresh = '1s'", server.url()));
        let status =
            |pair: &Pair, name: &str| bearer(&case.proxy, &pair.sign(&claims(name))).status;
        eventually("the keys are there", || status(&old, "ada") == 200);
        assert_eq!(status(&new, "bob"), 401);
        *set.lock().unwrap() = set_of(&[&old, &new]);
        eventually("the other key is good as well", || status(&new, "bob") == 200);
        assert_eq!(status(&old, "cy"), 200);
        *set.lock().unwrap() = set_of(&[&new]);
        eventually("the old key is gone", || status(&old, "dan") == 401);
        assert_eq!(status(&new, "eve"), 200);
        assert_eq!(server.requests()[0].target, "/keys.json");
    }

    #[test]
    fn zb08_while_the_source_is_away_the_keys_that_there_are_hold() {
        let (origin, pair) = (mirror(), Pair::new("a"));
        let (server, set) = key_server(&[&pair]);
        let good = set.lock().unwrap().clone();
        *set.lock().unwrap() = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned();
        let case = with(&origin, &format!("jwks = '{}/a?code=hush'\nrefresh = '1s'", server.url()));
        case.proxy.wait_for_log("no keys of signed tokens");
        let log = case.proxy.log().join("\n");
        assert!(log.contains("no token is good until there are some"), "{log}");
        assert!(log.contains("/a") && !log.contains("hush"), "{log}");
        let answer = |name: &str| bearer(&case.proxy, &pair.sign(&claims(name)));
        assert_eq!(verdict(&answer("ada")), (503, "auth_unavailable".to_owned()));
        assert_eq!(verdict(&ask(&case.proxy, "/", "")), (401, "no_credentials".to_owned()));
        *set.lock().unwrap() = good.clone();
        eventually("the keys are there", || answer("ada").status == 200);
        let failures =
            || case.proxy.log().iter().filter(|line| line.contains("no keys of signed")).count();
        for (n, bad) in [
            "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        ]
        .iter()
        .enumerate()
        {
            *set.lock().unwrap() = (*bad).to_owned();
            eventually("it is told", || failures() == n + 2);
            assert_eq!(answer(&format!("bob-{n}")).status, 200, "{bad}");
            *set.lock().unwrap() = good.clone();
            let again = || {
                let log = case.proxy.log();
                log.iter().filter(|line| line.contains("can be had again")).count() == n + 2
            };
            eventually("it is back", again);
        }
        drop(server);
        eventually("it is told", || failures() == 4);
        assert_eq!(answer("cy").status, 200);
        assert!(case.proxy.log().iter().any(|line| line.contains("the last ones stay in use")));
    }

    #[test]
    fn zb09_claims_become_fields_that_no_client_can_forge() {
        let origin = mirror();
        let auth = format!(
            "key = '{SECRET}'\nforward = {{ X-User = 'sub', X-Mail = 'email', X-Org = 'org.id' }}"
        );
        let case = with(&origin, &auth);
        let mut all = claims("ada");
        all["org"] = json!({ "id": "o-7" });
        let token = hs256(&all, SECRET);
        let fields = format!(
            "Authorization: Bearer {token}\r\nX-User: root\r\nx_user: root\r\nX.User: root\r\n\
             X-Mail: root@evil.test\r\nX-Org: root\r\nX-Other: mine\r\n"
        );
        let text = ask(&case.proxy, "/", &fields).text();
        let found = ["X-User", "X-Mail", "X-Org", "X-Other"].map(|name| seen(&text, name));
        assert_eq!(found, [Some("ada"), None, Some("o-7"), Some("mine")], "{text}");
        assert!(!text.contains("root"), "{text}");
        // Nor behind a body, nor by a claim that would be a field of its own.
        let mut client = case.proxy.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\nX-Mail: root\r\nX-User: root\r\n\r\n"
        ));
        let text = client.response().text();
        assert_eq!((seen(&text, "X-User"), seen(&text, "X-Mail")), (Some("ada"), None), "{text}");
        all["email"] = json!("a@b.test\r\nX-Admin: 1");
        let answer = bearer(&case.proxy, &hs256(&all, SECRET));
        assert!(!answer.text().contains("X-Admin"), "{}", answer.text());
    }

    #[test]
    fn zb10_roles_are_in_the_claim_that_is_named() {
        let origin = mirror();
        let text = format!(
            "upstream = '{}'\n[auth.default]\nkey = '{SECRET}'\nrole = 'realm_access.roles'\n\
             [[route]]\nrole = ['writer', 'admin']\npool = 'default'\n",
            origin.url()
        );
        let case = Configured::new(&text, &[]);
        for (roles, is_good) in [
            (json!({ "roles": ["reader", "writer"] }), true),
            (json!({ "roles": "admin" }), true),
            (json!({ "roles": "reader admin" }), true),
            (json!({ "roles": ["reader"] }), false),
            (json!({ "roles": ["Writer"] }), false),
            (json!({ "role": ["writer"] }), false),
            (json!(["writer"]), false),
            (json!(null), false),
        ] {
            let mut all = claims("ada");
            all["realm_access"] = roles.clone();
            all["roles"] = json!(["admin"]);
            let answer = bearer(&case.proxy, &hs256(&all, SECRET));
            match is_good {
                true => assert_eq!(answer.status, 200, "{roles}: {}", answer.text()),
                false => {
                    assert!(matches!(answer.status, 401 | 403), "{roles}: {}", answer.status);
                }
            }
        }
    }

    #[test]
    fn zb12_operators_are_told_more_than_the_client() {
        let (origin, scratch) = (mirror(), Scratch::new());
        let file = scratch.path().join("audit.log");
        let text = format!(
            "upstream = '{}'\n[access-log]\naudit = '{}'\n[auth.own]\ntoken = '0123456789abcdef'\n\
             [auth.signed]\nkey = '{SECRET}'\n[auth.away]\njwks = 'http://127.0.0.1:1/'\n\
             [[route]]\npath = '/both'\nauth = ['own', 'away']\npool = 'default'\n\
             [[route]]\nauth = 'signed'\npool = 'default'\n",
            origin.url(),
            file.display(),
        );
        let case = Configured::new(&text, &[]);
        assert_bad(&bearer(&case.proxy, &hs256(&json!({ "exp": 1 }), SECRET)), "expired");
        assert_bad(
            &bearer(&case.proxy, &hs256(&claims("ada"), &SECRET.replace('0', "1"))),
            "forged",
        );
        // Whether these are good nobody can say; the other kind of credentials needs no key.
        let both =
            |token: &str| ask(&case.proxy, "/both", &format!("Authorization: Bearer {token}\r\n"));
        let unknown = both(&hs256(&claims("ada"), SECRET));
        assert_eq!(verdict(&unknown), (503, "auth_unavailable".to_owned()));
        assert_eq!(both("0123456789abcdef").status, 200);
        let lines = || -> Vec<Value> {
            let text = fs::read_to_string(&file).unwrap_or_default();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        eventually("both are written", || lines().len() == 2);
        let details: Vec<Value> = lines().iter().map(|line| line["detail"].clone()).collect();
        assert_eq!(details, [json!("expired"), json!("bad_signature")]);
    }

    #[test]
    fn zb14_a_token_of_an_unknown_key_has_the_keys_fetched_but_not_often() {
        let (origin, old, new) = (mirror(), Pair::new("old"), Pair::new("new"));
        let (server, set) = key_server(&[&old]);
        let case = with(&origin, &format!("jwks = '{}'\nrefresh = '1h'", server.url()));
        let status =
            |pair: &Pair, name: &str| bearer(&case.proxy, &pair.sign(&claims(name))).status;
        eventually("the keys are there", || status(&old, "ada") == 200);
        *set.lock().unwrap() = set_of(&[&new]);
        eventually("the other key is good", || status(&new, "bob") == 200);
        assert_eq!(server.requests().len(), 2);
        // Whoever sends one unknown key after the other has no more of them fetched.
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            assert_eq!(status(&old, "cy"), 401);
        }
        assert_eq!(server.requests().len(), 2);
    }

    #[test]
    fn zb15_a_source_that_is_slow_holds_up_no_other() {
        let (origin, pair, silent) = (mirror(), Pair::new("a"), Silent::new());
        let (server, _set) = key_server(&[&pair]);
        let text = format!(
            "upstream = '{}'\n[auth.a]\njwks = '{}'\n[auth.b]\njwks = '{}'\nrefresh = '1s'\n\
             [[route]]\nauth = ['a', 'b']\npool = 'default'\n",
            origin.url(),
            silent.url(),
            server.url()
        );
        let case = Configured::new(&text, &[]);
        assert_eq!(bearer(&case.proxy, &pair.sign(&claims("ada"))).status, 200);
        eventually("they are fetched again", || server.requests().len() >= 3);
    }

    #[test]
    fn zb16_a_key_that_signs_for_others_too_wants_an_audience() {
        let (folder, pem) = (Scratch::new(), Pair::new("a").pem());
        let path = folder.join("t.toml");
        for (auth, is_odd) in [
            (format!("key = '''{pem}'''\nalgorithm = 'ES256'"), true),
            ("jwks = 'http://127.0.0.1:9/?hush'".to_owned(), true),
            ("jwks = 'http://127.0.0.1:9/?hush'\naudience = 'shop'".to_owned(), false),
            (format!("key = '{SECRET}'"), false),
        ] {
            fs::write(&path, format!("upstream = 'a:1'\n[auth.default]\n{auth}\n")).unwrap();
            let done = run(&["check", "--config", &path], &[]);
            let told = done.stdout + &done.stderr;
            assert_eq!(done.code, Some(0), "{auth}: {told}");
            assert_eq!(told.contains("write audience beside it"), is_odd, "{auth}: {told}");
            assert!(!told.contains("hush"), "{told}");
        }
    }
}
