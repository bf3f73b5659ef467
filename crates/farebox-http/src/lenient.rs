//! What a lenient server may read in a path: everything that some server is known to take for the same.

use std::borrow::Cow;

use percent_encoding::percent_encode_byte;

/// Formats that frameworks let a client ask for behind the name of a resource.
const FORMATS: [&str; 18] = [
    "action", "asp", "aspx", "atom", "csv", "do", "htm", "html", "js", "json", "jsonp", "jsp",
    "php", "rss", "txt", "xml", "yaml", "yml",
];

/// The path that a lenient server may read instead of a canonical one: parameters and what only
/// Windows takes off (`::$DATA`, dots and spaces at the end) cut off its segments, capitals made small and
/// Unicode's other forms of a letter made that letter, no empty segments, no slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LenientReading {
    path: String,
    /// Where the format begins that some servers cut off (`/paid.json`); the end where there is none.
    format_at: usize,
}

impl LenientReading {
    /// Nothing where the path can be read in one way only.
    #[must_use]
    pub fn of(canonical: &str) -> Option<Self> {
        if is_strict(canonical) {
            return None;
        }
        let reading = Self::always(canonical);
        let differs = reading.path != canonical || reading.format_at < reading.path.len();
        differs.then_some(reading)
    }

    /// The reading, which may be the path itself.
    #[must_use]
    pub fn always(canonical: &str) -> Self {
        let mut path = String::with_capacity(canonical.len());
        let canonical = plain_letters(canonical);
        for segment in canonical.split('/') {
            let name = name(segment);
            if !name.is_empty() {
                path.push('/');
                path.push_str(name);
            }
        }
        if path.is_empty() {
            path.push('/');
        }
        path.make_ascii_lowercase();
        let format_at = format_at(&path).unwrap_or(path.len());
        Self { path, format_at }
    }

    /// The path in this reading, its format included.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What may be read: with the format, and without it where there is one.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let bare = (self.format_at < self.path.len()).then(|| &self.path[..self.format_at]);
        std::iter::once(self.path.as_str()).chain(bare)
    }
}

/// Whether a segment may be one of the short names that Windows gives to long ones, such as
/// `FILES~1`: which one it stands for cannot be told from here.
#[must_use]
pub fn has_short_name(canonical: &str) -> bool {
    let is_short = |segment: &str| {
        segment.match_indices('~').any(|(at, _)| {
            let rest = &segment[at + 1..];
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let after = rest.as_bytes().get(digits);
            at > 0 && digits > 0 && !after.is_some_and(u8::is_ascii_alphanumeric)
        })
    };
    canonical.contains('~') && canonical.split('/').any(is_short)
}

/// The usual path, told from others without allocating.
fn is_strict(canonical: &str) -> bool {
    let mut before = 0;
    for byte in canonical.bytes() {
        let is_odd = match byte {
            b'/' => matches!(before, b'/' | b'.'),
            b';' | b':' | b'%' => true,
            _ => byte.is_ascii_uppercase(),
        };
        if is_odd {
            return false;
        }
        before = byte;
    }
    let ends_oddly = matches!(before, b'/' | b'.') && canonical.len() > 1;
    !ends_oddly && format_at(canonical).is_none()
}

/// The path with Unicode's other forms of a letter made that letter: capitals (the Kelvin sign), what
/// shares its capital with another (the long s), and full width. What is no text stays.
fn plain_letters(canonical: &str) -> Cow<'_, str> {
    let Some(bytes) = unescaped(canonical) else {
        return Cow::Borrowed(canonical);
    };
    let mut path = String::with_capacity(canonical.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_ascii() {
                path.push(letter);
            } else {
                push_plain(&mut path, letter);
            }
        }
        let escapes = chunk.invalid().iter().copied().map(percent_encode_byte);
        path.extend(escapes);
    }
    Cow::Owned(path)
}

