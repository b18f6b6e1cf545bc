//! What shells and readers of manual pages are told, made from the tables of settings and commands.

use std::fmt::Write;
use std::str::FromStr;

use super::table::{self, ACTIONS, Form, GROUPS};
use super::words::{COMMANDS, OPTIONS, SWITCHES, first_words};

/// A shell that completes words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl FromStr for Shell {
    type Err = String;

    fn from_str(text: &str) -> Result<Shell, String> {
        match text {
            "bash" => Ok(Shell::Bash),
            "zsh" => Ok(Shell::Zsh),
            "fish" => Ok(Shell::Fish),
            _ => Err("bash, zsh or fish".to_owned()),
        }
    }
}

/// A script that has `shell` complete our words.
pub fn completions(shell: Shell) -> String {
    let commands = first_words().join(" ");
    match shell {
        Shell::Bash => bash(&commands),
        Shell::Zsh => zsh(&commands),
        Shell::Fish => fish(&commands),
    }
}

fn bash(commands: &str) -> String {
    let words = |words: &str| format!("COMPREPLY=($(compgen -W \"{words}\" -- \"$word\"))");
    let mut cases = String::new();
    let mut case = |before: &str, reply: String| {
        let _ = writeln!(cases, "        {before}) {reply}; return ;;");
    };
    for setting in table::settings() {
        let flag = format!("--{}", setting.name);
        match setting.form {
            Form::Choice(choices) => case(&flag, words(&choices.replace('|', " "))),
            form if form.names_files() => {
                case(&flag, "COMPREPLY=($(compgen -f -- \"$word\"))".to_owned())
            }
            Form::Folder => case(&flag, "COMPREPLY=($(compgen -d -- \"$word\"))".to_owned()),
            _ => {}
        }
    }
    case("config", words("show schema"));
    case("completions", words("bash zsh fish"));
    for option in &OPTIONS {
        case(option.flag, words(option.words));
    }
    let flags: Vec<String> =
        table::settings().map(|setting| format!("--{}", setting.name)).chain(others()).collect();
    let all = words(&format!("{commands} {}", flags.join(" ")));
    format!(
        "# tidegate completions bash > /etc/bash_completion.d/tidegate\n_tidegate() {{\n    \
         local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}\n    \
         case $before in\n{cases}    esac\n    {all}\n}}\ncomplete -F _tidegate tidegate\n"
    )
}

fn zsh(commands: &str) -> String {
    let mut text =
        "#compdef tidegate\n# tidegate completions zsh > \"${fpath[1]}/_tidegate\"\n".to_owned();
    text.push_str("_arguments \\\n");
    for setting in table::settings() {
        let about = setting.about.replace(['[', ']', '\'', ':'], "");
        let value = match setting.form {
            Form::Switch => String::new(),
            Form::Choice(words) => format!(":value:({})", words.replace('|', " ")),
            form if form.names_files() => ":file:_files".to_owned(),
            Form::Folder => ":folder:_files -/".to_owned(),
            form => format!(":{}:", form.placeholder().replace(['\'', ':'], "")),
        };
        let _ = writeln!(text, "  '*--{}[{about}]{value}' \\", setting.name);
    }
    for (short, long, about) in ACTIONS {
        let _ = writeln!(text, "  '{short}[{about}]' '{long}[{about}]' \\");
    }
    for option in &OPTIONS {
        let _ = writeln!(text, "  '*{}[{}]:value:' \\", option.flag, option.about);
    }
    for (switch, about) in SWITCHES {
        let _ = writeln!(text, "  '{switch}[{about}]' \\");
    }
    let _ = writeln!(text, "  '1:command:({commands})'");
    text
}

