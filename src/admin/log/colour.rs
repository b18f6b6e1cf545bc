//! Where colour is used: on terminals that can show it, unless the user wants none.

use std::ffi::OsStr;

/// Whether what goes to standard output or standard error, a terminal or not, may be coloured, by the environment of
/// this process.
pub fn colours(terminal: bool) -> bool {
    let variable = |name| std::env::var_os(name);
    decide(terminal, variable("NO_COLOR").as_deref(), variable("TERM").as_deref())
}

/// `NO_COLOR` forbids it with any value but the empty one (no-color.org); a terminal that calls itself `dumb` has none.
fn decide(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_that_can_and_may_shows_colour() {
        let cases = [
            (true, None, None, true),
            (true, None, Some("xterm-256color"), true),
            (true, Some(""), Some("xterm"), true),
            (true, Some("1"), Some("xterm"), false),
            (true, Some("0"), None, false),
            (true, None, Some("dumb"), false),
            (true, Some(""), Some("dumb"), false),
            (false, None, Some("xterm"), false),
        ];
        for (terminal, no_color, term, shown) in cases {
            let decided = decide(terminal, no_color.map(OsStr::new), term.map(OsStr::new));
            assert_eq!(decided, shown, "{terminal} {no_color:?} {term:?}");
        }
    }
}
