//! The shape of each crate, read from its text: which modules import each other in a circle, which functions
//! take too many facts, which types are spread over too many files. Nothing is compiled, and tests are left
//! out.
//!
//! Every folder level is looked at by itself: a folder is one module to its siblings, and its own children are
//! compared among themselves.

mod circles;
mod functions;
mod table;
mod text;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

pub use circles::Circle;
pub use functions::Function;
pub use table::table;

/// More siblings than these that import each other are one module in several files.
pub const SIBLINGS_IN_A_CIRCLE: usize = 3;
/// A step that needs more facts lacks a noun. The parts of a tuple and the fields of a destructured struct
/// count one by one, `self` does not.
pub const PARAMETERS: usize = 6;
/// A type with `impl` blocks in more files than these is several types.
pub const FILES_OF_A_TYPE: usize = 4;

/// A file of a crate, by its path from the root of the workspace.
#[derive(Clone, Debug)]
pub struct Source {
    path: String,
    module: Vec<String>,
    lines: usize,
    /// Without tests, comments and the insides of literals.
    code: String,
}

/// What the text of one crate says.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The folder of the crate: `farebox-core`, `xtask`.
    pub name: String,
    /// How many files it has.
    pub files: usize,
    /// How many lines they have.
    pub lines: usize,
    /// Circles of more than [`SIBLINGS_IN_A_CIRCLE`] modules, the largest first.
    pub circles: Vec<Circle>,
    /// Functions with more than [`PARAMETERS`], the widest first.
    pub wide: Vec<Function>,
    /// Types with `impl` blocks in more than [`FILES_OF_A_TYPE`], and those files.
    pub scattered: BTreeMap<String, BTreeSet<String>>,
    /// The longest function.
    pub longest: Option<Function>,
    /// The number of lines of the longest file.
    pub longest_file: usize,
}

/// Reads every crate of the workspace at `root`, by the names of their folders.
///
/// # Errors
/// When git does not say which files there are, or one of them cannot be read.
pub fn of_workspace(root: &Path) -> io::Result<Vec<Shape>> {
    let mut list = Command::new("git");
    list.args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
    ]);
    let output = list.args(["crates", "xtask"]).current_dir(root).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr)));
    }
    let mut crates: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    for path in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((folder, _)) = path.split_once("/src/").filter(|_| is_product(path)) else {
            continue;
        };
        // A file that was just removed is still in git's list.
        if root.join(path).exists() {
            let name = folder.trim_start_matches("crates/").to_owned();
            let text = fs::read_to_string(root.join(path))?;
            crates
                .entry(name)
                .or_default()
                .push(Source::new(path, &text));
        }
    }
    let shapes = crates
        .iter()
        .map(|(name, sources)| Shape::of(name, sources));
    Ok(shapes.collect())
}

fn is_product(path: &str) -> bool {
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    path.ends_with(".rs") && !is_test && !path.contains("/contract/")
}

impl Source {
    /// A file with this text.
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        let text = text::without_tests(text);
        let (_, within) = path.split_once("/src/").unwrap_or(("", path));
        let module = within.trim_end_matches(".rs").split('/');
        let mut module: Vec<String> = module.map(str::to_owned).collect();
        if module == ["lib"] || module == ["main"] {
            module.clear();
        }
        Self {
            path: path.to_owned(),
            module,
            lines: text.split('\n').count(),
            code: text::code_only(text),
        }
    }
}

impl Shape {
    /// The shape of a crate that has these files.
    #[must_use]
    pub fn of(name: &str, sources: &[Source]) -> Self {
        let functions: Vec<Function> = sources.iter().flat_map(functions::all).collect();
        let longest = functions.iter().max_by_key(|function| function.lines);
        let longest = longest.cloned();
        let mut wide = functions;
        wide.retain(|function| function.parameters > PARAMETERS);
        wide.sort_by_key(|function| std::cmp::Reverse(function.parameters));
        let mut scattered = types::files(sources);
        scattered.retain(|_, files| files.len() > FILES_OF_A_TYPE);
        Self {
            name: name.to_owned(),
            files: sources.len(),
            lines: sources.iter().map(|source| source.lines).sum(),
            circles: circles::all(sources),
            wide,
            scattered,
            longest,
            longest_file: sources.iter().map(|source| source.lines).max().unwrap_or(0),
        }
    }

    /// How many siblings the largest circle has; zero where none is too large.
    #[must_use]
    pub fn largest_circle(&self) -> usize {
        self.circles
            .first()
            .map_or(0, |circle| circle.modules.len())
    }

    /// Every breach of a rule, a line for each.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let circles = self.circles.iter().map(|circle| {
            let (place, modules) = (circle.place(&self.name), circle.modules.join(", "));
            let count = circle.modules.len();
            format!("{place}: {count} sibling modules import each other in one circle: {modules}")
        });
        let wide = self.wide.iter().map(|function| {
            let (name, place) = (&function.name, function.place());
            format!(
                "{place}: {name} has {} real parameters",
                function.parameters
            )
        });
        let scattered = self.scattered.iter().map(|(name, files)| {
            let (count, files) = (files.len(), files.iter().cloned().collect::<Vec<_>>());
            let files = files.join(", ");
            format!(
                "{}: {name} has impl blocks in {count} files: {files}",
                self.name
            )
        });
        circles.chain(wide).chain(scattered).collect()
    }
}
