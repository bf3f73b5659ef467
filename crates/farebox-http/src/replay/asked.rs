//! Which requests a stored answer is for.
//!
//! Method, path, query and body are the sale's affair. Beside them a request asks by header fields
//! for a part of the answer, for a word that it is the same as before, or for it in a certain form.
//! A retry that asks for something else is not given the answer, and is told what the first
//! request sent. What matters depends on the answer:
//!
//! | answer | fields that have to be as in the first request |
//! |---|---|
//! | 206, 416 | `Range`, `If-Range` |
//! | 304, 412 | the conditions: `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since` |
//! | in an encoding | `Accept-Encoding`, unless it takes that encoding |
//! | of a type | `Accept`, unless it takes that type |
//! | in a language | `Accept-Language`, unless it takes that language |

use http::StatusCode;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE,
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};

const PART: [HeaderName; 2] = [RANGE, IF_RANGE];
const CONDITIONS: [HeaderName; 4] = [
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
];
const FORMS: [Form; 3] = [Form::Encoding, Form::Type, Form::Language];

/// What a request asked for by header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked(HeaderMap);

/// A field in which a retry differs from the first request, and what that sent there, if anything.
pub type Differs = (HeaderName, Option<String>);

impl Asked {
    /// What a request with these fields asks for.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut asked = HeaderMap::new();
        let forms = FORMS.map(Form::asked_by);
        for name in PART.iter().chain(&CONDITIONS).chain(&forms) {
            for line in headers.get_all(name) {
                asked.append(name, line.clone());
            }
        }
        Self(asked)
    }

    /// The fields themselves.
    #[must_use]
    pub const fn fields(&self) -> &HeaderMap {
        &self.0
    }

    /// The same, from where its [`fields`](Self::fields) were kept.
    #[must_use]
    pub const fn from_fields(fields: HeaderMap) -> Self {
        Self(fields)
    }

    /// The fields by which a request with `headers` asks for something else than this answer to the
    /// first one is.
    #[must_use]
    pub fn unlike(
        &self,
        headers: &HeaderMap,
        status: StatusCode,
        answer: &HeaderMap,
    ) -> Vec<Differs> {
        let exactly = match status {
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => &PART[..],
            StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED => &CONDITIONS[..],
            _ => &[],
        };
        let forms = FORMS
            .into_iter()
            .filter(|form| !form.is_taken(headers, answer));
        let names = exactly.iter().cloned().chain(forms.map(Form::asked_by));
        let differs = names.filter(|name| !lines(&self.0, name).eq(lines(headers, name)));
        differs.map(|name| self.told(name)).collect()
    }

    fn told(&self, name: HeaderName) -> Differs {
        let lines: Vec<_> = lines(&self.0, &name).map(HeaderValue::as_bytes).collect();
        let sent = String::from_utf8_lossy(&lines.join(&b", "[..])).into_owned();
        (name, (!lines.is_empty()).then_some(sent))
    }
}

fn lines<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a HeaderValue> + use<'a> {
    headers.get_all(name).iter()
}

/// What an answer can be in, one of several.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Encoding,
    Type,
    Language,
}

impl Form {
    const fn asked_by(self) -> HeaderName {
        match self {
            Self::Encoding => ACCEPT_ENCODING,
            Self::Type => ACCEPT,
            Self::Language => ACCEPT_LANGUAGE,
        }
    }

    const fn told_by(self) -> HeaderName {
        match self {
            Self::Encoding => CONTENT_ENCODING,
            Self::Type => CONTENT_TYPE,
            Self::Language => CONTENT_LANGUAGE,
        }
    }

    /// Whether a request takes the form that the answer is in. One that names nothing takes any,
    /// but no encoding.
    fn is_taken(self, headers: &HeaderMap, answer: &HeaderMap) -> bool {
        let told = lines(answer, &self.told_by()).filter_map(|line| line.to_str().ok());
        let mut told = told.flat_map(|line| line.split(',')).map(main);
        let name = self.asked_by();
        if !headers.contains_key(&name) {
            return self != Self::Encoding || told.all(|told| is(told, "identity"));
        }
        told.all(|told| self.takes(headers, told))
    }

    /// Whether the most exact range that a form falls into is not excluded, and there is one.
    fn takes(self, headers: &HeaderMap, told: &str) -> bool {
        let name = self.asked_by();
        let asked = lines(headers, &name).filter_map(|line| line.to_str().ok());
        let ranges = asked.flat_map(|line| line.split(','));
        let fitting = ranges.filter_map(|range| Some((self.exactness(main(range), told)?, range)));
        match fitting.max_by_key(|(exactness, _)| *exactness) {
            Some((_, range)) => !is_excluded(range),
            None => self == Self::Encoding && is(told, "identity"),
        }
    }

    /// How exactly a range names a form; none where it does not.
    fn exactness(self, range: &str, told: &str) -> Option<usize> {
        let part = match self {
            Self::Encoding => None,
            Self::Type => range.strip_suffix('*').filter(|kind| kind.ends_with('/')),
            Self::Language => Some(range),
        };
        match part {
            _ if range == "*" || range == "*/*" => Some(0),
            _ if is(range, told) => Some(usize::MAX),
            Some(part) => {
                let start = told.get(..part.len())?;
                let is_whole = part.ends_with('/') || told[part.len()..].starts_with('-');
                (is(start, part) && is_whole).then_some(part.len())
            }
            None => None,
        }
    }
}

