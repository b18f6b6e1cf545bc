//! Credentials: from what is given in `[auth.NAME]` to what they are.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::conditions;
use super::credential::{algorithm, asked_url, claim, token, user};
use super::diagnostics::{Diagnostic, unclear, wrong};
use super::file::Section;
use super::gate::*;
use super::pool::{Place, Secret};
use super::settings::{Item, Settings};
use super::values;

/// Items of a list.
const MOST: usize = 256;
/// Tokens of all kinds together, and users.
const MOST_TOKENS: usize = 1 << 17;
/// Octets of a key set in a file.
const LONGEST_SET: usize = 256 * 1024;

/// The kinds of credentials, each with the keys of which it needs one.
const KINDS: [(&str, &[&str]); 4] = [
    ("token", &["auth-token"]),
    ("basic", &["auth-user"]),
    ("jwt", &["auth-jwks", "auth-key"]),
    ("forward", &["auth-url"]),
];

impl Settings<'_> {
    /// What `section` says of who asks.
    pub(super) fn auth(&mut self, section: &Section) -> AuthSpec {
        let name: Arc<str> = section.name.as_str().into();
        let choices = KINDS.map(|(kind, _)| (kind, kind));
        let asked = self.one("auth-kind", |text| values::choice(&choices, text));
        let told = KINDS.iter().filter(|(_, keys)| keys.iter().any(|key| self.is_given(key)));
        let told: Vec<&str> = told.map(|(kind, _)| *kind).collect();
        let kind = asked.or(told.first().copied()).unwrap_or("token");
        if !told.contains(&kind) {
            let (what, right) = match kind {
                "basic" => ("this names no user", "write user = \"name:$argon2id$...\""),
                "jwt" => ("this has no key", "write jwks = \"jwks.json\", or key"),
                "forward" => ("nobody is asked", "write url = \"http://127.0.0.1:9000/auth\""),
                _ => ("this has no token", "write token = \"{env.AUTH_TOKEN_*}\""),
            };
            self.mistake(section, wrong(what, right));
        }
        self.refuse_keys_of_others(kind);
        let fields = self.list("auth-header", 8, values::field_of_credentials);
        let pass = self.one("auth-pass", values::switch).unwrap_or(false);
        let kind = match kind {
            "basic" => {
                if !cfg!(feature = "passwords") {
                    self.not_in_this_build(&["auth-user"], "passwords", "passwords");
                }
                AuthKind::Basic(self.users())
            }
            "jwt" => AuthKind::Jwt(self.jwt()),
            "forward" => AuthKind::Forward(self.asked()),
            _ => AuthKind::Token(self.tokens("auth-token", &section.name)),
        };
        AuthSpec { name, kind, fields, pass }
    }

    /// Keys that say something of another kind of credentials.
    fn refuse_keys_of_others(&mut self, kind: &str) {
        for (key, kinds) in [
            ("auth-token", "token"),
            ("auth-user", "basic"),
            ("auth-jwks", "jwt"),
            ("auth-refresh", "jwt"),
            ("auth-key", "jwt"),
            ("auth-algorithm", "jwt"),
            ("auth-issuer", "jwt"),
            ("auth-audience", "jwt"),
            ("auth-leeway", "jwt"),
            ("auth-role", "jwt"),
            ("auth-forward", "jwt"),
            ("auth-url", "forward"),
            ("auth-timeout", "forward"),
            ("auth-copy", "forward"),
            ("auth-cache", "forward"),
        ] {
            if kinds != kind && self.is_given(key) {
                let given = self.given(key).remove(0);
                let what = format!("this is about another kind of credentials than {kind}");
                self.refuse_one(
                    &given,
                    wrong(what, format!("leave it out, or write kind = \"{kinds}\"")),
                );
            }
        }
        if kind == "basic" && self.is_given("auth-header") {
            let given = self.given("auth-header").remove(0);
            let what = "names and passwords come in Authorization alone";
            self.refuse_one(&given, wrong(what, "leave it out"));
        }
    }

    /// Tokens, each with a name: its own, or one that is made of `lead`.
    pub(super) fn tokens(&mut self, key: &str, lead: &str) -> Vec<Token> {
        let items = self.all(key, MOST_TOKENS, token);
        self.warn_of_flags(&items.iter().map(|item| item.given.clone()).collect::<Vec<_>>());
        let mut known = HashSet::new();
        let mut tokens = Vec::new();
        for (number, Item { value, given, .. }) in items.into_iter().enumerate() {
            let token = value.called(format!("{lead}-{}", number + 1), given.shown());
            match known.insert(token.digest) {
                true => tokens.push(token),
                false => self.warn(&given, wrong("the same token is given twice", "leave one out")),
            }
        }
        tokens
    }

    fn users(&mut self) -> Vec<User> {
        let items = self.all("auth-user", MOST_TOKENS, |text| user(text, Secret::MASK));
        let shown = |Item { value, given }: Item<User>| {
            let hash = Secret::new(&value.hash, given.shown());
            Item { value: User { hash, ..value }, given }
        };
        let items = items.into_iter().map(shown).collect();
        self.without_repeats(items, |user| Arc::clone(&user.name))
    }

    fn jwt(&mut self) -> JwtSpec {
        use JwtAlgorithm::{Es256, Hs256, Rs256};
        if !cfg!(feature = "jwt") {
            self.not_in_this_build(&["auth-jwks", "auth-key"], "signed tokens", "jwt");
        }
        let algorithms = self.list("auth-algorithm", MOST, algorithm);
        let keys = self.jwt_keys();
        let is_secret = matches!(&keys, JwtKeys::Key(key) if !key.contains("-----BEGIN"));
        let algorithms = match (algorithms.is_empty(), is_secret) {
            (false, _) => algorithms,
            (true, true) => vec![Hs256],
            (true, false) => vec![Es256, Rs256],
        };
        // With both, whoever knows the public key could sign.
        if algorithms.iter().any(|one| one.is_symmetric() != algorithms[0].is_symmetric()) {
            let given = self.given("auth-algorithm").remove(0);
            let what = "HS256 and its kin go with a secret, the others with a public key";
            self.refuse(&given, 0..given.text.len(), wrong(what, "write those of one kind"));
        }
        let claims = |text: &str| match conditions::pair(text, "=") {
            (field, Some(of)) => Ok((values::field(field)?, claim(of)?)),
            _ => Err(wrong("the claim is missing", "write { X-User = \"sub\" }")),
        };
        let audience = self.list("auth-audience", MOST, text);
        // Whoever signs with a private key does so for others as well (RFC 7519 section 4.1.3).
        if audience.is_empty() && !algorithms[0].is_symmetric() {
            let keys = [self.given("auth-jwks"), self.given("auth-key")].concat();
            if let Some(given) = keys.first() {
                let what = "tokens that were issued for others are good here, too";
                self.diagnostics.warning(&given.origin, wrong(what, "write audience beside it"));
            }
        }
        JwtSpec {
            keys,
            algorithms,
            issuer: self.list("auth-issuer", MOST, text),
            audience,
            leeway: self.wait_here("auth-leeway").unwrap_or_default(),
            role: self.one("auth-role", claim),
            forward: self.list("auth-forward", 16, claims),
        }
    }

    fn jwt_keys(&mut self) -> JwtKeys {
        let none = JwtKeys::Set(Secret::new("", Secret::MASK));
        if self.is_given("auth-jwks")
            && let Some(given) = self.given("auth-key").first()
        {
            let what = "the keys are given twice: here, and as jwks";
            self.refuse_one(given, wrong(what, "leave one of the two out"));
        }
        if let Some(given) = self.given("auth-key").into_iter().next() {
            let read = |text: &str| match text.len() {
                0..8 => Err(wrong("a secret so short is soon guessed", "openssl rand -hex 32")),
                _ => Ok(()),
            };
            let _ = self.one("auth-key", read);
            self.warn_of_flags(std::slice::from_ref(&given));
            return JwtKeys::Key(Secret::new(&given.text, given.shown()));
        }
        let refresh = self.wait_here("auth-refresh").unwrap_or(Duration::from_secs(300));
        let Some(given) = self.given("auth-jwks").into_iter().next() else { return none };
        if given.text.contains("://") {
            let url = self.one("auth-jwks", asked_url);
            return url.map_or(none, |url| JwtKeys::Url { url, refresh });
        }
        let path = self.layers.cwd.join(&*given.text);
        match self.layers.files.regular(&path, LONGEST_SET) {
            Ok(set) => JwtKeys::Set(Secret::new(&set, &given.text)),
            Err(error) => {
                let what = format!("cannot read {}: {error}", given.text);
                let right = super::files::remedy(&error);
                self.refuse(&given, 0..given.text.len(), wrong(what, right));
                none
            }
        }
    }

    fn asked(&mut self) -> ForwardAuthSpec {
        let nobody = || AskedUrl {
            text: String::new(),
            place: Place::Tcp { host: "127.0.0.1".into(), port: 1 },
            secure: false,
            authority: String::new(),
            target: "/".into(),
        };
        ForwardAuthSpec {
            url: self.one("auth-url", asked_url).unwrap_or_else(nobody),
            timeout: self.wait_here("auth-timeout").unwrap_or_default(),
            fields: self.list("auth-copy", 16, values::copied_field),
            cache: self.wait_here("auth-cache").unwrap_or_default(),
        }
    }
}

/// A text in a list.
fn text(text: &str) -> Result<String, Diagnostic> {
    if text.contains(',') {
        return Err(wrong(
            "a comma parts the texts of a list",
            "put them into a list, [\"a\", \"b\"]",
        ));
    }
    match text.len() <= 1024 && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(unclear("this is too long, or has control characters in it")),
    }
}
