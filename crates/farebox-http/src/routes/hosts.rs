//! Paths by host: where a path is looked up once it is canonical.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Host, HostMatch, PathMatch, PathRegex, RouteTableError};

/// The paths of all hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<String, Paths>,
    suffix: HashMap<String, Paths>,
    any: Paths,
}

/// The paths of one host, each with the place of its entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    exact: HashMap<String, usize>,
    /// Longest first.
    prefixes: Vec<(String, usize)>,
    /// In the order given.
    regexes: Vec<(PathRegex, usize)>,
}

impl Hosts {
    pub(super) fn paths_mut(&mut self, host: HostMatch) -> &mut Paths {
        match host.0 {
            Host::Any => &mut self.any,
            Host::Exact(name) => self.exact.entry(name).or_default(),
            Host::Suffix(name) => self.suffix.entry(name).or_default(),
        }
    }

    pub(super) fn find(&self, host: &str, path: &str) -> Option<usize> {
        self.find_by_host(host, path)
            .or_else(|| self.any.find(path))
    }

    fn find_by_host(&self, host: &str, path: &str) -> Option<usize> {
        if self.exact.is_empty() && self.suffix.is_empty() {
            return None;
        }
        let host = comparable(host);
        let find = |paths: &Paths| paths.find(path);
        if let Some(entry) = self.exact.get(host.as_ref()).and_then(find) {
            return Some(entry);
        }
        let mut rest = host.as_ref();
        while let Some((_, suffix)) = rest.split_once('.') {
            rest = suffix;
            if let Some(entry) = self.suffix.get(suffix).and_then(find) {
                return Some(entry);
            }
        }
        None
    }
}

/// A host without port and final dot, in lower case.
fn comparable(host: &str) -> Cow<'_, str> {
    let name = match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

impl Paths {
    pub(super) fn insert(&mut self, path: PathMatch, entry: usize) -> Result<(), RouteTableError> {
        if let Some(first) = self.position_of(&path) {
            return Err(RouteTableError::Duplicate {
                first,
                second: entry,
            });
        }
        match path {
            PathMatch::Exact(text) => {
                self.exact.insert(text, entry);
            }
            PathMatch::Prefix(text) => {
                let at = self
                    .prefixes
                    .partition_point(|(other, _)| other.len() >= text.len());
                self.prefixes.insert(at, (text, entry));
            }
            PathMatch::Regex(regex) => self.regexes.push((regex, entry)),
        }
        Ok(())
    }

    fn position_of(&self, path: &PathMatch) -> Option<usize> {
        match path {
            PathMatch::Exact(text) => self.exact.get(text).copied(),
            PathMatch::Prefix(text) => self
                .prefixes
                .iter()
                .find(|(other, _)| other == text)
                .map(|&(_, entry)| entry),
            PathMatch::Regex(regex) => self
                .regexes
                .iter()
                .find(|(other, _)| other.pattern == regex.pattern)
                .map(|&(_, entry)| entry),
        }
    }

    fn find(&self, path: &str) -> Option<usize> {
        if let Some(&entry) = self.exact.get(path) {
            return Some(entry);
        }
        let under = |(prefix, _): &&(String, usize)| is_under(path, prefix);
        if let Some(&(_, entry)) = self.prefixes.iter().find(under) {
            return Some(entry);
        }
        self.regexes
            .iter()
            .find(|(regex, _)| regex.is_match(path))
            .map(|&(_, entry)| entry)
    }
}

/// Whether `path` is `prefix` or lies under it, at the boundary of a segment.
fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}