fn fish(commands: &str) -> String {
    let mut text =
        "# tidegate completions fish > ~/.config/fish/completions/tidegate.fish\n".to_owned();
    let _ = writeln!(text, "complete -c tidegate -f -n __fish_use_subcommand -a '{commands}'");
    for setting in table::settings() {
        let about = setting.about.replace('\'', "");
        let value = match setting.form {
            Form::Switch => String::new(),
            Form::Choice(words) => format!(" -x -a '{}'", words.replace('|', " ")),
            form if form.names_files() => " -r -F".to_owned(),
            Form::Folder => " -x -a '(__fish_complete_directories)'".to_owned(),
            _ => " -x".to_owned(),
        };
        let _ = writeln!(text, "complete -c tidegate -l {}{value} -d '{about}'", setting.name);
    }
    for (short, long, about) in ACTIONS {
        let (short, long) = (&short[1..], &long[2..]);
        let _ = writeln!(text, "complete -c tidegate -s {short} -l {long} -d '{about}'");
    }
    let of_commands = OPTIONS.iter().map(|option| (option.flag, option.about, " -x"));
    for (flag, about, value) in of_commands.chain(SWITCHES.map(|(flag, about)| (flag, about, ""))) {
        let name = match flag.strip_prefix("--") {
            Some(long) => format!("-l {long}"),
            None => format!("-s {}", &flag[1..]),
        };
        let _ = writeln!(text, "complete -c tidegate {name}{value} -d '{about}'");
    }
    text
}

/// Flags that are no settings.
fn others() -> impl Iterator<Item = String> {
    let actions = ACTIONS.iter().flat_map(|(short, long, _)| [*short, *long]);
    let options = OPTIONS.iter().map(|option| option.flag);
    actions.chain(options).chain(SWITCHES.iter().map(|(flag, _)| *flag)).map(str::to_owned)
}

/// The manual page, for man(1).
pub fn man() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        ".TH TIDEGATE 1 \"\" \"tidegate {version}\"\n.SH NAME\n\
         tidegate \\- a small, strict and fast HTTP/1.1 reverse proxy\n\
         .SH SYNOPSIS\n.B tidegate\n.RI [ flags ]\n.br\n.B tidegate\n.I command\n.RI [ flags ]\n.SH COMMANDS\n"
    );
    for command in COMMANDS {
        let _ = write!(text, ".TP\n.B tidegate {}\n", roff(command));
    }
    text.push_str(".SH FLAGS OF COMMANDS\n");
    let actions = ACTIONS.iter().map(|(short, long, about)| (format!("{short}, {long}"), *about));
    let options = OPTIONS.iter().map(|one| (format!("{} {}", one.flag, one.example), one.about));
    let switches = SWITCHES.iter().map(|(flag, about)| ((*flag).to_owned(), *about));
    for (flag, about) in actions.chain(options).chain(switches) {
        let _ = write!(text, ".TP\n.B {}\n{}.\n", roff(&flag), roff(about));
    }
    for (title, settings) in GROUPS {
        let _ = writeln!(text, ".SH {}", title.to_ascii_uppercase());
        for setting in settings {
            let placeholder = roff(setting.form.placeholder());
            let _ = write!(
                text,
                ".TP\n.BR \\-\\-{} \" \" \\fI{placeholder}\\fR\n{}.\n",
                roff(setting.name),
                roff(setting.about)
            );
            if let table::DefaultValue::Value(value) | table::DefaultValue::Depends(value) =
                setting.fallback
            {
                let _ = writeln!(text, "Default: {}.", roff(value));
            }
        }
    }
    text.push_str(
        ".SH FILES\nA configuration file (\\-\\-config) in TOML, YAML or JSON has the same settings, \
         pools and routes.\n\
         .SH SIGNALS\nTERM, INT and QUIT end it, HUP has it read its settings anew, USR1 opens the access log \
         anew, USR2 hands over to a new process.\n",
    );
    text
}

/// A text in which roff(7) sees no requests.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_and_command_is_in_all_of_them() {
        let texts = [Shell::Bash, Shell::Zsh, Shell::Fish].map(completions);
        for setting in table::settings() {
            assert!(texts.iter().all(|text| text.contains(setting.name)), "{}", setting.name);
            assert!(man().contains(&roff(setting.name)), "{}", setting.name);
        }
        for flag in others() {
            let name = flag.trim_start_matches('-');
            assert!(texts.iter().all(|text| text.contains(name)), "{flag}");
            assert!(man().contains(&roff(&flag)), "{flag}");
        }
        for command in first_words() {
            assert!(texts.iter().all(|text| text.contains(command)), "{command}");
        }
    }
}
