//! Which keys there are, read from the schema, to help with those that there are not.

use schemars::Schema;
use serde_json::{Map, Value};

use crate::file::ConfigFile;
use crate::mistake::{KeyPath, Segment};

/// Names closer than this are taken for slips of the hand (Jaro-Winkler, 0 to 1).
const SIMILAR: f64 = 0.85;

/// Settings that Farebox will know and does not yet.
const LATER: [(&str, &str); 4] = [
    ("mint", "ecash"),
    ("paywall", "the paywall API"),
    ("wallet", "the buyer's side"),
    ("unclaimed_after", "breakage"),
];

/// The JSON Schema of [`ConfigFile`].
pub fn schema() -> Schema {
    schemars::schema_for!(ConfigFile)
}

/// Why a key is unknown, and what may have been meant.
pub fn explain_unknown(key: &KeyPath) -> String {
    let [around @ .., Segment::Key(name)] = key.segments() else {
        return "unknown key".to_owned();
    };
    if let Some(reason) = explain_later(name) {
        return reason;
    }
    let schema = schema();
    let known = keys_at(schema.as_value(), around);
    let similar = most_similar(name, known.iter().map(String::as_str));
    if let Some(similar) = similar {
        return format!("unknown key; did you mean `{similar}`?");
    }
    if let Some(section) = section_of(schema.as_value(), name) {
        return format!("unknown key here; it belongs into {section}");
    }
    format!("unknown key; known here: {}", known.join(", "))
}

/// What a name will mean that means nothing yet.
pub fn explain_later(name: &str) -> Option<String> {
    let (_, what) = LATER.iter().find(|(later, _)| *later == name)?;
    Some(format!("not yet: {what} comes with a later version"))
}

/// The most similar of `candidates`, when it is similar at all.
pub fn most_similar<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// The keys of the table at `path`.
fn keys_at(schema: &Value, path: &[Segment]) -> Vec<String> {
    let mut here = vec![schema];
    for segment in path {
        here = here
            .into_iter()
            .flat_map(|node| children(schema, node, segment))
            .collect();
    }
    let tables = here.into_iter().flat_map(|node| variants(schema, node));
    tables
        .filter_map(properties)
        .flat_map(|keys| keys.keys().cloned())
        .collect()
}

/// The section that has a key of this name: `[server]`, `[[route]]`.
fn section_of(schema: &Value, name: &str) -> Option<String> {
    properties(schema)?.iter().find_map(|(section, node)| {
        let (node, header) = match node.get("items") {
            Some(items) => (items, format!("[[{section}]]")),
            None => (node, format!("[{section}]")),
        };
        let tables = variants(schema, node);
        let has = tables
            .into_iter()
            .filter_map(properties)
            .any(|keys| keys.contains_key(name));
        has.then_some(header)
    })
}

fn children<'s>(schema: &'s Value, node: &'s Value, segment: &Segment) -> Vec<&'s Value> {
    let step = |node: &'s Value| match segment {
        Segment::Key(name) => properties(node)?.get(name),
        Segment::Index(_) => node.get("items"),
    };
    variants(schema, node)
        .into_iter()
        .filter_map(step)
        .collect()
}

/// The node itself, what it refers to, and the forms it may take.
fn variants<'s>(schema: &'s Value, node: &'s Value) -> Vec<&'s Value> {
    let mut found = vec![node];
    if let Some(target) = node.get("$ref").and_then(Value::as_str) {
        let target = target
            .strip_prefix('#')
            .and_then(|pointer| schema.pointer(pointer));
        found.extend(
            target
                .into_iter()
                .flat_map(|target| variants(schema, target)),
        );
    }
    for forms in ["anyOf", "oneOf", "allOf"] {
        let forms = node
            .get(forms)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        found.extend(forms.flat_map(|form| variants(schema, form)));
    }
    found
}

fn properties(node: &Value) -> Option<&Map<String, Value>> {
    node.get("properties")?.as_object()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(path: &[&str]) -> String {
        let key = path.iter().map(|part| match part.parse() {
            Ok(index) => Segment::Index(index),
            Err(_) => Segment::Key((*part).to_owned()),
        });
        explain_unknown(&key.collect())
    }

    #[test]
    fn a_slip_is_answered_with_the_key_that_was_meant() {
        assert_eq!(
            explain(&["server", "lisen"]),
            "unknown key; did you mean `listen`?"
        );
        assert_eq!(
            explain(&["route", "0", "upsteam"]),
            "unknown key; did you mean `upstream`?"
        );
        assert_eq!(
            explain(&["route", "0", "price", "msats"]),
            "unknown key; did you mean `msat`?"
        );
        assert_eq!(
            explain(&["server", "challenges", "totl"]),
            "unknown key; did you mean `total`?"
        );
        assert_eq!(explain(&["servr"]), "unknown key; did you mean `server`?");
    }

    #[test]
    fn a_key_in_the_wrong_section_is_sent_to_its_own() {
        assert_eq!(
            explain(&["upstream"]),
            "unknown key here; it belongs into [[route]]"
        );
    }

    #[test]
    fn what_comes_later_is_not_called_a_slip() {
        assert!(explain(&["mint"]).starts_with("not yet: ecash"));
    }
}
