//! What one data thread holds, and what all of them share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use farebox_core::{Clock, HoldId, Msat, PaymentHash, RequestId, UnixMillis};
use farebox_http::body_budget::ByteBudget;
use farebox_http::drain::DrainSignal;
use farebox_http::limits::{ChallengeLimits, TokenLimits};
use farebox_http::replay::ReplayStore;
use farebox_ledger::{Ledger, LedgerError};
use farebox_lightning::follow::Settlements;
use farebox_paywall::keyring::Keyring;
use farebox_paywall::keys::Deposits;
use farebox_paywall::settled::Lookups;

use crate::access_log::AccessLog;
use crate::answer::WatchedAnswers;
use crate::challenge::WaitingInvoices;
use crate::claim::status::Waiters;
use crate::held::HeldDoor;
use crate::metrics::Metrics;
use crate::own::{KeyDesk, RefundDesk};
use crate::plan::Plan;
use crate::tokens::TokenCounter;
use farebox_paywall::credential::{Reader, Token};

/// What all data threads share.
pub(crate) struct Shared {
    pub(crate) plan: ArcSwap<Plan>,
    pub(crate) ledger: Ledger,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: Arc<AccessLog>,
    pub(crate) challenges: ChallengeLimits,
    pub(crate) tokens: Arc<TokenLimits>,
    pub(crate) replays: Arc<ReplayStore>,
    pub(crate) bodies: Arc<ByteBudget>,
    /// Whole answers of metered calls on their way. Apart from the requests, so that no sender of
    /// those can keep an answer back that the seller already pays for.
    pub(crate) answers: Arc<ByteBudget>,
    pub(crate) counter: Arc<TokenCounter>,
    pub(crate) waiting_invoices: WaitingInvoices,
    pub(crate) held: HeldDoor,
    pub(crate) refunds: RefundDesk,
    pub(crate) keys: KeyDesk,
    pub(crate) settlements: Settlements,
    pub(crate) lookups: Arc<Lookups>,
    pub(crate) deposits: Arc<Deposits>,
    pub(crate) waiters: Waiters,
    pub(crate) drain: DrainSignal,
    pub(crate) scheme: &'static str,
}

/// One data thread.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) reader: Reader,
    /// Its answers to HTTP/2 requests; on HTTP/1.1 [`StallGuard`](farebox_http::stall::StallGuard) sees
    /// who does not read.
    pub(crate) watched: WatchedAnswers,
    ids: IdSource,
}

/// Random bits for ids that need to be unique, not secret: a SplitMix64 seeded by the system.
struct IdSource(AtomicU64);

impl IdSource {
    fn seeded() -> Result<Self, getrandom::Error> {
        Ok(Self(AtomicU64::new(getrandom::u64()?)))
    }

    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn ten_bytes(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.next().to_le_bytes());
        bytes[8..].copy_from_slice(&self.next().to_le_bytes()[..2]);
        bytes
    }
}

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Result<Self, getrandom::Error> {
        Ok(Self {
            index,
            shared,
            reader: Reader::default(),
            watched: WatchedAnswers::default(),
            ids: IdSource::seeded()?,
        })
    }

    pub(crate) fn request_id(&self, now: UnixMillis) -> RequestId {
        RequestId::new(now, self.ids.ten_bytes())
    }

    pub(crate) fn hold_id(&self, now: UnixMillis) -> HoldId {
        HoldId::new(now, self.ids.ten_bytes())
    }
}

impl Shared {
    /// The random part of a new token's identifier.
    pub(crate) fn random_token_id() -> Result<[u8; 28], getrandom::Error> {
        let mut random = [0; 28];
        getrandom::fill(&mut random)?;
        Ok(random)
    }

    /// What a token may still spend: neither spent nor held, and within what its holder left of it.
    pub(crate) async fn free_balance(&self, token: &Token) -> Result<Msat, LedgerError> {
        let most = token.granted.holder.allowance.amount;
        let Some(account) = self.ledger.account(token.payment_hash.account()).await? else {
            // Never used: all that was sold.
            let sold = token.granted.terms.amount;
            return Ok(most.map_or(sold, |most| sold.min(most)));
        };
        let free = account.balance.saturating_sub(account.held);
        let came = account.terms.amount.checked_add(account.excess);
        let spent = came.unwrap_or(Msat::MAX).saturating_sub(account.balance);
        let within = |most: Msat| most.saturating_sub(spent).saturating_sub(account.held);
        Ok(most.map_or(free, |most| free.min(within(most))))
    }

    /// Whether a payment with this hash was ever claimed.
    pub(crate) async fn knows_account(&self, hash: PaymentHash) -> Result<bool, LedgerError> {
        Ok(self.ledger.account(hash.account()).await?.is_some())
    }
}
