//! Reading the rows that are named into the working set.

use std::collections::BTreeMap;

use farebox_core::{AccountId, HoldId, Msat, PayoutId, ProcessEpoch, RequestDigest, UnixMillis};
use rusqlite::{Connection, Row};

use super::columns::{
    self, CLAIM, CLAIM_WIDTH, Claim, LIMITS, instant, maybe_instant, maybe_msat, msat, read_limits,
};
use super::sql::Sql as _;
use super::{change, charges, held, payouts, swaps, withdrawals};
use crate::Receipt;
use crate::day::Day;
use crate::name::{HouseName, Name};
use crate::rows::{
    Account, Entry, HoldFacts, Is, Key, OnceRow, OnceState, OpenHold, Origin, Reserve, TransferId,
};
use crate::store::{StoreError, Totals};
use crate::working::Rows;

/// Reads named rows. No transfer has an id above `newest`.
pub(super) struct Load<'a> {
    pub(super) connection: &'a Connection,
    pub(super) newest: TransferId,
}

impl Load<'_> {
    pub(super) fn names(&self, names: &[Name], rows: &mut Rows) -> Result<(), StoreError> {
        // What was asked for once depends on whether the account was ever charged.
        let is_once = |name: &&Name| matches!(name, Name::Once(..));
        let others = names.iter().filter(|name| !is_once(name));
        for name in others.chain(names.iter().filter(is_once)) {
            self.name(name, rows)?;
        }
        Ok(())
    }

    fn name(&self, name: &Name, rows: &mut Rows) -> Result<(), StoreError> {
        match name {
            Name::Account(id) => self.entry(id, rows),
            Name::Use(id, day) => self.entry_on(id, *day, rows),
            Name::Asker(id, day) => {
                self.entry_on(id, *day, rows)?;
                let parent = rows.account(id).and_then(Account::key);
                match parent.and_then(|key| key.parent) {
                    Some(parent) => self.entry_on(&parent, *day, rows),
                    None => Ok(()),
                }
            }
            Name::Hold(id) => {
                if *id.as_bytes() <= self.newest && self.is_transfer(id.as_bytes())? {
                    rows.ended.insert(*id);
                }
                Ok(())
            }
            Name::Once(id, key) => self.once(id, *key, rows),
            Name::Payout(id) => self.payout("id = ?1", id.as_bytes(), rows),
            Name::Outgoing(hash) => self.payout("destination_hash = ?1", hash.as_bytes(), rows),
            Name::PublicId(public_id) => self.public_id(public_id, rows),
            Name::PayoutGate(id, since) => {
                rows.gate = Some(payouts::gate(self.connection, id, *since)?);
                Ok(())
            }
            Name::Change(account) => {
                let found = change::find(self.connection, account)?;
                rows.change.extend(found.map(|row| (*account, row)));
                Ok(())
            }
            Name::Swap(id) => {
                let found = swaps::find(self.connection, id)?;
                rows.swaps.extend(found.map(|row| (*id, row)));
                Ok(())
            }
            Name::Received(coin) => {
                if let Some(swap) = swaps::received_for(self.connection, coin)? {
                    rows.received.insert(*coin, swap.view.id);
                    rows.swaps.insert(swap.view.id, swap);
                }
                Ok(())
            }
            Name::Withdrawal(id) => {
                let found = withdrawals::find(self.connection, id)?;
                rows.withdrawals.extend(found.map(|row| (*id, row)));
                Ok(())
            }
            Name::Coin(name) => {
                let found = swaps::find_coin(self.connection, name)?;
                rows.coins.extend(found.map(|coin| (*name, coin)));
                Ok(())
            }
        }
    }

    fn entry(&self, id: &AccountId, rows: &mut Rows) -> Result<(), StoreError> {
        if rows.entry(id).is_none() {
            rows.put(*id, self.read_entry(id)?);
        }
        Ok(())
    }

    fn entry_on(&self, id: &AccountId, day: Day, rows: &mut Rows) -> Result<(), StoreError> {
        self.entry(id, rows)?;
        let Some(account) = rows.entry_mut(id).and_then(Entry::account_mut) else {
            return Ok(());
        };
        let row = account.row;
        if let Some(key) = account.key_mut()
            && !key.days.contains_key(&day)
        {
            let sql = "SELECT msat FROM key_days WHERE account = ?1 AND day = ?2";
            let spent = self
                .connection
                .first(sql, (row, day), |row| msat(row.get(0)?))?;
            key.days.entry(day).or_default().spent = spent.unwrap_or_default();
        }
        Ok(())
    }

    fn read_entry(&self, id: &AccountId) -> Result<Entry, StoreError> {
        let sql = "SELECT n.state, n.account, n.msat, n.at, n.received, n.received_at, \
                   n.revoked_at, n.has_call, k.name FROM names n LEFT JOIN keys k \
                   ON k.account = n.account AND n.state IN (3, 4) WHERE n.name = ?1";
        let found = self.connection.first(sql, [id.as_bytes()], |row| {
            let call = row
                .get::<_, bool>(7)?
                .then(|| held::row(self.connection, id));
            Ok(Entry {
                is: self.read_is(id, row)?,
                received: maybe_msat(row.get(4)?)?.zip(maybe_instant(row.get(5)?)?),
                revoked_at: maybe_instant(row.get(6)?)?,
                call: call.transpose()?.map(Box::new),
                ..Entry::default()
            })
        })?;
        Ok(found.unwrap_or_default())
    }

    fn read_is(&self, id: &AccountId, row: &Row<'_>) -> Result<Is, StoreError> {
        const KEY: StoreError = StoreError::Corrupt("the key of a payment");
        let key = || -> Result<AccountId, StoreError> {
            let name: Option<[u8; 32]> = row.get(8)?;
            name.map(AccountId::from_bytes).ok_or(KEY)
        };
        Ok(match row.get(0)? {
            0_i64 => Is::Nothing,
            1 => Is::Account(Box::new(self.read_claimed(id, row.get(1)?)?)),
            2 => Is::Account(Box::new(self.read_key(id, row.get(1)?)?)),
            3 => Is::Pending {
                key: key()?,
                amount: msat(row.get(2)?)?,
                expires_at: instant(row.get(3)?)?,
            },
            4 => Is::Deposited {
                key: key()?,
                amount: msat(row.get(2)?)?,
                at: instant(row.get(3)?)?,
            },
            5 => Is::Spent,
            _ => return Err(StoreError::Corrupt("what a name stands for")),
        })
    }

    fn read_claimed(&self, id: &AccountId, number: i64) -> Result<Account, StoreError> {
        let sql = format!(
            "SELECT {CLAIM}, a.balance, a.calls_used, a.voids, a.last_transfer, \
             p.id, p.sold, p.excess, p.calls FROM claims c JOIN accounts a ON a.id = c.account \
             LEFT JOIN payouts p ON p.account = ?2 AND p.state = 1 WHERE c.account = ?1"
        );
        let found = self
            .connection
            .first(&sql, (number, id.as_bytes()), |row| {
                let claim = Claim::read(row)?;
                let origin = Origin::Payment {
                    rail: claim.rail,
                    key_epoch: claim.key_epoch,
                    terms: claim.terms,
                };
                let mut account = Account {
                    row: claim.account,
                    balance: msat(row.get(CLAIM_WIDTH)?)?,
                    excess: claim.excess,
                    calls_used: row.get(CLAIM_WIDTH + 1)?,
                    voids: row.get(CLAIM_WIDTH + 2)?,
                    expires_at: claim.expires_at,
                    revoked_at: claim.revoked_at,
                    last_transfer: row.get(CLAIM_WIDTH + 3)?,
                    ..Account::empty(origin, claim.claimed_at)
                };
                reserve(&mut account, row, CLAIM_WIDTH + 4)?;
                Ok(account)
            })?;
        found.ok_or(StoreError::Corrupt("a claim"))
    }

    fn read_key(&self, id: &AccountId, number: i64) -> Result<Account, StoreError> {
        let sql = format!(
            "SELECT {LIMITS}, k.public_id, p.name, k.note, k.created_at, k.funded_at, \
             k.revoked_at, a.balance, a.calls_used, a.voids, a.last_transfer, \
             (SELECT coalesce(sum(msat), 0) FROM key_days WHERE account = k.account), \
             (SELECT count(*) FROM keys WHERE parent = k.account), \
             o.id, o.sold, o.excess, o.calls FROM keys k JOIN accounts a ON a.id = k.account \
             LEFT JOIN keys p ON p.account = k.parent \
             LEFT JOIN payouts o ON o.account = ?2 AND o.state = 1 WHERE k.account = ?1"
        );
        let found = self
            .connection
            .first(&sql, (number, id.as_bytes()), |row| {
                let parent: Option<[u8; 32]> = row.get(6)?;
                let key = Key {
                    public_id: row.get(5)?,
                    parent: parent.map(AccountId::from_bytes),
                    note: row.get(7)?,
                    limits: read_limits(row)?,
                    funded_at: maybe_instant(row.get(9)?)?,
                    spent: msat(row.get(15)?)?,
                    held: Msat::ZERO,
                    holds: 0,
                    days: BTreeMap::new(),
                    children: row.get(16)?,
                    pending: self.read_pending(number)?,
                };
                let mut account = Account {
                    row: number,
                    balance: msat(row.get(11)?)?,
                    calls_used: row.get(12)?,
                    voids: row.get(13)?,
                    revoked_at: maybe_instant(row.get(10)?)?,
                    last_transfer: row.get(14)?,
                    ..Account::empty(Origin::Key(Box::new(key)), instant(row.get(8)?)?)
                };
                reserve(&mut account, row, 17)?;
                Ok(account)
            })?;
        found.ok_or(StoreError::Corrupt("a key"))
    }

    /// When each invoice that waits for a key can no longer be paid.
    fn read_pending(&self, key: i64) -> Result<Vec<UnixMillis>, StoreError> {
        let sql = "SELECT at FROM names WHERE account = ?1 AND state IN (3, 4) AND state = 3";
        self.connection.all(sql, [key], |row| instant(row.get(0)?))
    }

    fn once(&self, id: &AccountId, key: [u8; 32], rows: &mut Rows) -> Result<(), StoreError> {
        let account = rows.account(id);
        let Some(account) = account.filter(|account| account.calls_used > 0) else {
            return Ok(());
        };
        let sql = "SELECT digest, hold, charged, settled_at FROM retries \
                   WHERE account = ?1 AND key = ?2";
        let found = self.connection.first(sql, (account.row, key), |row| {
            let state = OnceState::Settled(Receipt {
                hold: columns::hold_id(row.get(1)?),
                charged: msat(row.get(2)?)?,
                settled_at: instant(row.get(3)?)?,
            });
            let digest = RequestDigest::from_bytes(row.get(0)?);
            Ok(OnceRow { digest, state })
        })?;
        rows.onces.extend(found.map(|row| ((*id, key), row)));
        Ok(())
    }

    fn is_transfer(&self, id: &TransferId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM transfers WHERE id = ?1";
        Ok(self.connection.prepare_cached(sql)?.exists([id])?)
    }

    /// The payout of which one column has this value.
    fn payout(&self, which: &str, value: &[u8], rows: &mut Rows) -> Result<(), StoreError> {
        if let Some(row) = payouts::find(self.connection, which, [value])? {
            rows.outgoing.insert(row.view.destination_hash, row.view.id);
            rows.payouts.insert(row.view.id, row);
        }
        Ok(())
    }

    fn public_id(&self, public_id: &str, rows: &mut Rows) -> Result<(), StoreError> {
        let sql = "SELECT name FROM keys WHERE public_id = ?1";
        let read = |row: &Row<'_>| Ok(AccountId::from_bytes(row.get(0)?));
        let found = self.connection.first(sql, [public_id], read)?;
        rows.public_ids
            .extend(found.map(|id| (public_id.into(), id)));
        Ok(())
    }

    /// The house's accounts, and every open hold with its accounts.
    pub(super) fn fill(&self, rows: &mut Rows) -> Result<Totals, StoreError> {
        self.house(rows)?;
        let open = self.holds("TRUE", usize::MAX)?;
        let open_holds = open.len();
        for (id, hold) in open {
            let HoldFacts {
                payer, asker, day, ..
            } = hold.facts;
            for account in [payer, asker] {
                match day {
                    Some(day) => self.entry_on(&account, day, rows)?,
                    None => self.entry(&account, rows)?,
                }
            }
            rows.track(id, hold)?;
        }
        let (calls, call_bytes) = held::totals(self.connection)?;
        let pending = "SELECT count(*) FROM names WHERE state IN (3, 4) AND state = 3";
        Ok(Totals {
            open_holds,
            calls,
            call_bytes,
            pending: self.connection.query_row(pending, [], |row| row.get(0))?,
        })
    }

    fn house(&self, rows: &mut Rows) -> Result<(), StoreError> {
        const HOUSE: StoreError = StoreError::Corrupt("a balance of the house");
        let sql = "SELECT h.name, a.id, a.balance FROM house h JOIN accounts a ON a.id = h.account";
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?));
        for (name, number, balance) in self.connection.all(sql, (), read)? {
            let name = HouseName::parse(&name).ok_or(HOUSE)?;
            if name.is_impossible(balance) {
                return Err(HOUSE);
            }
            let place = rows.place(&name);
            if let Some(house) = rows.house_mut(place) {
                (house.row, house.balance) = (number, balance);
            }
        }
        Ok(())
    }

    /// Open holds, of those that fulfil a condition.
    pub(super) fn holds(
        &self,
        which: &str,
        limit: usize,
    ) -> Result<Vec<(HoldId, OpenHold)>, StoreError> {
        let sql = format!(
            "SELECT h.id, coalesce(c.name, k.name), h.msat, h.progress, h.once_key, \
             h.once_digest, h.number, a.name, h.route, h.day, h.basis, h.epoch \
             FROM holds h LEFT JOIN claims c ON c.account = h.account \
             LEFT JOIN keys k ON k.account = h.account LEFT JOIN keys a ON a.account = h.asker \
             WHERE {which} ORDER BY h.number LIMIT ?1"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = |row: &Row<'_>| Ok((columns::hold_id(row.get(0)?), read_hold(row)?));
        self.connection.all(&sql, [limit], read)
    }
}

