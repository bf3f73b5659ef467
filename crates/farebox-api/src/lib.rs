//! The JSON of our own APIs: what the console takes and answers, and the command line sends and reads.
//! Field names are a promise to programs. Nothing here has behaviour.
//!
//! `…_msat` is in millisatoshi. Instants are RFC 3339 text, unless their comment says seconds: those
//! count from 1970.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why something was not done.
#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A stable code.
    pub error: String,
    /// The same in words.
    pub message: String,
}

/// A token's account.
#[derive(Debug, Serialize, Deserialize)]
pub struct Account {
    /// The payment that funded it, in hex.
    pub payment_hash: String,
    /// `active`, `used`, `expired` or `revoked`.
    pub state: String,
    /// The route it was sold on.
    pub route: String,
    /// `single`, `calls`, `pass` or `balance`.
    pub kind: String,
    /// What was sold.
    pub amount_msat: u64,
    /// What can still be spent.
    pub balance_msat: u64,
    /// What was paid beyond the price.
    pub excess_msat: u64,
    /// What open requests hold.
    pub held_msat: u64,
    /// How many calls were sold, where they are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u32>,
    /// How many of them were charged.
    pub calls_used: u32,
    /// How many of them open requests hold.
    pub calls_held: u32,
    /// How many requests were released uncharged.
    pub voids: u32,
    /// The HTTP methods it is good for: `read`, `write` or `any`.
    pub methods: String,
    /// `route`, or `request` where it is good for one request alone.
    pub bind: String,
    /// The epoch of the terms that were sold, in hex.
    pub terms: String,
    /// The epoch of the secret that signed it.
    pub key_epoch: u32,
    /// When it was first used.
    pub claimed_at: String,
    /// When it can no longer be spent.
    pub expires_at: String,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    /// Its place in listings.
    pub cursor: u64,
}

/// A token's account, and what could be paid back on it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Token {
    /// The account.
    #[serde(flatten)]
    pub account: Account,
    /// What could be paid back, fee included.
    pub refundable_msat: u64,
}

/// What a revocation did.
#[derive(Debug, Serialize, Deserialize)]
pub struct Revoked {
    /// The token's payment, in hex.
    pub payment_hash: String,
    /// True.
    pub revoked: bool,
    /// Whether the token had been used.
    pub known: bool,
}

/// A movement of money.
#[derive(Debug, Serialize, Deserialize)]
pub struct Transfer {
    /// Its id.
    pub id: String,
    /// The account that gave.
    pub debit: String,
    /// The account that took.
    pub credit: String,
    /// How much.
    pub amount_msat: u64,
    /// What it was for.
    pub kind: String,
    /// When.
    pub at: String,
}

/// The proof that the books are right.
#[derive(Debug, Serialize, Deserialize)]
pub struct TrialBalance {
    /// Whether they are.
    pub sound: bool,
    /// The sum of all balances, which must be zero.
    pub sum_msat: i128,
    /// Money on payers' accounts.
    pub payers_msat: u64,
    /// What of it open requests hold.
    pub held_msat: u64,
    /// The accounts of the house.
    pub house_msat: BTreeMap<String, i64>,
    /// Holds neither settled nor voided.
    pub open_holds: u64,
    /// Payouts under way.
    pub open_payouts: u64,
    /// What these reserve.
    pub payouts_held_msat: u64,
    /// Calls whose payment is held.
    pub held_calls: u64,
    /// How many accounts payers have.
    pub accounts: u64,
    /// How many transfers there are.
    pub transfers: u64,
    /// Accounts whose transfers do not add up to their balance.
    pub unproven: u64,
    /// Accounts below zero.
    pub overdrawn: u64,
}

/// How signing keys are rotated.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rotate {
    /// Whether tokens that nobody has used yet become void.
    pub emergency: bool,
}

/// What a rotation did.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rotated {
    /// The epoch of the new secret.
    pub epoch: u32,
    /// Whether unused tokens became void.
    pub emergency: bool,
}

