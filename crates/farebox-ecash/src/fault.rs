//! What a mint's answer is worth where it is not the one that was asked for.

use std::time::Duration;

use farebox_http::client::{Answer, CallError};

use crate::wire::ErrorJson;

/// Why a call to a mint brought no answer that can be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MintFault {
    /// No byte was sent: the mint cannot know of it.
    #[error("the mint was not reached")]
    NotSent(#[source] CallError),
    /// It asks us to call less often (HTTP 429); it did nothing.
    #[error("the mint has had enough calls for now")]
    Limited {
        /// How long it asks to wait, if it says so.
        retry_after: Option<Duration>,
    },
    /// It refused by a code of the specification.
    #[error("the mint refused (code {code}): {detail}")]
    Refused {
        /// The code.
        code: u64,
        /// Its own words.
        detail: String,
    },
    /// The answer is lost, or of another form: nobody knows what the mint did.
    #[error("the mint's answer was lost")]
    Lost(#[source] CallError),
    /// The answer cannot be read: nobody knows what the mint did.
    #[error("the mint answered with HTTP status {status} and {what}")]
    Unread {
        /// The status.
        status: u16,
        /// What was wrong with it.
        what: &'static str,
    },
}

/// Codes that say for certain that a swap or melt did nothing (`error_codes.md` of the specifications):
/// a bad coin, unbalanced, no such unit or limits, and keysets that are unknown, inactive or expired.
/// Others, such as "spent" and "signed before", may speak of our own earlier attempt.
const CERTAIN: [u64; 8] = [
    10_001, 11_005, 11_006, 11_014, 11_015, 12_001, 12_002, 12_003,
];

impl MintFault {
    pub(crate) fn of_call(error: CallError) -> Self {
        if error.reached_nobody() {
            Self::NotSent(error)
        } else {
            Self::Lost(error)
        }
    }

    /// What an answer with another status than a success is.
    pub(crate) fn of_answer(answer: &Answer) -> Self {
        let status = answer.status.as_u16();
        if status == 429 {
            return Self::Limited {
                retry_after: answer.retry_after,
            };
        }
        let refusal: Option<ErrorJson> = serde_json::from_slice(&answer.body).ok();
        let code = refusal.as_ref().and_then(ErrorJson::code);
        match (refusal, code) {
            (Some(refusal), Some(code)) if answer.status.is_client_error() => Self::Refused {
                code,
                detail: refusal.detail(),
            },
            _ => Self::Unread {
                status,
                what: "no code of a refusal",
            },
        }
    }

    pub(crate) const fn unread(answer: &Answer, what: &'static str) -> Self {
        let status = answer.status.as_u16();
        Self::Unread { status, what }
    }

    /// The code of a refusal after which it is certain that a swap or melt did nothing.
    #[must_use]
    pub fn certain_code(&self) -> Option<u64> {
        match self {
            Self::Refused { code, .. } => Some(*code).filter(|code| CERTAIN.contains(code)),
            Self::NotSent(_) | Self::Limited { .. } | Self::Lost(_) | Self::Unread { .. } => None,
        }
    }

    /// Whether the list of keysets that we have is too old.
    #[must_use]
    pub const fn is_of_keysets(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: 11_005 | 12_001..=12_003,
                ..
            }
        )
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer {
            host: "mint".into(),
            status: StatusCode::from_u16(status).unwrap(),
            is_web_page: body.starts_with('<'),
            retry_after: None,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn what_mints_say_when_they_refuse_is_certain_open_or_a_wish_to_wait() {
        let certain = [
            (400, r#"{"code":12002,"detail":"keyset inactive"}"#),
            (
                400,
                r#"{"code":10001,"error":"proof verification failed","detail":null}"#,
            ),
            (422, r#"{"code":"11005","detail":"unbalanced"}"#),
            (400, r#"{"code":12002,"detail":"Inactive Keyset"}"#),
        ];
        for (status, body) in certain {
            let fault = MintFault::of_answer(&answer(status, body));
            assert!(fault.certain_code().is_some(), "{body}");
        }
        let open = [
            (
                400,
                r#"{"code":10002,"error":"Blinded Message is already signed","detail":null}"#,
            ),
            (400, r#"{"code":11001,"detail":"Token already spent."}"#),
            // As CDK has them.
            (400, r#"{"code":11002,"detail":"Token Pending"}"#),
            (400, r#"{"code":50000,"detail":"Concurrent update"}"#),
            (400, r#"{"code":11007,"detail":"duplicate inputs"}"#),
            (400, r#"{"code":11008,"detail":"duplicate outputs"}"#),
            (
                422,
                r#"{"detail":[{"loc":["body","amount"],"msg":"ensure this value is greater than 0"}]}"#,
            ),
            (400, "no JSON"),
            (500, r#"{"code":12002,"detail":"behind a proxy"}"#),
            (502, "<html>Bad Gateway</html>"),
        ];
        for (status, body) in open {
            let fault = MintFault::of_answer(&answer(status, body));
            assert_eq!(fault.certain_code(), None, "{body}");
            assert!(!matches!(fault, MintFault::Limited { .. }), "{body}");
        }
        for body in [r#"{"detail":"Rate limit exceeded."}"#, "<html></html>"] {
            let fault = MintFault::of_answer(&answer(429, body));
            assert!(matches!(fault, MintFault::Limited { .. }), "{body}");
        }
    }
}
