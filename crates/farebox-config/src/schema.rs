//! The JSON Schema of the configuration file, made from its types, and ways through it: which keys
//! there are, what stands in the place of those that are left out, and which of them hold secrets.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::file::ConfigFile;
use crate::key::{KeyPath, Segment};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| schemars::schema_for!(ConfigFile).to_value());

/// All of it.
#[must_use]
pub fn whole() -> &'static Value {
    &SCHEMA
}

/// What may stand at one place of a file: all forms that a value may take there.
#[derive(Clone)]
pub(crate) struct Place(Vec<&'static Value>);

impl Place {
    /// The file itself.
    pub(crate) fn root() -> Self {
        Self(forms(&SCHEMA))
    }

    /// The place that a key leads to; without any form where there is no such key.
    pub(crate) fn of(key: &KeyPath) -> Self {
        Self::of_segments(key.segments())
    }

    /// The same, for the steps of a key.
    pub(crate) fn of_segments(segments: &[Segment]) -> Self {
        let step = |place: Self, segment: &Segment| match segment {
            Segment::Key(name) => place.key(name),
            Segment::Index(_) => place.item(),
        };
        segments.iter().fold(Self::root(), step)
    }

    /// The value of a key of this table.
    pub(crate) fn key(&self, name: &str) -> Self {
        self.step(|form| {
            let known = properties(form).and_then(|keys| keys.get(name));
            known.or_else(|| {
                form.get("additionalProperties")
                    .filter(|form| form.is_object())
            })
        })
    }

    /// An item of this list.
    pub(crate) fn item(&self) -> Self {
        self.step(|form| form.get("items"))
    }

    fn step(&self, next: impl Fn(&'static Value) -> Option<&'static Value>) -> Self {
        let found = self.0.iter().filter_map(|form| next(form));
        Self(found.flat_map(forms).collect())
    }

    /// The keys of this table.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static str> {
        let tables = self.0.iter().filter_map(|form| properties(form));
        tables.flat_map(Map::keys).map(String::as_str)
    }

    /// The kinds of tables that have this key, where the value of another key tells kinds apart:
    /// that key and that value.
    pub(crate) fn kinds_with(&self, name: &str) -> Vec<(&'static str, &'static str)> {
        let has_key = |form: &&'static Value| {
            let mut forms = forms(form).into_iter().filter_map(properties);
            forms.any(|keys| keys.contains_key(name))
        };
        let kinds = self.0.iter().copied().filter(has_key);
        kinds.filter_map(kind_of).collect()
    }

    /// Whether tables of several kinds may stand here, that are told apart by which keys they have.
    pub(crate) fn is_choice(&self) -> bool {
        let mut tables = self
            .0
            .iter()
            .copied()
            .filter(|form| properties(form).is_some());
        tables.clone().count() > 1 && tables.all(|form| kind_of(form).is_none())
    }

    /// What stands here when nothing is written.
    pub(crate) fn default(&self) -> Option<&'static Value> {
        self.0.first()?.get("default")
    }

    /// Whether it is written as this type.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.0.iter().any(|form| referred(form) == Some(name))
    }
}

/// Whether what stands at `key` may be a secret, where it was written in the clear by mistake. What
/// is not known may be one as well.
pub(crate) fn is_secret(key: &KeyPath) -> bool {
    let names_secret =
        |place: &Place| place.0.is_empty() || place.is("SecretSource") || place.is("HeaderText");
    let segments = key.segments();
    let mut around = (0..=segments.len()).map(|end| Place::of_segments(&segments[..end]));
    around.any(|place| names_secret(&place)) || Place::of(key).key("any").is("HeaderText")
}

/// The key whose value tells this kind of table from others, and that value.
pub(crate) fn kind_of(form: &'static Value) -> Option<(&'static str, &'static str)> {
    properties(form)?.iter().find_map(|(key, form)| {
        let word = form.get("const")?.as_str()?;
        Some((key.as_str(), word))
    })
}

/// The name of the type that a form refers to.
pub(crate) fn referred(form: &Value) -> Option<&str> {
    form.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

/// A type by its name.
pub(crate) fn definition(name: &str) -> Option<&'static Value> {
    SCHEMA.get("$defs")?.get(name)
}

/// The keys of a table, by name.
pub(crate) fn properties(form: &Value) -> Option<&Map<String, Value>> {
    form.get("properties")?.as_object()
}

/// The form itself, what it refers to, and the forms that it may take.
pub(crate) fn forms(form: &'static Value) -> Vec<&'static Value> {
    let target = referred(form).and_then(definition);
    let choices = ["anyOf", "oneOf", "allOf"].into_iter();
    let choices = choices.filter_map(|choice| form.get(choice)?.as_array());
    let inner = target.into_iter().chain(choices.flatten());
    std::iter::once(form).chain(inner.flat_map(forms)).collect()
}

#[cfg(test)]
mod tests;
