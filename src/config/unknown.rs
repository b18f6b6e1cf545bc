//! Words of the command line that nobody knows, and what may have been meant.

use super::command_line::is_command;
use super::diagnostics::{Diagnostic, nearest, wrong};
use super::order::Verb;
use super::strangers::{COUSINS, LATER};
use super::table::{self, ACTIONS, Form, Setting};
use super::words::{COMMANDS, first_words};
use crate::base::digits;

/// A flag without its value.
pub fn missing(setting: &Setting) -> Diagnostic {
    if setting.form.is_secret() {
        let right = match setting.form {
            Form::Secret => format!("set {}, which nobody else sees", setting.variable()),
            _ => format!("put it into a file, or set {}", setting.variable()),
        };
        return wrong("the value is missing", right);
    }
    let example = match (setting.fallback, setting.form.examples().1.first()) {
        (table::DefaultValue::Value(value), _) if value != "off" => value,
        (_, Some(example)) => example,
        _ => setting.form.placeholder().split('|').next().unwrap_or_default(),
    };
    wrong("the value is missing", format!("write --{} {example}", setting.name))
}

/// A flag that nobody knows, with what may have been meant.
pub fn unknown(flag: &str) -> Diagnostic {
    let what = format!("there is no flag {flag}");
    let name = flag.trim_start_matches('-').to_ascii_lowercase().replace('_', "-");
    if LATER.iter().any(|later| *later == name) {
        return wrong(format!("{flag} is not there yet"), "tidegate --help lists all flags");
    }
    if let Some(off) = NEGATIONS.iter().find_map(|no| table::find(name.strip_prefix(no)?)) {
        return without(what, off);
    }
    let names = || table::settings().flat_map(Setting::names);
    let actions = ACTIONS.iter().map(|(_, long, _)| &long[2..]).chain(["origin"]);
    let exact = names().find(|known| *known == name);
    let cousin = || {
        let knows = |(_, cousins): &&(&str, &str)| cousins.split(' ').any(|cousin| cousin == name);
        COUSINS.iter().find(knows).map(|(setting, _)| *setting)
    };
    let in_file = table::FILE_ONLY.iter().find(|setting| setting.name == name);
    if let (Some(setting), None, None) = (in_file, exact, cousin()) {
        let right = format!("write {} in a configuration file", setting.name);
        return wrong(format!("{flag} is no flag"), right);
    }
    let near = || nearest(&name, names().chain(actions));
    let begun = || names().find(|known| name.len() >= 3 && known.starts_with(&name));
    match exact.or_else(cousin).or_else(near).or_else(begun) {
        Some(meant) => wrong(what, format!("did you mean --{meant}?")),
        None => wrong(what, "tidegate --help lists all flags"),
    }
}

/// The prefix that negates a flag.
const NEGATIONS: [&str; 4] = ["no-", "disable-", "without-", "skip-"];

/// A flag that is meant to switch a setting off.
fn without(what: String, setting: &Setting) -> Diagnostic {
    let words = match setting.form {
        Form::Switch => "on|off",
        form => form.placeholder(),
    };
    match words.split('|').any(|word| word == "off") {
        true => wrong(what, format!("write --{} off", setting.name)),
        false => wrong(what, format!("--{} cannot be switched off", setting.name)),
    }
}

/// What has to stand behind a command, and an example.
fn needed(command: &str) -> Option<(&'static str, &'static str)> {
    match command {
        "explain" => Some(("a request", "http://example.org/path")),
        "completions" => Some(("a shell", "bash")),
        verb if Verb::is_word(verb) => Some(("the URL of an upstream", "http://127.0.0.1:9001")),
        _ => None,
    }
}

/// Words that are neither flags nor commands.
pub fn not_a_command(words: &[String]) -> Diagnostic {
    // What is a command is not to blame, but what stands behind it.
    let first_two: Vec<&str> = words.iter().take(2).map(String::as_str).collect();
    let known = match first_two[..] {
        ["config", "show" | "schema"] => 2,
        ["config"] => {
            let right = "write tidegate config show, or tidegate config schema";
            return wrong("\"config\" is not a command", right);
        }
        [command] if let Some((what, example)) = needed(command) => {
            let right = format!("write tidegate {command} {example}");
            return wrong(format!("\"{command}\" needs {what}"), right);
        }
        ["completions", shell] => {
            let what = format!("\"{shell}\" is no shell that completions are made for");
            return wrong(what, "there are bash, zsh and fish");
        }
        [command, _] if needed(command).is_some() => 2,
        [command, ..] if is_command(command) => 1,
        _ => 0,
    };
    if let (1.., Some(option)) = (known, words.get(known).filter(|word| word.starts_with('-'))) {
        let what = format!("{} has no {option}", words[..known].join(" "));
        return wrong(what, "leave it out");
    }
    let words = if words.len() > known { &words[known..] } else { words };
    let shown = words.join(" ");
    let what = format!("\"{shown}\" is not a command");
    let first = words.first().map_or("", String::as_str);
    if first.contains(':') {
        return wrong(what, format!("did you mean --upstream {}?", words.join(",")));
    }
    if ["purge", "jobs"].contains(&first) {
        return wrong(format!("\"{first}\" is not there yet"), "leave it out");
    }
    if let Some(name) = first.strip_prefix(['\u{2013}', '\u{2014}', '\u{2212}']) {
        let name = name.trim_start_matches('-');
        return wrong(what, format!("write it with two hyphens: --{name}"));
    }
    if digits(first).is_some() {
        return wrong(what, format!("did you mean --listen :{first}?"));
    }
    if ["run", "start", "serve", "up"].contains(&first) {
        return wrong(what, "leave it out: without a command, tidegate runs");
    }
    match nearest(&shown, COMMANDS) {
        Some(near) => wrong(what, format!("did you mean {near}?")),
        None => wrong(what, format!("commands are: {}", first_words().join(", "))),
    }
}
