//! Values and the columns they are kept in. What is read back is exactly what was written.

use std::time::Duration;

use farebox_core::{
    AccountId, Binding, HoldId, KeyEpoch, KeyHash, Kind, MethodClass, Msat, RequestDigest,
    RouteName, Terms, TermsEpoch, UnixMillis,
};
use rusqlite::Row;

use crate::store::StoreError;
use crate::{AccountName, KeyLimits, Rail};

/// The columns of a claim, in the order that [`Claim::read`] expects.
pub(super) const CLAIM: &str = "c.account, c.name, c.key_epoch, c.amount, c.kind, c.calls, \
     c.span, c.route, c.methods, c.request, c.terms_epoch, c.valid_for, c.claim_by, c.claimed_at, \
     c.expires_at, c.revoked_at, c.excess, c.rail";
/// The number of columns in [`CLAIM`].
pub(super) const CLAIM_WIDTH: usize = 18;

/// What a payer's account was sold.
pub(super) struct Claim {
    pub(super) account: i64,
    pub(super) name: AccountId,
    pub(super) key_epoch: KeyEpoch,
    pub(super) terms: Terms,
    pub(super) claimed_at: UnixMillis,
    pub(super) expires_at: UnixMillis,
    pub(super) revoked_at: Option<UnixMillis>,
    pub(super) excess: Msat,
    pub(super) rail: Rail,
}

impl Claim {
    pub(super) fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            account: row.get(0)?,
            name: AccountId::from_bytes(row.get(1)?),
            key_epoch: KeyEpoch(row.get(2)?),
            terms: read_terms(row)?,
            claimed_at: instant(row.get(13)?)?,
            expires_at: instant(row.get(14)?)?,
            revoked_at: row.get::<_, Option<i64>>(15)?.map(instant).transpose()?,
            excess: msat(row.get(16)?)?,
            rail: rail(row.get(17)?)?,
        })
    }
}

/// What was sold, from columns 3 to 12 of [`CLAIM`].
pub(super) fn read_terms(row: &Row<'_>) -> Result<Terms, StoreError> {
    let route = row
        .get_ref(7)?
        .as_str()
        .map_err(|_| StoreError::Corrupt("a route's name"))?;
    let request: Option<[u8; 32]> = row.get(9)?;
    Ok(Terms {
        amount: msat(row.get(3)?)?,
        kind: read_kind(row)?,
        route: RouteName::parse(route).map_err(|_| StoreError::Corrupt("a route's name"))?,
        methods: method_class(row.get(8)?)?,
        binding: request.map_or(Binding::Route, |digest| {
            Binding::Request(RequestDigest::from_bytes(digest))
        }),
        epoch: TermsEpoch(row.get(10)?),
        valid_for: read_span(row.get(11)?)?,
        claim_by: instant(row.get(12)?)?,
    })
}

fn read_kind(row: &Row<'_>) -> Result<Kind, StoreError> {
    match row.get(4)? {
        1_i64 => Ok(Kind::Single),
        2 => Ok(Kind::Calls(row.get(5)?)),
        3 => Ok(Kind::Pass(read_span(row.get(6)?)?)),
        4 => Ok(Kind::Balance),
        _ => Err(StoreError::Corrupt("a kind of terms")),
    }
}

/// The columns `kind`, `calls` and `span`.
pub(super) fn kind_columns(kind: Kind) -> (i64, Option<u32>, Option<[u8; 12]>) {
    match kind {
        Kind::Single => (1, Some(1), None),
        Kind::Calls(count) => (2, Some(count), None),
        Kind::Pass(span) => (3, None, Some(span_column(span))),
        Kind::Balance => (4, None, None),
    }
}

/// The column `request`.
pub(super) const fn binding_column(binding: &Binding) -> Option<&[u8; 32]> {
    match binding {
        Binding::Route => None,
        Binding::Request(digest) => Some(digest.as_bytes()),
    }
}

/// The column `methods`.
pub(super) const fn methods_column(methods: MethodClass) -> i64 {
    match methods {
        MethodClass::Read => 1,
        MethodClass::Write => 2,
        MethodClass::Any => 3,
    }
}

fn method_class(code: i64) -> Result<MethodClass, StoreError> {
    match code {
        1 => Ok(MethodClass::Read),
        2 => Ok(MethodClass::Write),
        3 => Ok(MethodClass::Any),
        _ => Err(StoreError::Corrupt("a method class")),
    }
}

