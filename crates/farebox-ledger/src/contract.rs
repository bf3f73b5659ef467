//! The behaviours that every store must show, whatever database it lives in.
//!
//! A store's own tests give a [`Place`] to [`ledger_contract!`](crate::ledger_contract), which runs
//! each of them. A behaviour fails by panicking.

mod answers;
mod keeping;
mod money;
mod races;
mod retries;
mod shop;
mod times;

use std::sync::Arc;

use farebox_core::Clock;

pub use answers::*;
pub use keeping::*;
pub use money::*;
pub use races::*;
pub use retries::*;
pub use shop::ManualClock;
pub use times::*;

use crate::{Ledger, OpenError, Recovery};

/// Somewhere a ledger can be kept: opened again, it has what was written before.
pub trait Place: Send + Sync {
    /// Opens the ledger kept here, with room for `max_open_holds` and 30 days of retention.
    ///
    /// # Errors
    /// [`OpenError`].
    fn open(
        &self,
        clock: Arc<dyn Clock>,
        max_open_holds: usize,
    ) -> Result<(Ledger, Recovery), OpenError>;
}

/// Makes one test of each behaviour. The argument makes a new, empty [`Place`].
#[macro_export]
macro_rules! ledger_contract {
    ($place:expr) => {
        $crate::ledger_contract! { @each $place,
            a_first_use_claims_and_holds
            a_used_up_token_is_exhausted
            what_others_hold_is_reserved_and_not_exhausted
            a_token_with_other_terms_is_refused
            a_rotated_key_admits_only_what_was_claimed_before
            each_charged_request_allows_one_more_failed_attempt
            too_many_voided_attempts_close_a_token
            a_void_that_is_not_the_payers_doing_does_not_count
            a_revoked_token_is_refused_and_keeps_its_value
            a_token_revoked_before_its_first_use_is_refused_at_it
            a_pass_is_written_once
            a_revoked_pass_is_refused_from_memory_too
            a_pass_with_other_terms_or_limits_is_refused_from_memory_too
            a_holders_limit_only_lowers
            a_balance_is_drawn_down_exactly
            a_balance_without_an_amount_is_an_error
            a_hold_id_is_never_used_twice
            more_holds_than_the_limit_are_an_error
            no_more_than_all_money_can_be_claimed
            what_was_written_is_there_after_reopening
            a_second_opener_is_refused_and_told_who_has_it
            holds_left_open_are_recovered_by_rule
            closed_accounts_are_pruned_and_stay_spent
            accounts_with_value_or_open_holds_are_never_pruned
            a_closed_ledger_refuses
            accounts_are_listed_page_by_page
            shares_of_calls_sum_to_the_amount_whatever_is_voided
            money_is_conserved_under_any_sequence
            part_of_a_hold_is_charged_and_the_rest_released
            usage_above_the_hold_is_the_sellers_loss
            transfers_are_listed_latest_first
            a_thousand_parallel_requests_get_exactly_fifty_calls
            a_hundred_parallel_uses_of_a_single_token_hold_once
            parallel_first_uses_claim_once
            a_caller_that_stops_waiting_leaves_nothing_held
            a_single_use_token_serves_one_request_once
            an_idempotency_key_is_charged_once
            a_voided_attempt_may_be_tried_again
            a_dropped_hold_is_voided
            an_expired_token_keeps_its_value
            a_late_claim_is_credited_and_expired
            a_clock_set_back_and_forth_neither_loses_nor_makes_money
        }
    };
    (@each $place:expr, $($behaviour:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                $crate::contract::$behaviour(&$place).await;
            }
        )*
    };
}
