//! The kinds of problems, one table: what each is called, and what its answer is over HTTP and over
//! gRPC.

use http::StatusCode;

use super::TYPE_PREFIX;
use crate::grpc::Code;

/// What sort of problem a document is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemKind {
    /// A stable word in kebab case.
    pub code: &'static str,
    /// The kind in a few words, the same each time.
    pub title: &'static str,
    /// The usual HTTP status.
    pub status: StatusCode,
    /// The status of a gRPC call that ends so.
    pub grpc: Code,
}

impl ProblemKind {
    const fn new(code: &'static str, status: u16, grpc: Code, title: &'static str) -> Self {
        let Ok(status) = StatusCode::from_u16(status) else {
            panic!("the table has a status that HTTP does not know");
        };
        Self {
            code,
            title,
            status,
            grpc,
        }
    }

    /// The URI that stands for this kind.
    #[must_use]
    pub fn type_uri(&self) -> String {
        [TYPE_PREFIX, self.code].concat()
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $grpc:ident, $title:literal;)*) => {
        impl ProblemKind {
            $($(#[$doc])* pub const $name: Self = Self::new($code, $status, Code::$grpc, $title);)*

            /// Every kind in this table.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

kinds! {
    /// Nothing was presented for a priced route.
    PAYMENT_REQUIRED = "payment-required", 402, FailedPrecondition, "This request has to be paid for";
    /// The credential breaks its format.
    CREDENTIAL_MALFORMED = "credential-malformed", 401, Unauthenticated, "The credential cannot be read";
    /// More than one credential.
    CREDENTIAL_AMBIGUOUS = "credential-ambiguous", 401, Unauthenticated, "The request has more than one credential";
    /// Wrong preimage, wrong signature or unknown key.
    CREDENTIAL_INVALID = "credential-invalid", 401, Unauthenticated, "The credential proves no payment";
    /// The credential is for another route, method or request.
    CREDENTIAL_OUT_OF_SCOPE = "credential-out-of-scope", 402, PermissionDenied, "The credential is for something else";
    /// Its time is over.
    CREDENTIAL_EXPIRED = "credential-expired", 402, Unauthenticated, "The credential has expired";
    /// The operator revoked it.
    CREDENTIAL_REVOKED = "credential-revoked", 402, Unauthenticated, "The credential has been revoked";
    /// The request asks for something that has no price.
    NOT_SOLD = "not-sold", 400, InvalidArgument, "Something that the request asks for is not sold here";
    /// Everything it bought has been used.
    CREDENTIAL_EXHAUSTED = "credential-exhausted", 402, ResourceExhausted, "The credential is used up";
    /// Too many of its attempts came to nothing.
    /// The same sale is still being served.
    REQUEST_IN_FLIGHT = "request-in-flight", 409, Aborted, "The same paid request is still in progress";
    /// The idempotency key belongs to another request.
    IDEMPOTENCY_CONFLICT = "idempotency-conflict", 409, FailedPrecondition, "The idempotency key was used for another request";
    /// The same sale has been served and its answer is not kept.
    ANSWER_GONE = "answer-gone", 410, FailedPrecondition, "This paid request was answered before";
    /// The same sale has been served, and its answer is to a request with other header fields.
    ANSWER_UNLIKE = "answer-unlike", 409, FailedPrecondition, "The answer is kept for a request with other header fields";
    /// What is left is held by other requests.
    VALUE_RESERVED = "value-reserved", 429, ResourceExhausted, "What is left is in use by other requests";
    /// Nothing that pays was presented where only a paid token may ask.
    CREDENTIAL_REQUIRED = "credential-required", 401, Unauthenticated, "Only the holder of a paid token may ask";
    /// A holder narrowed the token, and only the token as it was sold may ask.
    CREDENTIAL_ATTENUATED = "credential-attenuated", 403, PermissionDenied, "Only the token as it was sold may ask";
    /// Nothing is paid back here.
    REFUNDS_UNAVAILABLE = "refunds-unavailable", 404, Unimplemented, "Nothing is paid back here";
    /// Our node does not call the payment settled.
    PAYMENT_NOT_SETTLED = "payment-not-settled", 409, FailedPrecondition, "The payment is not settled";
    /// There is nothing left, or less than was asked for.
    NOTHING_TO_REFUND = "nothing-to-refund", 409, FailedPrecondition, "There is not as much to pay back";
    /// Another refund of the token has no end yet.
    REFUND_UNDER_WAY = "refund-under-way", 409, Aborted, "Another refund of this token is under way";
    /// The token was revoked, or voided before its first use.
    REFUND_REVOKED = "refund-revoked", 403, PermissionDenied, "Only the operator can pay back what is on this token";
    /// The destination is unreadable, cannot be paid, or does not take the amount.
    REFUND_DESTINATION = "refund-destination", 422, InvalidArgument, "The refund cannot be paid there";
    /// Less than is ever paid back.
    REFUND_TOO_SMALL = "refund-too-small", 422, InvalidArgument, "The refund is too small to be paid";
    /// A limit on refunds is reached.
    REFUND_LIMIT = "refund-limit-reached", 429, ResourceExhausted, "No more is paid back at the moment";
    /// The payment failed; the money is back on the token.
    REFUND_FAILED = "refund-failed", 502, Aborted, "The refund could not be delivered";
    /// A call of a node's webhook that the node did not sign.
    SIGNATURE_REFUSED = "signature-refused", 401, Unauthenticated, "The signature is missing or wrong";
    /// Too many requests.
    RATE_LIMITED = "rate-limited", 429, ResourceExhausted, "Too many requests";
    /// The request breaks HTTP or our limits on it.
    BAD_REQUEST = "bad-request", 400, InvalidArgument, "The request cannot be read";
    /// Policy forbids it.
    FORBIDDEN = "forbidden", 403, PermissionDenied, "This is not allowed";
    /// No route has this path.
    NOT_FOUND = "not-found", 404, NotFound, "There is nothing here";
    /// The path exists, with other methods.
    METHOD_NOT_ALLOWED = "method-not-allowed", 405, Unimplemented, "This method is not allowed here";
    /// The client took too long to send its request.
    REQUEST_TIMEOUT = "request-timeout", 408, DeadlineExceeded, "The request took too long to arrive";
    /// The body is longer than the route reads.
    BODY_TOO_LARGE = "body-too-large", 413, ResourceExhausted, "The body is too large";
    /// The headers are longer than we read.
    HEADERS_TOO_LARGE = "headers-too-large", 431, ResourceExhausted, "The headers are too large";
    /// A fault of ours.
    INTERNAL = "internal", 500, Internal, "Something went wrong on our side";
    /// The upstream gave no usable answer.
    UPSTREAM_FAILED = "upstream-failed", 502, Unavailable, "The service behind this gateway failed";
    /// Another token would pay (NUT-24).
    ECASH_REFUSED = "ecash-refused", 400, InvalidArgument, "The ecash is not taken";
    /// A mint does not answer, or not in time.
    MINT_UNAVAILABLE = "mint-unavailable", 503, Unavailable, "The mint does not redeem ecash at the moment";
    /// No invoice can be made at present.
    PAYMENT_UNAVAILABLE = "payment-unavailable", 503, Unavailable, "Payment is not possible at the moment";
    /// The process is at one of its limits, or its ledger cannot be reached.
    OVERLOADED = "overloaded", 503, Unavailable, "The gateway cannot take this request at the moment";
    /// The upstream took too long.
    UPSTREAM_TIMEOUT = "upstream-timeout", 504, DeadlineExceeded, "The service behind this gateway took too long";
}
