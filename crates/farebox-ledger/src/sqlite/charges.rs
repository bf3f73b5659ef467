//! What charges were made of, as rows: written with the settlement, read with its transfer.

use farebox_core::{HoldId, KeyHash, RouteName, UnixMillis};
use rusqlite::{Connection, Row, Transaction};

use super::columns::{self, account_name, instant, instant_column, maybe_msat};
use super::sql::{Each, Sql as _};
use crate::charge::{MAX_CHARGE_CLASSES, MAX_CHARGE_RATE};
use crate::money::signed;
use crate::name::HouseName;
use crate::rows::Charge;
use crate::store::StoreError;
use crate::{AccountName, ChargeBasis, ChargePage, ChargeQuery, ChargeView, Measured, RateUsed};

/// Transfers looked at for one page of charges.
const PAGE_TRANSFERS: u32 = 50_000;

/// The column `basis` of an open hold.
pub(super) fn basis_column(basis: &ChargeBasis) -> String {
    let (rate, model) = basis_columns(Some(basis));
    let rate = rate.map_or_else(String::new, |rate| {
        let age = rate.age_ms.map_or_else(String::new, |age| age.to_string());
        format!("{} {} {age}", rate.currency, rate.bitcoin_price)
    });
    format!("{rate}\n{}", model.unwrap_or_default())
}

/// What the column `basis` says.
pub(super) fn read_basis_column(text: &str) -> Result<ChargeBasis, StoreError> {
    const BROKEN: StoreError = StoreError::Corrupt("what a hold was found by");
    let (rate, model) = text.split_once('\n').ok_or(BROKEN)?;
    let mut parts = rate.splitn(3, ' ');
    let rate = match (parts.next(), parts.next(), parts.next()) {
        (Some(""), None, None) => None,
        (Some(currency), Some(price), Some(age)) => Some(RateUsed {
            currency: currency.to_owned(),
            bitcoin_price: price.to_owned(),
            age_ms: (!age.is_empty())
                .then(|| age.parse().map_err(|_| BROKEN))
                .transpose()?,
        }),
        _ => return Err(BROKEN),
    };
    let model = (!model.is_empty()).then(|| model.to_owned());
    Ok(ChargeBasis { rate, model })
}

pub(super) const INSERT: &str = "INSERT INTO charges VALUES \
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

/// Writes what the end of a hold tells, by [`INSERT`].
pub(super) fn insert(
    statement: &mut Each<'_>,
    account: i64,
    charge: &Charge,
) -> Result<(), StoreError> {
    let (rate, model) = basis_columns(charge.basis.as_deref());
    let measured = charge.measured.as_ref();
    let child = charge.facts.child();
    let values = (
        charge.id.as_bytes(),
        account,
        child.as_ref().map(KeyHash::as_bytes),
        charge.route.as_str(),
        signed(charge.held),
        signed(charge.used),
        charge.charged.map(signed),
        instant_column(charge.at),
        rate.map(|rate| &rate.currency),
        rate.map(|rate| &rate.bitcoin_price),
        rate.and_then(|rate| rate.age_ms).map(age_column),
        model,
        measured.map(|measured| measured.terminal),
        measured.and_then(usage_column),
        measured.and_then(quantity_column),
    );
    statement.run(values).map(drop)
}

/// The columns of what a price was found by.
fn basis_columns(basis: Option<&ChargeBasis>) -> (Option<&RateUsed>, Option<&str>) {
    let rate = basis.and_then(|basis| basis.rate.as_ref());
    (rate, basis.and_then(|basis| basis.model.as_deref()))
}

