//! The behaviours that every store must show, whatever database it lives in.
//!
//! A store's own tests give a [`Place`] to [`every_store!`], and to [`exclusive_store!`] or
//! [`shared_store!`], which run each of them. A behaviour fails by panicking.

mod answers;
mod charges;
mod coins;
mod conservation;
mod excess;
mod held;
mod keeping;
mod key_conservation;
mod key_limits;
mod key_races;
mod key_shop;
mod keys;
mod limits;
mod memory;
mod money;
mod payouts;
mod races;
mod rest;
mod retries;
mod sequence;
mod shared;
mod shop;
mod times;
mod withdrawals;

use std::sync::Arc;

use farebox_core::Clock;

pub use answers::*;
pub use charges::*;
pub use coins::*;
pub use conservation::*;
pub use excess::*;
pub use held::*;
pub use keeping::*;
pub use key_conservation::*;
pub use key_limits::*;
pub use key_races::*;
pub use keys::*;
pub use limits::*;
pub use memory::Memory;
pub use money::*;
pub use payouts::*;
pub use races::*;
pub use rest::*;
pub use retries::*;
pub use shared::*;
pub use shop::ManualClock;
pub use times::*;
pub use withdrawals::*;

use farebox_ledger::{Ledger, OpenError, Recovery};

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

