//! Which route a request takes.
//!
//! The table is built once per plan and only read afterwards. It is given the canonical path and
//! the request's host, and answers with at most one entry, by rules that do not depend on the
//! order in the configuration, except among regexes:
//!
//! 1. the entries of the most specific host that has one for this path: exact host, longest
//!    `*.suffix`, any host;
//! 2. among these an exact path, the longest prefix, the first regex.
//!
//! Nothing here knows prices; a path that matches no entry is not found, never free.

mod hosts;

use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::lenient::LenientReading;
use crate::path::{CanonicalPath, PathError, PathParameters};
use hosts::Hosts;

/// The largest compiled form of one route's regex, in bytes.
pub const MAX_REGEX_BYTES: usize = 256 * 1024;

/// What the path of a request must look like.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// Exactly this canonical path.
    Exact(String),
    /// This canonical path and what lies under it: `/v1` takes `/v1` and `/v1/x`, not `/v10`;
    /// `/v1/` takes `/v1/x` only.
    Prefix(String),
    /// A regex for the whole canonical path.
    Regex(PathRegex),
}

/// A regex that always has to match the whole path, however it is written.
#[derive(Clone, Debug)]
pub struct PathRegex {
    pattern: String,
    whole: Regex,
    /// For paths whatever their case, where the pattern has capitals.
    folded: Option<Regex>,
}

/// What the host of a request must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostMatch(Host);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Any,
    /// In lower case, without a port.
    Exact(String),
    /// What stands behind `*.`, in lower case.
    Suffix(String),
}

/// Text that is no host to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a host name or address without a port, or *.name")]
pub struct HostMatchError;

/// One entry of a table before it is built.
#[derive(Clone, Debug)]
pub struct RouteEntry<T> {
    /// On which hosts.
    pub host: HostMatch,
    /// For which paths.
    pub path: PathMatch,
    /// What is found.
    pub target: T,
}

/// Why an entry cannot be in a table. Entries are counted from zero, as given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteTableError {
    /// No request has such a path.
    #[error("route {entry}: no request has this path: {source}")]
    Path {
        /// Which entry.
        entry: usize,
        /// What is wrong with its path.
        source: PathError,
    },
    /// The path is matched in its canonical form, and this is another one.
    #[error("route {entry}: the canonical form of this path is {canonical}")]
    NotCanonical {
        /// Which entry.
        entry: usize,
        /// How to write it.
        canonical: String,
    },
    /// Two entries want the same requests.
    #[error("routes {first} and {second} have the same host and path")]
    Duplicate {
        /// The earlier one.
        first: usize,
        /// The later one, which no request would ever reach.
        second: usize,
    },
}

/// Finds a `T` by host and path.
#[derive(Clone, Debug)]
pub struct RouteTable<T> {
    entries: Vec<T>,
    hosts: Hosts,
    /// The same with all paths as lenient servers read them, where one of them differs.
    folded: Option<Box<Hosts>>,
}

impl PathRegex {
    /// Compiles `pattern`, which must match a whole canonical path.
    ///
    /// # Errors
    /// [`regex::Error`] when it is no regex, or larger than [`MAX_REGEX_BYTES`] once compiled, also
    /// as one that takes paths whatever their case.
    pub fn parse(pattern: &str) -> Result<Self, regex::Error> {
        // First alone: an unbalanced pattern such as `a)|(b` would slip out of the group below.
        compile(pattern)?;
        let whole = compile(&format!(r"\A(?:{pattern})\z"))?;
        let folded = has_capitals(pattern).then(|| compile(&format!(r"\A(?:(?i){pattern})\z")));
        Ok(Self {
            pattern: pattern.to_owned(),
            whole,
            folded: folded.transpose()?,
        })
    }

    /// The same whatever the case; nothing where it has no capitals.
    fn folded(&self) -> Option<Self> {
        Some(Self {
            pattern: format!("(?i){}", self.pattern),
            whole: self.folded.clone()?,
            folded: None,
        })
    }

    /// The text that every path begins with which matches; empty where the pattern does not begin with
    /// plain text.
    #[must_use]
    pub fn begins_with(&self) -> String {
        let pattern = self.pattern.trim_start_matches('^');
        let mut text = String::new();
        if pattern.contains('|') {
            return text;
        }
        let mut characters = pattern.chars().peekable();
        while let Some(character) = characters.next() {
            let plain = match character {
                '\\' => characters.next().filter(char::is_ascii_punctuation),
                _ => Some(character).filter(|it| !".+*?()[]{}^$".contains(*it)),
            };
            let may_be_missing = matches!(characters.peek(), Some('?' | '*' | '{'));
            match plain {
                Some(plain) if !may_be_missing => text.push(plain),
                _ => break,
            }
        }
        text
    }

