//! Prepaid keys: what is asked of the ledger about them.

use farebox_core::{KeyHash, PaymentHash};

use super::{Ledger, MAX_PAGE};
use crate::operation::{
    ForgetUnpaid, KeyDone, LimitKey, NewKey, NotePending, RevokeKey, TakeDeposit,
};
use crate::{
    Deposit, Deposited, KeyLimits, KeyView, LedgerError, Noted, OpenChild, OpenKey, Opened,
    PendingDeposit, TopUpBy, day,
};

impl Ledger {
    /// Up to 1,000 names of prepaid keys, in the order of opening, from above the cursor `after`; 0 starts.
    pub async fn key_names(&self, after: u64) -> Result<Vec<(u64, KeyHash)>, LedgerError> {
        self.read(move |reader| reader.key_names(after, MAX_PAGE))
            .await
    }

    /// Opens a key without money. Asking again for the same key changes nothing.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was opened.
    pub async fn open_key(&self, open: OpenKey) -> Result<Opened, LedgerError> {
        open.check()?;
        let key = open.key;
        let done = self.ask(NewKey::from(open)).await?;
        self.opened(key, done).await
    }

    /// Opens a key that spends the money of another one, within limits. Asking again for the same
    /// child changes nothing, its limits included.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was opened.
    pub async fn open_child(&self, open: OpenChild) -> Result<Opened, LedgerError> {
        open.check()?;
        let key = open.child;
        let done = self.ask(NewKey::from(open)).await?;
        self.opened(key, done).await
    }

    async fn opened(&self, key: KeyHash, done: KeyDone) -> Result<Opened, LedgerError> {
        Ok(match done {
            KeyDone::Done => Opened::Opened(self.known_key(key).await?),
            KeyDone::Already => Opened::Exists(self.known_key(key).await?),
            KeyDone::Taken => Opened::Taken,
            KeyDone::NotParent => Opened::NotParent,
            KeyDone::Inactive => Opened::Inactive,
            KeyDone::Revoked => Opened::Revoked,
            KeyDone::Full => Opened::Full,
            KeyDone::Unknown => Opened::UnknownParent,
        })
    }

    /// Replaces the limits of a key, whatever it has spent; none where it is unknown.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was changed.
    pub async fn limit_key(
        &self,
        key: KeyHash,
        limits: KeyLimits,
    ) -> Result<Option<KeyView>, LedgerError> {
        limits.check()?;
        self.ask(LimitKey { key, limits }).await?;
        self.key(key).await
    }

    /// Stops a key from being spent, and with it its children; its money stays, and open holds may
    /// still be settled. None where it is unknown.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was revoked.
    pub async fn revoke_key(&self, key: KeyHash) -> Result<Option<KeyView>, LedgerError> {
        let at = self.inner.queue.now();
        self.ask(RevokeKey { key, at }).await?;
        self.key(key).await
    }

    /// Remembers an invoice for a key, so that its payment is credited whenever it is seen. Call it
    /// before the invoice is shown to anybody; the same one may be noted again.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was noted.
    pub async fn pending_deposit(
        &self,
        pending: PendingDeposit,
        by: TopUpBy,
    ) -> Result<Noted, LedgerError> {
        let at = self.inner.queue.now();
        Ok(match self.ask(NotePending { pending, by, at }).await? {
            KeyDone::Done | KeyDone::Already => Noted::Noted,
            KeyDone::Full => Noted::Full,
            KeyDone::Taken => Noted::Taken,
            KeyDone::Revoked => Noted::Revoked,
            KeyDone::Unknown | KeyDone::NotParent | KeyDone::Inactive => Noted::UnknownKey,
        })
    }

