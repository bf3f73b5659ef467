//! What a key looks like, and where requests carry it.

use std::fmt;

use farebox_core::{KeyHash, Secret};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};

/// Every key begins so; whatever else is in the two headers is the upstream's own.
const PREFIX: &str = "sk-farebox-";
/// The random part of a key, in bytes; twice as many hex digits.
const RANDOM: usize = 32;
/// How much of the hash the public name shows, in bytes.
const PUBLIC: usize = 8;
/// Where the SDKs of some providers put their key.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Why the keys of a request are none to pay with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKey {
    /// It begins like a key of ours and is none.
    Malformed,
    /// There are several.
    Ambiguous,
}

/// A key as its holder has it.
#[derive(Clone)]
pub struct KeySecret(Secret<String>);

impl KeySecret {
    /// Draws a new one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut random = [0; RANDOM];
        getrandom::fill(&mut random)?;
        Ok(Self(Secret::new(format!(
            "{PREFIX}{}",
            hex::encode(random)
        ))))
    }

    /// The key itself, for the answer to the one who gets it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// What the ledger knows it by.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of_secret(self.0.reveal().as_bytes())
    }

    /// A name that may be shown to anybody: it opens nothing.
    #[must_use]
    pub fn public_id(&self) -> String {
        format!("fk_{}", hex::encode(&self.hash().as_bytes()[..PUBLIC]))
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(…)")
    }
}

/// Reads the key of a request and takes every line off that carries one, readable or not.
///
/// The same key in several places counts once.
///
/// # Errors
/// [`BadKey`] for text that is no key, and for several keys.
pub fn take(headers: &mut HeaderMap) -> Result<Option<KeyHash>, BadKey> {
    let (mut found, mut fault) = (None, None);
    for name in [AUTHORIZATION, API_KEY] {
        let lines = headers.get_all(&name).iter();
        let texts: Vec<_> = lines.map(|line| key_text(&name, line.as_bytes())).collect();
        let carried = texts.iter().flatten().count();
        if carried == 0 {
            continue;
        }
        if carried < texts.len() {
            fault = Some(BadKey::Ambiguous);
        }
        for text in texts.into_iter().flatten() {
            match (hash(text), found) {
                (None, _) => fault = fault.or(Some(BadKey::Malformed)),
                (Some(hash), None) => found = Some(hash),
                (Some(hash), Some(other)) if hash == other => {}
                (Some(_), Some(_)) => fault = Some(BadKey::Ambiguous),
            }
        }
        headers.remove(name);
    }
    fault.map_or(Ok(found), Err)
}

/// What could be a key of ours in one line, whether or not it is one.
fn key_text<'l>(name: &HeaderName, line: &'l [u8]) -> Option<&'l [u8]> {
    let line = line.trim_ascii();
    let text = if *name == AUTHORIZATION {
        let (scheme, rest) = line.split_at_checked("Bearer ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return None;
        }
        rest.trim_ascii()
    } else {
        line
    };
    let start = text.get(..PREFIX.len())?;
    start
        .eq_ignore_ascii_case(PREFIX.as_bytes())
        .then_some(text)
}

fn hash(text: &[u8]) -> Option<KeyHash> {
    let digits = text.strip_prefix(PREFIX.as_bytes())?;
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let whole = digits.len() == 2 * RANDOM && digits.iter().all(is_digit);
    whole.then(|| KeyHash::of_secret(text))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(name, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn taken(lines: &[(HeaderName, &str)]) -> (Result<Option<KeyHash>, BadKey>, HeaderMap) {
        let mut headers = headers(lines);
        (take(&mut headers), headers)
    }

    #[test]
    fn a_drawn_key_is_read_in_either_header_and_in_both() {
        let key = KeySecret::draw().unwrap();
        let (bearer, bare) = (format!("Bearer {}", key.reveal()), key.reveal().to_owned());
        let both = [(AUTHORIZATION, &*bearer), (API_KEY, &*bare)];
        for lines in [&both[..1], &both[1..], &both[..]] {
            let (read, left) = taken(lines);
            assert_eq!(read, Ok(Some(key.hash())));
            assert!(left.is_empty());
        }
        assert_eq!(key.public_id().len(), 19);
        assert!(!format!("{key:?}").contains("sk-"));
    }

    #[test]
    fn the_keys_of_others_stay_where_they_are() {
        let others = [(AUTHORIZATION, "Bearer sk-proj-1"), (API_KEY, "sk-ant-1")];
        let (read, left) = taken(&others);
        assert_eq!(read, Ok(None));
        assert_eq!(left, headers(&others));
    }

    #[test]
    fn two_keys_are_ambiguous_and_both_are_taken_off() {
        let (one, two) = (KeySecret::draw().unwrap(), KeySecret::draw().unwrap());
        let bearer = format!("Bearer {}", one.reveal());
        let (read, left) = taken(&[(AUTHORIZATION, &bearer), (API_KEY, two.reveal())]);
        assert_eq!(read, Err(BadKey::Ambiguous));
        assert!(left.is_empty());
        let (read, left) = taken(&[(AUTHORIZATION, &bearer), (AUTHORIZATION, "Basic x")]);
        assert_eq!(read, Err(BadKey::Ambiguous));
        assert!(left.is_empty());
    }

    #[test]
    fn what_only_begins_like_a_key_is_malformed_and_taken_off() {
        let long = format!("{PREFIX}{}", "a".repeat(65));
        let capital = format!("{PREFIX}{}", "A".repeat(64));
        let shout = format!("SK-FAREBOX-{}", "a".repeat(64));
        for text in [PREFIX, "sk-farebox-1", &long, &capital, &shout] {
            let bearer = format!("bearer  {text}");
            for lines in [[(AUTHORIZATION, &*bearer)], [(API_KEY, text)]] {
                let (read, left) = taken(&lines);
                assert_eq!(read, Err(BadKey::Malformed), "{text}");
                assert!(left.is_empty());
            }
        }
    }
}
