//! What it costs to leave while an answer is waited for.

use farebox_paywall::gauge::Ending;

use super::Fare;
use crate::access_log::Exchange;

/// A request under way whose client may leave. Then its log line tells what that cost.
pub(super) struct Waiting<'a> {
    pub(super) fare: &'a mut Fare,
    exchange: &'a mut Exchange,
    is_over: bool,
}

impl<'a> Waiting<'a> {
    pub(super) const fn of(fare: &'a mut Fare, exchange: &'a mut Exchange) -> Self {
        Self {
            fare,
            exchange,
            is_over: false,
        }
    }

    /// The client stayed.
    pub(super) fn over(mut self) {
        self.is_over = true;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.fare.settlement.end(Ending::CutByClient);
            self.exchange.charge = self.fare.settlement.charge();
        }
    }
}
