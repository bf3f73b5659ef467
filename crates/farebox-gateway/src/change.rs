//! Change as whoever paid with coins reads it: in the header that answers theirs, before the first byte of
//! the answer.

use farebox_paywall::ecash::ChangeDue;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Where change is fetched that no header tells.
const CHANGE: HeaderName = HeaderName::from_static("farebox-change");
const PICK_UP: HeaderValue = HeaderValue::from_static("/.farebox/change");
/// The longest token that a header tells, in bytes: a default nginx makes a 502 of longer headers.
const MAX_HEADER: usize = 3 * 1024;

/// Tells the change that is due now. What cannot be told stays where it can be fetched, and the answer says
/// where.
pub(crate) async fn tell(change: &ChangeDue, headers: &mut HeaderMap) {
    headers.insert(CHANGE, PICK_UP);
    let told = match change.tell().await {
        Ok(told) => told,
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "change could not be told; it can be fetched");
            return;
        }
    };
    let first = told.first().filter(|text| text.len() <= MAX_HEADER);
    if let Some(Ok(text)) = first.map(|text| HeaderValue::from_str(text)) {
        headers.insert(HeaderName::from_static(change.header()), text);
    }
}
