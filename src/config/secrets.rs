//! What a file takes from elsewhere: `{env.NAME}`, `{env.NAME_*}` and `{file.path}`, read together with it.
//!
//! Such values are taken to be secrets: whoever shows a setting shows what stands in the file.

use std::collections::HashMap;
use std::path::PathBuf;

use super::diagnostics::{Diagnostic, wrong};
use super::files::Files;
use super::given::Given;
use super::table::{Form, Setting};
use super::template::Template;

/// Octets of a file that holds a value, and of one that holds networks: some 400,000.
const LARGEST: usize = 64 * 1024;
const LARGEST_LIST: usize = 8 * 1024 * 1024;

/// Where such values come from.
pub struct Secrets<'a> {
    /// The environment, and the dotenv file below it.
    pub env: &'a HashMap<String, String>,
    /// Paths are relative to this.
    pub folder: PathBuf,
    /// Whatever is read is read by these.
    pub files: &'a Files,
}

/// A text with everything in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// Some of it came from elsewhere.
    pub is_secret: bool,
}

impl Secrets<'_> {
    /// The values of `setting` that `text` stands for; an empty one is a file without a network.
    ///
    /// # Errors
    /// When a variable is not set, a file cannot be read, or there are more values than it takes.
    pub fn values(&self, setting: &Setting, text: &str) -> Result<Vec<Expanded>, Diagnostic> {
        let is_template = matches!(setting.form, Form::Lines | Form::Text);
        let values = match whole(text, "{file.") {
            Some(path) => self.whole_file(setting.form, path, is_template)?,
            None => self.expand(text, is_template)?,
        };
        match values.len() {
            // Whoever clears a list of networks means it: no network, and no mistake.
            0 if matches!(setting.form, Form::Lists | Form::NetworkNames) => {
                Ok(vec![secret(String::new())])
            }
            0 => Err(wrong(
                "there is nothing in it, and a list that is empty says nothing",
                "put a line into it",
            )),
            2.. if !setting.form.takes_list() => {
                let many = values.len();
                let what = format!("this stands for {many} values, and one is possible here");
                Err(wrong(what, "name one variable"))
            }
            _ => Ok(values),
        }
    }

    /// What `given` stands for above the file, as it was given; of a field line the value is looked at.
    ///
    /// # Errors
    /// As [`Secrets::values`].
    pub fn given(&self, setting: &Setting, given: &Given) -> Result<Vec<Given>, Diagnostic> {
        let Given { text, origin, .. } = given;
        let (lead, value) = match text.split_once(':') {
            Some((name, value)) if setting.form == Form::Lines => {
                (format!("{name}: "), value.trim())
            }
            _ => (String::new(), &**text),
        };
        let given = |Expanded { text: value, is_secret }| Given {
            text: format!("{lead}{value}").into(),
            origin: origin.clone(),
            shown: is_secret.then(|| text.clone()),
            is_item: false,
        };
        Ok(self.values(setting, value)?.into_iter().map(given).collect())
    }

    /// The values that `text` stands for: one, unless it is a list of variables or of lines. In a template, what
    /// looks like a placeholder in a value is none.
    ///
    /// # Errors
    /// When a variable is not set, or a file cannot be read.
    fn expand(&self, text: &str, is_template: bool) -> Result<Vec<Expanded>, Diagnostic> {
        let quote = |value: &str| match is_template {
            true => Template::quoted(value),
            false => value.to_owned(),
        };
        if let Some(name) = whole(text, "{env.")
            && let Some(start) = name.strip_suffix('*')
        {
            let mut found: Vec<_> = self
                .env
                .iter()
                .filter(|(key, value)| key.starts_with(start) && !value.is_empty())
                .collect();
            found.sort();
            if found.is_empty() {
                return Err(unset(name));
            }
            let each = |(_, value): (&String, &String)| secret(quote(value));
            return Ok(found.into_iter().map(each).collect());
        }
        let (mut out, mut rest, mut is_secret) = (String::new(), text, false);
        while let Some(at) = rest.find("{env.").into_iter().chain(rest.find("{file.")).min() {
            let escaped = rest[..at].ends_with('{');
            let Some(end) = rest[at..].find('}').filter(|_| !escaped) else {
                out.push_str(&rest[..at + 1]);
                rest = &rest[at + 1..];
                continue;
            };
            out.push_str(&rest[..at]);
            let inner = &rest[at..at + end + 1];
            let value = match whole(inner, "{env.") {
                Some(name) => {
                    let value = self.env.get(name).filter(|value| !value.is_empty());
                    value.cloned().ok_or_else(|| unset(name))?
                }
                None => self.file(&inner["{file.".len()..inner.len() - 1], LARGEST)?.join("\n"),
            };
            out.push_str(&quote(&value));
            is_secret = true;
            rest = &rest[at + end + 1..];
        }
        out.push_str(rest);
        Ok(vec![Expanded { text: out, is_secret }])
    }

    /// The values that a file is: its lines, unless it is a key. In lists of networks a `#` begins a
    /// comment, and in those of users and tokens a line that is one.
    fn whole_file(
        &self,
        form: Form,
        path: &str,
        is_template: bool,
    ) -> Result<Vec<Expanded>, Diagnostic> {
        let quote = |line: String| match is_template {
            true => Template::quoted(&line),
            false => line,
        };
        if form == Form::Key {
            return Ok(vec![secret(self.file(path, LARGEST)?.join("\n"))]);
        }
        let is_list = matches!(form, Form::Lists | Form::NetworkNames | Form::Networks);
        let lines = self.file(path, if is_list { LARGEST_LIST } else { LARGEST })?;
        let lines = lines.into_iter().map(|line| match line.split_once('#') {
            Some((network, _)) if is_list => network.trim().to_owned(),
            Some(("", _)) if matches!(form, Form::Users | Form::Tokens) => String::new(),
            _ => line,
        });
        Ok(lines.filter(|line| !line.is_empty()).map(|line| secret(quote(line))).collect())
    }

    /// The lines of a file, without those that are empty.
    fn file(&self, path: &str, most: usize) -> Result<Vec<String>, Diagnostic> {
        let text = self.files.regular(&self.folder.join(path), most).map_err(|error| {
            let what = format!("cannot read {path}: {error}");
            wrong(what, "name a file that can be read, relative to this one")
        })?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(lines.map(str::to_owned).collect())
    }
}

