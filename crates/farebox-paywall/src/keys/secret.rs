//! What a key looks like, and where requests carry it.

use std::fmt;

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine as _};
use farebox_core::{KeyHash, Secret};
use farebox_wire::credential::CREDENTIAL_HEADERS;
use http::header::{HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

/// Every key begins so; whatever else is in the headers is the upstream's own.
const PREFIX: &str = "sk-farebox-";
/// How much of it stands in front of its first hyphen.
const BEFORE_HYPHEN: usize = "sk".len();
/// The random part of a key, in bytes; twice as many hex digits.
const RANDOM: usize = 32;
/// How much of the hash the public name shows, in bytes.
const PUBLIC: usize = 8;

/// Why the keys of a request are none to pay with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKey {
    /// It begins like a key of ours and is none.
    Malformed,
    /// There are several.
    Ambiguous,
    /// It stands where nobody pays with it, and where it could have reached others.
    Misplaced,
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

/// Reads the key of a request and takes every line off that carries one, readable or not, whatever
/// its name.
///
/// A key pays in any header that is made for credentials, and as an entry of a WebSocket's
/// subprotocols, where browsers have nowhere else to put it. The same key in several places counts
/// once.
///
/// # Errors
/// [`BadKey`] for text that is no key, for several keys, and for a key where none pays.
pub fn take(headers: &mut HeaderMap) -> Result<Option<KeyHash>, BadKey> {
    let mut found = Found::default();
    for name in carriers(headers) {
        if name == SEC_WEBSOCKET_PROTOCOL {
            found.take_protocols(headers);
            continue;
        }
        let pays = CREDENTIAL_HEADERS.contains(&name.as_str());
        for line in headers.get_all(&name) {
            if pays {
                found.read(line.as_bytes());
            } else {
                found.fault(BadKey::Misplaced);
            }
        }
        headers.remove(name);
    }
    found.fault.map_or(Ok(found.key), Err)
}

/// Whether a line holds what could be a key of ours: nobody else may see it.
#[must_use]
pub fn holds_key(line: &[u8]) -> bool {
    let is_long_enough = line.len() >= PREFIX.len();
    is_long_enough
        && (key_at(line).is_some() || basic(line).is_some_and(|pair| key_at(&pair).is_some()))
}

/// Whether the address of a request holds what could be a key of ours: it would be in the logs of
/// everybody on the way. The path comes in its one spelling; of a query each byte may be encoded.
#[must_use]
pub fn is_in_address(path: &str, query: Option<&str>) -> bool {
    let in_query = |query: &str| {
        let is_plain = !query.contains('%');
        key_at(query.as_bytes()).is_some() || (!is_plain && key_at(&decoded(query)).is_some())
    };
    key_at(path.as_bytes()).is_some() || query.is_some_and(in_query)
}

/// What percent signs stand for; one that stands for nothing stays.
fn decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let encoded = after.split_at_checked(2).filter(|_| *byte == b'%');
        let encoded = encoded.and_then(|(digits, after)| {
            let digits = str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, after))
        });
        let (byte, after) = encoded.unwrap_or((*byte, after));
        decoded.push(byte);
        rest = after;
    }
    decoded
}

/// The names of the lines that hold a key, each once.
fn carriers(headers: &HeaderMap) -> Vec<HeaderName> {
    let carry = headers
        .iter()
        .filter(|(_, line)| holds_key(line.as_bytes()));
    let mut names: Vec<_> = carry.map(|(name, _)| name.clone()).collect();
    // The lines of one name follow each other.
    names.dedup();
    names
}

/// Where the first key begins. Every line of every request is looked at, so this goes from hyphen to
/// hyphen, of which most lines have few.
fn key_at(line: &[u8]) -> Option<usize> {
    let hyphens = memchr::memchr_iter(b'-', line);
    let mut starts = hyphens.filter_map(|at| at.checked_sub(BEFORE_HYPHEN));
    starts.find(|&start| {
        let text = line.get(start..start + PREFIX.len());
        text.is_some_and(|text| text.eq_ignore_ascii_case(PREFIX.as_bytes()))
    })
}

/// User and password of a line of the scheme `Basic`, as programs send a key that know no other form.
fn basic(line: &[u8]) -> Option<Vec<u8>> {
    const ANY_PADDING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const LENIENT: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING);
    let text = after_scheme(line.trim_ascii(), b"Basic ")?;
    LENIENT.decode(text).ok()
}

fn after_scheme<'l>(line: &'l [u8], scheme: &[u8]) -> Option<&'l [u8]> {
    let (start, rest) = line.split_at_checked(scheme.len())?;
    start
        .eq_ignore_ascii_case(scheme)
        .then(|| rest.trim_ascii())
}

/// What was found so far.
#[derive(Default)]
struct Found {
    key: Option<KeyHash>,
    fault: Option<BadKey>,
}

impl Found {
    fn fault(&mut self, fault: BadKey) {
        self.fault = self.fault.or(Some(fault));
    }

    /// Text that has to be a key as a whole.
    fn add(&mut self, text: &[u8]) {
        match (hash(text), self.key) {
            (None, _) => self.fault(BadKey::Malformed),
            (Some(hash), None) => self.key = Some(hash),
            (Some(hash), Some(other)) if hash == other => {}
            (Some(_), Some(_)) => self.fault(BadKey::Ambiguous),
        }
    }

