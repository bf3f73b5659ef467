//! Where an answer says that something lies: what the upstream says of itself is said of us.
//!
//! Clients neither can nor should go to the upstream's own address, and its paths are not the public
//! ones where a prefix was put in front or taken off. What lies elsewhere is left as it is.

use farebox_http::path::reference;
use http::header::{CONTENT_LOCATION, HeaderMap, HeaderValue, LINK, LOCATION, REFRESH};

use crate::plan::Upstream;

/// Writes what an answer says about places of the upstream's own as the public ones. Answers whether
/// its `Location` is one of them.
pub(super) fn map_back(headers: &mut HeaderMap, upstream: &Upstream) -> bool {
    let moved = headers.get(LOCATION).and_then(|line| line.to_str().ok());
    let is_own = moved.is_some_and(|place| Place::of(place, upstream) != Place::Elsewhere);
    for (name, line) in headers.iter_mut() {
        let public: fn(&str, &Upstream) -> Option<String> = match name {
            _ if *name == LOCATION || *name == CONTENT_LOCATION => whole,
            _ if *name == LINK => linked,
            _ if *name == REFRESH => refreshed,
            _ => continue,
        };
        let written = line.to_str().ok().and_then(|line| public(line, upstream));
        if let Some(written) = written.and_then(|text| HeaderValue::try_from(text).ok()) {
            *line = written;
        }
    }
    is_own
}

/// Where a reference of the upstream leads.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// To another server.
    Elsewhere,
    /// To one beside the resource, which is also beside it under its public path.
    Beside,
    /// To this path of the upstream, with what comes behind it.
    Path(&'a str),
}

impl<'a> Place<'a> {
    fn of(text: &'a str, upstream: &Upstream) -> Self {
        let scheme = upstream.scheme.as_str();
        let after_scheme = match text.find(':') {
            Some(colon) if is_scheme(&text[..colon]) => {
                let rest = &text[colon + 1..];
                if !text[..colon].eq_ignore_ascii_case(scheme) || !rest.starts_with("//") {
                    return Self::Elsewhere;
                }
                rest
            }
            _ => text,
        };
        let Some(rest) = after_scheme.strip_prefix("//") else {
            return if after_scheme.starts_with('/') {
                Self::Path(after_scheme)
            } else {
                Self::Beside
            };
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if upstream.is_at(authority) {
            Self::Path(path)
        } else {
            Self::Elsewhere
        }
    }
}

fn is_scheme(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

impl Upstream {
    /// Whether this is its own host and port.
    fn is_at(&self, authority: &str) -> bool {
        let default = if self.scheme == http::uri::Scheme::HTTPS {
            ":443"
        } else {
            ":80"
        };
        let bare = |text: &str| {
            text.strip_suffix(default)
                .unwrap_or(text)
                .to_ascii_lowercase()
        };
        bare(authority) == bare(self.pool.authority().as_str())
    }

    /// The public form of a reference; none where it stays as it is.
    fn public(&self, text: &str) -> Option<String> {
        let Place::Path(place) = Place::of(text, self) else {
            return None;
        };
        let end = place.find(['?', '#']).unwrap_or(place.len());
        let (path, rest) = place.split_at(end);
        // What lies outside of what is mapped has no public path, but its address is not shown.
        let public = self.mapping.public(path);
        let public = public.unwrap_or_else(|| if path.is_empty() { "/" } else { path }.to_owned());
        Some(format!("{}{rest}", reference(&public)))
    }
}

/// The line of a field that is one reference.
fn whole(line: &str, upstream: &Upstream) -> Option<String> {
    upstream.public(line.trim())
}

/// The line of `Link: <…>; rel=next, <…>`.
fn linked(line: &str, upstream: &Upstream) -> Option<String> {
    let mut written = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('<') {
        let (before, behind) = rest.split_at(at + 1);
        let end = behind.find('>').unwrap_or(behind.len());
        let (place, after) = behind.split_at(end);
        written.push_str(before);
        written.push_str(upstream.public(place).as_deref().unwrap_or(place));
        rest = after;
    }
    written.push_str(rest);
    Some(written)
}

/// The line of `Refresh: 5; url=…`.
fn refreshed(line: &str, upstream: &Upstream) -> Option<String> {
    let (before, place) = line.split_once('=')?;
    let place = place.trim().trim_matches(['"', '\'']);
    Some(format!("{before}={}", upstream.public(place)?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::upstream;
    use super::*;
    use http::header::HeaderName;

    fn mapped(base: &str, prefix: &str, name: HeaderName, line: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(&name, HeaderValue::from_static(line));
        map_back(&mut headers, &upstream(base, prefix));
        headers[name].to_str().unwrap().to_owned()
    }

    #[test]
    fn places_of_the_upstream_are_written_as_the_public_ones() {
        for (sent, public) in [
            ("http://upstream.test/base/weather/", "/pub/weather/"),
            (
                "HTTP://Upstream.Test:80/base/a?b=/base#c",
                "/pub/a?b=/base#c",
            ),
            ("//upstream.test/base/a", "/pub/a"),
            ("/base/weather/", "/pub/weather/"),
            ("http://upstream.test/base", "/pub"),
            ("http://upstream.test/login", "/login"),
            ("http://upstream.test", "/"),
        ] {
            assert_eq!(mapped("/base", "/pub", LOCATION, sent), public, "{sent}");
        }
        assert_eq!(
            mapped("", "", LOCATION, "http://upstream.test//evil.test/"),
            "/.//evil.test/"
        );
    }

    #[test]
    fn places_elsewhere_and_beside_stay_as_they_are() {
        for sent in [
            "https://upstream.test/base/a",
            "http://upstream.test:8080/base/a",
            "http://user@upstream.test/base/a",
            "http://elsewhere.test/base/a",
            "//elsewhere.test/base",
            "weather/",
            "?page=2",
            "mailto:a@upstream.test",
        ] {
            assert_eq!(mapped("/base", "/pub", LOCATION, sent), sent);
        }
    }

    #[test]
    fn the_kin_of_location_is_mapped_too() {
        let link = "<http://upstream.test/base/a?page=2>; rel=\"next\", </base/b>; rel=prev, \
                    <https://else.test/base>; rel=x";
        assert_eq!(
            mapped("/base", "/pub", LINK, link),
            "</pub/a?page=2>; rel=\"next\", </pub/b>; rel=prev, <https://else.test/base>; rel=x"
        );
        assert_eq!(
            mapped(
                "/base",
                "/pub",
                REFRESH,
                "5; url=http://upstream.test/base/a"
            ),
            "5; url=/pub/a"
        );
        assert_eq!(
            mapped("/base", "/pub", CONTENT_LOCATION, "/base/a"),
            "/pub/a"
        );
    }
}
