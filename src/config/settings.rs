//! Settings by name: what was given, read, and every mistake in it written down.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use super::diagnostics::{Diagnostic, Diagnostics, wrong};
use super::given::{Given, Origin};
use super::layers::Layers;
use super::table::{self, DefaultValue, Setting};
use super::{advice, values};

/// Where settings are asked for by name, and mistakes are written down.
pub(super) struct Settings<'a> {
    pub layers: &'a Layers,
    pub diagnostics: &'a mut Diagnostics,
}

/// A value of a list, and where it stood.
pub(super) struct Item<T> {
    pub value: T,
    pub given: Given,
}

impl Settings<'_> {
    /// A setting with one value; `None` if there is none, or a mistake.
    pub fn one<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Result<T, Diagnostic>,
    ) -> Option<T> {
        let mut given = self.layers.of(setting(name)).into_iter();
        let Given { text, origin } = given.next()?;
        for again in given {
            let what = format!("this is given twice, first as {}", text);
            let all = 0..again.text.len();
            self.diagnostics.mistake_in(
                &again.origin,
                &again.text,
                all,
                wrong(what, "leave one out"),
            );
        }
        let Setting { form, fallback, .. } = *setting(name);
        let read =
            |text: &str| read(text).map_err(|wrong| by_default(fallback, text).unwrap_or(wrong));
        advice::read(form, &text, read)
            .map_err(|wrong| self.refuse(&text, 0..text.len(), &origin, wrong))
            .ok()
    }

    /// A setting with any number of values, apart from those with mistakes.
    pub fn all<T>(
        &mut self,
        name: &str,
        most: usize,
        read: impl Fn(&str) -> Result<T, Diagnostic>,
    ) -> Vec<Item<T>> {
        let form = setting(name).form;
        let mut items = Vec::new();
        for Given { text, origin } in self.layers.of(setting(name)) {
            for part in parts(&text) {
                let read = match &text[part.clone()] {
                    "" if !text.trim().is_empty() => {
                        Err(wrong("there is nothing here", "take a comma out"))
                    }
                    _ if items.len() == most => {
                        let right = "leave some out";
                        self.refuse(
                            &text,
                            part,
                            &origin,
                            wrong(format!("more than {most}"), right),
                        );
                        return items;
                    }
                    item => advice::read(form, item, &read)
                        .map_err(|wrong| advice::several(form, item, &read).unwrap_or(wrong)),
                };
                match read {
                    Ok(value) => {
                        let given = Given { text: text.clone(), origin: origin.clone() };
                        items.push(Item { value, given });
                    }
                    Err(wrong) => self.refuse(&text, part, &origin, wrong),
                }
            }
        }
        items
    }

    pub fn refuse(
        &mut self,
        text: &str,
        part: Range<usize>,
        origin: &Origin,
        mut wrong: Diagnostic,
    ) {
        if matches!(origin, Origin::Dotenv(_)) && text.contains('$') {
            wrong.rest.push_str(" (variables are not expanded)");
        }
        self.diagnostics.mistake_in(origin, text, part, wrong);
    }

    /// A number in the smallest unit of its form, within its range.
    pub fn number(&mut self, name: &str) -> u64 {
        let Setting { form, range, .. } = *setting(name);
        self.one(name, |text| values::number(form, range, text)).unwrap_or(range.0)
    }

    /// The same where `off` is possible.
    pub fn number_or_off(&mut self, name: &str) -> Option<u64> {
        let Setting { form, range, .. } = *setting(name);
        let read = |text: &str| match text {
            "off" => Ok(None),
            text => values::number(form, range, text).map(Some),
        };
        self.one(name, read).flatten()
    }

    pub fn wait(&mut self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    /// The values in order; a second one that is the same is dropped with a warning.
    pub fn without_repeats<T: Clone + Eq + std::hash::Hash>(
        &mut self,
        items: Vec<Item<T>>,
    ) -> Vec<T> {
        let mut seen = HashSet::new();
        let mut kept = Vec::new();
        for Item { value, given, .. } in items {
            if !seen.insert(value.clone()) {
                let what = "the same is given twice and used once";
                self.diagnostics.warning_in(
                    &given.origin,
                    &given.text,
                    wrong(what, "leave one out"),
                );
            } else {
                kept.push(value);
            }
        }
        kept
    }
}

/// A word that asks for the default.
fn by_default(fallback: DefaultValue, text: &str) -> Option<Diagnostic> {
    let (DefaultValue::Value(default) | DefaultValue::Depends(default)) = fallback else {
        return None;
    };
    let asked = ["auto", "default"].iter().any(|word| text.eq_ignore_ascii_case(word));
    asked.then(|| wrong("there is no word for the default", format!("leave it out: {default}")))
}

/// A row of the table; the names asked for here are literals, and a test asks for each.
pub(super) fn setting(name: &str) -> &'static Setting {
    table::find(name).unwrap_or_else(|| unreachable!("no setting is called {name}"))
}

/// The items of a comma list, without the blanks around them.
fn parts(text: &str) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = 0;
    for piece in text.split(',') {
        let lead = piece.len() - piece.trim_start().len();
        let trimmed = piece.trim();
        parts.push(start + lead..start + lead + trimmed.len());
        start += piece.len() + 1;
    }
    parts
}
