//! What stands at a key: one text or several, with what they take from elsewhere.

use std::fmt::Write;

use super::super::diagnostics::{Diagnostic, wrong};
use super::super::file::folder;
use super::super::given::{Given, Origin};
use super::super::keys::is_one_name;
use super::super::secrets;
use super::super::securing::CertificateFiles;
use super::super::table::{AUTH, Form, LIMIT, Setting, TOP};
use super::super::tree::{Key, Node, Value};
use super::{Place, Reading, empty};

impl Reading<'_> {
    /// The value of a setting, or several where it takes a list.
    pub(super) fn value(&mut self, setting: &'static Setting, place: Place<'_>, node: &Node) {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Plain(text) => text.clone(),
            Value::Null => return self.refuse(place.path, node.span.clone(), null()),
            Value::List(items) if items.is_empty() && setting.form.takes_list() => {
                return self.refuse(place.path, node.span.clone(), empty());
            }
            Value::List(items) if setting.form.takes_list() => {
                let place = Place { is_item: true, ..place };
                return items.iter().for_each(|item| self.value(setting, place, item));
            }
            Value::List(_) => {
                let what = "one value is possible here";
                let wrong = wrong(what, "take the brackets away");
                return self.refuse(place.path, node.span.clone(), wrong);
            }
            Value::Table(_) if setting.form == Form::Names => {
                let scope = if setting.name == "auth" { AUTH } else { LIMIT };
                return self.in_place(scope, place, &node.span, node);
            }
            Value::Table(entries) if let Some(options) = options_of(setting) => {
                match self.with_options(options, place, entries) {
                    Some(text) => text,
                    None => return,
                }
            }
            Value::Table(_) => {
                let what = "options are not there yet";
                return self.refuse(place.path, node.span.clone(), wrong(what, "write a text"));
            }
        };
        let is_item = place.is_item || matches!(node.value, Value::Table(_));
        self.text(setting, Place { is_item, ..place }, node, "", text);
    }

    /// `{ url = "...", weight = 3 }`, as it would be written in one text.
    fn with_options(
        &mut self,
        Options { what, main, options, example }: Options,
        place: Place<'_>,
        entries: &[(Key, Node)],
    ) -> Option<String> {
        let (mut value, mut behind) = (None, String::new());
        for (Key { name, span }, node) in entries {
            match (name.as_str(), &node.value) {
                (name, Value::Text(text) | Value::Plain(text)) if name == main => {
                    value = Some(text.clone());
                }
                (name, Value::Plain(text) | Value::Text(text)) if options.contains(&name) => {
                    let _ = write!(behind, " {name}={text}");
                }
                (name, Value::List(items)) if options.contains(&name) && !items.is_empty() => {
                    for item in items {
                        let (Value::Plain(text) | Value::Text(text)) = &item.value else {
                            let wrong = wrong("this is not a text", "write one");
                            self.refuse(place.path, item.span.clone(), wrong);
                            continue;
                        };
                        let _ = write!(behind, " {name}={text}");
                    }
                }
                (name, _) if name == main || options.contains(&name) => {
                    let wrong = wrong("this is not a text", "write one");
                    self.refuse(place.path, node.span.clone(), wrong);
                }
                _ => {
                    let what = format!("{what} has no such key");
                    let (last, others) = options.split_last().unwrap_or((&"", &[]));
                    let keys = [&[main], others].concat().join(", ");
                    let wrong = wrong(what, format!("it has {keys} and {last}"));
                    self.refuse(place.path, span.clone(), wrong);
                }
            }
        }
        match value {
            Some(value) => Some(value + &behind),
            None => {
                let span = entries.first().map_or(0..0, |(key, _)| key.span.clone());
                let wrong = wrong(format!("the {main} is missing"), format!("write {example}"));
                self.refuse(place.path, span, wrong);
                None
            }
        }
    }

    /// A table of names and values, as texts.
    pub(super) fn pairs(&mut self, setting: &'static Setting, place: Place<'_>, node: &Node) {
        let (Value::Table(entries), Some(between)) = (&node.value, setting.form.of_pairs()) else {
            return;
        };
        let place = Place { is_item: true, ..place };
        if entries.is_empty() {
            return self.refuse(place.path, node.span.clone(), empty());
        }
        for (Key { name, span }, node) in entries {
            if !is_one_name(setting.form, name) {
                let wrong = wrong("this is not a name", "write letters, digits and hyphens");
                self.refuse(place.path, span.clone(), wrong);
                continue;
            }
            let values = match &node.value {
                Value::List(items) if items.is_empty() => {
                    self.refuse(place.path, node.span.clone(), empty());
                    continue;
                }
                Value::List(items) => items.as_slice(),
                _ => std::slice::from_ref(node),
            };
            for item in values {
                match &item.value {
                    Value::Plain(text) if text == "true" && setting.form == Form::Pairs => {
                        if values.len() > 1 {
                            let what = "any value is possible, so others say nothing";
                            self.refuse(
                                place.path,
                                item.span.clone(),
                                wrong(what, "leave them out"),
                            );
                        }
                        self.text(setting, place, item, "", name.clone());
                    }
                    Value::Plain(text) if text == "false" && setting.form == Form::Pairs => {
                        let what = "a route cannot ask that this is missing";
                        let right = "write true, or a text in quotes";
                        self.refuse(place.path, item.span.clone(), wrong(what, right));
                    }
                    Value::Text(text) | Value::Plain(text) => {
                        let lead = format!("{name}{between}");
                        self.text(setting, place, item, &lead, text.clone());
                    }
                    Value::Null => self.refuse(place.path, item.span.clone(), null()),
                    Value::List(_) | Value::Table(_) => {
                        let wrong = wrong("a text has to stand here", "write one");
                        self.refuse(place.path, item.span.clone(), wrong);
                    }
                }
            }
        }
    }

    /// One value: `lead` and `text`, with what it takes from the environment and from files.
    fn text(
        &mut self,
        setting: &'static Setting,
        place: Place<'_>,
        node: &Node,
        lead: &str,
        text: String,
    ) {
        if self.damaged.contains(&self.number(&node.span)) {
            return;
        }
        let origin = Origin::File(self.line(place.path, &node.span, &format!("{lead}{text}")));
        let texts = match self.secrets.values(setting, &text) {
            Ok(texts) => texts,
            Err(wrong) => return self.refuse(place.path, node.span.clone(), wrong),
        };
        for secrets::Expanded { text: value, is_secret } in texts {
            let value = match setting.form {
                Form::FileOrOff if value == "off" => value,
                Form::Certificates => {
                    CertificateFiles::of(&value).each(|path| self.beside(path)).to_string()
                }
                Form::File | Form::FileOrOff | Form::FileNames | Form::Files | Form::Folder => {
                    self.beside(&value)
                }
                _ if setting.name == "error-page" && !lead.is_empty() => {
                    format!("{lead}{}", self.beside(&value))
                }
                _ => format!("{lead}{value}"),
            };
            let shown = is_secret.then(|| format!("{lead}{text}").into());
            // A variable or a file in its place may hold several.
            let is_item = place.is_item && !is_secret;
            let given = Given { text: value.into(), origin: origin.clone(), shown, is_item };
            self.found(place, setting, given);
        }
    }

    pub(super) fn found(&mut self, place: Place<'_>, setting: &'static Setting, given: Given) {
        match place.section {
            Some(section) => {
                let section = &mut self.contents.sections[section];
                section.given.entry(setting.name).or_default().push(given);
            }
            None if setting.name == "include" => self.includes.push(given),
            None => self.contents.top.push((setting, given)),
        }
    }

    /// A path that the file names: relative to the file.
    fn beside(&self, path: &str) -> String {
        folder(&self.file).join(path).to_string_lossy().into_owned()
    }
}

/// A value that may be a table: one text, and options behind it.
struct Options {
    what: &'static str,
    main: &'static str,
    options: &'static [&'static str],
    example: &'static str,
}

fn options_of(setting: &Setting) -> Option<Options> {
    let (what, main, options, example): (_, _, &[_], _) = match setting.form {
        Form::Urls => {
            ("an upstream", "url", &["weight", "backup"], "{ url = \"http://127.0.0.1:9001\" }")
        }
        Form::Certificates => (
            "a certificate",
            "cert",
            &["key", "ocsp"],
            "{ cert = \"site.pem\", key = \"site.key\" }",
        ),
        Form::Tokens => ("a token", "secret", &["name", "role"], "{ secret = \"{env.TOKEN}\" }"),
        Form::Users => ("a user", "hash", &["name", "role"], "{ name = \"ann\", hash = \"...\" }"),
        Form::Listens if setting.scope == TOP => {
            ("a listener", "address", &["proxy-protocol"], "{ address = \":8080\" }")
        }
        _ => return None,
    };
    Some(Options { what, main, options, example })
}

/// A value that is none.
fn null() -> Diagnostic {
    wrong("null is no value", "leave the key out, or write a value")
}
