//! The URL by which an invoice is asked for: the provider's callback with our parameters added.

use farebox_core::Msat;
use farebox_http::client::percent_encode;
use http::Uri;

use super::answer::PayParameters;
use crate::AnswerFault;

/// The longest comment that is sent, in bytes, whatever the provider takes.
const MAX_COMMENT: usize = 512;

/// Adds `amount` (LUD-06) and, as far as it is allowed, `comment` (LUD-12) to the callback, whose
/// own query stays as it is.
pub(super) fn url(
    parameters: &PayParameters,
    amount: Msat,
    comment: &str,
) -> Result<Uri, AnswerFault> {
    let mut url = parameters.callback.to_string();
    url.push_str(match parameters.callback.query() {
        None => "?",
        Some("") => "",
        Some(_) => "&",
    });
    let comment = cut(comment, parameters.comment_allowed.min(MAX_COMMENT));
    url.push_str(&format!("amount={}", amount.get()));
    if !comment.is_empty() {
        url.push_str(&format!("&comment={}", percent_encode(comment)));
    }
    url.parse().map_err(|_| AnswerFault::Url)
}

/// Providers count characters, UTF-16 units or bytes; a cut by bytes suits them all.
fn cut(comment: &str, limit: usize) -> &str {
    comment[..comment.floor_char_boundary(limit)].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AmountLimits;

    fn asked(callback: &str, comment_allowed: usize, comment: &str) -> String {
        let parameters = PayParameters {
            callback: callback.parse().unwrap(),
            limits: AmountLimits::ANY,
            metadata_hash: [0; 32],
            comment_allowed,
        };
        url(&parameters, Msat::new(2500).unwrap(), comment)
            .unwrap()
            .to_string()
    }

    #[test]
    fn the_amount_joins_whatever_query_the_callback_has() {
        assert_eq!(asked("https://h/cb", 0, "x"), "https://h/cb?amount=2500");
        assert_eq!(asked("https://h/cb?", 0, "x"), "https://h/cb?amount=2500");
        assert_eq!(
            asked("https://h/cb?a=1&b=", 0, "x"),
            "https://h/cb?a=1&b=&amount=2500"
        );
        assert_eq!(asked("https://h", 0, "x"), "https://h/?amount=2500");
    }

    #[test]
    fn a_comment_is_cut_to_what_the_provider_takes_and_cannot_add_parameters() {
        assert_eq!(
            asked("https://h/c", 9, "a&amount=1"),
            "https://h/c?amount=2500&comment=a%26amount%3D"
        );
        assert_eq!(
            asked("https://h/c", 4, "ab€"),
            "https://h/c?amount=2500&comment=ab"
        );
        assert_eq!(
            asked("https://h/c", 5, "ab€"),
            "https://h/c?amount=2500&comment=ab%E2%82%AC"
        );
        assert_eq!(asked("https://h/c", 5, ""), "https://h/c?amount=2500");
    }
}
