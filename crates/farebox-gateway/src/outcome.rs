//! How a request ended: the closed list that the log, the metrics and the tests share.

use farebox_paywall::gauge::Ending;

farebox_core::words! {
    /// How a request ended.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Outcome {
        /// Served on a free route, or one of the gateway's own paths.
        Free = "free",
        /// Served against a payment.
        Paid = "paid",
        /// An earlier answer was served again, uncharged.
        Replayed = "replayed",
        /// Answered with a challenge.
        Owed = "owed",
        /// Answered with the price alone: too many challenges, or a method that never makes one.
        OwedBriefly = "owed_briefly",
        /// Refused for a reason the client can mend.
        Refused = "refused",
        /// The upstream failed.
        UpstreamFailed = "upstream_failed",
        /// The client left before the end.
        ClientGone = "client_gone",
        /// Our own fault, or our node's or store's.
        Fault = "fault",
    }
}

impl Outcome {
    /// This outcome after the answer's body ended in `ending`.
    #[must_use]
    pub const fn ended(self, ending: Ending) -> Self {
        match (self, ending) {
            (Self::Free | Self::Paid, Ending::CutByUpstream) => Self::UpstreamFailed,
            (Self::Free | Self::Paid, Ending::CutByClient) => Self::ClientGone,
            _ => self,
        }
    }
}