/// A span of time, exact and of any length: 8 bytes of seconds and 4 of nanoseconds.
pub(super) fn span_column(span: Duration) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&span.as_secs().to_be_bytes());
    bytes[8..].copy_from_slice(&span.subsec_nanos().to_be_bytes());
    bytes
}

fn read_span(bytes: [u8; 12]) -> Result<Duration, StoreError> {
    let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = bytes;
    let seconds = u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    let nanos = u32::from_be_bytes([n0, n1, n2, n3]);
    if nanos >= 1_000_000_000 {
        return Err(StoreError::Corrupt("a span of time"));
    }
    Ok(Duration::new(seconds, nanos))
}

/// A rail that was read.
pub(super) fn rail(code: i64) -> Result<Rail, StoreError> {
    Rail::from_code(code).ok_or(StoreError::Corrupt("a rail"))
}

/// The name of an account, from where it may be found: among payments, keys and the house's.
pub(super) fn account_name(
    payer: Option<[u8; 32]>,
    key: Option<[u8; 32]>,
    house: Option<String>,
) -> Result<AccountName, StoreError> {
    match (payer, key, house) {
        (Some(id), None, None) => Ok(AccountName::Payer(AccountId::from_bytes(id))),
        (None, Some(hash), None) => Ok(AccountName::Key(KeyHash::from_bytes(hash))),
        (None, None, Some(name)) => Ok(AccountName::House(name)),
        _ => Err(StoreError::Corrupt("the name of an account")),
    }
}

/// An amount that may be absent.
pub(super) fn maybe_msat(column: Option<i64>) -> Result<Option<Msat>, StoreError> {
    column.map(msat).transpose()
}

/// An instant that may be absent.
pub(super) fn maybe_instant(column: Option<i64>) -> Result<Option<UnixMillis>, StoreError> {
    column.map(instant).transpose()
}

/// A route's name that was read.
pub(super) fn route(name: &str) -> Result<RouteName, StoreError> {
    RouteName::parse(name).map_err(|_| StoreError::Corrupt("a route's name"))
}

/// The place of an account or a payout in listings.
pub(super) fn cursor(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt("the number of a row"))
}

/// An amount that was read.
pub(super) fn msat(column: i64) -> Result<Msat, StoreError> {
    let amount = u64::try_from(column)
        .ok()
        .and_then(|amount| Msat::new(amount).ok());
    amount.ok_or(StoreError::Corrupt("an amount"))
}

/// An instant that was read.
pub(super) fn instant(column: i64) -> Result<UnixMillis, StoreError> {
    let millis = u64::try_from(column).map_err(|_| StoreError::Corrupt("an instant"))?;
    Ok(UnixMillis::new(millis))
}

/// An instant as a column: every one fits.
pub(super) const fn instant_column(at: UnixMillis) -> i64 {
    at.get().cast_signed()
}

/// A hold's id that was read.
pub(super) const fn hold_id(bytes: [u8; 16]) -> HoldId {
    HoldId::from_bytes(bytes)
}

/// The columns of [`KeyLimits`], in the order that [`read_limits`] expects.
pub(super) const LIMITS: &str = "k.total, k.per_day, k.routes, k.models, k.expires_at";

/// Names in one column, one a line; none of them has a line break in it.
pub(super) fn lines<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.flat_map(|name| [name, "\n"]).collect()
}

/// The limits in the first five columns of a row.
pub(super) fn read_limits(row: &Row<'_>) -> Result<KeyLimits, StoreError> {
    let routes: Option<String> = row.get(2)?;
    let routes = routes.map(|text| text.lines().map(route).collect());
    let models: Option<String> = row.get(3)?;
    Ok(KeyLimits {
        total: maybe_msat(row.get(0)?)?,
        per_day: maybe_msat(row.get(1)?)?,
        routes: routes.transpose()?,
        models: models.map(|text| text.lines().map(str::to_owned).collect()),
        expires_at: maybe_instant(row.get(4)?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_any_length_is_read_as_it_was_written() {
        for span in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_secs(60),
            Duration::MAX,
        ] {
            assert_eq!(read_span(span_column(span)).unwrap(), span);
        }
        assert!(read_span([0xff; 12]).is_err());
    }
}
