//! The cookies that claims travel in. They are ours alone: no upstream ever sees one.

use std::time::Duration;

use farebox_core::{Binding, RouteName, Terms};
use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};
use sha2::{Digest, Sha256};

/// What the name of each of our cookies begins with.
pub(crate) const PREFIX: &str = "farebox-";
/// Says that a page has just asked its browser to come again; see [`super::visit`].
pub(crate) const RETURNING: &str = "farebox-returning";

/// How many claims a browser keeps for one path; the oldest are taken back from it. Together they
/// have to stay below the 8 KiB that common proxies take in one header line.
pub(crate) const MAX_CLAIMS: usize = 4;
/// How many of our cookies are looked at in one request.
const MAX_READ: usize = 16;

/// One of our cookies, as a browser sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cookie {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// How a cookie is set.
pub(crate) struct Setting<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    pub(crate) path: &'a str,
    pub(crate) max_age: Duration,
    pub(crate) secure: bool,
    pub(crate) same_site: SameSite,
}

/// Which requests a browser adds a cookie to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SameSite {
    /// Those that our own pages make.
    Strict,
    /// Those, and links from elsewhere.
    Lax,
}

/// Takes our cookies off the request; those of others stay as they were.
pub(crate) fn take(headers: &mut HeaderMap) -> Vec<Cookie> {
    let has_ours = |line: &HeaderValue| {
        line.as_bytes()
            .windows(PREFIX.len())
            .any(|part| part == PREFIX.as_bytes())
    };
    if !headers.get_all(COOKIE).iter().any(has_ours) {
        return Vec::new();
    }
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    let mut ours = Vec::new();
    for line in lines {
        if let Some(rest) = without_ours(&line, &mut ours) {
            headers.append(COOKIE, rest);
        }
    }
    ours
}

fn without_ours(line: &HeaderValue, ours: &mut Vec<Cookie>) -> Option<HeaderValue> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for pair in line.as_bytes().split(|&byte| byte == b';') {
        let pair = pair.trim_ascii();
        if !pair.starts_with(PREFIX.as_bytes()) {
            kept.push(pair);
        } else if let Some(cookie) = read(pair).filter(|_| ours.len() < MAX_READ) {
            ours.push(cookie);
        }
    }
    let rest = kept.join(&b"; "[..]);
    HeaderValue::from_bytes(&rest)
        .ok()
        .filter(|rest| !rest.is_empty())
}

fn read(pair: &[u8]) -> Option<Cookie> {
    let (name, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
    Some(Cookie {
        name: name.trim_end().to_owned(),
        value: value.trim_start().to_owned(),
    })
}

/// The name of the cookie for what a token is bound to: this exact request, or whatever its route
/// sells.
pub(crate) fn name_for(terms: &Terms, path: &str, query: Option<&str>) -> String {
    match terms.binding {
        Binding::Request(_) => name_for_request(path, query),
        Binding::Route => name_for_route(&terms.route),
    }
}

/// The name of the cookie for one exact request.
pub(crate) fn name_for_request(path: &str, query: Option<&str>) -> String {
    let mut hasher = Sha256::new();
    hasher.update(b"farebox claim of a request\n");
    hasher.update((path.len() as u64).to_be_bytes());
    hasher.update(path);
    hasher.update([u8::from(query.is_some())]);
    hasher.update(query.unwrap_or_default());
    named(&hasher.finalize())
}

/// The name of the cookie for whatever a route sells.
pub(crate) fn name_for_route(route: &RouteName) -> String {
    let mut hasher = Sha256::new();
    hasher.update(b"farebox claim of a route\n");
    hasher.update(route.as_str());
    named(&hasher.finalize())
}

fn named(digest: &[u8]) -> String {
    format!("{PREFIX}{}", hex::encode(&digest[..8]))
}

impl Setting<'_> {
    /// The value of `Set-Cookie`; none where a part would break out of it.
    pub(crate) fn to_header(&self) -> Option<HeaderValue> {
        let site = match self.same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
        };
        let secure = if self.secure { "; Secure" } else { "" };
        let (name, value, path) = (self.name, self.value, self.path);
        if path
            .bytes()
            .any(|byte| matches!(byte, b';' | b',' | 0..=b' ' | 127..))
        {
            return None;
        }
        let age = self.max_age.as_secs();
        let text = format!(
            "{name}={value}; Path={path}; Max-Age={age}; HttpOnly; SameSite={site}{secure}"
        );
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

/// Where a browser that asked for `path` sends a cookie back to: exactly there. It compares the
/// characters as it wrote them. A path with parameters cannot stand in a cookie, so its folder does.
pub(crate) fn path_of(path: &str) -> &str {
    match path.find([';', ',']) {
        None => path,
        Some(end) => {
            let folder = path[..end].rfind('/').map_or(0, |slash| slash.max(1));
            &path[..folder]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_from(lines: &[&str]) -> (Vec<String>, Vec<String>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
        }
        let ours = take(&mut headers);
        let rest = headers.get_all(COOKIE).iter();
        (
            ours.into_iter()
                .map(|cookie| format!("{}={}", cookie.name, cookie.value))
                .collect(),
            rest.map(|line| line.to_str().unwrap().to_owned()).collect(),
        )
    }

    #[test]
    fn only_our_cookies_are_taken_off() {
        let lines = ["a=1; farebox-00=x; b=2", "farebox-11=y", "c=farebox-22"];
        let (ours, rest) = take_from(&lines);
        assert_eq!(ours, ["farebox-00=x", "farebox-11=y"]);
        assert_eq!(rest, ["a=1; b=2", "c=farebox-22"]);
    }

    #[test]
    fn cookies_without_ours_stay_byte_for_byte() {
        let lines = ["a=1;b=2", " c = 3"];
        let (ours, rest) = take_from(&lines);
        assert!(ours.is_empty());
        assert_eq!(rest, ["a=1;b=2", " c = 3"]);
    }

    #[test]
    fn more_than_a_browser_was_ever_given_is_dropped_unread() {
        let line: Vec<String> = (0..100).map(|n| format!("farebox-{n}=x")).collect();
        let (ours, rest) = take_from(&[&line.join("; ")]);
        assert_eq!(ours.len(), MAX_READ);
        assert!(rest.is_empty());
    }

    #[test]
    fn requests_and_routes_have_names_of_their_own() {
        let route = RouteName::parse("paid").unwrap();
        let names = [
            name_for_request("/a", None),
            name_for_request("/a", Some("")),
            name_for_request("/", Some("a")),
            name_for_route(&route),
        ];
        for (at, name) in names.iter().enumerate() {
            assert_eq!(name.len(), PREFIX.len() + 16);
            assert!(!names[at + 1..].contains(name));
        }
    }

    #[test]
    fn a_path_cannot_add_attributes_to_its_cookie() {
        assert_eq!(path_of("/a/b"), "/a/b");
        assert_eq!(path_of("/a/b;Domain=evil"), "/a");
        assert_eq!(path_of("/;x"), "/");
        let setting = |path| Setting {
            name: "farebox-0",
            value: "v",
            path,
            max_age: Duration::from_secs(5),
            secure: true,
            same_site: SameSite::Strict,
        };
        assert!(setting("/a; Domain=x").to_header().is_none());
        assert_eq!(
            setting("/a").to_header().unwrap(),
            "farebox-0=v; Path=/a; Max-Age=5; HttpOnly; SameSite=Strict; Secure"
        );
    }
}
