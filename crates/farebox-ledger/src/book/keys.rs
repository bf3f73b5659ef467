//! Prepaid keys in the picture.

use farebox_core::UnixMillis;

use super::{Book, Rows};
use crate::store::{Granted, KeyDone, KeyStep, Outcome, StoreError};
use crate::{AdmitKey, Admitted, KeyRefusal, LedgerError};

impl Book {
    pub(super) fn admit_key(
        &mut self,
        _: &AdmitKey,
        _: &mut dyn Rows,
    ) -> Result<Result<Admitted<Granted>, LedgerError>, StoreError> {
        Ok(Ok(Admitted::Key(KeyRefusal::Unknown)))
    }

    pub(super) fn key_step(
        &mut self,
        _: &KeyStep,
        _: UnixMillis,
        _: &mut dyn Rows,
    ) -> Result<Outcome, StoreError> {
        Ok(Outcome::Key {
            answer: Ok(KeyDone::Unknown),
            deposited: None,
        })
    }
}
