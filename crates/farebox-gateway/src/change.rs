//! Change as whoever paid with coins reads it: in the header that answers theirs, before the first byte of
//! the answer, and at a price by use once more with its end.

use std::sync::Arc;

use farebox_paywall::ecash::ChangeDue;
use http::header::{HeaderMap, HeaderName, HeaderValue, TE};

/// Where change is fetched that no header tells.
const CHANGE: HeaderName = HeaderName::from_static("farebox-change");
const PICK_UP: HeaderValue = HeaderValue::from_static("/.farebox/change");
/// The longest token that a header tells, in bytes: a default nginx makes a 502 of longer headers.
pub(crate) const MAX_HEADER: usize = 3 * 1024;

/// What the head of an answer told, and what its client can read besides.
#[derive(Clone, Copy)]
pub(crate) struct Told {
    /// How many parts of the change.
    pub(crate) parts: usize,
    /// Whether the client reads trailers.
    pub(crate) takes_trailers: bool,
}

/// Whether the client of a request with these headers reads trailers (RFC 9110 section 10.1.4).
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(TE).iter();
    let mut words = lines.filter_map(|line| line.to_str().ok());
    words.any(|line| {
        let mut words = line.split(',').map(str::trim);
        words.any(|word| word.eq_ignore_ascii_case("trailers"))
    })
}

/// Says where what is left of the coins of a request can be fetched.
pub(crate) fn point(headers: &mut HeaderMap) {
    headers.insert(CHANGE, PICK_UP);
}

/// Tells the change that is due now. What cannot be told stays where it can be fetched. Gives how many parts
/// were told.
pub(crate) async fn tell(change: &Arc<ChangeDue>, headers: &mut HeaderMap) -> usize {
    let told = match change.tell_within(MAX_HEADER).await {
        Ok(told) => told,
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "change could not be told; it can be fetched");
            return 0;
        }
    };
    let first = told.first().filter(|text| text.len() <= MAX_HEADER);
    let Some(Ok(text)) = first.map(|text| HeaderValue::from_str(text)) else {
        return 0;
    };
    headers.insert(HeaderName::from_static(change.header()), text);
    1
}