    /// Forgets an invoice for a key that can no longer be paid, and of which the node said that it
    /// was not: it leaves its place to another one. Says whether there was any.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was forgotten.
    pub async fn forget_unpaid(&self, payment_hash: PaymentHash) -> Result<bool, LedgerError> {
        let Some(pending) = self.pending_deposit_by(payment_hash).await? else {
            return Ok(false);
        };
        let (payment, key) = (payment_hash, pending.key);
        self.ask(ForgetUnpaid { payment, key }).await
    }

    /// Credits a payment that the node says is settled to a key, which becomes active with its
    /// first one. Each payment counts once, for ever, and never one that a token was claimed with:
    /// no token can be claimed with it afterwards. Revoked and expired keys are credited too; their
    /// money can be refunded.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was credited.
    pub async fn deposit(&self, key: KeyHash, deposit: Deposit) -> Result<Deposited, LedgerError> {
        Ok(match self.ask(TakeDeposit { key, deposit }).await? {
            KeyDone::Done => Deposited::Credited(self.known_key(key).await?),
            KeyDone::Already => Deposited::Already(self.known_key(key).await?),
            KeyDone::Taken => Deposited::Taken,
            KeyDone::Unknown
            | KeyDone::NotParent
            | KeyDone::Inactive
            | KeyDone::Revoked
            | KeyDone::Full => Deposited::UnknownKey,
        })
    }

    /// Every invoice that waits to be paid, expired ones that are not yet forgotten included.
    pub async fn pending_deposits(&self) -> Result<Vec<PendingDeposit>, LedgerError> {
        self.read(|reader| reader.pending_deposits(None)).await
    }

    /// The invoices that wait to be paid for one key.
    pub async fn pending_deposits_of(
        &self,
        key: KeyHash,
    ) -> Result<Vec<PendingDeposit>, LedgerError> {
        self.read(move |reader| reader.pending_deposits(Some(key)))
            .await
    }

    /// Up to `limit` (at most 1,000) payments that were credited to a key, the largest first.
    pub async fn deposits_of(&self, key: KeyHash, limit: u32) -> Result<Vec<Deposit>, LedgerError> {
        self.read(move |reader| reader.deposits_of(key, limit.min(MAX_PAGE)))
            .await
    }

    /// For which key an invoice waits to be paid, if it does.
    pub async fn pending_deposit_by(
        &self,
        payment_hash: PaymentHash,
    ) -> Result<Option<PendingDeposit>, LedgerError> {
        self.read(move |reader| reader.pending_deposit(payment_hash))
            .await
    }

    /// One key.
    pub async fn key(&self, key: KeyHash) -> Result<Option<KeyView>, LedgerError> {
        let today = day::of(self.inner.queue.now());
        self.read(move |reader| reader.key(key, today)).await
    }

    /// The key with this public name.
    pub async fn key_by_public_id(&self, id: &str) -> Result<Option<KeyView>, LedgerError> {
        let (id, today) = (id.to_owned(), day::of(self.inner.queue.now()));
        self.read(move |reader| reader.key_by_public_id(&id, today))
            .await
    }

    /// Up to `limit` (at most 1,000) keys, children included, in the order in which they were
    /// opened, from above the cursor `after`; 0 starts.
    pub async fn keys(&self, after: u64, limit: u32) -> Result<Vec<KeyView>, LedgerError> {
        let today = day::of(self.inner.queue.now());
        self.read(move |reader| reader.keys(after, limit.min(MAX_PAGE), today))
            .await
    }

    /// Up to `limit` (at most 1,000) children of a key, in the order in which they were opened, from
    /// above the cursor `after`; 0 starts.
    pub async fn children(
        &self,
        parent: KeyHash,
        after: u64,
        limit: u32,
    ) -> Result<Vec<KeyView>, LedgerError> {
        let today = day::of(self.inner.queue.now());
        let limit = limit.min(MAX_PAGE);
        self.read(move |reader| reader.children(parent, after, limit, today))
            .await
    }

    async fn known_key(&self, key: KeyHash) -> Result<KeyView, LedgerError> {
        self.key(key).await?.ok_or(LedgerError::Closed)
    }
}
