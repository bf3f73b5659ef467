//! The one path of a request: what routes are matched against is byte for byte what is forwarded.
//!
//! Proxies that match one spelling of a path and forward another let `/free/../paid` through
//! unpaid. So every spelling becomes one [`CanonicalPath`], and spellings on which servers are
//! known to disagree (encoded slashes, backslashes, double encoding, parameters behind dots) are
//! refused rather than guessed at. Nothing here looks at routes, queries or the upstream.

use std::borrow::Cow;

use percent_encoding::percent_encode_byte;

/// The longest path that is read, in bytes.
pub const MAX_PATH_BYTES: usize = 8 * 1024;

/// The path of a request in its one spelling: it starts with `/`, unreserved characters (RFC 3986
/// section 2.3) stand for themselves, every other byte outside `pchar` is an upper-case escape,
/// and there are no dot segments. Empty segments stay: `/a//b` is another resource than `/a/b`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CanonicalPath<'a>(Cow<'a, str>);

/// What is done about `;`, which some servers cut off a segment, and others do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathParameters {
    /// A path with `;`, plain or encoded, is refused.
    #[default]
    Refused,
    /// `;` is an ordinary character, except behind a dot segment (`..;x`).
    Allowed,
}

/// Why a path is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// `*`, the target of a server-wide OPTIONS: it names no resource, so it matches no route.
    #[error("the request target * names no resource")]
    Asterisk,
    /// It does not start with a slash.
    #[error("the path does not start with a slash")]
    Relative,
    /// It is longer than [`MAX_PATH_BYTES`].
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
    /// A percent sign without two hex digits behind it.
    #[error("the path has a percent sign without two hex digits")]
    MalformedEscape,
    /// A slash or backslash written as an escape.
    #[error("the path has an encoded slash or backslash")]
    EncodedSeparator,
    /// A backslash.
    #[error("the path has a backslash")]
    Backslash,
    /// A control character or NUL, plain or encoded, or one of space, `?` and `#` unencoded.
    #[error("the path has a character that no path may have")]
    ForbiddenCharacter,
    /// An escape that is itself escaped, as in `%252e`.
    #[error("the path is percent-encoded twice")]
    EncodedTwice,
    /// An ASCII character spelled in more bytes than UTF-8 allows, as in `%c0%af`.
    #[error("the path has an overlong UTF-8 sequence")]
    Overlong,
    /// Lenient servers would read it as another path, which has a price.
    #[error("the path is an unusual spelling of one that has a price")]
    Lookalike,
    /// A `;` where [`PathParameters`] does not let it through.
    #[error("the path has a parameter (;)")]
    Parameter,
}

/// How a byte of the raw path is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// `pchar` that needs no thought.
    Plain,
    /// Changes the structure of the path or stands for something else.
    Structure,
    /// Must be an escape in the canonical form.
    Escape,
    /// Never in a path.
    Forbidden,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Escape; 256];
    let mut byte = 0_u8;
    loop {
        classes[byte as usize] = match byte {
            b'/' | b'%' | b';' | b'\\' => Class::Structure,
            _ if is_unreserved(byte) => Class::Plain,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@' => {
                Class::Plain
            }
            0..=b' ' | b'?' | b'#' | 0x7f => Class::Forbidden,
            _ => Class::Escape,
        };
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    classes
};

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

impl<'a> CanonicalPath<'a> {
    /// Brings `raw`, the path of a request target without its query, into the canonical form.
    /// Borrows where it already has it. Parsing a canonical path gives the same path.
    ///
    /// # Errors
    /// [`PathError`] says which rule it breaks; the text is never part of the error.
    pub fn parse(raw: &'a str, parameters: PathParameters) -> Result<Self, PathError> {
        if raw == "*" {
            return Err(PathError::Asterisk);
        }
        if !raw.starts_with('/') {
            return Err(PathError::Relative);
        }
        if raw.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong);
        }
        if is_plain(raw.as_bytes()) {
            return Ok(Self(Cow::Borrowed(raw)));
        }
        let canonical = Writer::new(raw, parameters).write()?;
        // Escaping may have lengthened it, and what we forward must pass our own check.
        if canonical.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong);
        }
        Ok(Self(if canonical == raw {
            Cow::Borrowed(raw)
        } else {
            Cow::Owned(canonical)
        }))
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path, owned.
    #[must_use]
    pub fn into_owned(self) -> CanonicalPath<'static> {
        CanonicalPath(Cow::Owned(self.0.into_owned()))
    }
}

/// Whether a path that starts with a slash is canonical and without escapes or parameters: the
/// usual case, decided without allocating.
fn is_plain(path: &[u8]) -> bool {
    let mut after_slash = false;
    for &byte in path {
        match byte {
            b'.' if after_slash => return false,
            b'/' => after_slash = true,
            _ if CLASSES[usize::from(byte)] == Class::Plain => after_slash = false,
            _ => return false,
        }
    }
    true
}

/// Writes the canonical form, segment by segment.
struct Writer<'a> {
    raw: &'a [u8],
    parameters: PathParameters,
    out: String,
    /// Where the segment being written starts in `out`; a slash stands before it.
    segment_at: usize,
}