/// What a prepaid key may spend. What is absent is not limited.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeyLimits {
    /// The most in all.
    pub total_msat: Option<u64>,
    /// The most on one day of UTC.
    pub per_day_msat: Option<u64>,
    /// The routes it may use.
    pub routes: Option<Vec<String>>,
    /// The models it may use.
    pub models: Option<Vec<String>>,
    /// When it ends, in seconds.
    pub expires_at: Option<u64>,
}

/// A prepaid key.
#[derive(Debug, Serialize, Deserialize)]
pub struct Key {
    /// Its public name, `fk_…`.
    pub id: String,
    /// Whether it spends its parent's money.
    pub child: bool,
    /// What its maker noted.
    pub note: Option<String>,
    /// `active`, `not_funded` or `revoked`.
    pub state: String,
    /// When it was made, in seconds.
    pub created_at: u64,
    /// All that was paid for it.
    pub deposited_msat: u64,
    /// What can still be spent.
    pub balance_msat: u64,
    /// What open requests hold.
    pub held_msat: u64,
    /// All that was charged.
    pub spent_msat: u64,
    /// What of it on this day of UTC.
    pub spent_today_msat: u64,
    /// How many calls were charged.
    pub calls: u32,
    /// What it may spend.
    pub limits: KeyLimits,
}

/// A key that was just made.
#[derive(Debug, Serialize, Deserialize)]
pub struct MadeKey {
    /// What is known of it.
    #[serde(flatten)]
    pub about: Key,
    /// Its secret, which is told this once.
    pub key: String,
}

/// What a key shall be, or its limits. What is absent is not limited.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyWish {
    /// The id of the key whose money it spends; for a new key alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// A note for the list; for a new key alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// As in [`KeyLimits`].
    pub total_msat: Option<u64>,
    /// As in [`KeyLimits`].
    pub per_day_msat: Option<u64>,
    /// As in [`KeyLimits`].
    pub routes: Option<Vec<String>>,
    /// As in [`KeyLimits`].
    pub models: Option<Vec<String>>,
    /// As in [`KeyLimits`].
    pub expires_at: Option<u64>,
}

/// A charge. Whose money it was is not in it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// Its id.
    pub id: String,
    /// The route that earned it.
    pub route: String,
    /// When the call was admitted, in seconds.
    pub at: u64,
    /// What was held for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_msat: Option<u64>,
    /// What was used.
    pub used_msat: u64,
    /// What was charged.
    pub charged_msat: u64,
    /// What of the hold went back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_back_msat: Option<u64>,
    /// The exchange rate it was found by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// The model that was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How the answer ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// How much of each unit was used.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub usage: BTreeMap<String, u64>,
    /// What the upstream said was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
}

/// What a bitcoin cost.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rate {
    /// In which currency.
    pub currency: String,
    /// How much.
    pub bitcoin_price: String,
    /// How old it was; absent where it is fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
}

/// A charge, and whose money it was.
#[derive(Debug, Serialize, Deserialize)]
pub struct Charge {
    /// The charge.
    #[serde(flatten)]
    pub receipt: Receipt,
    /// The payment hash of the token, or the id of the key.
    pub account: String,
    /// The child that spent its parent's money.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child: Option<String>,
}

/// Where money is paid back to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    /// An invoice, or a Lightning Address.
    pub to: String,
    /// How much. Default: what the invoice says, or as much as is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_msat: Option<u64>,
}

/// What became of a refund, by the operator's word.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// `paid` or `failed`.
    #[serde(rename = "as")]
    pub end: PayoutState,
    /// What routing cost.
    pub fee_msat: Option<u64>,
}

/// What became of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PayoutState {
    /// It is under way.
    Open,
    /// It was paid.
    Paid,
    /// It was not; the money is back on its account.
    Failed,
}

