//! The operator's word on a payout whose backend will never give its own: a wallet that forgot it, a
//! backend that is gone.
//!
//! The backend is asked once more, and what it knows for certain goes before what the operator says.
//! Nothing is closed as failed as long as the payee could still be paid: an invoice that expires
//! stops no payment that is under way, and a payee may keep one waiting for two weeks and then take
//! it.

use std::time::Duration;

use farebox_core::UnixMillis;
use farebox_ledger::{LedgerError, PayoutEnd, PayoutState, PayoutView};

use super::recover::unpayable_from;

/// The longest that a payment can be under way: 2,016 blocks, which nodes do not exceed for the sum
/// of their time locks, and a day for slow ones.
const IN_FLIGHT_AT_MOST: Duration = Duration::from_secs(15 * 24 * 60 * 60);

/// Why a payout was not closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// There is none.
    #[error("no refund has this id")]
    Unknown,
    /// It has another end.
    #[error("the refund has ended otherwise: {}", state.as_str())]
    Ended {
        /// How.
        state: PayoutState,
    },
    /// It is being sent, or asked about, at this moment.
    #[error("the refund is being worked on at this moment")]
    Busy,
    /// A payment of its invoice may still be under way, or begin.
    #[error("the invoice of the refund may still be paid; ask again in {} s", wait.as_secs() + 1)]
    Payable {
        /// For how long.
        wait: Duration,
    },
    /// The ledger did not answer.
    #[error("the ledger does not answer")]
    Ledger(#[from] LedgerError),
}

pub(super) fn same_end(view: PayoutView, end: PayoutEnd) -> Result<PayoutView, CloseError> {
    let wanted = match end {
        PayoutEnd::Paid { .. } => PayoutState::Paid,
        PayoutEnd::Failed => PayoutState::Failed,
    };
    if view.state == wanted {
        Ok(view)
    } else {
        Err(CloseError::Ended { state: view.state })
    }
}

/// Calling a payment made costs the holder what was reserved; calling it failed gives that back,
/// and must not be possible while the payee could still be paid.
pub(super) fn check_time(
    view: &PayoutView,
    end: PayoutEnd,
    now: UnixMillis,
) -> Result<(), CloseError> {
    let until = unpayable_from(view).plus(IN_FLIGHT_AT_MOST);
    if end == PayoutEnd::Failed && now < until {
        return Err(CloseError::Payable {
            wait: until.since(now),
        });
    }
    Ok(())
}
