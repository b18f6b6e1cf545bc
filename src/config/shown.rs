//! What `config show` shows, and the dotenv file that it prints.

use std::fmt::Write;

use super::Report;
use super::build::Built;
use super::changes::CHANGES_FILE;
use super::diagnostics::escape;
use super::header::HeaderRules;
use super::layers::Layers;
use super::overlay::{Overlay, UpstreamChange};
use super::sections::DEFAULT;
use super::show::{quote, switch, value_of};
use super::table;

/// The settings as a start would go by them.
pub struct Shown {
    pub built: Built,
    pub layers: Layers,
    pub report: Report,
    /// Changes made at run time that outlive the process.
    pub changes: Overlay,
    /// Also where each setting came from.
    pub origin: bool,
}

impl Shown {
    /// Takes the changes into account that were kept in the folder that `state` names.
    pub fn lay_changes_over(&mut self) {
        let Some(folder) = &self.built.plan.process.state else { return };
        let folder = self.layers.cwd.join(folder);
        match Overlay::kept_in(&folder) {
            Ok(kept) => {
                self.changes = kept;
                self.report.warnings.extend(self.changes.prune(&self.built.plan));
                self.built.plan = self.changes.over(&self.built.plan);
            }
            Err(error) => {
                let file = folder.join(CHANGES_FILE);
                let what = format!("cannot read {}: {error}", file.display());
                self.report.warnings.push(what);
            }
        }
    }

    /// Where a setting of the top came from.
    pub fn origin_of(&self, name: &str) -> String {
        let is_of_top = |change: &UpstreamChange| name == "upstream" && change.pool == DEFAULT;
        let runtime = if self.changes.changes().any(is_of_top) { ", runtime" } else { "" };
        format!("{}{runtime}", self.report.origin(name))
    }

    /// What else there is to say, a comment a line.
    pub fn remarks(&self) -> String {
        let mut text = String::new();
        let Shown { layers, changes, report, .. } = self;
        if self.origin {
            let file = layers.dotenv.as_deref().map(escape);
            let _ = writeln!(text, "# dotenv file: {}", file.as_deref().unwrap_or("none"));
            let file = layers.file.as_deref().map(escape);
            let _ = writeln!(text, "# configuration file: {}", file.as_deref().unwrap_or("none"));
            for given in &layers.ignored {
                let _ = writeln!(text, "# not used, since --upstream is given: {}", given.origin);
            }
            for change in changes.changes() {
                let _ = writeln!(text, "# runtime: {change}");
            }
        }
        for warning in &report.warnings {
            let _ = writeln!(text, "# warning: {warning}");
        }
        text
    }
}

/// A dotenv file that asks for the same again.
pub fn dotenv(shown: &Shown) -> String {
    let mut text = String::new();
    let Shown { built, layers, origin, .. } = shown;
    for setting in
        table::settings().filter(|setting| !["config", "env-file"].contains(&setting.name))
    {
        let value = match setting.name {
            "strict" => switch(built.strict),
            "demo" => switch(built.demo),
            name => value_of(name, &built.plan),
        };
        let line = format!("{}={}", setting.variable(), quote(&value));
        let _ = match origin {
            true => writeln!(text, "{line:<48} # {}", shown.origin_of(setting.name)),
            false => writeln!(text, "{line}"),
        };
    }
    let has_more = built.plan.pools.len() > 1 || built.plan.routes.len() > 1;
    if has_more || !layers.sections.is_empty() {
        text.push_str("# pools and routes: config show --format toml\n");
    }
    let top = &built.plan.exchange;
    let is_set = |rules: &HeaderRules| {
        let is_put_in = |name: &String| rules.lines.iter().any(|line| line.name == *name);
        rules.removed.iter().all(is_put_in)
            && rules.removed.len() <= rules.lines.len()
            && rules.lines.iter().all(|line| rules.removed.contains(&line.name))
    };
    if !is_set(&top.request_header) || !is_set(&top.response_header) || !top.error_pages.is_empty()
    {
        text.push_str(
            "# what no variable says (add, remove, error-page): config show --format toml\n",
        );
    }
    text + &shown.remarks()
}
