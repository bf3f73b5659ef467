//! The table from errors to HTTP, and its pages in the documentation.

use std::time::Duration;

use farebox_core::{PaymentHash, UnixMillis};
use farebox_http::client::CallError;
use farebox_ledger::{KeyRefusal, LedgerError};
use farebox_lightning::NodeError;
use farebox_wire::credential::CredentialError;
use farebox_wire::grpc::Code;
use farebox_wire::problem::ProblemKind;

use super::*;

const REFERENCE: &str = include_str!("../../../../docs/reference/errors.md");
const WAIT: RetryAfter = RetryAfter(Duration::from_millis(1500));

const KEYS: [KeyFault; 20] = [
    KeyFault::Malformed,
    KeyFault::Ambiguous,
    KeyFault::Misplaced,
    KeyFault::InAddress,
    KeyFault::Missing,
    KeyFault::Unknown,
    KeyFault::Revoked,
    KeyFault::Expired,
    KeyFault::NotFunded,
    KeyFault::UsedUp,
    KeyFault::Route,
    KeyFault::Model,
    KeyFault::TotalLimit,
    KeyFault::DayLimit {
        resets_at: Some((UnixMillis::from_secs(60), WAIT.0)),
    },
    KeyFault::NoSuchKey,
    KeyFault::NotParent,
    KeyFault::Child,
    KeyFault::Full,
    KeyFault::Body,
    KeyFault::NotSold,
];

const OWED: [Owed; 13] = [
    Owed::Nothing,
    Owed::NotPaidYet,
    Owed::NotSettled,
    Owed::Unproven(PresentedError::Unreadable(CredentialError::Ambiguous)),
    Owed::Unproven(PresentedError::UnknownKey),
    Owed::WrongRoute,
    Owed::WrongMethod,
    Owed::WrongRequest,
    Owed::MissingCapability,
    Owed::Expired,
    Owed::Revoked,
    Owed::Exhausted,
    Owed::Voided,
];

/// What stands in the reference of one word.
fn row(entry: &Entry) -> Option<String> {
    let word = entry.reason?;
    let spoken = entry.problem(farebox_core::RequestId::new(
        UnixMillis::from_secs(0),
        [0; 10],
    ));
    let spoken = spoken.spoken_reason().unwrap_or_else(|| "–".to_owned());
    let (status, code) = (entry.status.as_u16(), entry.kind.code);
    Some(format!("| `{word}` | {spoken} | {status} `{code}` |"))
}

/// The name that gRPC gives a code: `NotFound` is `NOT_FOUND`.
fn name_of(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[test]
fn every_kind_of_problem_is_in_the_reference_as_the_table_has_it() {
    for kind in ProblemKind::ALL {
        let (code, status) = (kind.code, kind.status.as_u16());
        let grpc = format!("{} {}", kind.grpc, name_of(kind.grpc));
        let row = format!("| `{code}` | {status} | {grpc} | {} |", kind.title);
        assert!(REFERENCE.contains(&row), "{row}");
    }
    let rows = REFERENCE.lines().filter(|line| line.starts_with("| `"));
    let kinds = rows.filter(|row| row.matches('|').count() == 5);
    assert_eq!(kinds.count(), ProblemKind::ALL.len());
}

#[test]
fn every_reason_is_in_the_reference_as_the_table_has_it() {
    let of_keys = KEYS.map(|fault| fault.entry());
    let of_tokens = OWED.map(Owed::entry);
    let others = [
        Refusal::from(PaymentError::NotSettled),
        Refusal::from(WAIT),
        Refusal::from(FormError::Unproven(PresentedError::UnknownKey)),
    ];
    let others = others.map(|refusal| refusal.entry());
    for entry in of_keys.iter().chain(&of_tokens).chain(&others) {
        let row = row(entry).expect("a reason");
        assert!(REFERENCE.contains(&row), "{row}");
    }
}

#[test]
fn a_key_that_proves_nothing_is_asked_for_and_an_empty_one_is_told_where_to_top_up() {
    for fault in KEYS {
        let entry = fault.entry();
        let is_asked_for = !entry.authenticate.is_empty();
        assert_eq!(is_asked_for, entry.status == 401, "{fault}");
        let problem = Refusal::from(fault).describe(Problem::new(entry.kind));
        let is_told = problem.member("top_up").is_some();
        assert_eq!(is_told, entry.status == 402, "{fault}");
    }
    let now = UnixMillis::from_secs(10);
    let resets_at = UnixMillis::from_secs(70);
    let limited = |resets_at| KeyFault::of(KeyRefusal::DayLimit { resets_at }, now);
    assert_eq!(
        limited(None).entry().retry_after,
        None,
        "waiting does not help"
    );
    let limited = limited(Some(resets_at));
    assert_eq!(limited.entry().retry_after, Some(Duration::from_secs(60)));
    let problem = Refusal::from(limited).describe(Problem::new(ProblemKind::RATE_LIMITED));
    assert_eq!(problem.member("resets_at"), Some(&70.into()));
}

#[test]
fn what_is_ours_to_mend_is_told_apart_from_what_the_client_or_the_upstream_can() {
    let payment_hash = PaymentHash::from_bytes([1; 32]);
    let repeated = NodeError::RepeatedPaymentHash { payment_hash };
    for ours in [
        Refusal::from(PaymentError::QueueFull),
        PaymentError::SigningKeyGone.into(),
        PaymentError::from(repeated).into(),
        LedgerError::Closed.into(),
        PaywallError::BodyNotKept.into(),
    ] {
        assert_eq!(ours.entry().blame, Blame::Gateway, "{ours}");
        assert!(ours.entry().status.is_server_error(), "{ours}");
    }
    let broken = Refusal::from(UpstreamError::broken("it hung up"));
    assert_eq!(broken.entry().blame, Blame::Upstream);
    assert_eq!(broken.entry().void, VoidReason::CutShort);
    for theirs in [Refusal::from(Busy), WAIT.into(), FormError::Foreign.into()] {
        assert_eq!(theirs.entry().blame, Blame::Client, "{theirs}");
    }
}

#[test]
fn a_stranger_is_told_nothing_that_only_the_operator_should_read() {
    let payment_hash = PaymentHash::from_bytes([0xab; 32]);
    let repeated = PaymentError::from(NodeError::RepeatedPaymentHash { payment_hash });
    let away = PaymentError::from(NodeError::Call(CallError::TimedOut {
        host: "10.0.0.1:8080".to_owned(),
        limit: Duration::from_secs(20),
    }));
    for error in [repeated, away] {
        let told = error.to_string();
        assert!(
            !told.contains("abab") && !told.contains("10.0.0.1"),
            "{told}"
        );
        assert!(std::error::Error::source(&Refusal::from(error)).is_some());
    }
}
