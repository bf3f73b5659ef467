//! Which parameters of the query reach the upstream on routes that sell models: as of bodies and
//! headers, those that are known to change neither the price nor who pays.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// What versions of the API and pages of listings are asked for by.
const PASS: [&str; 8] = [
    "api-version",
    "beta",
    "limit",
    "after",
    "after_id",
    "before",
    "before_id",
    "order",
];

/// What a seller lets through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryRules {
    /// Further names.
    pub allow: BTreeSet<String>,
}

impl QueryRules {
    /// What passes of a query; none where that is none of it. A name in another spelling does not
    /// pass, nor what some servers would read as two parameters.
    #[must_use]
    pub fn pass<'q>(&self, query: &'q str) -> Option<Cow<'q, str>> {
        let passes = |pair: &&str| {
            let name = pair.split('=').next().unwrap_or_default();
            !pair.contains(';') && (PASS.contains(&name) || self.allow.contains(name))
        };
        let all = || query.split('&');
        if all().all(|pair| passes(&pair)) {
            return Some(query.into());
        }
        let left: Vec<&str> = all().filter(passes).collect();
        (!left.is_empty()).then(|| left.join("&").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_or_allowed_passes() {
        let rules = QueryRules {
            allow: BTreeSet::from(["mine".to_owned()]),
        };
        for (sent, passed) in [
            ("api-version=2024-10-21", Some("api-version=2024-10-21")),
            ("beta=true&mine=1", Some("beta=true&mine=1")),
            ("best_of=20&beta=true&key=x", Some("beta=true")),
            ("best_of=20", None),
            ("Beta=true", None),
            ("%62eta=true", None),
            ("beta=true;best_of=20", None),
            ("beta", Some("beta")),
            ("", None),
        ] {
            assert_eq!(rules.pass(sent).as_deref(), passed, "{sent}");
        }
    }
}