/// A range or a form without its parameters.
fn main(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim()
}

/// Whether a range has a weight of zero.
fn is_excluded(range: &str) -> bool {
    let mut parameters = range.split(';').skip(1).map(str::trim);
    parameters.any(|parameter| {
        let weight = parameter
            .strip_prefix("q=")
            .or(parameter.strip_prefix("Q="));
        weight.is_some_and(|weight| weight.bytes().all(|byte| matches!(byte, b'0' | b'.')))
    })
}

fn is(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines<'a> = &'a [(&'static str, &'static str)];

    fn headers(lines: Lines<'_>) -> HeaderMap {
        let lines = lines.iter();
        lines
            .map(|(name, line)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(line))
            })
            .collect()
    }

    /// The names of the fields in which a retry is unlike the first request.
    fn unlike(first: Lines<'_>, retry: Lines<'_>, status: u16, answer: Lines<'_>) -> Vec<String> {
        let asked = Asked::of(&headers(first));
        let status = StatusCode::from_u16(status).unwrap();
        let differs = asked.unlike(&headers(retry), status, &headers(answer));
        let names = differs.into_iter().map(|(name, _)| name.to_string());
        names.collect()
    }

    #[test]
    fn a_part_is_for_who_asks_for_it_and_a_whole_answer_for_everybody() {
        let (part, other) = (("range", "bytes=0-4"), ("range", "bytes=5-9"));
        for retry in [&[][..], &[other], &[part, ("if-range", "\"a\"")]] {
            assert!(!unlike(&[part], retry, 206, &[]).is_empty(), "{retry:?}");
            assert!(unlike(&[part], retry, 200, &[]).is_empty(), "{retry:?}");
        }
        assert!(unlike(&[part], &[part], 206, &[]).is_empty());
        assert!(unlike(&[], &[part], 200, &[]).is_empty());
    }

    #[test]
    fn a_word_that_all_is_as_before_is_for_who_has_what_was_before() {
        let has = [("if-none-match", "\"v1\"")];
        let newer = [("if-none-match", "\"v2\"")];
        assert_eq!(unlike(&has, &[], 304, &[]), ["if-none-match"]);
        assert_eq!(unlike(&has, &newer, 304, &[]), ["if-none-match"]);
        assert!(unlike(&has, &has, 304, &[]).is_empty());
        let since = [("if-unmodified-since", "Mon, 30 Nov 2026 00:00:00 GMT")];
        assert_eq!(unlike(&since, &[], 412, &[]), ["if-unmodified-since"]);
    }

    #[test]
    fn an_encoding_is_for_who_takes_it() {
        let (first, gzip) = (
            [("accept-encoding", "gzip")],
            [("content-encoding", "gzip")],
        );
        let takes = |line| unlike(&first, &[("accept-encoding", line)], 200, &gzip).is_empty();
        for line in ["gzip", "br, GZIP;q=0.5", "*", "gzip;q=1, *;q=0"] {
            assert!(takes(line), "{line}");
        }
        for line in [
            "br",
            "identity",
            "gzip;q=0",
            "gzip; q=0.000, *",
            "*;q=0",
            "",
        ] {
            assert!(!takes(line), "{line}");
        }
        assert_eq!(unlike(&first, &[], 200, &gzip), ["accept-encoding"]);
        for plain in [&[][..], &[("content-encoding", "identity")]] {
            for retry in [&[][..], &[("accept-encoding", "br")]] {
                assert!(unlike(&first, retry, 200, plain).is_empty());
            }
        }
        let twice = [("content-encoding", "gzip, br")];
        assert!(!unlike(&[], &first, 200, &twice).is_empty());
    }

    #[test]
    fn a_type_and_a_language_are_for_who_takes_them_or_asked_for_the_same() {
        let answer = [
            ("content-type", "text/csv; charset=utf-8"),
            ("content-language", "de-CH"),
        ];
        let takes = |name, line| unlike(&[], &[(name, line)], 200, &answer).is_empty();
        for line in ["text/csv", "application/json, text/*;q=0.1", "*/*;q=0.1"] {
            assert!(takes("accept", line), "{line}");
        }
        for line in ["application/json", "text/csv;q=0, */*", "text/html"] {
            assert!(!takes("accept", line), "{line}");
        }
        for line in ["de-CH, en", "DE;q=0.5", "*"] {
            assert!(takes("accept-language", line), "{line}");
        }
        for line in ["en", "d", "de-AT", "de;q=0"] {
            assert!(!takes("accept-language", line), "{line}");
        }
        assert!(unlike(&[], &[], 200, &answer).is_empty());
        // An upstream that answers so whatever was asked for.
        let json = [("accept", "application/json")];
        assert!(unlike(&json, &json, 200, &answer).is_empty());
    }

    #[test]
    fn what_the_first_request_sent_is_told() {
        let first = headers(&[("range", "bytes=0-4")]);
        let retry = headers(&[("if-range", "\"a\"")]);
        let asked = Asked::of(&first);
        let told = asked.unlike(&retry, StatusCode::PARTIAL_CONTENT, &HeaderMap::new());
        let sent = Some("bytes=0-4".to_owned());
        assert_eq!(told, [(RANGE, sent), (IF_RANGE, None)]);
        assert_eq!(Asked::from_fields(asked.fields().clone()), asked);
    }
}
