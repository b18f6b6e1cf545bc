//! Mistakes and warnings: where, what is wrong, what would be right.

use super::Rejected;
use super::given::Origin;
use std::fmt::Write;
use std::ops::Range;

use crate::http::userinfo;

/// What a grammar says about a text it refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong.
    pub wrong: String,
    /// Values that may be written instead, word for word; `advice` tries them before they are told.
    pub offers: Vec<String>,
    /// The text behind the offers; without any, the whole advice.
    pub rest: String,
}

/// A refusal with advice in words. The texts may quote the user, and so are made fit to be shown.
pub fn wrong(wrong: impl AsRef<str>, right: impl AsRef<str>) -> Diagnostic {
    Diagnostic { wrong: fit(wrong.as_ref()), offers: Vec::new(), rest: fit(right.as_ref()) }
}

/// A refusal of what could mean anything: `advice` gives examples.
pub fn unclear(what: impl AsRef<str>) -> Diagnostic {
    wrong(what, "")
}

/// A refusal that offers values to be written instead.
pub fn instead<T: Into<String>>(
    wrong: impl AsRef<str>,
    offers: impl IntoIterator<Item = T>,
) -> Diagnostic {
    let offers = offers.into_iter().map(Into::into).collect();
    Diagnostic { wrong: fit(wrong.as_ref()), offers, rest: String::new() }
}

/// What was asked for takes a library that is not in this build, but in those with this `feature`.
pub fn not_in_this_build(what: &str, feature: &str) -> Diagnostic {
    let right = format!("build it with: cargo build --release --features {feature}");
    wrong(format!("this build knows nothing of {what}"), right)
}

impl Diagnostic {
    /// The same, with something to say behind the offers.
    pub fn and(self, rest: impl AsRef<str>) -> Diagnostic {
        Diagnostic { rest: fit(rest.as_ref()), ..self }
    }

    /// The same without anything that may quote the value.
    pub fn without_values(self) -> Diagnostic {
        wrong("what this stands for is not possible here", "look at where it is set")
    }

    /// The right value, as advice.
    pub fn right(&self) -> String {
        if self.offers.is_empty() {
            return self.rest.clone();
        }
        let offers: Vec<String> = self.offers.iter().map(|offer| fit(offer)).collect();
        format!("write {}{}", offers.join(" or "), self.rest)
    }
}

fn fit(text: &str) -> String {
    clip(escape(text), 160)
}

/// One thing to tell, with the place it is about.
#[derive(Clone, Debug)]
struct Note {
    origin: Origin,
    /// The value as given and the part of it that is meant; `None` if no value is at fault.
    value: Option<(String, Range<usize>)>,
    wrong: Diagnostic,
}

/// Everything there is to tell about the settings so far.
#[derive(Debug, Default)]
pub struct Diagnostics {
    mistakes: Notes,
    warnings: Notes,
}

/// Notes of one kind. Of many only the first are kept: each holds a copy of the value that it is about.
#[derive(Debug, Default)]
struct Notes {
    kept: Vec<Note>,
    count: usize,
    /// One of them is about the command line.
    on_command_line: bool,
}

impl Notes {
    fn push(&mut self, origin: &Origin, value: Option<(&str, Range<usize>)>, wrong: Diagnostic) {
        self.count += 1;
        self.on_command_line |= matches!(origin, Origin::CommandLine | Origin::Flag(_));
        if self.kept.len() < MOST {
            let value = value.map(|(value, part)| (value.to_owned(), part));
            self.kept.push(Note { origin: origin.clone(), value, wrong });
        }
    }

    fn append(&mut self, others: Notes) {
        self.count += others.count;
        self.on_command_line |= others.on_command_line;
        self.kept.extend(others.kept);
        self.kept.truncate(MOST);
    }

    /// How many there are besides those that are kept; empty if none.
    fn more(&self, what: &str) -> Option<String> {
        let more = self.count - self.kept.len();
        (more > 0).then(|| format!("... and {more} more{what}"))
    }
}

/// No line of a report shows more of the user's own text than this many characters.
const WIDEST: usize = 100;
/// And no more of a single value than this.
const WIDEST_ITEM: usize = 60;
/// No report tells more than this many mistakes.
const MOST: usize = 50;

impl Diagnostics {
    /// There is a mistake on the command line.
    pub fn is_on_command_line(&self) -> bool {
        self.mistakes.on_command_line
    }

