//! What is kept of an ended hold beyond its transfer, in the transaction that ends it.

use farebox_core::{HoldId, Msat, UnixMillis};

use super::{Book, Charge, OpenHold};
use crate::Measured;
use crate::store::Resolution;

impl Book {
    /// Notes what the end of a hold tells: nothing, for the whole charge of a fixed price.
    pub(super) fn note_charge(
        &mut self,
        id: HoldId,
        hold: &mut OpenHold,
        how: Resolution,
        measured: Option<&Measured>,
        at: UnixMillis,
    ) {
        let asker = hold.asker().0;
        let asker = Some(asker).filter(|asker| *asker != hold.payer);
        let (used, charged) = match how {
            Resolution::Settle { used } => (used, Some(used.min(hold.amount))),
            Resolution::Void { .. } => (Msat::ZERO, None),
        };
        let is_told =
            measured.is_some() || (charged.is_some() && (hold.basis.is_some() || asker.is_some()));
        if !is_told {
            return;
        }
        let Some(route) = self.route_of(hold).cloned() else {
            return;
        };
        self.changes.charges.push(Charge {
            id,
            account: hold.account,
            asker,
            route,
            held: hold.amount,
            used,
            charged,
            at,
            basis: hold.basis.take(),
            measured: measured.cloned(),
        });
    }
}
