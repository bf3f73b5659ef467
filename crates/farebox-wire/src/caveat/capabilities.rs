//! `<route>_capabilities=read,write`: what a token may ask of its route, after LSAT's
//! `<service>_capabilities`.

use std::fmt;

use farebox_core::RouteName;

/// The most capabilities of one token.
pub const MAX_CAPABILITIES: usize = 16;
/// The longest name of a capability, in bytes.
pub const MAX_CAPABILITY_LENGTH: usize = 32;

/// What the word of the caveat ends in.
const SUFFIX: &str = "_capabilities";

/// Names of what may be asked of a route: at least one, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities(Box<[Box<str>]>);

/// Text that names no capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected 1 to {MAX_CAPABILITIES} different names of A-Z, a-z, 0-9, _ and -, each of at most \
     {MAX_CAPABILITY_LENGTH} characters"
)]
pub struct BadCapabilities;

impl Capabilities {
    /// The set of these names.
    ///
    /// # Errors
    /// [`BadCapabilities`].
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, BadCapabilities> {
        let mut names: Vec<Box<str>> = names.into_iter().map(Box::from).collect();
        let written = names.len();
        names.sort_unstable();
        names.dedup();
        let fits = (1..=MAX_CAPABILITIES).contains(&written) && names.len() == written;
        if fits && names.iter().all(|name| is_name(name)) {
            Ok(Self(names.into()))
        } else {
            Err(BadCapabilities)
        }
    }

    /// Reads them as they stand in a caveat, with commas between them.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::new(text.split(',')).ok()
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|known| &**known == name)
    }

    /// Whether all of these are among `others`.
    #[must_use]
    pub fn is_within(&self, others: &Self) -> bool {
        self.0.iter().all(|name| others.contains(name))
    }

    /// The caveat that says them of a route.
    #[must_use]
    pub fn caveat(&self, route: &RouteName) -> String {
        format!("{route}{SUFFIX}={self}")
    }
}

/// Whether `word` is the word for the capabilities on this route.
pub(super) fn is_word_for(route: &RouteName, word: &str) -> bool {
    word.strip_suffix(SUFFIX) == Some(route.as_str())
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=MAX_CAPABILITY_LENGTH).contains(&name.len()) && name.bytes().all(allowed)
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_one_spelling() {
        let set = Capabilities::parse("write,read").unwrap();
        assert_eq!(set.to_string(), "read,write");
        let route = RouteName::parse("weather").unwrap();
        assert_eq!(set.caveat(&route), "weather_capabilities=read,write");
        assert!(is_word_for(&route, "weather_capabilities"));
        assert!(!is_word_for(&route, "other_capabilities"));
        assert!(!is_word_for(&route, "capabilities"));
    }

    #[test]
    fn what_names_nothing_or_one_thing_twice_is_no_set() {
        let long = "x".repeat(MAX_CAPABILITY_LENGTH + 1);
        let many: Vec<_> = (0..=MAX_CAPABILITIES).map(|n| n.to_string()).collect();
        for bad in [
            "",
            ",",
            "a,",
            "a,a",
            "a b",
            "a=b",
            "é",
            &long,
            &many.join(","),
        ] {
            assert_eq!(Capabilities::parse(bad), None, "{bad}");
        }
    }
}
