//! What goes wrong on purpose, by endpoint.

use std::collections::{HashMap, VecDeque};

use http::Method;
use serde_json::Value;

/// What a mint is asked, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `GET /v1/info`.
    Info,
    /// `GET /v1/keys` and `GET /v1/keys/{id}`.
    Keys,
    /// `GET /v1/keysets`.
    Keysets,
    /// `POST /v1/swap`.
    Swap,
    /// `POST /v1/mint/quote/bolt11`.
    MintQuote,
    /// `GET /v1/mint/quote/bolt11/{id}`.
    MintQuoteState,
    /// `POST /v1/mint/bolt11`.
    Mint,
    /// `POST /v1/melt/quote/bolt11`.
    MeltQuote,
    /// `GET /v1/melt/quote/bolt11/{id}`.
    MeltQuoteState,
    /// `POST /v1/melt/bolt11`.
    Melt,
    /// `POST /v1/checkstate`.
    CheckState,
    /// `POST /v1/restore`.
    Restore,
}

impl Endpoint {
    /// The endpoint of a path, and what stands behind it.
    pub(super) fn of(method: &Method, path: &str) -> Option<(Self, String)> {
        let path = path.strip_prefix("/v1/")?;
        let behind = |prefix| path.strip_prefix(prefix).map(str::to_owned);
        let asked = if method == Method::GET {
            match path {
                "info" => Self::Info,
                "keys" => Self::Keys,
                "keysets" => Self::Keysets,
                _ => {
                    return behind("keys/")
                        .map(|id| (Self::Keys, id))
                        .or_else(|| Some((Self::MintQuoteState, behind("mint/quote/bolt11/")?)))
                        .or_else(|| Some((Self::MeltQuoteState, behind("melt/quote/bolt11/")?)));
                }
            }
        } else {
            match path {
                "swap" => Self::Swap,
                "mint/quote/bolt11" => Self::MintQuote,
                "mint/bolt11" => Self::Mint,
                "melt/quote/bolt11" => Self::MeltQuote,
                "melt/bolt11" => Self::Melt,
                "checkstate" => Self::CheckState,
                "restore" => Self::Restore,
                _ => return None,
            }
        };
        Some((asked, String::new()))
    }
}

/// What goes wrong with one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Nothing is done, and this is the answer.
    Instead(Reply),
    /// It is done, and this is the answer.
    After(Reply),
    /// It is held until [`TestMint::release`](super::TestMint::release), and then done and answered if
    /// the client is still there.
    Hang,
    /// The same, and it is done then although the client has gone.
    Delay,
    /// First the keysets of all units are replaced by new ones that cost this much.
    Rotate {
        /// What spending a thousand coins of the new ones costs.
        fee_ppk: u64,
        /// Whether the old ones are left out of the list.
        hide_old: bool,
    },
    /// It is done, and the answer is changed so.
    Twist(Twist),
}

/// An answer that is not the true one.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// None: the connection is cut.
    Cut,
    /// None until [`TestMint::release`](super::TestMint::release); then the connection is cut.
    Silence,
    /// This status and JSON.
    Json(u16, Value),
    /// This status and a page.
    Html(u16),
    /// 200 and JSON that breaks off.
    Broken,
    /// 429.
    Limited {
        /// The field `Retry-After`, in seconds.
        retry_after: Option<u64>,
        /// Whether it is a page and not JSON.
        is_html: bool,
    },
}

/// How the true answer is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// The first signature is another point of the curve; its DLEQ is left as it was.
    WrongSignature,
    /// The same, without any DLEQ.
    WrongSignatureNoDleq,
    /// The DLEQ of the first signature is one of something else.
    WrongDleq,
    /// No signature has a DLEQ.
    NoDleq,
    /// The last signature, or state, is missing.
    TooFew,
    /// The last signature stands there twice.
    TooMany,
    /// The first signature says twice its amount.
    OtherAmount,
    /// The first signature names a keyset that does not exist.
    OtherKeyset,
    /// Signatures or states stand in reverse order; the outputs of a restore do not.
    Reordered,
    /// Nothing was ever signed, or no state is known: all lists are empty.
    Empty,
    /// Each coin is said to be pending.
    SaysPending,
    /// Each coin is said to be unspent.
    SaysUnspent,
    /// Each coin is said to be spent.
    SaysSpent,
    /// Each Y is in capitals.
    Capitals,
    /// Amounts are decimal strings.
    DecimalStrings,
}

/// What goes wrong until it is cleared: as often as requests come.
pub const ALWAYS: usize = usize::MAX;

#[derive(Debug, Default)]
pub(super) struct Faults(HashMap<Endpoint, VecDeque<(Fault, usize)>>);

impl Faults {
    pub(super) fn add(&mut self, endpoint: Endpoint, fault: Fault, times: usize) {
        self.0
            .entry(endpoint)
            .or_default()
            .push_back((fault, times));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What goes wrong with the next request.
    pub(super) fn take(&mut self, endpoint: Endpoint) -> Option<Fault> {
        let queue = self.0.get_mut(&endpoint)?;
        let (fault, times) = loop {
            match queue.front_mut()? {
                (_, 0) => drop(queue.pop_front()),
                (fault, times) => break (fault.clone(), times),
            }
        };
        if *times != ALWAYS {
            *times -= 1;
        }
        Some(fault)
    }
}
