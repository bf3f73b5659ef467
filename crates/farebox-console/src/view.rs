//! What the ledger knows, as JSON. Field names are a promise to programs.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use farebox_core::{Binding, HoldId, Kind, UnixMillis};
use farebox_ledger::{
    AccountName, AccountView, Refundable, TransferKind, TransferView, TrialBalance,
};
use serde::Serialize;

/// One token's account.
#[derive(Serialize)]
pub(crate) struct AccountJson {
    payment_hash: String,
    state: &'static str,
    route: String,
    kind: &'static str,
    amount_msat: u64,
    balance_msat: u64,
    excess_msat: u64,
    held_msat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<u32>,
    calls_used: u32,
    calls_held: u32,
    voids: u32,
    methods: &'static str,
    bind: &'static str,
    terms: String,
    key_epoch: u32,
    claimed_at: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    cursor: u64,
}

/// One token's account, and what could be paid back on it.
#[derive(Serialize)]
pub(crate) struct TokenJson {
    #[serde(flatten)]
    account: AccountJson,
    /// Fee included.
    refundable_msat: u64,
}

/// One movement of money.
#[derive(Serialize)]
pub(crate) struct TransferJson {
    pub(crate) id: String,
    debit: String,
    credit: String,
    amount_msat: u64,
    kind: &'static str,
    at: String,
}

/// The proof that the books are right.
#[derive(Serialize)]
pub struct TrialBalanceJson {
    sound: bool,
    sum_msat: i128,
    payers_msat: u64,
    held_msat: u64,
    house_msat: BTreeMap<String, i64>,
    open_holds: u64,
    open_payouts: u64,
    payouts_held_msat: u64,
    held_calls: u64,
    accounts: u64,
    transfers: u64,
    unproven: u64,
    overdrawn: u64,
}

impl AccountJson {
    pub(crate) fn new(account: &AccountView, now: UnixMillis) -> Self {
        let terms = &account.terms;
        Self {
            payment_hash: account.account.to_string(),
            state: state(account, now),
            route: terms.route.to_string(),
            kind: kind(terms.kind),
            amount_msat: terms.amount.get(),
            balance_msat: account.balance.get(),
            excess_msat: account.excess.get(),
            held_msat: account.held.get(),
            calls: calls(terms.kind),
            calls_used: account.calls_used,
            calls_held: account.calls_held,
            voids: account.voids,
            methods: terms.methods.as_str(),
            bind: match terms.binding {
                Binding::Route => "route",
                Binding::Request(_) => "request",
            },
            terms: format!("{:08x}", terms.epoch.0),
            key_epoch: account.key_epoch.0,
            claimed_at: rfc3339(account.claimed_at),
            expires_at: rfc3339(account.expires_at),
            revoked_at: account.revoked_at.map(rfc3339),
            cursor: account.cursor,
        }
    }
}

impl TokenJson {
    pub(crate) fn new(account: AccountJson, left: Option<&Refundable>) -> Self {
        Self {
            account,
            refundable_msat: left.map_or(0, |left| left.available.get()),
        }
    }
}

fn state(account: &AccountView, now: UnixMillis) -> &'static str {
    let used_up = match account.terms.kind {
        Kind::Pass(_) => false,
        Kind::Balance => account.balance.is_zero(),
        Kind::Single => account.calls_used >= 1,
        Kind::Calls(calls) => account.calls_used >= calls,
    };
    if account.revoked_at.is_some() {
        "revoked"
    } else if used_up {
        "used"
    } else if account.expires_at <= now {
        "expired"
    } else {
        "active"
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Single => "single",
        Kind::Calls(_) => "calls",
        Kind::Pass(_) => "pass",
        Kind::Balance => "balance",
    }
}

const fn calls(kind: Kind) -> Option<u32> {
    match kind {
        Kind::Single => Some(1),
        Kind::Calls(calls) => Some(calls),
        Kind::Pass(_) | Kind::Balance => None,
    }
}

impl TransferJson {
    pub(crate) fn new(transfer: &TransferView) -> Self {
        Self {
            id: HoldId::from_bytes(transfer.id).to_string(),
            debit: account_name(&transfer.debit),
            credit: account_name(&transfer.credit),
            amount_msat: transfer.amount.get(),
            kind: match transfer.kind {
                TransferKind::Claim => "claim",
                TransferKind::Settle => "settle",
                TransferKind::Pass => "pass",
                TransferKind::SellerLoss => "seller_loss",
                TransferKind::Summary => "summary",
                TransferKind::Excess => "excess",
                TransferKind::Payout => "payout",
                TransferKind::PayoutFee => "payout_fee",
                TransferKind::Deposit => "deposit",
                TransferKind::Change => "change",
            },
            at: rfc3339(transfer.at),
        }
    }
}

fn account_name(name: &AccountName) -> String {
    match name {
        AccountName::Payer(hash) => format!("payer:{hash}"),
        AccountName::Key(key) => format!("key:{key}"),
        AccountName::House(name) => name.clone(),
    }
}

impl TrialBalanceJson {
    /// The form of `balance` that the admin API and the command line show.
    #[must_use]
    pub fn new(balance: &TrialBalance) -> Self {
        Self {
            sound: balance.is_sound(),
            sum_msat: balance.sum,
            payers_msat: balance.payers.get(),
            held_msat: balance.held.get(),
            house_msat: balance.house.iter().cloned().collect(),
            open_holds: balance.open_holds,
            open_payouts: balance.open_payouts,
            payouts_held_msat: balance.payouts_held.get(),
            held_calls: balance.held_calls,
            accounts: balance.accounts,
            transfers: balance.transfers,
            unproven: balance.unproven,
            overdrawn: balance.overdrawn,
        }
    }
}

pub(crate) fn rfc3339(at: UnixMillis) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at.get())).to_string()
}
