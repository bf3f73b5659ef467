//! How long functions are, and how many facts they want to be told.

use super::Source;
use super::text::{bracketed, is_word, parts, word};

/// A function of a crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The path of its file.
    pub file: String,
    /// The line in which it begins.
    pub line: usize,
    /// How many lines it has.
    pub lines: usize,
    /// How many real parameters.
    pub parameters: usize,
}

impl Function {
    /// Where it stands, as compilers say it.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// The functions of a file.
pub(super) fn all(source: &Source) -> Vec<Function> {
    let mut found = Vec::new();
    let mut start = 0;
    for (index, line) in source.code.split_inclusive('\n').enumerate() {
        if let Some(rest) = behind_fn(line) {
            let text = &source.code[start + line.len() - rest.len()..];
            found.extend(read(text, source, index + 1));
        }
        start += line.len();
    }
    found
}

/// What stands behind `fn` in a line that declares one.
fn behind_fn(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if let Some(public) = rest.strip_prefix("pub") {
        let scope = public.starts_with('(').then(|| bracketed(public)).flatten();
        rest = scope.map_or(public, |(_, behind)| behind).trim_start();
    }
    for qualifier in ["const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(qualifier).unwrap_or(rest);
    }
    rest.strip_prefix("fn ")
}

/// Reads on from the name of a function.
fn read(text: &str, source: &Source, line: usize) -> Option<Function> {
    let (name, rest) = word(text);
    let rest = if rest.starts_with('<') {
        bracketed(rest)?.1
    } else {
        rest
    };
    let (list, behind) = bracketed(rest)?;
    let end = body(behind)?;
    let left = match bracketed(&behind[end..]) {
        Some((_, left)) => left,
        None => &behind[end..],
    };
    let whole = &text[..text.len() - left.len()];
    Some(Function {
        name: name.to_owned(),
        file: source.path.clone(),
        line,
        lines: whole.matches('\n').count() + 1,
        parameters: parts(list).into_iter().map(facts).sum(),
    })
}

/// Where the body begins, or the declaration ends that has none.
fn body(behind: &str) -> Option<usize> {
    let mut depth = 0_usize;
    behind.find(|it| {
        match it {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => (),
        }
        depth == 0 && (it == '{' || it == ';')
    })
}

/// How many facts a parameter brings.
fn facts(parameter: &str) -> usize {
    let pattern = parameter.strip_prefix("mut ").unwrap_or(parameter);
    let pattern = pattern.trim_start_matches('&').trim_start();
    if is_self(pattern) {
        return 0;
    }
    let rest = pattern.trim_start_matches(|it| is_word(it) || it == ':');
    let path = &pattern[..pattern.len() - rest.len()];
    let rest = rest.trim_start();
    // Behind `name:` comes a type, behind the path of a type what it is taken apart into.
    let is_pattern = !path.ends_with(':') && (rest.starts_with('(') || rest.starts_with('{'));
    let inside = is_pattern.then(|| bracketed(rest)).flatten();
    let count = |(fields, _)| parts(fields).iter().filter(|it| **it != "..").count();
    inside.map_or(1, count)
}

/// `self`, `mut self`, `&'a mut self`.
fn is_self(pattern: &str) -> bool {
    let pattern = pattern
        .strip_prefix('\'')
        .map_or(pattern, |rest| word(rest).1.trim_start());
    let pattern = pattern.strip_prefix("mut ").unwrap_or(pattern);
    word(pattern).0 == "self"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{PARAMETERS, Shape};

    fn functions(text: &str) -> Vec<Function> {
        all(&Source::new("crates/a/src/b.rs", text))
    }

    #[test]
    fn a_function_with_seven_facts_is_too_wide() {
        let list = [
            "a: u8", "b: u8", "c: u8", "d: u8", "e: u8", "f: u8", "g: u8",
        ];
        let text = |count: usize| format!("fn f({}) {{\n}}\n", list[..count].join(", "));
        let shape = |text: &str| Shape::of("a", &[Source::new("crates/a/src/lib.rs", text)]);
        assert!(shape(&text(PARAMETERS)).wide.is_empty());
        let broken = shape(&text(PARAMETERS + 1));
        assert_eq!(
            broken.complaints(),
            ["crates/a/src/lib.rs:1: f has 7 real parameters"]
        );
    }

    #[test]
    fn tuples_and_destructured_structs_count_by_their_parts() {
        let counts = |list: &str| functions(&format!("fn f({list}) {{}}"))[0].parameters;
        assert_eq!(counts("(a, b): (u8, u8), c: (u8, u8)"), 3);
        assert_eq!(counts("mut (a, b): (u8, u8), &(c, d): &(u8, u8)"), 4);
        assert_eq!(
            counts("Order { a, b, .. }: Order, &m::Goods { c }: &m::Goods"),
            3
        );
        assert_eq!(counts("State(plan): State<Plan>, Pair(a, b): Pair"), 3);
        assert_eq!(counts("a: impl Fn(u8, u8) -> u8, b: Vec<(u8, u8)>"), 2);
    }

    #[test]
    fn oneself_is_no_fact() {
        for own in [
            "self",
            "&self",
            "&mut self",
            "mut self",
            "&'a mut self",
            "self: Arc<Self>",
        ] {
            let text = format!("pub(crate) async fn f<'a, F: Fn(u8)>({own}, a: u8) {{}}");
            assert_eq!(functions(&text)[0].parameters, 1, "{own}");
        }
    }

    #[test]
    fn a_function_is_as_long_as_its_lines() {
        let text = "trait T {\n    fn a(\n        b: u8,\n    );\n    fn c() {\n        d(\"}\");\n    }\n}\n";
        let lines: Vec<usize> = functions(text).iter().map(|it| it.lines).collect();
        assert_eq!(lines, [3, 3]);
    }
}
