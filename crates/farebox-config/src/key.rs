//! Keys of a configuration: where they stand, and names that mean nothing yet.

use std::fmt;

use serde::Serialize;

/// Settings that Farebox will know and does not yet.
const LATER: [(&str, &str); 4] = [
    ("mint", "ecash"),
    ("paywall", "the paywall API"),
    ("wallet", "the buyer's side"),
    ("unclaimed_after", "breakage"),
];

/// Where in the configuration: `route[1].price.msat`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(Vec<Segment>);

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// A key of a table.
    Key(String),
    /// A place in a list, counted from zero.
    Index(usize),
}

impl KeyPath {
    /// The path of a key at the top.
    pub fn of(key: &str) -> Self {
        Self::default().key(key)
    }

    /// The path of `key` in this table.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.step(Segment::Key(key.to_owned()))
    }

    /// The path of item `index` in this list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.step(Segment::Index(index))
    }

    /// The path of what is one step below.
    pub(crate) fn step(&self, segment: Segment) -> Self {
        let mut path = self.clone();
        path.0.push(segment);
        path
    }

    /// The steps, from the top.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether this is `other` or lies around it.
    pub fn is_around(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

/// What a name will mean that means nothing yet.
pub(crate) fn explain_later(name: &str) -> Option<String> {
    let (_, what) = LATER.iter().find(|(later, _)| *later == name)?;
    Some(format!("not yet: {what} comes with a later version"))
}

impl FromIterator<Segment> for KeyPath {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        Self(segments.into_iter().collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if place == 0 => write!(f, "{key}")?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Serialize for KeyPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