/// A refund.
#[derive(Debug, Serialize, Deserialize)]
pub struct Payout {
    /// Its id.
    pub id: String,
    /// The id of the key that gives the money, where it is no token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The account that gives the money, in hex: a token's payment, or a key's hash.
    pub payment_hash: String,
    /// What became of it.
    pub state: PayoutState,
    /// How much arrives.
    pub amount_msat: u64,
    /// The most that routing may cost.
    pub max_fee_msat: u64,
    /// What it cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fee_msat: Option<u64>,
    /// How many unused calls it takes off the token.
    pub calls: u32,
    /// The payment hash of the invoice that is paid.
    pub destination_hash: String,
    /// The backend that pays.
    pub backend: String,
    /// `holder` or `operator`.
    pub asked_by: String,
    /// When it was asked for.
    pub asked_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Its place in listings.
    pub cursor: u64,
}

/// What there is of a unit of a mint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EcashStock {
    /// The mint; its number in the ledger, where the configuration does not have it any more.
    pub mint: String,
    /// The unit, where the configuration has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// How much of it may be held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_msat: Option<u64>,
    /// Coins that nobody has a claim on, and can be taken out.
    pub free_coins: u64,
    /// What they are worth.
    pub free_msat: u64,
    /// Coins that may still become somebody's change.
    pub reserved_coins: u64,
    /// What they are worth.
    pub reserved_msat: u64,
    /// What leaves by withdrawals that are open.
    pub leaving_msat: u64,
    /// Coins that were given as change.
    pub given_coins: u64,
    /// What they were worth.
    pub given_msat: u64,
    /// What was taken out, with the fees of mints.
    pub withdrawn_msat: u64,
    /// Swaps of which it is not known what became.
    pub in_doubt: u64,
    /// What they bring.
    pub in_doubt_msat: u64,
    /// When the oldest of them was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_doubt_at: Option<String>,
}

/// What there is of every unit of every mint.
#[derive(Debug, Serialize, Deserialize)]
pub struct EcashStocks {
    /// A unit of a mint each.
    pub stock: Vec<EcashStock>,
}

/// What is to be taken out as a token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdraw {
    /// An id of the asking side (UUID version 7): the same again is the same withdrawal.
    pub id: String,
    /// The mint.
    pub mint: String,
    /// `sat` or `msat`.
    pub unit: String,
    /// How much the token is to be worth, in the unit. Default: all that is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<u64>,
}

/// What became of a withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WithdrawalState {
    /// It is not known yet.
    Open,
    /// The token is there.
    Done,
    /// The mint did nothing: the coins are free again.
    Undone,
    /// Some coins had been spent by somebody else: the others are free again.
    Lost,
}

/// Coins that were taken out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Withdrawal {
    /// Its id.
    pub id: String,
    /// The mint; its number in the ledger, where the configuration does not have it any more.
    pub mint: String,
    /// The unit, where the configuration has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What became of it.
    pub state: WithdrawalState,
    /// What the token is worth.
    pub amount_msat: u64,
    /// What the mint takes.
    pub fee_msat: u64,
    /// When it was begun.
    pub begun_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// The token: whoever reads it can spend it. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// Coins that were taken out, the latest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Withdrawals {
    /// Up to 1,000.
    pub withdrawals: Vec<Withdrawal>,
}

/// An invoice to pay with test money.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pay {
    /// The invoice.
    pub invoice: String,
}

/// The proof that it was paid.
#[derive(Debug, Serialize, Deserialize)]
pub struct Proof {
    /// The preimage, in hex.
    pub preimage: String,
}

macro_rules! pages {
    ($($(#[$doc:meta])* $page:ident { $rows:ident: $row:ty, next: $cursor:ty })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        pub struct $page {
            /// What is on it.
            pub $rows: Vec<$row>,
            /// Where the next one begins, if there is one.
            pub next: Option<$cursor>,
        }
    )+};
}

pages! {
    /// A page of accounts, in the order of their first use.
    Accounts { accounts: Account, next: u64 }
    /// A page of an account's transfers, the latest first.
    Transfers { transfers: Transfer, next: String }
    /// A page of prepaid keys, in the order in which they were made.
    Keys { keys: Key, next: u64 }
    /// A page of refunds, in the order in which they were begun.
    Payouts { payouts: Payout, next: u64 }
    /// A page of charges, the latest first.
    Charges { charges: Charge, next: String }
}
