//! Which models of a list are wanted, under which names, and at which markup.

/// A selection from a list of prices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Patterns, `*` for anything; a model is wanted when one fits. Empty wants all.
    pub only: Vec<String>,
    /// New names: exact, or with one `*` on either side.
    pub rename: Vec<(String, String)>,
    /// Millionths on top of every price.
    pub markup: u64,
}

impl Selection {
    pub(super) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|pattern| fits(pattern, name))
    }

    /// The name under which a model is sold: renamed by its full or its own name.
    pub(super) fn name(&self, full_name: &str, own: &str) -> String {
        let renamed = |(from, to): &(String, String)| {
            [full_name, own]
                .iter()
                .find_map(|name| rename(from, to, name))
        };
        let renamed = self.rename.iter().find_map(renamed);
        renamed.unwrap_or_else(|| own.to_owned())
    }
}

fn rename(from: &str, to: &str, name: &str) -> Option<String> {
    let Some((before, after)) = from.split_once('*') else {
        return (from == name).then(|| to.to_owned());
    };
    let middle = name.strip_prefix(before)?.strip_suffix(after)?;
    Some(to.replacen('*', middle, 1))
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<_> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(place) = left.find(part) else {
            return false;
        };
        left = &left[place + part.len()..];
    }
    left.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name, wanted) in [
            ("openai/*", "openai/gpt", true),
            ("openai/*", "azure/openai/gpt", false),
            ("gpt", "gpt-4", false),
            ("*mini*", "gpt-4-mini-1", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, name), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn names_are_changed_exactly_or_around_a_star() {
        let selection = Selection {
            rename: vec![
                ("openai/gpt".to_owned(), "best".to_owned()),
                ("openai/*".to_owned(), "*".to_owned()),
            ],
            ..Selection::default()
        };
        let name = |full: &str| selection.name(full, full);
        assert_eq!(name("openai/gpt"), "best");
        assert_eq!(name("openai/gpt-mini"), "gpt-mini");
        assert_eq!(name("other/gpt"), "other/gpt");
    }
}
