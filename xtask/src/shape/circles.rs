//! Sibling modules that import each other, directly or by way of others.

use std::collections::{BTreeMap, BTreeSet};

use super::text::{bracketed, is_word, parts, word};
use super::{SIBLINGS_IN_A_CIRCLE, Source};

/// Siblings each of which needs all others to be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circle {
    /// The module they are in; empty for the crate's root.
    pub parent: Vec<String>,
    /// Their names.
    pub modules: Vec<String>,
}

type Path = Vec<String>;

impl Circle {
    /// The path of the parent in this crate.
    #[must_use]
    pub fn place(&self, name: &str) -> String {
        let parent = self.parent.iter().map(String::as_str);
        std::iter::once(name)
            .chain(parent)
            .collect::<Vec<_>>()
            .join("::")
    }
}

/// All circles that are too large, the largest first.
pub(super) fn all(sources: &[Source]) -> Vec<Circle> {
    let mut uses = BTreeSet::new();
    for source in sources.iter().filter(|source| !source.module.is_empty()) {
        let named = named(&source.code, &source.module).into_iter();
        uses.extend(named.map(|target| (source.module.as_slice(), target)));
    }
    let modules: BTreeSet<&[String]> = sources.iter().map(|it| it.module.as_slice()).collect();
    let parents: BTreeSet<&[String]> = modules
        .iter()
        .filter_map(|it| Some(it.split_last()?.1))
        .collect();
    let mut circles = Vec::new();
    for parent in parents {
        circles.extend(among(parent, &modules, &uses));
    }
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.modules.len()));
    circles
}

/// The circles among the children of one module.
fn among(
    parent: &[String],
    modules: &BTreeSet<&[String]>,
    uses: &BTreeSet<(&[String], Path)>,
) -> Vec<Circle> {
    let child = |path: &[String]| path.strip_prefix(parent)?.first().cloned();
    let siblings: BTreeSet<String> = modules.iter().filter_map(|path| child(path)).collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (source, target) in uses {
        if let (Some(from), Some(to)) = (child(source), child(target))
            && siblings.contains(&to)
        {
            edges.entry(from).or_default().insert(to);
        }
    }
    let reached: BTreeMap<&String, BTreeSet<&String>> = siblings
        .iter()
        .map(|it| (it, reachable(it, &edges)))
        .collect();
    let mut left = siblings.iter().collect::<BTreeSet<_>>();
    let mut circles = Vec::new();
    while let Some(first) = left.pop_first() {
        let circle = reached[first]
            .iter()
            .filter(|other| reached[*other].contains(first));
        let mut modules: BTreeSet<String> = circle.map(|it| (*it).clone()).collect();
        modules.insert(first.clone());
        left.retain(|it| !modules.contains(*it));
        if modules.len() > SIBLINGS_IN_A_CIRCLE {
            let (parent, modules) = (parent.to_vec(), modules.into_iter().collect());
            circles.push(Circle { parent, modules });
        }
    }
    circles
}

/// Everything to which imports lead from `start`.
fn reachable<'a>(
    start: &str,
    edges: &'a BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<&'a String> {
    let next = |from: &str| edges.get(from).into_iter().flatten();
    let (mut found, mut open) = (BTreeSet::new(), next(start).collect::<Vec<_>>());
    while let Some(module) = open.pop() {
        if found.insert(module) {
            open.extend(next(module));
        }
    }
    found
}

/// The paths, from the crate's root, that the code of a module names by `crate`, `self` or `super`.
fn named(code: &str, here: &[String]) -> BTreeSet<Path> {
    let mut found = BTreeSet::new();
    let mut rest = code;
    while let Some(at) = rest.find(is_word) {
        let (first, mut behind) = word(&rest[at..]);
        let base = match first {
            "crate" => Some(Path::new()),
            "self" => Some(here.to_vec()),
            "super" => {
                let mut above = here.split_last().map_or(here, |(_, above)| above);
                while let Some(next) = behind.strip_prefix("::super") {
                    above = above.split_last().map_or(above, |(_, above)| above);
                    behind = next;
                }
                Some(above.to_vec())
            }
            _ => None,
        };
        if let (Some(base), Some(tree)) = (base, behind.strip_prefix("::")) {
            collect(tree, base, &mut found);
        }
        rest = behind;
    }
    found
}

/// Every full path of a use tree, or the one path of an expression.
fn collect(tree: &str, mut base: Path, found: &mut BTreeSet<Path>) {
    let mut rest = tree.trim_start();
    loop {
        if let Some((group, _)) = rest.starts_with('{').then(|| bracketed(rest)).flatten() {
            for part in parts(group) {
                collect(part, base.clone(), found);
            }
            return;
        }
        let (name, behind) = word(rest);
        if !name.is_empty() {
            base.push(name.to_owned());
        }
        match behind.strip_prefix("::") {
            Some(next) if !name.is_empty() => rest = next,
            _ => break,
        }
    }
    found.insert(base);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    fn shape(files: &[(&str, &str)]) -> Shape {
        let source =
            |(path, text): &(&str, &str)| Source::new(&format!("crates/a/src/{path}"), text);
        Shape::of("a", &files.iter().map(source).collect::<Vec<_>>())
    }

    #[test]
    fn four_siblings_in_a_circle_are_too_many() {
        let three = [
            ("lib.rs", "mod one; mod two; mod three;"),
            ("one.rs", "use crate::two::Two;"),
            ("two.rs", "use super::{three, x::Y};"),
            ("three.rs", "fn f() { crate::one::g() }"),
        ];
        assert!(shape(&three).circles.is_empty());
        let four = [
            &three[..3],
            &[
                ("three.rs", "use crate::{four, x};"),
                ("four.rs", "use super::one;"),
            ],
        ];
        let broken = shape(&four.concat());
        let expected =
            "a: 4 sibling modules import each other in one circle: four, one, three, two";
        assert_eq!(broken.complaints(), [expected]);
        assert_eq!(broken.largest_circle(), 4);
    }

    #[test]
    fn a_folder_is_one_module_to_its_siblings() {
        let files = [
            ("one.rs", "use crate::two;"),
            ("one/a.rs", "use super::b; use crate::three;"),
            ("one/b.rs", "use super::super::four;"),
            ("two.rs", "use crate::one::a::A;"),
            ("three.rs", "use crate::one;"),
            ("four.rs", "use self::x; use crate::{one::{a, b}, two};"),
        ];
        assert_eq!(
            shape(&files).circles[0].modules,
            ["four", "one", "three", "two"]
        );
    }

    #[test]
    fn every_level_is_looked_at() {
        let files = ["a", "b", "c", "d"].map(|name| format!("deep/er/{name}.rs"));
        let texts = [
            "use super::b;",
            "use super::c;",
            "use super::d;",
            "use crate::deep::er::a;",
        ];
        let files: Vec<(&str, &str)> = files.iter().map(String::as_str).zip(texts).collect();
        let circle = &shape(&files).circles[0];
        assert_eq!(circle.place("a"), "a::deep::er");
    }

    #[test]
    fn comments_and_tests_import_nothing() {
        let files = [
            ("a.rs", "use crate::b;"),
            ("b.rs", "use crate::c;"),
            ("c.rs", "use crate::d;"),
            (
                "d.rs",
                "//! Unlike crate::a.\n#[cfg(test)]\nmod tests {\nuse crate::a;\n}\n",
            ),
        ];
        assert!(shape(&files).circles.is_empty());
    }
}
