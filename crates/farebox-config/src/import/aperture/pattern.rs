//! Go's regular expressions, which may match anywhere in a text, as ours, which always match the
//! whole of a path; and hosts, which are names here.

/// The same paths, by a regex for the whole path. Nothing written is any path.
pub(super) fn path(go: &str) -> String {
    if go.is_empty() {
        return "/.*".to_owned();
    }
    // An alternative may have anchors of its own: then it stays as it is, inside of a group.
    if go.contains('|') {
        return format!(".*(?:{go}).*");
    }
    let (front, rest) = match go.strip_prefix('^') {
        Some(rest) => ("", rest),
        None => (".*", go),
    };
    let (rest, back) = match rest.strip_suffix('$') {
        Some(rest) if !ends_escaped(rest) => (rest, ""),
        _ => (rest, ".*"),
    };
    let front = if rest.starts_with(".*") { "" } else { front };
    let ends_open = rest.ends_with(".*") && !rest.ends_with("\\.*");
    let back = if ends_open { "" } else { back };
    format!("{front}{rest}{back}")
}

/// Whether every path matches, by a regex out of [`path`].
pub(super) fn is_everything(regex: &str) -> bool {
    matches!(regex, ".*" | "/.*" | ".*/.*")
}

/// Whether what comes next is taken literally.
fn ends_escaped(text: &str) -> bool {
    let slashes = text.bytes().rev().take_while(|byte| *byte == b'\\');
    slashes.count() % 2 == 1
}

/// What a regex for hosts says in the form of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// Any.
    Any,
    /// This name, or with `*.` all below one.
    Name(String),
    /// No form of ours.
    Other,
}

/// The hosts of a regex. A port in it is left out, since hosts are compared without.
pub(super) fn host(go: &str) -> Host {
    let inner = go.strip_prefix('^').unwrap_or(go);
    let inner = inner.strip_suffix('$').unwrap_or(inner);
    if matches!(inner, "" | ".*" | ".+" | "(.*)") {
        return Host::Any;
    }
    let below = [".*\\.", ".+\\.", "(.*)\\.", "(.+)\\.", "[^.]+\\."];
    let suffix = below.iter().find_map(|any| inner.strip_prefix(any));
    let (star, name) = suffix.map_or(("", inner), |name| ("*.", name));
    let name = name.replace("\\.", ".").replace("\\-", "-");
    let name = match name.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name.to_owned(),
        _ => name,
    };
    let in_names = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    if name.is_empty() || !name.bytes().all(in_names) {
        return Host::Other;
    }
    Host::Name(format!("{star}{name}"))
}

#[cfg(test)]
mod tests {
    use farebox_http::routes::PathRegex;

    use super::*;

    #[test]
    fn the_same_paths_match_as_before() {
        // What Go's `MatchString` says of them.
        for (go, matching, other) in [
            ("^/v1/.*$", "/v1/a", "/v2/a"),
            ("^/v1/.*$", "/v1/", "/a/v1/"),
            ("^/loop", "/loopx/y", "/a/loop"),
            ("/free", "/a/free/b", "/fre"),
            ("x$", "/a/x", "/x/a"),
            ("^/a$|^/b$", "/b", "/ab"),
            ("/a|/b$", "/b/a/c", "/b/c"),
            ("^/price\\$", "/price$/x", "/price"),
            ("^/file\\.*", "/file..x", "/fil"),
            ("", "/", "x"),
        ] {
            let regex = PathRegex::parse(&path(go)).unwrap();
            assert!(regex.is_match(matching), "{go} as {}", path(go));
            assert!(
                go.is_empty() || !regex.is_match(other),
                "{go} as {}",
                path(go)
            );
        }
    }

    #[test]
    fn plain_patterns_stay_plain() {
        assert_eq!(path("^/v1/.*$"), "/v1/.*");
        assert_eq!(path("^/x$"), "/x");
        assert!(
            ["", "^/.*$", ".*", "^.*$", "/"]
                .into_iter()
                .all(|go| is_everything(&path(go)))
        );
        assert!(!is_everything(&path("^/v1")));
    }

    #[test]
    fn hosts_are_names_where_they_can_be() {
        let name = |text: &str| Host::Name(text.to_owned());
        for (go, expected) in [
            ("^service1.com$", name("service1.com")),
            ("^api\\.example\\.com(:443)?$", Host::Other),
            ("service2.com:8083", name("service2.com")),
            ("^.*\\.example\\.com$", name("*.example.com")),
            ("", Host::Any),
            ("^.*$", Host::Any),
            ("^(a|b)\\.example\\.com$", Host::Other),
            ("^localhost:.*$", Host::Other),
            ("127.0.0.1", name("127.0.0.1")),
        ] {
            assert_eq!(host(go), expected, "{go}");
        }
    }
}
