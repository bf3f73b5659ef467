//! What happens seldom, written at once inside the present transaction.

use farebox_core::{AccountId, Msat, PaymentHash, PayoutId, UnixMillis};

use super::columns::{instant_column, msat};
use super::rows::SqliteRows;
use super::{held, payouts};
use crate::book::{Payout, SeldomRows, signed};
use crate::store::StoreError;
use crate::{HeldCall, HeldState, PayoutView};

impl SeldomRows for SqliteRows<'_> {
    fn received(&mut self, hash: &AccountId) -> Result<Option<Msat>, StoreError> {
        payouts::received(self.0, hash)?.map(msat).transpose()
    }

    fn put_received(
        &mut self,
        hash: &AccountId,
        received: Msat,
        at: UnixMillis,
    ) -> Result<(), StoreError> {
        self.0
            .prepare_cached("INSERT OR REPLACE INTO received VALUES (?1, ?2, ?3)")?
            .execute((hash.as_bytes(), signed(received), instant_column(at)))?;
        Ok(())
    }

    fn payout(&mut self, id: &PayoutId) -> Result<Option<Payout>, StoreError> {
        payouts::find(self.0, id)
    }

    fn payout_to(&mut self, destination: &PaymentHash) -> Result<Option<PayoutView>, StoreError> {
        let found = payouts::find_by_destination(self.0, destination)?;
        Ok(found.map(|payout| payout.view))
    }

    fn payouts_begun(&mut self, hash: &AccountId, after: UnixMillis) -> Result<u64, StoreError> {
        payouts::begun_after(self.0, hash, after)
    }

    fn paid_out(&mut self, after: UnixMillis) -> Result<u64, StoreError> {
        payouts::paid_after(self.0, after)
    }

    fn insert_payout(&mut self, payout: &Payout) -> Result<u64, StoreError> {
        payouts::insert(self.0, payout)
    }

    fn end_payout(&mut self, payout: &PayoutView) -> Result<(), StoreError> {
        payouts::end(self.0, payout)
    }

    fn held_call(&mut self, hash: &AccountId) -> Result<Option<HeldCall>, StoreError> {
        held::find(self.0, hash)
    }

    fn insert_held_call(&mut self, call: &HeldCall) -> Result<(), StoreError> {
        held::insert(self.0, call)
    }

    fn move_held_call(&mut self, hash: &AccountId, to: HeldState) -> Result<(), StoreError> {
        held::move_on(self.0, hash, to)
    }

    fn put_held_answer(&mut self, hash: &AccountId, answer: &[u8]) -> Result<(), StoreError> {
        held::put_answer(self.0, hash, answer)
    }

    fn end_held_call(
        &mut self,
        hash: &AccountId,
        end: HeldState,
        at: UnixMillis,
    ) -> Result<(), StoreError> {
        held::end(self.0, hash, end, at)
    }

    fn put_cursor(&mut self, name: &str, cursor: u64) -> Result<(), StoreError> {
        self.0
            .prepare_cached("INSERT OR REPLACE INTO settlement_cursors VALUES (?1, ?2)")?
            .execute((name, cursor.cast_signed()))?;
        Ok(())
    }
}