/// The path with only what is not ASCII unescaped; nothing where all of it is.
fn unescaped(canonical: &str) -> Option<Vec<u8>> {
    let escaped = |part: &str| {
        let byte = u8::from_str_radix(part.get(..2)?, 16).ok()?;
        (!byte.is_ascii()).then_some(byte)
    };
    let mut parts = canonical.split('%');
    let first = parts.next()?;
    let others = parts.clone();
    others.into_iter().find_map(escaped)?;
    let mut bytes = first.as_bytes().to_vec();
    for part in parts {
        if let Some(byte) = escaped(part) {
            bytes.push(byte);
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        } else {
            bytes.push(b'%');
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    Some(bytes)
}

fn push_plain(path: &mut String, letter: char) {
    const FULL_WIDTH: std::ops::RangeInclusive<char> = '\u{ff01}'..='\u{ff5e}';
    let usual = if FULL_WIDTH.contains(&letter) {
        char::from_u32(u32::from(letter) - 0xfee0).unwrap_or(letter)
    } else {
        letter
    };
    for small in usual.to_uppercase().flat_map(char::to_lowercase) {
        if small.is_ascii() {
            path.push(small);
        } else {
            let mut bytes = [0; 4];
            let bytes = small.encode_utf8(&mut bytes).bytes();
            path.extend(bytes.map(percent_encode_byte));
        }
    }
}

/// The part of a segment that counts.
fn name(segment: &str) -> &str {
    let mut name = segment;
    for cut in [";", "%3B", "::$", ":$"] {
        name = name.split(cut).next().unwrap_or_default();
    }
    loop {
        let shorter = name.trim_end_matches('.').trim_end_matches("%20");
        if shorter.len() == name.len() {
            return name;
        }
        name = shorter;
    }
}

fn format_at(path: &str) -> Option<usize> {
    let segment_at = path.rfind('/')? + 1;
    let dot = segment_at + path[segment_at..].rfind('.')?;
    let written = &path[dot + 1..];
    let mut formats = FORMATS.iter();
    let is_format = formats.any(|format| format.eq_ignore_ascii_case(written));
    (dot > segment_at && is_format).then_some(dot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(path: &str) -> Vec<String> {
        let reading = LenientReading::of(path);
        let paths = reading.iter().flat_map(LenientReading::paths);
        paths.map(str::to_owned).collect()
    }

    #[test]
    fn a_plain_path_is_read_in_one_way_only() {
        for path in [
            "/",
            "/a/b",
            "/v1.2/a_b",
            "/.well-known/x",
            "/models/gpt-4.1",
            "/v1/models/gemini:generate",
            "/a%C3%A4",
        ] {
            // Hex digits of an escape are no capitals of a name, but compare the same.
            let read = readings(path);
            assert!(
                read.is_empty() || read == [path.to_ascii_lowercase()],
                "{path}: {read:?}"
            );
        }
    }

    #[test]
    fn a_lenient_server_takes_many_spellings_for_one() {
        for spelling in [
            "/FILES",
            "/files/",
            "//files",
            "/files//",
            "/files.",
            "/files%20",
            "/files.%20.",
            "/files;x=1",
            "/files%3Bx",
            "/files::$DATA",
            "/Files:$i30:$INDEX_ALLOCATION",
        ] {
            assert_eq!(readings(spelling), ["/files"], "{spelling}");
        }
        assert_eq!(readings("/a;x/B/c."), ["/a/b/c"]);
        // The Kelvin sign, the long s, full width.
        for spelling in [
            "/boo%E2%84%AAs",
            "/book%C5%BF",
            "/%EF%BD%82ook%EF%BC%B3",
            "/books%EF%BC%8F",
            "/books%EF%BC%8E",
        ] {
            assert_eq!(readings(spelling), ["/books"], "{spelling}");
        }
        assert_eq!(readings("/%C3%84%FF"), ["/%c3%a4%ff"]);
    }

    #[test]
    fn a_format_behind_the_name_may_be_cut_off() {
        assert_eq!(readings("/files.json"), ["/files.json", "/files"]);
        assert_eq!(readings("/Files.JSON/"), ["/files.json", "/files"]);
        assert!(readings("/files.pdf").is_empty());
        assert!(readings("/.json").is_empty());
    }

    #[test]
    fn a_short_name_is_known_by_its_number() {
        for path in ["/FILES~1", "/a/files~12/x", "/FILES~1.TXT"] {
            assert!(has_short_name(path), "{path}");
        }
        for path in ["/~user", "/~1", "/a~b", "/files~1x", "/files"] {
            assert!(!has_short_name(path), "{path}");
        }
    }
}