/// Makes one test of each behaviour that every store must show. The argument makes a new, empty
/// [`Place`].
#[macro_export]
macro_rules! every_store {
    ($place:expr) => {
        $crate::each_behaviour! { $place,
            a_first_use_claims_and_holds
            a_used_up_token_is_exhausted
            what_others_hold_is_reserved_and_not_exhausted
            a_token_with_other_terms_is_refused
            a_rotated_key_admits_only_what_was_claimed_before
            each_request_that_was_charged_excuses_one_more
            a_client_is_excused_a_few_times_and_then_charged
            what_was_measured_is_kept_of_an_excused_request_too
            a_void_that_is_not_the_clients_doing_does_not_count
            a_revoked_token_is_refused_and_keeps_its_value
            a_token_revoked_before_its_first_use_is_refused_at_it
            a_pass_is_written_once
            a_pass_begins_with_the_first_answer_that_is_charged
            a_pass_is_recovered_by_its_first_byte
            a_revoked_pass_is_refused_from_memory_too
            a_pass_with_other_terms_or_limits_is_refused_from_memory_too
            a_holders_limit_only_lowers
            a_balance_is_drawn_down_exactly
            a_balance_without_an_amount_is_an_error
            a_hold_id_is_never_used_twice
            more_holds_than_the_limit_are_an_error
            no_more_than_all_money_can_be_claimed
            what_was_written_is_there_after_reopening
            holds_left_open_are_recovered_by_rule
            closed_accounts_are_pruned_and_stay_spent
            accounts_with_value_or_open_holds_are_never_pruned
            a_closed_ledger_refuses
            accounts_are_listed_page_by_page
            shares_of_calls_sum_to_the_amount_whatever_is_voided
            money_is_conserved_under_any_sequence
            money_is_conserved_with_refunds_and_overpayments
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
            a_payout_reserves_and_then_takes_amount_and_fee
            a_failed_payout_gives_everything_back
            only_what_is_free_is_paid_out
            one_invoice_is_one_payout
            a_payout_id_is_never_used_twice
            an_account_has_one_payout_open
            a_payout_ends_once
            a_fee_above_its_limit_is_the_sellers_loss
            a_payout_claims_a_token_that_was_never_used
            a_payout_of_other_terms_is_refused
            only_the_operator_pays_out_of_a_revoked_account
            an_expired_account_can_be_paid_out
            open_payouts_survive_restarts_as_reservations
            accounts_with_open_payouts_are_never_pruned
            payouts_are_listed_page_by_page
            a_payout_below_the_least_is_refused
            the_daily_total_counts_open_and_paid_payouts
            an_account_gets_its_part_of_the_daily_total
            payouts_are_limited_in_number
            parallel_payouts_of_one_account_reserve_once
            a_refund_takes_all_unused_calls
            what_a_refund_left_over_can_be_refunded
            an_overpayment_is_credited_before_and_after_the_claim
            each_msat_that_came_is_credited_once
            calls_are_priced_without_the_excess
            a_refund_takes_calls_and_excess_together
            a_pass_can_be_refunded_until_it_is_begun
            an_overpayment_does_not_raise_a_holders_limit
            an_overpayment_is_remembered_for_its_claim
            an_impossible_overpayment_is_not_credited
            gifts_to_the_node_are_not_remembered
            settlement_cursors_are_kept_by_name
            a_held_call_is_run_answered_and_charged_once
            a_held_call_is_begun_by_one_of_many
            a_canceled_held_call_charges_nothing
            held_calls_are_bounded
            a_running_held_call_keeps_its_token
            a_claimed_payment_is_not_run_as_a_held_call
            an_overpaid_held_call_leaves_an_excess
            only_single_calls_are_held
            answers_of_held_calls_are_kept_for_a_day
            a_key_spends_what_was_paid_in
            a_payment_fills_a_key_once
            a_payment_is_of_a_token_or_of_a_key
            a_key_is_no_token_and_a_token_no_key
            a_key_is_opened_once
            invoices_for_keys_are_remembered_until_they_are_paid
            keys_that_were_never_paid_for_are_pruned
            a_revoked_key_is_refused_and_keeps_its_money
            a_key_is_refunded
            a_clients_retry_on_a_key_is_charged_once
            children_share_the_excuses_of_their_parent
            usage_above_a_keys_hold_is_the_sellers_loss
            holds_on_keys_are_recovered_to_their_route
            a_child_spends_its_parents_money_within_its_total
            children_share_what_their_parent_has
            a_daily_limit_counts_on_the_day_of_the_hold
            a_child_used_as_it_is_made_counts_on_its_parents_day
            a_key_is_limited_to_routes_and_models
            a_child_ends_with_its_parent
            only_a_parent_in_use_gets_children
            no_money_goes_into_or_out_of_a_child
            keys_are_listed_page_by_page
            a_thousand_parallel_requests_of_a_key_get_money_for_fifty
            children_in_parallel_share_money_for_fifty
            a_childs_limit_holds_against_a_thousand_at_once
            holds_above_the_charge_serve_exactly_fifty_to_who_retries
            keys_and_children_conserve_money_within_limits
            a_charge_is_kept_with_what_it_was_made_of
            a_plain_charge_is_its_transfer
            a_rate_is_kept_with_a_whole_charge
            a_charge_tells_usage_above_its_hold
            a_measured_release_is_told_and_not_listed
            a_recovered_charge_says_so
            a_childs_charge_names_the_child
            charges_are_found_by_account_route_and_time
            charges_are_listed_page_by_page
            long_names_of_models_are_cut
            details_of_charges_are_pruned_with_their_account
            a_retry_leaves_the_charge_as_it_was
            what_is_left_stays_or_is_owed
            change_is_told_once_and_survives_restarts
            a_part_that_is_held_is_not_owed
            an_account_that_owes_change_is_never_pruned
            coins_pay_for_a_request_and_change_is_told_in_coins
            what_is_below_a_coin_stays_on_its_account
            change_in_coins_is_told_once_and_the_other_coins_are_free
            a_coin_is_given_once
            change_is_told_in_parts
            a_voided_request_gives_all_of_its_coins_back
            a_coin_is_received_once
            coins_that_turn_up_late_are_credited_once
            an_open_swap_is_found_by_the_next_run
            a_mint_is_trusted_with_so_much_and_no_more
            swaps_are_forgotten_with_their_accounts_and_free_coins_stay
            what_is_withdrawn_leaves_the_books_and_the_rest_stays
            a_withdrawal_that_fails_frees_its_coins_but_for_those_that_are_lost
            a_coin_leaves_by_one_withdrawal_and_only_if_it_is_free
        }
    };
}

/// The same for stores that one process has for itself.
#[macro_export]
macro_rules! exclusive_store {
    ($place:expr) => {
        $crate::each_behaviour! { $place, a_second_opener_is_refused_and_told_who_has_it }
    };
}

/// The same for stores that serve several engines at once.
#[macro_export]
macro_rules! shared_store {
    ($place:expr) => {
        $crate::each_behaviour! { $place,
            one_payment_becomes_one_thing_whoever_asks
            a_limit_by_day_holds_over_two_engines
            an_account_has_one_payout_open_over_two_engines
            sums_are_exact_after_random_interleavings
            an_engine_leaves_alone_what_another_one_has_open
            change_is_told_with_the_same_bytes_by_two_engines
        }
    };
}

/// Makes one test of each of these behaviours.
#[doc(hidden)]
#[macro_export]
macro_rules! each_behaviour {
    ($place:expr, $($behaviour:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                $crate::$behaviour(&$place).await;
            }
        )*
    };
}