fn read_hold(row: &Row<'_>) -> Result<OpenHold, StoreError> {
    let payer: Option<[u8; 32]> = row.get(1)?;
    let payer = payer.ok_or(StoreError::Corrupt("a hold without an account"))?;
    let asker: Option<[u8; 32]> = row.get(7)?;
    let digest: Option<[u8; 32]> = row.get(5)?;
    let route: Option<String> = row.get(8)?;
    let basis: Option<String> = row.get(10)?;
    let basis = basis.map(|text| charges::read_basis_column(&text));
    Ok(OpenHold {
        facts: HoldFacts {
            payer: AccountId::from_bytes(payer),
            asker: AccountId::from_bytes(asker.unwrap_or(payer)),
            day: row.get(9)?,
            once: row.get(4)?,
        },
        amount: msat(row.get(2)?)?,
        progress: maybe_msat(row.get(3)?)?,
        digest: digest.map(RequestDigest::from_bytes),
        route: route.as_deref().map(columns::route).transpose()?,
        epoch: ProcessEpoch(row.get(11)?),
        basis: basis.transpose()?.map(Box::new),
        number: row.get(6)?,
    })
}

/// Reserves what an open payout takes, from the column `first` and the three after it.
fn reserve(account: &mut Account, row: &Row<'_>, first: usize) -> Result<(), StoreError> {
    let Some(id) = row.get(first)? else {
        return Ok(());
    };
    let taken = Reserve {
        sold: msat(row.get(first + 1)?)?,
        excess: msat(row.get(first + 2)?)?,
        calls: row.get(first + 3)?,
    };
    account.reserve(PayoutId::from_bytes(id), &taken);
    Ok(())
}

/// The highest id of a transfer.
pub(super) fn newest(connection: &Connection) -> Result<TransferId, StoreError> {
    let sql = "SELECT id FROM transfers ORDER BY id DESC LIMIT 1";
    let found = connection.first(sql, (), |row| Ok(row.get(0)?))?;
    Ok(found.unwrap_or_default())
}
