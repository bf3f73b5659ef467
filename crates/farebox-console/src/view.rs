//! What the ledger knows, as the JSON of our API.

use std::time::{Duration, UNIX_EPOCH};

use farebox_core::{Binding, HoldId, Kind, UnixMillis};
use farebox_ledger::{AccountName, AccountView, TransferKind, TransferView, TrialBalance};

pub(crate) fn account(account: &AccountView, now: UnixMillis) -> farebox_api::Account {
    let terms = &account.terms;
    farebox_api::Account {
        payment_hash: account.account.to_string(),
        state: state(account, now).to_owned(),
        route: terms.route.to_string(),
        kind: kind(terms.kind).to_owned(),
        amount_msat: terms.amount.get(),
        balance_msat: account.balance.get(),
        excess_msat: account.excess.get(),
        held_msat: account.held.get(),
        calls: calls(terms.kind),
        calls_used: account.calls_used,
        calls_held: account.calls_held,
        voids: account.voids,
        methods: terms.methods.as_str().to_owned(),
        bind: match terms.binding {
            Binding::Route => "route".to_owned(),
            Binding::Request(_) => "request".to_owned(),
        },
        terms: format!("{:08x}", terms.epoch.0),
        key_epoch: account.key_epoch.0,
        claimed_at: rfc3339(account.claimed_at),
        expires_at: rfc3339(account.expires_at),
        revoked_at: account.revoked_at.map(rfc3339),
        cursor: account.cursor,
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

pub(crate) fn transfer(transfer: &TransferView) -> farebox_api::Transfer {
    let kind = match transfer.kind {
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
        TransferKind::Withdrawal => "withdrawal",
        TransferKind::MintFee => "mint_fee",
    };
    farebox_api::Transfer {
        id: HoldId::from_bytes(transfer.id).to_string(),
        debit: account_name(&transfer.debit),
        credit: account_name(&transfer.credit),
        amount_msat: transfer.amount.get(),
        kind: kind.to_owned(),
        at: rfc3339(transfer.at),
    }
}

fn account_name(name: &AccountName) -> String {
    match name {
        AccountName::Payer(hash) => format!("payer:{hash}"),
        AccountName::Key(key) => format!("key:{key}"),
        AccountName::House(name) => name.clone(),
    }
}

/// The form of `balance` that the admin API and the command line show.
#[must_use]
pub fn trial_balance(balance: &TrialBalance) -> farebox_api::TrialBalance {
    farebox_api::TrialBalance {
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

pub(crate) fn rfc3339(at: UnixMillis) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at.get())).to_string()
}