impl<'a> Writer<'a> {
    fn new(raw: &'a str, parameters: PathParameters) -> Self {
        let mut out = String::with_capacity(raw.len());
        out.push('/');
        Self {
            raw: &raw.as_bytes()[1..],
            parameters,
            out,
            segment_at: 1,
        }
    }

    fn write(mut self) -> Result<String, PathError> {
        let mut at = 0;
        while let Some(&byte) = self.raw.get(at) {
            at += 1;
            match byte {
                b'%' => {
                    let decoded = self.escape(at)?;
                    self.check_overlong(decoded, at + 2)?;
                    self.decoded(decoded)?;
                    at += 2;
                }
                b'/' => self.end_segment(true)?,
                b';' => self.parameter(';')?,
                b'\\' => return Err(PathError::Backslash),
                _ => self.plain(byte)?,
            }
        }
        self.end_segment(false)?;
        refuse_encoded_twice(&self.out)?;
        Ok(self.out)
    }

    /// The byte whose two hex digits start at `at`.
    fn escape(&self, at: usize) -> Result<u8, PathError> {
        let digits = self.raw.get(at..at + 2).ok_or(PathError::MalformedEscape)?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).map_err(|_| PathError::MalformedEscape)?;
        Ok(byte[0])
    }

    /// Refuses the first byte of a UTF-8 sequence that is longer than what it encodes needs; `next`
    /// is where the escape of its second byte would stand.
    fn check_overlong(&self, first: u8, next: usize) -> Result<(), PathError> {
        let second = || match self.raw.get(next) {
            Some(b'%') => self.escape(next + 1).map(Some),
            _ => Ok(None),
        };
        let overlong = match first {
            0xc0 | 0xc1 => true,
            0xe0 => second()?.is_some_and(|byte| (0x80..0xa0).contains(&byte)),
            0xf0 => second()?.is_some_and(|byte| (0x80..0x90).contains(&byte)),
            _ => false,
        };
        if overlong {
            Err(PathError::Overlong)
        } else {
            Ok(())
        }
    }

    /// A byte that came as an escape.
    fn decoded(&mut self, byte: u8) -> Result<(), PathError> {
        match byte {
            b'/' | b'\\' => return Err(PathError::EncodedSeparator),
            0..0x20 | 0x7f => return Err(PathError::ForbiddenCharacter),
            b';' if self.parameters == PathParameters::Refused => return Err(PathError::Parameter),
            _ if is_unreserved(byte) => self.out.push(char::from(byte)),
            _ => self.push_escape(byte),
        }
        Ok(())
    }

    /// A byte that stands for itself, and for nothing else.
    fn plain(&mut self, byte: u8) -> Result<(), PathError> {
        match CLASSES[usize::from(byte)] {
            Class::Plain | Class::Structure => self.out.push(char::from(byte)),
            Class::Escape => self.push_escape(byte),
            Class::Forbidden => return Err(PathError::ForbiddenCharacter),
        }
        Ok(())
    }

    fn parameter(&mut self, semicolon: char) -> Result<(), PathError> {
        let segment = &self.out[self.segment_at..];
        if self.parameters == PathParameters::Refused || is_dots(segment) || segment.is_empty() {
            return Err(PathError::Parameter);
        }
        self.out.push(semicolon);
        Ok(())
    }

    fn push_escape(&mut self, byte: u8) {
        self.out.push_str(percent_encode_byte(byte));
    }

    fn end_segment(&mut self, slash: bool) -> Result<(), PathError> {
        let segment = &self.out[self.segment_at..];
        // A server that decodes before it cuts parameters off would see a dot segment here.
        if let Some((name, _)) = segment.split_once("%3B")
            && (is_dots(name) || name.is_empty())
        {
            return Err(PathError::Parameter);
        }
        match segment {
            "." => self.out.truncate(self.segment_at),
            ".." => self.leave_segment(),
            _ if slash => self.out.push('/'),
            _ => {}
        }
        self.segment_at = self.out.len();
        Ok(())
    }

    /// Removes a `..` and the segment before it; the root is its own parent (RFC 3986 section
    /// 5.2.4).
    fn leave_segment(&mut self) {
        self.out.truncate(self.segment_at - 1);
        let parent = self.out.rfind('/').map_or(0, |slash| slash + 1);
        self.out.truncate(parent);
        if self.out.is_empty() {
            self.out.push('/');
        }
    }
}

/// A canonical path as a reference that nobody takes for another host, which `//elsewhere` would be.
#[must_use]
pub fn reference(canonical: &str) -> Cow<'_, str> {
    if canonical.starts_with("//") {
        Cow::Owned(format!("/.{canonical}"))
    } else {
        Cow::Borrowed(canonical)
    }
}

fn is_dots(segment: &str) -> bool {
    segment == "." || segment == ".."
}

/// Looks at the finished path, as the digits of the inner escape may have been escapes themselves.
fn refuse_encoded_twice(canonical: &str) -> Result<(), PathError> {
    let twice = canonical.match_indices("%25").any(|(at, _)| {
        let inner = canonical.as_bytes().get(at + 3..at + 5);
        inner.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if twice {
        Err(PathError::EncodedTwice)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
