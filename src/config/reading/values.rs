//! What stands at a key: one text or several, with what they take from elsewhere.

use std::fmt::Write;

use super::super::diagnostics::{Diagnostic, wrong};
use super::super::file::folder;
use super::super::given::{Given, Origin};
use super::super::keys::is_one_name;
use super::super::secrets;
use super::super::table::{Form, Setting};
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
                return items.iter().for_each(|item| self.value(setting, place, item));
            }
            Value::List(_) => {
                let what = "one value is possible here";
                let wrong = wrong(what, "take the brackets away");
                return self.refuse(place.path, node.span.clone(), wrong);
            }
            Value::Table(entries) if setting.form == Form::Urls => {
                match self.upstream(place, entries) {
                    Some(text) => text,
                    None => return,
                }
            }
            Value::Table(_) => {
                let what = "options are not there yet";
                return self.refuse(place.path, node.span.clone(), wrong(what, "write a text"));
            }
        };
        self.text(setting, place, node, "", text);
    }

    /// `{ url = "...", weight = 3 }`, as it would be written in one text.
    fn upstream(&mut self, place: Place<'_>, entries: &[(Key, Node)]) -> Option<String> {
        let (mut url, mut options) = (None, String::new());
        for (Key { name, span }, node) in entries {
            match (name.as_str(), &node.value) {
                ("url", Value::Text(text) | Value::Plain(text)) => url = Some(text.clone()),
                ("weight" | "backup", Value::Plain(text) | Value::Text(text)) => {
                    let _ = write!(options, " {name}={text}");
                }
                ("url" | "weight" | "backup", _) => {
                    let wrong = wrong("this is not a text", "write one");
                    self.refuse(place.path, node.span.clone(), wrong);
                }
                _ => {
                    let wrong =
                        wrong("an upstream has no such key", "it has url, weight and backup");
                    self.refuse(place.path, span.clone(), wrong);
                }
            }
        }
        match url {
            Some(url) => Some(url + &options),
            None => {
                let span = entries.first().map_or(0..0, |(key, _)| key.span.clone());
                let wrong =
                    wrong("the url is missing", "write { url = \"http://127.0.0.1:9001\" }");
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
                Form::File | Form::Files | Form::Folder => self.beside(&value),
                _ if setting.name == "error-page" && !lead.is_empty() => {
                    format!("{lead}{}", self.beside(&value))
                }
                _ => format!("{lead}{value}"),
            };
            let shown = is_secret.then(|| format!("{lead}{text}").into());
            let given = Given { text: value.into(), origin: origin.clone(), shown };
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

/// A value that is none.
fn null() -> Diagnostic {
    wrong("null is no value", "leave the key out, or write a value")
}
