//! Whether somebody wants a page: content negotiation (RFC 9110 section 12.5.1), as far as a
//! choice between HTML and JSON needs it.

use http::HeaderMap;
use http::header::{ACCEPT, HeaderValue};

/// How many media ranges are looked at.
const MAX_RANGES: usize = 32;

/// How much a client wants something, in thousandths.
type Weight = u16;

/// How much HTML and JSON are wanted, and how plainly each was named.
#[derive(Default)]
struct Wishes {
    html: Weight,
    json: Option<Weight>,
    anything: Weight,
}

/// Whether HTML is asked for by name, and no less than JSON. `*/*` is what programs say; browsers
/// name HTML.
pub(crate) fn prefers_html(headers: &HeaderMap) -> bool {
    let mut wishes = Wishes::default();
    let ranges = headers.get_all(ACCEPT).iter().flat_map(ranges);
    for (range, weight) in ranges.take(MAX_RANGES) {
        wishes.note(range, weight);
    }
    match wishes.json {
        Some(json) => wishes.html > json,
        None => wishes.html > 0 && wishes.html >= wishes.anything,
    }
}

impl Wishes {
    fn note(&mut self, range: &[u8], weight: Weight) {
        let is = |name: &str| range.eq_ignore_ascii_case(name.as_bytes());
        if is("text/html") || is("application/xhtml+xml") {
            self.html = self.html.max(weight);
        } else if is("application/json") || is("application/problem+json") {
            self.json = Some(self.json.unwrap_or(0).max(weight));
        } else if is("*/*") || is("application/*") {
            self.anything = self.anything.max(weight);
        }
    }
}

fn ranges(line: &HeaderValue) -> impl Iterator<Item = (&[u8], Weight)> {
    line.as_bytes().split(|&byte| byte == b',').map(|element| {
        let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let range = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_first_chunk::<2>()?;
            name.eq_ignore_ascii_case(b"q=").then(|| weight(value))
        });
        (range, weight.unwrap_or(1000))
    })
}

/// `0`, `1`, or up to three digits behind the point; anything else wants nothing.
fn weight(text: &[u8]) -> Weight {
    let (whole, fraction) = match text {
        [whole, b'.', fraction @ ..] => (*whole, fraction),
        [whole] => (*whole, &[][..]),
        _ => return 0,
    };
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let mut thousandths: Weight = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return 0,
    };
    for (digit, unit) in fraction.iter().zip([100, 10, 1]) {
        thousandths += Weight::from(digit - b'0') * unit;
    }
    thousandths.min(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefers(accept: &str) -> bool {
        let value = HeaderValue::from_str(accept).unwrap();
        prefers_html(&HeaderMap::from_iter([(ACCEPT, value)]))
    }

    #[test]
    fn browsers_want_html() {
        for browser in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
            "text/html, */*;q=0.01",
            "TEXT/HTML",
            "text/html;level=1;q=0.7, application/json;q=0.5",
            "text/html, */*",
            "application/xhtml+xml",
        ] {
            assert!(prefers(browser), "{browser}");
        }
    }

    #[test]
    fn programs_do_not() {
        assert!(!prefers_html(&HeaderMap::new()));
        for program in [
            "*/*",
            "text/*",
            "",
            "application/json, text/plain, */*",
            "text/html;q=0",
            "text/html;q=0.5, application/json",
            "text/html, application/json",
            "text/html;q=0.1, */*",
            "text/html;q=high",
            "text/htmlx",
        ] {
            assert!(!prefers(program), "{program}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, HeaderValue::from_static("application/json;q=0.4"));
        headers.append(ACCEPT, HeaderValue::from_static("text/html;q=0.5"));
        assert!(prefers_html(&headers));
    }

    #[test]
    fn weights_are_read_in_thousandths() {
        for (text, thousandths) in [
            ("1", 1000),
            ("1.000", 1000),
            ("0", 0),
            ("0.5", 500),
            ("0.05", 50),
            ("0.999", 999),
            ("1.5", 1000),
            ("2", 0),
            ("0.1234", 0),
            ("-1", 0),
            ("", 0),
        ] {
            assert_eq!(weight(text.as_bytes()), thousandths, "{text}");
        }
    }
}