    /// Whether all of `path` matches.
    #[must_use]
    pub fn is_match(&self, path: &str) -> bool {
        self.whole.is_match(path)
    }
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_REGEX_BYTES)
        .build()
}

impl fmt::Display for PathRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

impl HostMatch {
    /// Every host, and requests without one.
    pub const ANY: Self = Self(Host::Any);

    /// Parses `name`, `*.name`, an address, or `*` for every host. `*.name` takes `a.name` and
    /// `a.b.name`, not `name`.
    ///
    /// # Errors
    /// [`HostMatchError`] for anything else, a port included.
    pub fn parse(text: &str) -> Result<Self, HostMatchError> {
        let lower = text.to_ascii_lowercase();
        if lower == "*" {
            return Ok(Self::ANY);
        }
        if let Some(suffix) = lower.strip_prefix("*.") {
            return is_name(suffix)
                .then(|| Self(Host::Suffix(suffix.to_owned())))
                .ok_or(HostMatchError);
        }
        let literal = lower
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let is_literal = literal.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
        if is_name(&lower) || is_literal {
            Ok(Self(Host::Exact(lower)))
        } else {
            Err(HostMatchError)
        }
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.split('.')
        .all(|label| !label.is_empty() && label.bytes().all(allowed))
}

impl<T> RouteTable<T> {
    /// Builds a table.
    ///
    /// # Errors
    /// Every entry that cannot be in it, and every pair that wants the same requests.
    pub fn build(
        entries: impl IntoIterator<Item = RouteEntry<T>>,
    ) -> Result<Self, Vec<RouteTableError>> {
        let (mut targets, mut errors) = (Vec::new(), Vec::new());
        let (mut hosts, mut folded) = (Hosts::default(), Hosts::default());
        let mut differs = false;
        for (entry, RouteEntry { host, path, target }) in entries.into_iter().enumerate() {
            targets.push(target);
            let small = path.folded();
            differs |= small.is_some();
            // Paths that a lenient server takes for one may meet here; the first one speaks for both.
            let small = small.unwrap_or_else(|| path.clone());
            let _ = folded.paths_mut(host.clone()).insert(small, entry);
            let paths = hosts.paths_mut(host);
            if let Err(error) = check_path(&path, entry).and_then(|()| paths.insert(path, entry)) {
                errors.push(error);
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            entries: targets,
            hosts,
            folded: differs.then(|| Box::new(folded)),
        })
    }

    /// The entry for a request to `host` (as the request says it, with or without a port; empty
    /// when it says none) and the canonical `path`.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<&T> {
        self.entries.get(self.hosts.find(host, path)?)
    }

    /// What [`find`](Self::find) would give if the paths of the table were written as a lenient server
    /// reads them; `path` is such a reading (see [`LenientReading`]).
    #[must_use]
    pub fn find_folded(&self, host: &str, path: &str) -> Option<&T> {
        let hosts = self.folded.as_deref().unwrap_or(&self.hosts);
        self.entries.get(hosts.find(host, path)?)
    }

    /// Whether a lenient server would read a path of the table otherwise than it is written.
    #[must_use]
    pub const fn is_read_leniently(&self) -> bool {
        self.folded.is_some()
    }

    /// All entries, in the order given.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.entries.iter()
    }
}

impl<'a, T> IntoIterator for &'a RouteTable<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PathMatch {
    /// As a lenient server reads it; nothing where that is how it is written. A format at the end
    /// stays: it was written on purpose.
    fn folded(&self) -> Option<Self> {
        let small = |text: &str| {
            let reading = LenientReading::of(text)?;
            (reading.path() != text).then(|| reading.path().to_owned())
        };
        match self {
            Self::Exact(text) => small(text).map(Self::Exact),
            Self::Prefix(text) => small(text).map(Self::Prefix),
            Self::Regex(regex) => regex.folded().map(Self::Regex),
        }
    }
}

fn has_capitals(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Refuses a path that canonical paths can never equal, as its route would silently be dead.
fn check_path(path: &PathMatch, entry: usize) -> Result<(), RouteTableError> {
    let (PathMatch::Exact(text) | PathMatch::Prefix(text)) = path else {
        return Ok(());
    };
    let canonical = CanonicalPath::parse(text, PathParameters::Allowed)
        .map_err(|source| RouteTableError::Path { entry, source })?;
    if canonical.as_str() == text {
        return Ok(());
    }
    Err(RouteTableError::NotCanonical {
        entry,
        canonical: canonical.as_str().to_owned(),
    })
}

#[cfg(test)]
mod tests;
