//! Over how many files a type is spread.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;
use super::text::bracketed;

/// The files in which each type has `impl` blocks of its own; those of traits do not count.
pub(super) fn files(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        for name in implemented(&source.code) {
            files.entry(name).or_default().insert(source.path.clone());
        }
    }
    files
}

fn implemented(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in code.split_inclusive('\n') {
        if let Some(rest) = line.strip_prefix("impl") {
            found.extend(read(&code[start + line.len() - rest.len()..]));
        }
        start += line.len();
    }
    found
}

/// The name of the type, from behind `impl`; `None` for the implementation of a trait.
fn read(text: &str) -> Option<String> {
    let text = if text.starts_with('<') {
        bracketed(text)?.1
    } else {
        text
    };
    let (header, _) = text.strip_prefix(' ')?.split_once('{')?;
    let mut words = header.split_whitespace().take_while(|it| *it != "where");
    let path = words.next()?.split('<').next()?;
    if words.any(|it| it == "for") {
        return None;
    }
    path.rsplit("::").next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use crate::shape::{FILES_OF_A_TYPE, Shape, Source};

    fn spread(count: usize) -> Shape {
        let blocks = [
            "impl Worker {\n}\n",
            "impl<'a> Worker {\n}\nimpl Worker {\n}\n",
            "impl<F: Fn() -> u8> Worker<F>\nwhere\n    F: for<'a> Send,\n{\n}\n",
            "impl super::Worker {\n}\n",
            "impl Worker<'_> {\n}\n",
        ];
        let source =
            |(index, text): (usize, &&str)| Source::new(&format!("crates/a/src/{index}.rs"), text);
        Shape::of(
            "a",
            &blocks[..count]
                .iter()
                .enumerate()
                .map(source)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_type_in_five_files_is_too_scattered() {
        assert!(spread(FILES_OF_A_TYPE).scattered.is_empty());
        let broken = spread(FILES_OF_A_TYPE + 1);
        assert!(broken.complaints()[0].starts_with("a: Worker has impl blocks in 5 files: "));
    }

    #[test]
    fn implementations_of_traits_do_not_count() {
        let text =
            "impl Drop for Worker {\n}\nimpl<T> From<T> for Worker {\n}\n    impl Worker {}\n";
        let sources = ["a", "b", "c", "d", "e"]
            .map(|name| Source::new(&format!("crates/a/src/{name}.rs"), text));
        assert!(Shape::of("a", &sources).scattered.is_empty());
    }
}
