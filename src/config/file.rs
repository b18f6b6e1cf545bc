//! The configuration file and those it includes: what is given in them, and where.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::diagnostics::{Diagnostics, wrong};
use super::files::{Files, remedy};
use super::given::{Given, Origin};
use super::reading::Reading;
use super::secrets::Secrets;
use super::table::{Scope, Setting};
use super::toml;
use super::yaml;

/// The largest file that is read, in octets.
pub const LARGEST: usize = 1024 * 1024;
/// Files within files, and files altogether.
const DEEPEST: usize = 16;
const MOST_FILES: usize = 1024;
/// Parts of a path that is included which may have stars: every folder they stand for is read.
const MOST_STARS: usize = 2;

/// A table that is a thing of its own: a pool, or a route.
#[derive(Debug)]
pub struct Section {
    /// [`POOL`](super::table::POOL), [`ROUTE`](super::table::ROUTE), [`AUTH`](super::table::AUTH) or
    /// [`LIMIT`](super::table::LIMIT).
    pub scope: Scope,
    /// The name of a pool and so on; of a route the one that it gives itself, or what it is called without.
    pub name: String,
    /// Its head: where to point if something is missing.
    pub origin: Origin,
    /// What is given in it, by the names of settings.
    pub given: BTreeMap<&'static str, Vec<Given>>,
}

/// What the files say.
#[derive(Debug, Default)]
pub struct Contents {
    /// What is given at the top.
    pub top: Vec<(&'static Setting, Given)>,
    /// Pools, routes, credentials and limits, in order.
    pub sections: Vec<Section>,
    /// How many of them there are, by scope.
    pub counts: HashMap<Scope, usize>,
    /// The files themselves, in order.
    pub files: Vec<PathBuf>,
    /// They could be taken apart from beginning to end.
    pub is_whole: bool,
}

/// The settings of the file that was asked for and of those it includes, with every mistake in them noted. Reads those
/// files, and what they name as `{file.…}`, and nothing else.
pub fn read(
    asked: &Given,
    cwd: &Path,
    env: &HashMap<String, String>,
    files: &Files,
    diagnostics: &mut Diagnostics,
) -> Contents {
    let mut contents = Contents { is_whole: true, ..Contents::default() };
    FileReader { cwd, env, files }.read(asked, &mut contents, 0, diagnostics);
    contents
}

/// Where files, and what they name, come from.
struct FileReader<'a> {
    cwd: &'a Path,
    env: &'a HashMap<String, String>,
    files: &'a Files,
}

impl FileReader<'_> {
    /// One file, and those it includes.
    fn read(
        &self,
        asked: &Given,
        contents: &mut Contents,
        depth: usize,
        diagnostics: &mut Diagnostics,
    ) {
        let FileReader { cwd, env, files } = *self;
        let Given { text: file, origin, .. } = asked;
        let path = cwd.join(&**file);
        if contents.files.contains(&path) {
            let again = wrong(format!("{file} is read already"), "name every file once");
            return diagnostics.mistake_in(origin, file, 0..file.len(), again);
        }
        contents.files.push(path.clone());
        // The one that was asked for may be a pipe.
        let text =
            if depth > 0 { files.regular(&path, LARGEST) } else { files.text(&path, LARGEST) };
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                let what = format!("cannot read {}: {error}", asked.shown());
                let right = wrong(what, remedy(&error));
                diagnostics.mistake_in(origin, asked.shown(), 0..asked.shown().len(), right);
                contents.is_whole = false;
                return;
            }
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let extension = Path::new(&**file).extension().and_then(OsStr::to_str).unwrap_or_default();
        let ((root, errors), site) = match extension.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => (yaml::yaml(text), "yaml.org"),
            "json" => (yaml::json(text), "json.org"),
            _ => (toml::parse(text), "toml.io"),
        };
        let secrets = Secrets { env, folder: cwd.join(folder(file)), files };
        let mut reading = Reading::new(file, text, secrets, contents, diagnostics);
        reading.is_included = depth > 0;
        let includes = reading.whole(&root, errors, site);
        for include in includes {
            for file in self.included(&include, folder(file), depth, contents, diagnostics) {
                self.read(&file, contents, depth + 1, diagnostics);
            }
        }
    }

    /// The files that an `include` stands for, in the order of their names.
    fn included(
        &self,
        include: &Given,
        folder: &Path,
        depth: usize,
        contents: &Contents,
        diagnostics: &mut Diagnostics,
    ) -> Vec<Given> {
        let FileReader { cwd, files, .. } = *self;
        let mut refuse = |what: String, right: &str| {
            let Given { text, origin, .. } = include;
            diagnostics.mistake_in(origin, text, 0..text.len(), wrong(what, right));
            Vec::new()
        };
        if depth == DEEPEST {
            return refuse(format!("files are {DEEPEST} deep in each other"), "take one out");
        }
        // Stars are those of the pattern, whatever the folder of the file is called.
        let text = Path::new(&*include.text);
        let (base, pattern) = match text.strip_prefix(folder) {
            Ok(pattern) => (cwd.join(folder), pattern.to_string_lossy().into_owned()),
            Err(_) => (cwd.to_owned(), include.text.to_string()),
        };
        let stars = ['*', '?', '['];
        if !pattern.contains(stars) || cwd.join(text).is_file() {
            return vec![include.clone()];
        }
        if pattern.contains("**") {
            return refuse("two stars would stand for any depth".to_owned(), "write one star");
        }
        if pattern.split('/').filter(|part| part.contains(stars)).count() > MOST_STARS {
            let what = format!("more than {MOST_STARS} parts of this path have stars");
            return refuse(what, "write a pattern such as sites/*.toml");
        }
        // A file that comes or goes changes its folder.
        let star = pattern.find(stars).unwrap_or_default();
        files.note(&base.join(self::folder(&pattern[..star + 1])));
        let quoted = PathBuf::from(glob::Pattern::escape(&base.to_string_lossy()));
        let paths = match glob::glob(&quoted.join(&pattern).to_string_lossy()) {
            Ok(paths) => paths.filter_map(Result::ok),
            Err(error) => {
                return refuse(
                    format!("this is no pattern: {}", error.msg),
                    "write a pattern such as sites/*.toml",
                );
            }
        };
        let paths: Vec<PathBuf> = paths.filter(|path| path.is_file()).take(MOST_FILES).collect();
        if paths.len() + contents.files.len() > MOST_FILES {
            return refuse(format!("there are more than {MOST_FILES} files"), "leave some out");
        }
        for path in &paths {
            path.parent().iter().for_each(|folder| files.note(folder));
        }
        let named = |path: PathBuf| {
            let path = path.strip_prefix(cwd).map(Path::to_owned).unwrap_or(path);
            Given { text: path.to_string_lossy().into(), ..include.clone() }
        };
        paths.into_iter().map(named).collect()
    }
}

/// The folder that paths in `file` are relative to.
pub(super) fn folder(file: &str) -> &Path {
    Path::new(file).parent().unwrap_or(Path::new(""))
}