/// The column `rate_age`: ages beyond all time are as old as can be.
fn age_column(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

/// What a price was found by, from the column `first` and the three after it.
pub(super) fn read_basis(row: &Row<'_>, first: usize) -> Result<Option<ChargeBasis>, StoreError> {
    let currency: Option<String> = row.get(first)?;
    let price: Option<String> = row.get(first + 1)?;
    let age: Option<i64> = row.get(first + 2)?;
    let model: Option<String> = row.get(first + 3)?;
    let age_ms = age.map(u64::try_from).transpose();
    let age_ms = age_ms.map_err(|_| StoreError::Corrupt("the age of a rate"))?;
    let rate = currency
        .zip(price)
        .map(|(currency, bitcoin_price)| RateUsed {
            currency,
            bitcoin_price,
            age_ms,
        });
    let is_nothing = rate.is_none() && model.is_none();
    Ok((!is_nothing).then_some(ChargeBasis { rate, model }))
}

fn usage_column(measured: &Measured) -> Option<String> {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (class, count) in measured.usage.iter().take(MAX_CHARGE_CLASSES) {
        let gap = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{gap}{class}={count}");
    }
    (!text.is_empty()).then_some(text)
}

fn quantity_column(measured: &Measured) -> Option<&str> {
    let quantity = measured.quantity.as_deref();
    quantity.filter(|text| text.len() <= MAX_CHARGE_RATE)
}

fn read_usage(text: Option<&str>) -> Result<Vec<(String, u64)>, StoreError> {
    let one = |entry: &str| {
        let (class, count) = entry.split_once('=')?;
        Some((class.to_owned(), count.parse().ok()?))
    };
    let entries = text.unwrap_or_default().split_ascii_whitespace();
    let usage: Option<_> = entries.map(one).collect();
    usage.ok_or(StoreError::Corrupt("what a charge used"))
}

/// What [`read`] expects, of a transfer `t` and its details `c`, where one of them may be missing.
const VIEW: &str = "SELECT coalesce(t.id, c.id), t.msat, coalesce(t.at, c.at), \
     coalesce(c.route, h.name), p.name, k.name, c.asker, c.held, c.used, \
     c.currency, c.bitcoin_price, c.rate_age, c.model, c.terminal, c.usage, c.quantity";
/// Whose money it was, and what earned it.
const NAMES: &str = "LEFT JOIN claims p ON p.account = coalesce(t.debit, c.account) \
     LEFT JOIN keys k ON k.account = coalesce(t.debit, c.account) \
     LEFT JOIN house h ON h.account = t.credit";

pub(super) fn find(
    connection: &Connection,
    hold: &HoldId,
) -> Result<Option<ChargeView>, StoreError> {
    let sql = format!(
        "{VIEW} FROM (SELECT ?1 AS id) q LEFT JOIN transfers t ON t.id = q.id AND t.kind = 2 \
         LEFT JOIN charges c ON c.id = q.id {NAMES} WHERE t.id IS NOT NULL OR c.id IS NOT NULL"
    );
    connection.first(&sql, [hold.as_bytes()], read)
}

/// The transfers that one page looks at.
const PART: &str = "SELECT * FROM transfers WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";

pub(super) fn list(
    snapshot: &Transaction<'_>,
    query: &ChargeQuery,
    limit: u32,
) -> Result<ChargePage, StoreError> {
    let (from, to) = bounds(query);
    let route = query.route.clone().map(HouseName::Revenue);
    let route = route.map(|name| name.to_string());
    let sql = format!(
        "{VIEW} FROM ({PART}) t LEFT JOIN charges c ON c.id = t.id {NAMES} WHERE t.kind = 2 \
         AND (?4 IS NULL OR t.credit = (SELECT account FROM house WHERE name = ?4)) \
         AND (?5 IS NULL OR ?5 IN (p.name, k.name, c.asker)) \
         ORDER BY t.id DESC LIMIT ?6"
    );
    let account = account_bytes(query);
    let values = (from, to, PAGE_TRANSFERS, route, account, limit);
    let charges = snapshot.all(&sql, values, read)?;
    let is_full = u32::try_from(charges.len()).is_ok_and(|count| count >= limit);
    let next = match charges.last() {
        Some(last) if is_full => Some(last.hold),
        _ => last_looked_at(snapshot, from, to)?,
    };
    Ok(ChargePage { charges, next })
}

/// Where the next page begins, if there are more transfers than one page looks at.
fn last_looked_at(
    snapshot: &Transaction<'_>,
    from: [u8; 16],
    to: [u8; 16],
) -> Result<Option<HoldId>, StoreError> {
    let sql = "SELECT id FROM transfers WHERE id >= ?1 AND id < ?2 ORDER BY id DESC \
               LIMIT 1 OFFSET ?3";
    let values = (from, to, PAGE_TRANSFERS - 1);
    snapshot.first(sql, values, |row| Ok(columns::hold_id(row.get(0)?)))
}

/// The ids between which a listing searches: they begin with the instant of the admission.
fn bounds(query: &ChargeQuery) -> ([u8; 16], [u8; 16]) {
    let first = |at: UnixMillis| {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&at.get().min((1 << 48) - 1).to_be_bytes()[2..]);
        id
    };
    let until = query.until.map_or([0xff; 16], first);
    let before = query.before.map_or([0xff; 16], |hold| *hold.as_bytes());
    (query.since.map_or([0; 16], first), until.min(before))
}

const fn account_bytes(query: &ChargeQuery) -> Option<&[u8; 32]> {
    match &query.account {
        Some(AccountName::Payer(hash)) => Some(hash.as_bytes()),
        Some(AccountName::Key(key)) => Some(key.as_bytes()),
        Some(AccountName::House(_)) | None => None,
    }
}

fn read(row: &Row<'_>) -> Result<ChargeView, StoreError> {
    let charged = maybe_msat(row.get(1)?)?;
    let asker: Option<[u8; 32]> = row.get(6)?;
    let usage: Option<String> = row.get(14)?;
    Ok(ChargeView {
        hold: columns::hold_id(row.get(0)?),
        account: account_name(row.get(4)?, row.get(5)?, None)?,
        asker: asker.map(KeyHash::from_bytes),
        route: earned_by(&row.get::<_, String>(3)?)?,
        at: instant(row.get(2)?)?,
        held: maybe_msat(row.get(7)?)?,
        used: maybe_msat(row.get(8)?)?.or(charged).unwrap_or_default(),
        charged: charged.unwrap_or_default(),
        released: charged.is_none(),
        basis: read_basis(row, 9)?.unwrap_or_default(),
        terminal: row.get(13)?,
        usage: read_usage(usage.as_deref())?,
        quantity: row.get(15)?,
    })
}

/// The route, by its own name or that of the account that collects what it earned.
fn earned_by(name: &str) -> Result<RouteName, StoreError> {
    match HouseName::parse(name) {
        Some(HouseName::Revenue(route)) => Ok(route),
        Some(_) | None => columns::route(name),
    }
}
