//! Which keys there are, read from the schema, to help with those that there are not.

use crate::key::{KeyPath, Segment, explain_later};
use crate::schema::Place;

/// Names closer than this are taken for slips of the hand (Jaro-Winkler, 0 to 1).
const SIMILAR: f64 = 0.85;

/// Why a key is unknown, and what may have been meant.
pub fn explain_unknown(key: &KeyPath) -> String {
    let [around @ .., Segment::Key(name)] = key.segments() else {
        return "unknown key".to_owned();
    };
    if let Some(reason) = explain_later(name) {
        return reason;
    }
    let place = Place::of_segments(around);
    let known: Vec<_> = place.keys().collect();
    let is_known = known.contains(&name.as_str());
    let similar = most_similar(name, &known).filter(|_| !is_known);
    if let Some(similar) = similar {
        return format!("unknown key; did you mean `{similar}`?");
    }
    if is_known || place.is_choice() {
        return explain_misplaced(name, &place);
    }
    if let Some(section) = section_of(name) {
        return format!("unknown key here; it belongs into {section}");
    }
    format!("unknown key; known here: {}", known.join(", "))
}

/// Why a key is not known although it may stand in such a table: the others make it one of another
/// kind.
fn explain_misplaced(name: &str, place: &Place) -> String {
    let kinds = place.kinds_with(name);
    let Some((tag, _)) = kinds.first() else {
        return "does not go with the other keys here".to_owned();
    };
    let words: Vec<_> = kinds.iter().map(|(_, word)| format!("`{word}`")).collect();
    let words = words.join(", ");
    format!("unknown key with this `{tag}`; it belongs to {words}")
}

/// The most similar of `candidates`, when it is similar at all.
fn most_similar(name: &str, candidates: &[&'static str]) -> Option<&'static str> {
    let candidates = candidates.iter();
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), *candidate))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// The section that has a key of this name: `[server]`, `[[route]]`.
fn section_of(name: &str) -> Option<String> {
    let has = |place: &Place| place.keys().any(|key| key == name);
    Place::root().keys().find_map(|section| {
        let place = Place::root().key(section);
        if has(&place) {
            return Some(format!("[{section}]"));
        }
        has(&place.item()).then(|| format!("[[{section}]]"))
    })
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