/// What stands between `start` and the brace at the end, if that is all of `text`.
fn whole<'t>(text: &'t str, start: &str) -> Option<&'t str> {
    let inner = text.strip_prefix(start)?.strip_suffix('}')?;
    (!inner.contains(['{', '}'])).then_some(inner)
}

fn secret(text: String) -> Expanded {
    Expanded { text, is_secret: true }
}

fn unset(name: &str) -> Diagnostic {
    wrong(
        format!("the variable {name} is not set, or empty"),
        "set it in the environment or the dotenv file",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_from_the_environment() {
        let pairs = [("A", "x"), ("T_1", "one"), ("T_2", "{two}")];
        let env = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let files = Files::default();
        let secrets = Secrets { env: &env, folder: PathBuf::new(), files: &files };
        let expand = |text: &str, is_template| {
            let texts = secrets.expand(text, is_template);
            texts.map(|texts| texts.into_iter().map(|one| one.text).collect::<Vec<_>>().join("|"))
        };
        for (text, plain, template) in [
            ("plain {host}", "plain {host}", "plain {host}"),
            ("Bearer {env.A}!", "Bearer x!", "Bearer x!"),
            ("{env.A}{env.A}", "xx", "xx"),
            ("{env.T_*}", "one|{two}", "one|{{two}}"),
            ("{{env.A}}", "{{env.A}}", "{{env.A}}"),
            ("{env.A", "{env.A", "{env.A"),
        ] {
            assert_eq!(expand(text, false).unwrap(), plain, "{text}");
            assert_eq!(expand(text, true).unwrap(), template, "{text}");
        }
        for text in ["{env.B}", "{env.B*}", "{file.none}"] {
            assert!(expand(text, false).is_err(), "{text}");
        }
    }
}