    /// A mistake that no value is to blame for.
    pub fn mistake(&mut self, origin: Origin, wrong: Diagnostic) {
        self.mistakes.push(&origin, None, wrong);
    }

    /// A mistake in the `part` of a `value`.
    pub fn mistake_in(
        &mut self,
        origin: &Origin,
        value: &str,
        part: Range<usize>,
        wrong: Diagnostic,
    ) {
        self.mistakes.push(origin, Some((value, part)), wrong);
    }

    /// Something odd that does not stop anyone, unless `--strict` is given.
    pub fn warning(&mut self, origin: &Origin, wrong: Diagnostic) {
        self.warnings.push(origin, None, wrong);
    }

    /// Something odd in a value.
    pub fn warning_in(&mut self, origin: &Origin, value: &str, wrong: Diagnostic) {
        self.warnings.push(origin, Some((value, 0..value.len())), wrong);
    }

    /// The warnings, a line each; or the refusal, if there was a mistake.
    pub fn close(self, strict: bool) -> Result<Vec<String>, Rejected> {
        let Diagnostics { mut mistakes, mut warnings } = self;
        if strict {
            mistakes.append(std::mem::take(&mut warnings));
        }
        let odd = warnings.kept.iter().map(Note::line).chain(warnings.more(" warnings"));
        if mistakes.count == 0 {
            return Ok(odd.collect());
        }
        let exit = if mistakes.on_command_line { 2 } else { 1 };
        let mut blocks: String = mistakes.kept.iter().map(Note::block).collect();
        if let Some(more) = mistakes.more("") {
            let _ = writeln!(blocks, "{more}");
        }
        for warning in odd {
            let _ = writeln!(blocks, "warning: {warning}");
        }
        let offers = mistakes.kept.iter().flat_map(Note::offers).collect();
        let lines = mistakes.kept.iter().map(Note::line).chain(mistakes.more("")).collect();
        let count = mistakes.count;
        let (consequence, files) = ("not started", Box::default());
        Err(Rejected { exit, count, blocks, lines, files, offers, consequence })
    }
}

