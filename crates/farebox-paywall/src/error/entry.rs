//! One line of the table from errors to HTTP.

use std::time::Duration;

use farebox_core::RequestId;
use farebox_ledger::VoidReason;
use farebox_wire::grpc::Code;
use farebox_wire::problem::{Problem, ProblemKind};
use http::StatusCode;

/// How long a client should wait for what is under way, or for a limit that was reached a
/// moment ago.
pub const BRIEFLY: Duration = Duration::from_secs(1);
/// How long a client should wait where a node, somebody else's server, our store or room for more
/// is missing.
pub const OUTAGE: Duration = Duration::from_secs(5);

/// Whose affair an error is: it decides the outcome in log and metrics, and whether the operator is
/// told of the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Whoever asks can mend it, if only by waiting.
    Client,
    /// The seller's upstream.
    Upstream,
    /// Our own, our node's or our store's.
    Gateway,
}

/// What is told of one error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: ProblemKind,
    /// The kind's, unless a client of this error takes another one better.
    pub status: StatusCode,
    /// How a gRPC call ends by it.
    pub grpc: Code,
    /// A stable word that says more than the kind: why what was presented does not pay.
    pub reason: Option<&'static str>,
    /// When it is worth asking again, if it is.
    pub retry_after: Option<Duration>,
    /// What a client without a credential is told to bring.
    pub authenticate: &'static [&'static str],
    pub blame: Blame,
    /// How the hold of the request is released.
    pub void: VoidReason,
}

impl Entry {
    /// What the kind says; the client can mend it below 500, and nothing was forwarded.
    pub const fn new(kind: ProblemKind) -> Self {
        Self {
            kind,
            status: kind.status,
            grpc: kind.grpc,
            reason: None,
            retry_after: None,
            authenticate: &[],
            blame: if kind.status.as_u16() < 500 {
                Blame::Client
            } else {
                Blame::Gateway
            },
            void: VoidReason::NotForwarded,
        }
    }

    pub const fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub const fn with_grpc(mut self, code: Code) -> Self {
        self.grpc = code;
        self
    }

    pub const fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    pub const fn again_in(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    pub const fn asking_for(mut self, schemes: &'static [&'static str]) -> Self {
        self.authenticate = schemes;
        self
    }

    pub const fn blaming(mut self, blame: Blame) -> Self {
        self.blame = blame;
        self
    }

    pub const fn voiding(mut self, void: VoidReason) -> Self {
        self.void = void;
        self
    }

    /// The word in the log: the most exact there is.
    pub fn word(&self) -> &'static str {
        self.reason.unwrap_or(self.kind.code)
    }

    /// The problem document, as far as the table tells it.
    pub fn problem(&self, id: RequestId) -> Problem {
        let mut problem = Problem::new(self.kind)
            .with_status(self.status)
            .with("request_id", id.to_string());
        if let Some(reason) = self.reason {
            problem = problem.with("reason", reason);
        }
        if let Some(wait) = self.retry_after {
            problem = problem.with_retry_after(wait);
        }
        problem
    }
}
