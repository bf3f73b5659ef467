//! The way back to one's own challenge over HTTP: in cookies for people with browsers, in a header for
//! programs.

pub(crate) mod cookies;
pub(crate) mod form;
pub(crate) mod redeem;
pub(crate) mod status;
pub(crate) mod visit;
pub(crate) mod way_back;

use std::sync::Arc;

use farebox_http::body_budget::Shares;
use farebox_http::drain::DrainSignal;
use farebox_paywall::Paywall;
use http::header::HeaderName;

/// The header of a challenge that brings its client back, and of the request that does.
pub(crate) const CLAIM: HeaderName = HeaderName::from_static("farebox-claim");
/// Asks what became of a claim's invoice, and for nothing else.
pub(crate) const CLAIM_STATUS: HeaderName = HeaderName::from_static("farebox-claim-status");

/// What tells whether claims are paid, for all data threads.
pub(crate) struct Claims {
    pub(crate) paywall: Arc<Paywall>,
    /// Bodies of requests in memory.
    pub(crate) bodies: Arc<Shares>,
    /// The scheme of the client's side.
    pub(crate) scheme: &'static str,
    pub(crate) waiters: status::Waiters,
    pub(crate) drain: DrainSignal,
}
