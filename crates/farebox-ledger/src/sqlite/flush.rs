//! Writing what a batch changed: each table once, each row once.

use rusqlite::Connection;

use super::columns::{binding_column, instant_column, kind_columns, methods_column, span_column};
use super::{charges, keys};
use crate::book::{Account, Book, Origin, Transfer, signed};
use crate::store::StoreError;

/// Writes all changes of the book inside the open transaction.
pub(super) fn write(book: &Book, connection: &Connection) -> Result<(), StoreError> {
    write_accounts(book, connection)?;
    write_house(book, connection)?;
    write_transfers(book, connection)?;
    write_holds(book, connection)?;
    write_progress(book, connection)?;
    delete_holds(book, connection)?;
    write_retries(book, connection)?;
    charges::write(book, connection)?;
    keys::write_days(book, connection)?;
    write_revoked(book, connection)
}

fn write_accounts(book: &Book, connection: &Connection) -> Result<(), StoreError> {
    let mut update = connection.prepare_cached(
        "UPDATE accounts SET balance = ?2, calls_used = ?3, voids = ?4, last_transfer = ?5 \
         WHERE id = ?1",
    )?;
    let changed = book
        .changes()
        .accounts
        .iter()
        .filter_map(|hash| Some((hash, book.account(hash)?)));
    for (hash, account) in changed {
        if account.unsaved.new {
            insert_account(connection, hash, account)?;
            continue;
        }
        let Account {
            row,
            calls_used,
            voids,
            last_transfer,
            ..
        } = account;
        let changed = update.execute((
            row,
            signed(account.balance),
            calls_used,
            voids,
            last_transfer,
        ))?;
        expect_one(changed, "an account that was just read")?;
        if account.unsaved.revoked {
            let sql = "UPDATE claims SET revoked_at = ?2 WHERE account = ?1";
            let at = account.revoked_at.map(instant_column);
            expect_one(
                connection.prepare_cached(sql)?.execute((row, at))?,
                "a claim",
            )?;
        }
        if account.unsaved.excess {
            let sql = "UPDATE claims SET excess = ?2 WHERE account = ?1";
            let excess = signed(account.excess);
            expect_one(
                connection.prepare_cached(sql)?.execute((row, excess))?,
                "a claim",
            )?;
        }
    }
    Ok(())
}

fn insert_account(
    connection: &Connection,
    hash: &farebox_core::AccountId,
    account: &Account,
) -> Result<(), StoreError> {
    let Account {
        row,
        calls_used,
        voids,
        last_transfer,
        origin,
        ..
    } = account;
    // Keys are written when they are opened.
    let Origin::Payment { key_epoch, terms } = origin else {
        return Err(StoreError::Corrupt("a key that was not written"));
    };
    connection
        .prepare_cached("INSERT INTO accounts VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((
            row,
            signed(account.balance),
            calls_used,
            voids,
            last_transfer,
        ))?;
    let (kind, calls, span) = kind_columns(terms.kind);
    connection
        .prepare_cached(
            "INSERT INTO claims VALUES \
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?
        .execute(rusqlite::params![
            row,
            hash.as_bytes(),
            key_epoch.0,
            signed(terms.amount),
            kind,
            calls,
            span,
            terms.route.as_str(),
            methods_column(terms.methods),
            binding_column(&terms.binding),
            terms.epoch.0,
            span_column(terms.valid_for),
            instant_column(terms.claim_by),
            instant_column(account.claimed_at),
            instant_column(account.expires_at),
            account.revoked_at.map(instant_column),
            signed(account.excess),
        ])?;
    Ok(())
}

fn write_house(book: &Book, connection: &Connection) -> Result<(), StoreError> {
    let changed = book
        .changes()
        .house
        .iter()
        .filter_map(|name| Some((name, book.house(name)?)));
    for (name, house) in changed {
        if house.unsaved.new {
            connection
                .prepare_cached("INSERT INTO accounts (id, balance) VALUES (?1, ?2)")?
                .execute((house.row, house.balance))?;
            connection
                .prepare_cached("INSERT INTO house (account, name) VALUES (?1, ?2)")?
                .execute((house.row, name))?;
        } else {
            let changed = connection
                .prepare_cached("UPDATE accounts SET balance = ?2 WHERE id = ?1")?
                .execute((house.row, house.balance))?;
            expect_one(changed, "an account of the house")?;
        }
    }
    Ok(())
}

fn write_transfers(book: &Book, connection: &Connection) -> Result<(), StoreError> {
    append_transfers(connection, &book.changes().transfers)
}

/// Appends transfers.
pub(super) fn append_transfers(
    connection: &Connection,
    transfers: &[Transfer],
) -> Result<(), StoreError> {
    let mut insert =
        connection.prepare_cached("INSERT INTO transfers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for transfer in transfers {
        insert.execute((
            transfer.id,
            transfer.debit,
            transfer.credit,
            signed(transfer.amount),
            transfer.kind.code(),
            instant_column(transfer.at),
            transfer.previous,
        ))?;
    }
    Ok(())
}

fn write_holds(book: &Book, connection: &Connection) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO holds VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    let epoch = book.epoch().0;
    for id in &book.changes().holds {
        let Some(hold) = book.find_hold(id) else {
            continue;
        };
        let key = hold.key.as_ref();
        insert.execute((
            hold.number,
            id.as_bytes(),
            hold.account,
            epoch,
            signed(hold.amount),
            hold.progress.map(signed),
            hold.once.as_ref().map(|once| &once.key),
            hold.once.as_ref().map(|once| once.digest.as_bytes()),
            key.map(|key| key.asker_row),
            key.map(|key| key.route.as_str()),
            key.map(|key| key.day),
            hold.basis.as_deref().map(charges::basis_column),
        ))?;
    }
    Ok(())
}

fn write_progress(book: &Book, connection: &Connection) -> Result<(), StoreError> {
    let mut update =
        connection.prepare_cached("UPDATE holds SET progress = ?2 WHERE number = ?1")?;
    for id in &book.changes().progress {
        let Some(hold) = book.find_hold(id).filter(|hold| hold.stored) else {
            continue;
        };
        let changed = update.execute((hold.number, hold.progress.map(signed)))?;
        expect_one(changed, "an open hold")?;
    }
    Ok(())
}

fn delete_holds(book: &Book, connection: &Connection) -> Result<(), StoreError> {
    let mut delete = connection.prepare_cached("DELETE FROM holds WHERE number = ?1")?;
    for number in &book.changes().ended {
        expect_one(delete.execute([number])?, "an open hold")?;
    }
    Ok(())
}

fn write_retries(book: &Book, connection: &Connection) -> Result<(), StoreError> {
    let mut insert =
        connection.prepare_cached("INSERT INTO retries VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for (key, retry) in &book.changes().retries {
        insert.execute((
            key.account,
            key.key,
            retry.digest.as_bytes(),
            retry.hold.as_bytes(),
            signed(retry.charged),
            instant_column(retry.settled_at),
        ))?;
    }
    Ok(())
}

fn write_revoked(book: &Book, connection: &Connection) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO revoked VALUES (?1, ?2)")?;
    for (hash, at) in &book.changes().revoked {
        insert.execute((hash.as_bytes(), instant_column(*at)))?;
    }
    Ok(())
}

/// A row that the picture has and the database has not means that somebody else wrote.
pub(super) fn expect_one(changed: usize, row: &'static str) -> Result<(), StoreError> {
    if changed == 1 {
        Ok(())
    } else {
        Err(StoreError::Corrupt(row))
    }
}
