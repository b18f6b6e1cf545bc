//! Settings by name: what was given, read, and every mistake in it written down.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use super::diagnostics::{Diagnostic, Diagnostics, instead, not_in_this_build, wrong};
use super::file::Section;
use super::given::{Given, Origin};
use super::layers::Layers;
use super::pool::Secret;
use super::table::{self, AUTH, DefaultValue, Form, LIMIT, Setting, TOP};
use super::{advice, values};

/// Where settings are asked for by name, and mistakes are written down.
pub(super) struct Settings<'a> {
    pub layers: &'a Layers,
    /// What is asked for is what this pool or route says itself; `None`: what is given at the top, or the default.
    pub section: Option<&'a Section>,
    pub diagnostics: &'a mut Diagnostics,
}

/// A value of a list, and where it stood.
pub(super) struct Item<T> {
    pub value: T,
    pub given: Given,
}

impl Settings<'_> {
    /// The row of a setting.
    fn row(&self, name: &str) -> &'static Setting {
        let scope = self.section.map_or(TOP, |section| section.scope);
        let row = table::find_in(scope, name);
        row.unwrap_or_else(|| unreachable!("no setting is called {name}"))
    }

    /// What was given for it.
    pub fn given(&self, name: &str) -> Vec<Given> {
        let row = self.row(name);
        let mut all = match self.section {
            Some(section) => match (section.given.get(name), row.fallback) {
                (Some(given), _) => given.clone(),
                // Nothing stands above such a table.
                (None, DefaultValue::Value(text)) if section.scope & (AUTH | LIMIT) != 0 => {
                    vec![Given::new(text, Origin::Default)]
                }
                (None, _) => Vec::new(),
            },
            None => self.layers.of(row),
        };
        let is_secret =
            |given: &&mut Given| row.form.is_secret() || no_content(row.form, &given.text).is_err();
        all.iter_mut().filter(is_secret).for_each(|given| {
            given.shown.get_or_insert_with(|| Secret::MASK.into());
        });
        all
    }

    /// Whether it was given here, and is no default.
    pub fn is_given(&self, name: &str) -> bool {
        self.given(name).iter().any(|given| given.origin != Origin::Default)
    }

    /// A setting with one value; `None` if there is none, or a mistake.
    pub fn one<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Result<T, Diagnostic>,
    ) -> Option<T> {
        let mut all = self.given(name).into_iter();
        let given = all.next()?;
        for again in all {
            let what = format!("this is given twice, first as {}", given.shown());
            self.refuse_one(&again, wrong(what, "leave one out"));
        }
        let Setting { form, fallback, .. } = *self.row(name);
        let read = |text: &str| {
            no_content(form, text)?;
            read(text).map_err(|wrong| by_default(fallback, text).unwrap_or(wrong))
        };
        advice::read(form, &given.text, read).map_err(|wrong| self.refuse_one(&given, wrong)).ok()
    }

    /// A secret, where it is given; `off`: there is none.
    pub fn secret(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Result<Option<String>, Diagnostic>,
    ) -> Option<Option<Secret>> {
        let text = self.one(name, read)?;
        let given = self.given(name).into_iter().next()?;
        if text.is_some() {
            self.warn_of_flags(std::slice::from_ref(&given));
        }
        Some(text.map(|text| Secret::new(&text, given.shown())))
    }

    /// Whoever lists processes sees what stands on the command line.
    pub fn warn_of_flags(&mut self, all: &[Given]) {
        let is_seen = |given: &&Given| {
            matches!(given.origin, Origin::Flag(_)) && given.shown() == Secret::MASK
        };
        if let Some(given) = all.iter().find(is_seen) {
            let what = "whoever lists processes sees this secret";
            self.warn(given, wrong(what, "write @file in its place, or set a variable"));
        }
    }

    /// A setting with any number of values, apart from those with mistakes.
    pub fn all<T>(
        &mut self,
        name: &str,
        most: usize,
        read: impl Fn(&str) -> Result<T, Diagnostic>,
    ) -> Vec<Item<T>> {
        let form = self.row(name).form;
        let read = |text: &str| no_content(form, text).and_then(|()| read(text));
        let mut items = Vec::new();
        for given in self.given(name) {
            let is_in_file = matches!(given.origin, Origin::File(_));
            let parts = match form {
                // A variable has no other way to hold several.
                Form::Lines if !is_in_file => parts(&given.text, '\n'),
                form if form.separates() && !given.is_item => parts(&given.text, ','),
                _ => vec![whole(&given.text)],
            };
            for part in parts {
                let read = match &given.text[part.clone()] {
                    "" if !given.text.trim().is_empty() => {
                        Err(wrong("there is nothing here", "take a comma out"))
                    }
                    _ if items.len() == most => {
                        let right = "leave some out";
                        self.refuse(&given, part, wrong(format!("more than {most}"), right));
                        return items;
                    }
                    item => advice::read(form, item, read)
                        .map_err(|wrong| advice::several(form, item, read).unwrap_or(wrong)),
                };
                match read {
                    Ok(value) => items.push(Item { value, given: given.clone() }),
                    Err(wrong) if form.is_secret() || no_content(form, &given.text).is_err() => {
                        self.refuse_secret(&given, wrong);
                    }
                    Err(wrong) => self.refuse(&given, part, wrong),
                }
            }
        }
        items
    }

    /// The values alone.
    pub fn list<T>(
        &mut self,
        name: &str,
        most: usize,
        read: impl Fn(&str) -> Result<T, Diagnostic>,
    ) -> Vec<T> {
        self.all(name, most, read).into_iter().map(|item| item.value).collect()
    }

    /// Writes a mistake down. What is a secret is shown as it was written.
    pub fn refuse(&mut self, given: &Given, part: Range<usize>, mut wrong: Diagnostic) {
        let Given { text, origin, shown, .. } = given;
        if matches!(origin, Origin::Dotenv(_)) && text.contains('$') {
            wrong.rest.push_str(" (variables are not expanded)");
        }
        match shown {
            Some(shown) => {
                let wrong = wrong.without_values();
                self.diagnostics.mistake_in(origin, shown, 0..shown.len(), wrong);
            }
            None => self.diagnostics.mistake_in(origin, text, part, wrong),
        }
    }

    /// The same of a secret, wherever it was read from: what is said of one never quotes it, and so is told.
    pub fn refuse_secret(&mut self, given: &Given, wrong: Diagnostic) {
        let shown = given.shown();
        self.diagnostics.mistake_in(&given.origin, shown, 0..shown.len(), wrong);
    }

    /// The same of a value as a whole. What is said of a secret never quotes it, and so is told.
    pub fn refuse_one(&mut self, given: &Given, wrong: Diagnostic) {
        match &given.shown {
            Some(shown) if **shown == *Secret::MASK => {
                self.diagnostics.mistake_in(&given.origin, shown, 0..shown.len(), wrong);
            }
            _ => self.refuse(given, 0..given.text.len(), wrong),
        }
    }

    /// The first of `keys` that is given asks for something that takes the cargo feature `feature`.
    pub fn not_in_this_build(&mut self, keys: &[&str], what: &str, feature: &str) {
        if let Some(given) = self.first_said(keys) {
            self.refuse_secret(&given, not_in_this_build(what, feature));
        }
    }

    /// The first value that is given for any of `keys`, and says something else than the default.
    pub fn first_said(&self, keys: &[&str]) -> Option<Given> {
        let says = |key: &str, text: &str| match *self.row(key) {
            Setting { form: Form::Switch, .. } => values::switch(text) != Ok(false),
            Setting { fallback: DefaultValue::Value(default), .. } => text != default,
            _ => true,
        };
        keys.iter().find_map(|key| self.given(key).into_iter().find(|one| says(key, &one.text)))
    }

    /// The first value that is given for any of `keys`, and is no default.
    pub fn first_given(&self, keys: &[&str]) -> Option<Given> {
        let all = keys.iter().flat_map(|key| self.given(key));
        all.into_iter().find(|given| given.origin != Origin::Default)
    }

    /// Something odd in a value.
    pub fn warn(&mut self, given: &Given, wrong: Diagnostic) {
        self.diagnostics.warning_in(&given.origin, given.shown(), wrong);
    }

    /// A number in the smallest unit of its form, within its range.
    pub fn number(&mut self, name: &str) -> u64 {
        let least = self.row(name).range.0;
        self.number_here(name).unwrap_or(least)
    }

    /// The same, where it is given.
    pub fn number_here(&mut self, name: &str) -> Option<u64> {
        let Setting { form, range, .. } = *self.row(name);
        self.one(name, |text| values::number(form, range, text))
    }

    /// The same where 0 stands for no limit.
    pub fn number_or_any(&mut self, name: &str) -> Option<u64> {
        let Setting { form, range, .. } = *self.row(name);
        let read = |text: &str| match values::is_unlimited(text) {
            true => Err(instead("0 stands for no limit here", [values::show(form, 0)])),
            false => values::number(form, range, text),
        };
        self.one(name, read)
    }

    /// The same where `off` is possible.
    pub fn number_or_off(&mut self, name: &str) -> Option<Option<u64>> {
        let Setting { form, range, .. } = *self.row(name);
        let read = |text: &str| match text {
            "off" => Ok(None),
            text => values::number(form, range, text).map(Some),
        };
        self.one(name, read)
    }

    /// A duration, where it is given.
    pub fn wait_here(&mut self, name: &str) -> Option<Duration> {
        self.number_here(name).map(Duration::from_millis)
    }

    pub fn wait(&mut self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    /// The values in order; a second one with the same key is dropped with a warning.
    pub fn without_repeats<T, K: Eq + std::hash::Hash>(
        &mut self,
        items: Vec<Item<T>>,
        key: impl Fn(&T) -> K,
    ) -> Vec<T> {
        let mut seen = HashSet::new();
        let mut kept = Vec::new();
        for Item { value, given, .. } in items {
            if !seen.insert(key(&value)) {
                let what = "the same is given twice and used once";
                self.warn(&given, wrong(what, "leave one out"));
            } else {
                kept.push(value);
            }
        }
        kept
    }
}

/// A key that stands where the name of its file belongs is a secret all the same.
fn no_content(form: Form, text: &str) -> Result<(), Diagnostic> {
    match form.names_files() && text.contains("-----BEGIN") {
        true => Err(wrong("this is no name of a file", "put it into a file, and name that")),
        false => Ok(()),
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

fn whole(text: &str) -> Range<usize> {
    0..text.len()
}

/// The items of a list, without the blanks around them.
fn parts(text: &str, between: char) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = 0;
    for piece in text.split(between) {
        let lead = piece.len() - piece.trim_start().len();
        let trimmed = piece.trim();
        parts.push(start + lead..start + lead + trimmed.len());
        start += piece.len() + 1;
    }
    parts
}
