//! Rust as text: what of it is code, and where its brackets end.

/// The file up to its unit tests.
pub(super) fn without_tests(text: &str) -> &str {
    let mut start = 0;
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let is_module = |next: &&str| next.contains("mod ") && next.contains('{');
        if line.trim() == "#[cfg(test)]" && lines.peek().is_some_and(is_module) {
            return text[..start].strip_suffix('\n').unwrap_or_default();
        }
        start += line.len();
    }
    text
}

/// The same text, line by line, with blanks for comments and for what stands in literals.
pub(super) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_in_word = code.chars().next_back().is_some_and(is_word);
        let length = literal(rest, is_in_word).unwrap_or(0);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (literal, behind) = rest.split_at(length);
            code.extend(literal.chars().map(|it| if it == '\n' { it } else { ' ' }));
            rest = behind;
        }
    }
    code
}

/// The length of the comment or literal that `text` begins with.
fn literal(text: &str, is_in_word: bool) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(text.find("*/").map_or(text.len(), |end| end + 2));
    }
    if text.starts_with('"') {
        return Some(end_of_string(text));
    }
    if text.starts_with('\'') {
        return end_of_char(text);
    }
    // r"…", r#"…"#, and the same for bytes.
    let raw = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let inside = raw[hashes..].strip_prefix('"').filter(|_| !is_in_word)?;
    let end = format!("\"{}", "#".repeat(hashes));
    let found = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(text.len() - inside.len() + found)
}

fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => (),
        }
    }
    text.len()
}

/// The end of a character; `None` for the name of a lifetime.
fn end_of_char(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first == '\\' {
        let (escaped, _) = characters.next()?;
        return text[escaped + 1..].find('\'').map(|end| escaped + end + 2);
    }
    characters
        .next()
        .filter(|(_, it)| *it == '\'')
        .map(|(end, _)| end + 1)
}

pub(super) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The word that `text` begins with, and what stands behind it.
pub(super) fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|it| !is_word(it)).unwrap_or(text.len()))
}

/// What stands between the bracket that `text` begins with and the one that closes it, and what behind that.
pub(super) fn bracketed(text: &str) -> Option<(&str, &str)> {
    let opening = text.chars().next().filter(|it| "([{<".contains(*it))?;
    let mut depth = 0_usize;
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        depth = match character {
            '(' | '[' | '{' => depth + 1,
            ')' | ']' | '}' => depth.saturating_sub(1),
            // Elsewhere they compare.
            '<' if opening == '<' => depth + 1,
            '>' if opening == '<' && !is_arrow(before) => depth.saturating_sub(1),
            _ => depth,
        };
        if depth == 0 {
            return Some((&text[1..at], &text[at + 1..]));
        }
        before = character;
    }
    None
}

/// Whether a `>` behind this character belongs to an arrow.
fn is_arrow(before: char) -> bool {
    before == '-' || before == '='
}

/// The parts of a list, by the commas outside all brackets.
pub(super) fn parts(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start, mut before) = (Vec::new(), 0_usize, 0, ' ');
    for (at, character) in list.char_indices() {
        match character {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '>' if !is_arrow(before) => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => (),
        }
        before = character;
    }
    parts.push(&list[start..]);
    let parts = parts.into_iter().map(str::trim);
    parts.filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "a(\"{ \\\" (\", '{', '\\'', b\"x\", r#\"(\"\"#, 'x: &'a str) // {\n/* ( */}";
        let code = code_only(text);
        assert_eq!(
            code.split_whitespace().collect::<String>(),
            "a(,,,b,,'x:&'astr)}"
        );
        assert_eq!(code.lines().count(), 2);
    }

    #[test]
    fn unit_tests_are_left_out() {
        let text = "fn a() {}\n#[cfg(test)]\nuse b;\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(without_tests(text), "fn a() {}\n#[cfg(test)]\nuse b;");
    }

    #[test]
    fn lists_are_split_outside_their_brackets() {
        let list = "a: Fn(u8, u8) -> Vec<(u8, u8)>, (b, c): T<U, V>,";
        assert_eq!(
            parts(list),
            ["a: Fn(u8, u8) -> Vec<(u8, u8)>", "(b, c): T<U, V>"]
        );
        assert_eq!(
            bracketed("<F: Fn() -> u8>(a)"),
            Some(("F: Fn() -> u8", "(a)"))
        );
    }
}
