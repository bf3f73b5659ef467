//! Change that is owed, or was told.

use farebox_core::{AccountId, ProcessEpoch};
use rusqlite::{Connection, Params, Row};

use super::columns::{self, instant, instant_column, msat};
use super::sql::Sql as _;
use crate::ChangeView;
use crate::money::signed;
use crate::store::StoreError;
use crate::swap::ChangeRow;

pub(super) fn write(connection: &Connection, row: &ChangeRow) -> Result<(), StoreError> {
    let ChangeRow { view, epoch } = row;
    let sql = "INSERT OR REPLACE INTO change VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let values = (
        view.account.as_bytes(),
        epoch.0,
        view.rail.code(),
        signed(view.owed),
        instant_column(view.since),
        (!view.told.is_empty()).then(|| view.told.join("\n")),
    );
    connection.run(sql, values).map(drop)
}

pub(super) fn find(
    connection: &Connection,
    account: &AccountId,
) -> Result<Option<ChangeRow>, StoreError> {
    let mut found = list(connection, "account = ?1", [account.as_bytes()])?;
    Ok(found.pop())
}

/// All change that fulfils a condition.
pub(super) fn list(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Vec<ChangeRow>, StoreError> {
    let sql = format!("SELECT account, epoch, rail, msat, at, told FROM change WHERE {which}");
    connection.readable(&sql, values, read)
}

fn read(row: &Row<'_>) -> Result<ChangeRow, StoreError> {
    let told: Option<String> = row.get(5)?;
    let parts = told.as_deref().into_iter().flat_map(str::lines);
    Ok(ChangeRow {
        view: ChangeView {
            account: AccountId::from_bytes(row.get(0)?),
            rail: columns::rail(row.get(2)?)?,
            owed: msat(row.get(3)?)?,
            since: instant(row.get(4)?)?,
            told: parts.map(Into::into).collect(),
        },
        epoch: ProcessEpoch(row.get(1)?),
    })
}
