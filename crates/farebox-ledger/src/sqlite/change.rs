//! Change that is owed, or was told.

use farebox_core::{AccountId, HoldId, ProcessEpoch};
use rusqlite::{Connection, Params, Row};

use super::columns::{self, instant, instant_column, msat};
use crate::ChangeView;
use crate::money::signed;
use crate::rows::ChangeRow;
use crate::store::StoreError;

const CHANGE: &str = "SELECT hold, account, rail, msat, at, told, epoch FROM change";

pub(super) fn write(connection: &Connection, row: &ChangeRow) -> Result<(), StoreError> {
    let ChangeRow { view, epoch } = row;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO change (hold, account, epoch, rail, msat, at, told) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute((
            view.hold.as_bytes(),
            view.account.as_bytes(),
            epoch.0,
            view.rail.code(),
            signed(view.amount),
            instant_column(view.owed_at),
            view.told.as_deref(),
        ))?;
    Ok(())
}

pub(super) fn find(
    connection: &Connection,
    hold: &HoldId,
) -> Result<Option<ChangeRow>, StoreError> {
    let found = many(connection, "hold = ?1", [hold.as_bytes()])?;
    Ok(found.into_iter().next())
}

pub(super) fn list_owed(connection: &Connection) -> Result<Vec<ChangeView>, StoreError> {
    let found = many(connection, "told IS NULL ORDER BY at", ())?;
    Ok(found.into_iter().map(|row| row.view).collect())
}

fn many(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Vec<ChangeRow>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{CHANGE} WHERE {which}"))?;
    let mut found = statement.query(values)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        rows.push(read(row)?);
    }
    Ok(rows)
}

fn read(row: &Row<'_>) -> Result<ChangeRow, StoreError> {
    let told: Option<Vec<u8>> = row.get(5)?;
    Ok(ChangeRow {
        view: ChangeView {
            hold: columns::hold_id(row.get(0)?),
            account: AccountId::from_bytes(row.get(1)?),
            rail: columns::rail(row.get(2)?)?,
            amount: msat(row.get(3)?)?,
            owed_at: instant(row.get(4)?)?,
            told: told.map(Into::into),
        },
        epoch: ProcessEpoch(row.get(6)?),
    })
}