    /// A line of a header that is made for credentials and holds a key in one of its lines.
    fn read(&mut self, line: &[u8]) {
        if let Some(pair) = basic(line) {
            let mut halves = pair.splitn(2, |&byte| byte == b':');
            let key = halves.find(|half| key_at(half) == Some(0));
            return self.add(key.unwrap_or(&pair));
        }
        if key_at(line).is_none() {
            return self.fault(BadKey::Ambiguous);
        }
        let line = line.trim_ascii();
        self.add(after_scheme(line, b"Bearer ").unwrap_or(line));
    }

    /// Takes the entries that hold a key out of the subprotocols, such as
    /// `openai-insecure-api-key.sk-farebox-…`; the others stay in their order.
    fn take_protocols(&mut self, headers: &mut HeaderMap) {
        let mut others: Vec<&[u8]> = Vec::new();
        for line in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
            for entry in line.as_bytes().split(|&byte| byte == b',') {
                let entry = entry.trim_ascii();
                match key_at(entry) {
                    None => others.push(entry),
                    Some(at) if at == 0 || entry[at - 1] == b'.' => self.add(&entry[at..]),
                    Some(_) => self.fault(BadKey::Malformed),
                }
            }
        }
        let left = HeaderValue::from_bytes(&others.join(&b", "[..]));
        match left {
            Ok(left) if !left.is_empty() => headers.insert(SEC_WEBSOCKET_PROTOCOL, left),
            _ => headers.remove(SEC_WEBSOCKET_PROTOCOL),
        };
    }
}

fn hash(text: &[u8]) -> Option<KeyHash> {
    let digits = text.strip_prefix(PREFIX.as_bytes())?;
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let whole = digits.len() == 2 * RANDOM && digits.iter().all(is_digit);
    whole.then(|| KeyHash::of_secret(text))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use http::header::AUTHORIZATION;

    use super::*;

    const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

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
    fn a_key_is_found_in_an_address_however_it_is_written() {
        let key = KeySecret::draw().unwrap();
        let (key, digits) = (key.reveal(), &key.reveal()[PREFIX.len()..]);
        assert!(is_in_address(&format!("/v1/{key}/x"), None));
        for query in [
            format!("key={key}"),
            format!("a=1&b=%41&token=sk%2Dfarebox%2d{digits}"),
            format!("%73%6b-farebox-{digits}&c=%"),
            format!("SK-FAREBOX-{digits}"),
        ] {
            assert!(is_in_address("/v1", Some(&query)), "{query}");
        }
        for query in [
            "",
            "key=sk-proj-1",
            "%",
            "a=%2",
            "a=%zz-farebox-",
            "a=100%25",
        ] {
            assert!(!is_in_address("/sk-farebox", Some(query)), "{query}");
        }
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

    #[test]
    fn a_key_pays_in_every_header_that_is_made_for_credentials() {
        let key = KeySecret::draw().unwrap();
        let bearer = format!("Bearer {}", key.reveal());
        for name in CREDENTIAL_HEADERS.map(HeaderName::from_static) {
            for line in [key.reveal(), &bearer] {
                let (read, left) = taken(&[(name.clone(), line)]);
                assert_eq!(read, Ok(Some(key.hash())), "{name}");
                assert!(left.is_empty());
            }
        }
        let pairs = [
            format!("{}:", key.reveal()),
            format!("any:{}", key.reveal()),
        ];
        for pair in pairs {
            let basic = format!("Basic {}", STANDARD.encode(&pair));
            let (read, left) = taken(&[(AUTHORIZATION, &basic)]);
            assert_eq!(read, Ok(Some(key.hash())), "{pair}");
            assert!(left.is_empty());
        }
        let others = [
            (AUTHORIZATION, "Basic dXNlcjpwYXNz"),
            (AUTHORIZATION, "Basic %"),
        ];
        for other in others {
            let (read, left) = taken(std::slice::from_ref(&other));
            assert_eq!((read, left), (Ok(None), headers(&[other])));
        }
    }

    #[test]
    fn a_key_anywhere_else_pays_for_nothing_and_goes_no_further() {
        let key = KeySecret::draw().unwrap();
        let lines = [
            ("cookie", format!("a=1; key={}", key.reveal())),
            ("user-agent", format!("agent/{}", key.reveal())),
            ("referer", format!("https://a.test/?key={}", key.reveal())),
            ("x-unheard-of", key.reveal().to_ascii_uppercase()),
        ];
        for (name, line) in &lines {
            let (read, left) = taken(&[(HeaderName::from_static(name), line)]);
            assert_eq!(read, Err(BadKey::Misplaced), "{name}");
            assert!(left.is_empty());
        }
    }

    #[test]
    fn a_key_among_subprotocols_pays_and_the_others_stay_in_order() {
        let key = KeySecret::draw().unwrap();
        let entry = format!("openai-insecure-api-key.{}", key.reveal());
        let offered = format!("realtime, {entry},openai-beta.realtime-v1");
        let (read, left) = taken(&[(SEC_WEBSOCKET_PROTOCOL, &offered)]);
        assert_eq!(read, Ok(Some(key.hash())));
        assert_eq!(
            left[SEC_WEBSOCKET_PROTOCOL],
            "realtime, openai-beta.realtime-v1"
        );
        let (read, left) = taken(&[(SEC_WEBSOCKET_PROTOCOL, &entry)]);
        assert_eq!(read, Ok(Some(key.hash())));
        assert!(left.is_empty());
        let glued = format!("x{}", key.reveal());
        let (read, left) = taken(&[(SEC_WEBSOCKET_PROTOCOL, &glued)]);
        assert_eq!(read, Err(BadKey::Malformed));
        assert!(left.is_empty());
    }
}