impl Note {
    /// Values that may be written, by setting.
    fn offers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let setting = self.origin.setting().map(|setting| setting.name);
        let offers =
            setting.into_iter().flat_map(|name| self.wrong.offers.iter().map(move |o| (name, o)));
        offers.map(|(name, offer)| (name, offer.clone()))
    }

    /// Everything in one line, for a log.
    fn line(&self) -> String {
        let (wrong, right) = (&self.wrong.wrong, self.wrong.right());
        let value = self.value.as_ref().map_or_else(String::new, |(value, part)| {
            format!(
                " {}",
                clip(userinfo::hide(&escape(&value[part.clone()])).into_owned(), WIDEST_ITEM)
            )
        });
        match &self.origin {
            Origin::CommandLine | Origin::Default => format!("{wrong}; {right}"),
            origin => {
                let key = match origin {
                    Origin::File(line) if !line.key.is_empty() => format!(" {}", escape(&line.key)),
                    _ => String::new(),
                };
                format!("{origin}{key}{value}: {wrong}; {right}")
            }
        }
    }

    /// Several lines: what is wrong, the words with a caret below, what would be right.
    fn block(&self) -> String {
        let (wrong, right) = (&self.wrong.wrong, self.wrong.right());
        let Some((value, part)) = &self.value else {
            return match &self.origin {
                Origin::CommandLine | Origin::Default => format!("error: {wrong}\n    {right}\n"),
                origin => format!("error: {}: {wrong}\n    {right}\n", origin.position(0)),
            };
        };
        let excerpt = self.origin.excerpt(value, part.clone());
        let [mut before, item, mut after] = excerpt.map(|text| userinfo::hide(&text).into_owned());
        let item = clip(item, WIDEST_ITEM);
        if width(&before) + width(&item) + width(&after) > WIDEST {
            before = format!("{}...", self.origin.lead());
            after = String::new();
        }
        format!(
            "error: {}: {wrong}\n    {before}{item}{after}\n    {}{} {right}\n",
            self.origin.position(part.start),
            " ".repeat(width(&before)),
            "^".repeat(width(&item).max(1)),
        )
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Text as it can be shown on one line of any terminal. What is escaped already stays as it is.
pub fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '"' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

/// A text of at most so many characters, the rest left out.
fn clip(text: String, most: usize) -> String {
    if width(&text) <= most {
        return text;
    }
    text.chars().take(most - 3).chain("...".chars()).collect()
}

/// The candidate a user most likely meant, if one is near enough.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text: String = text.chars().take(64).collect::<String>().to_ascii_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&text, &known.to_ascii_lowercase());
    let near = |known: &&str| distance(known) <= (known.len() / 3).clamp(1, 3);
    candidates.into_iter().filter(near).min_by_key(|known| distance(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostics(origin: Origin, value: &str, part: Range<usize>) -> Rejected {
        let mut diagnostics = Diagnostics::default();
        diagnostics.mistake_in(&origin, value, part, wrong("this is wrong", "that is right"));
        diagnostics.close(false).unwrap_err()
    }

    #[test]
    fn the_caret_is_below_the_part_that_is_wrong() {
        let rejected = diagnostics(Origin::Flag("--upstream".into()), "http://a,ftp://b", 9..16);
        assert_eq!(rejected.exit, 2);
        let text = rejected.text();
        let caret = text.lines().nth(2).unwrap();
        assert_eq!(caret, "                        ^^^^^^^ that is right");
        let words = text.lines().nth(1).unwrap();
        assert_eq!(words, "    --upstream http://a,ftp://b");
        assert_eq!(&words[24..], "ftp://b");
    }

    #[test]
    fn outside_the_command_line_the_exit_code_is_1() {
        let rejected = diagnostics(Origin::Env("TIDEGATE_LOG".into()), "x", 0..1);
        assert_eq!(rejected.exit, 1);
        assert!(rejected.text().contains("    TIDEGATE_LOG=x\n                 ^ that is right"));
    }

    #[test]
    fn nothing_a_user_writes_reaches_the_terminal_raw_or_endlessly() {
        let value = "\u{1b}[2J\u{202e}\n".repeat(10_000);
        let rejected = diagnostics(Origin::Env("TIDEGATE_LOG".into()), &value, 0..value.len());
        assert!(rejected.text().len() < 400, "{}", rejected.text().len());
        assert!(!rejected.text().contains(['\u{1b}', '\u{202e}']));
    }

    #[test]
    fn advice_may_quote_a_user_safely() {
        let advice = wrong("\u{1b}[2J", format!("write \n{}", "x".repeat(1000)));
        assert_eq!(advice.wrong, "\\u{1b}[2J");
        assert!(advice.right().starts_with("write \\nxxx") && advice.right().len() == 160);
        let offer = instead("no", ["\u{1b}".repeat(1000)]).and("\n");
        assert!(offer.right().starts_with("write \\u{1b}") && offer.right().len() < 170);
        assert!(!offer.right().contains(char::is_control));
        assert_eq!(escape(&escape("\n\\\"")), escape("\n\\\""));
    }

    #[test]
    fn many_mistakes_are_cut_short_but_counted() {
        let mut diagnostics = Diagnostics::default();
        for _ in 0..MOST + 3 {
            diagnostics.mistake(Origin::CommandLine, wrong("no", "yes"));
        }
        let text = diagnostics.close(false).unwrap_err().text();
        assert_eq!(text.matches("error:").count(), MOST);
        assert!(text.contains("... and 3 more\ntidegate: 53 mistakes"));
        let mut diagnostics = Diagnostics::default();
        for _ in 0..MOST + 3 {
            diagnostics.warning(&Origin::Env("A".into()), wrong("odd", "even"));
        }
        let warnings = diagnostics.close(false).unwrap();
        assert_eq!(
            (warnings.len(), warnings[MOST].as_str()),
            (MOST + 1, "... and 3 more warnings")
        );
    }

    #[test]
    fn warnings_become_mistakes_when_strict() {
        let warned = || {
            let mut diagnostics = Diagnostics::default();
            diagnostics.warning(&Origin::Env("A".into()), wrong("odd", "even"));
            diagnostics
        };
        assert_eq!(warned().close(false), Ok(vec!["A: odd; even".to_owned()]));
        assert_eq!(warned().close(true).unwrap_err().exit, 1);
    }

    #[test]
    fn suggestions_are_near_or_none() {
        let known = ["listen", "log", "upstream"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("UPSTREAMS", known), Some("upstream"));
        assert_eq!(nearest("lo", known), Some("log"));
        assert_eq!(nearest("banana", known), None);
    }
}
