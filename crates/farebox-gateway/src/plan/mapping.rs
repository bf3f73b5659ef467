//! Between the paths that clients ask for and those that an upstream is asked for.

use farebox_http::lenient::LenientReading;

/// How the paths of a route become those of its upstream, and back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathMapping {
    /// Put in front of the canonical path; empty or begins with a slash and does not end with one.
    pub base_path: String,
    /// Taken off the canonical path first; empty when nothing is.
    pub strip_prefix: String,
}

impl PathMapping {
    /// The path that the upstream is asked for, with room for `more` bytes behind it.
    #[must_use]
    pub fn forwarded(&self, path: &str, more: usize) -> String {
        let rest = path.strip_prefix(self.strip_prefix.as_str());
        let rest = rest.unwrap_or(path);
        let complete = rest.starts_with('/') || (rest.is_empty() && !self.base_path.is_empty());
        let slash = if complete { "" } else { "/" };
        let mut target = String::with_capacity(self.base_path.len() + 1 + rest.len() + more);
        for part in [self.base_path.as_str(), slash, rest] {
            target.push_str(part);
        }
        target
    }

    /// The path under which clients find what the upstream calls `forwarded`; none where it lies
    /// outside of what is mapped.
    #[must_use]
    pub fn public(&self, forwarded: &str) -> Option<String> {
        let rest = forwarded.strip_prefix(self.base_path.as_str())?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let public = format!("{}{rest}", self.strip_prefix);
        Some(if public.is_empty() {
            "/".to_owned()
        } else {
            public
        })
    }

    /// The same for paths as a lenient server reads them.
    #[must_use]
    pub fn lenient(&self) -> Self {
        let read = |path: &str| match LenientReading::of(path) {
            Some(reading) => reading.path().to_owned(),
            None => path.to_owned(),
        };
        Self {
            base_path: read(&self.base_path),
            strip_prefix: read(&self.strip_prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(base_path: &str, strip_prefix: &str) -> PathMapping {
        PathMapping {
            base_path: base_path.to_owned(),
            strip_prefix: strip_prefix.to_owned(),
        }
    }

    #[test]
    fn a_path_goes_to_its_upstream_and_back() {
        for (base, prefix, path, forwarded) in [
            ("", "", "/a/b", "/a/b"),
            ("", "", "//a//b", "//a//b"),
            ("/v1", "", "/a", "/v1/a"),
            ("/v1", "/api", "/api/a", "/v1/a"),
            ("/v1", "/api", "/api//a", "/v1//a"),
            ("/v1/complete", "/gpt", "/gpt", "/v1/complete"),
        ] {
            let mapping = mapping(base, prefix);
            assert_eq!(mapping.forwarded(path, 0), forwarded);
            assert_eq!(mapping.public(forwarded).as_deref(), Some(path));
        }
        assert_eq!(mapping("", "/gpt").forwarded("/gpt", 0), "/");
        assert_eq!(mapping("", "").public("").as_deref(), Some("/"));
        assert_eq!(mapping("/v1", "").public("/v10/a"), None);
        assert_eq!(mapping("/v1", "").public("/other"), None);
    }
}
