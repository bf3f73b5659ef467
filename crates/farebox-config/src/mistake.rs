//! What is wrong with a configuration, each mistake with its key, value and reason.

use std::fmt;

use serde::Serialize;

/// Keys of `[lightning]` whose value is a secret, where it was written in the clear by mistake.
const SECRET_KEYS: [&str; 7] = [
    "macaroon",
    "rune",
    "password",
    "webhook_secret",
    "key",
    "admin_key",
    "uri",
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

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Which setting.
    pub key: KeyPath,
    /// Its line in the file, counted from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What was written there, unless it may be a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is wrong with it, and where it helps, what to write instead.
    pub reason: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mistakes(Vec<Mistake>);

impl KeyPath {
    /// The path of a key at the top.
    pub fn of(key: &str) -> Self {
        Self::default().key(key)
    }

    /// The path of `key` in this table.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    /// The path of item `index` in this list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    fn with(&self, segment: Segment) -> Self {
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

    /// Whether the value of this key may be a secret.
    fn is_secret(&self) -> bool {
        let named = |segment: &Segment, names: &[&str]| match segment {
            Segment::Key(key) => names.contains(&key.as_str()),
            Segment::Index(_) => false,
        };
        let in_lightning = self.0.first().is_some_and(|top| named(top, &["lightning"]));
        self.0.iter().any(|segment| {
            named(segment, &["headers", "secret"]) || (in_lightning && named(segment, &SECRET_KEYS))
        })
    }
}

impl FromIterator<Segment> for KeyPath {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        Self(segments.into_iter().collect())
    }
}

impl Mistakes {
    /// Adds a mistake, unless one at or inside the same key has been noted: what surrounds a
    /// broken value is only broken by it.
    pub fn note(&mut self, key: KeyPath, value: Option<String>, reason: impl fmt::Display) {
        if self.0.iter().any(|noted| key.is_around(&noted.key)) {
            return;
        }
        let value = value.filter(|_| !key.is_secret());
        self.0.push(Mistake {
            key,
            line: None,
            value,
            reason: reason.to_string(),
        });
    }

    /// Adds a mistake with its line.
    pub fn note_at(
        &mut self,
        line: Option<usize>,
        key: KeyPath,
        value: Option<String>,
        reason: impl fmt::Display,
    ) {
        let before = self.0.len();
        self.note(key, value, reason);
        if let Some(added) = self.0.get_mut(before) {
            added.line = line;
        }
    }

    /// Adds a mistake that belongs to no key.
    pub fn note_unkeyed(&mut self, line: Option<usize>, reason: String) {
        self.0.push(Mistake {
            key: KeyPath::default(),
            line,
            value: None,
            reason,
        });
    }

    /// Takes the value out of a result, or notes why there is none.
    pub fn take<T, E: fmt::Display>(
        &mut self,
        key: KeyPath,
        value: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        result
            .map_err(|error| self.note(key, Some(format!("{value:?}")), error))
            .ok()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much is wrong.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The mistakes, in the order of the file where it is known.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.0.iter()
    }

    /// Fills in the lines that `line_of` knows, and sorts by them.
    pub fn locate(&mut self, line_of: impl Fn(&KeyPath) -> Option<usize>) {
        for mistake in &mut self.0 {
            mistake.line = mistake.line.or_else(|| line_of(&mistake.key));
        }
        self.0
            .sort_by_key(|mistake| mistake.line.unwrap_or(usize::MAX));
    }

    /// `value` when nothing is wrong.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
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

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.segments().is_empty() {
            write!(f, "{}", self.key)?;
            if let Some(value) = &self.value {
                write!(f, " = {value}")?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", self.reason)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, mistake) in self.0.iter().enumerate() {
            if place > 0 {
                writeln!(f)?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
