//! How a request ended: the closed list that the log, the metrics and the tests share.

use farebox_paywall::gauge::Ending;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Served on a free route, or one of the gateway's own paths.
    Free,
    /// Served against a payment.
    Paid,
    /// An earlier answer was served again, uncharged.
    Replayed,
    /// Answered with a challenge.
    Owed,
    /// Answered with the price alone: too many challenges, or a method that never makes one.
    OwedBriefly,
    /// Refused for a reason the client can mend.
    Refused,
    /// The upstream failed; nothing was charged.
    UpstreamFailed,
    /// The client left before the end.
    ClientGone,
    /// Our own fault, or our node's or store's.
    Fault,
}

impl Outcome {
    /// All outcomes, for tables.
    pub const ALL: [Self; 9] = [
        Self::Free,
        Self::Paid,
        Self::Replayed,
        Self::Owed,
        Self::OwedBriefly,
        Self::Refused,
        Self::UpstreamFailed,
        Self::ClientGone,
        Self::Fault,
    ];

    /// The word in logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Paid => "paid",
            Self::Replayed => "replayed",
            Self::Owed => "owed",
            Self::OwedBriefly => "owed_briefly",
            Self::Refused => "refused",
            Self::UpstreamFailed => "upstream_failed",
            Self::ClientGone => "client_gone",
            Self::Fault => "fault",
        }
    }

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
