//! What keeps a batch whole: names, and commands that fail alone.

use farebox_core::{AccountId, PaymentHash};

use super::*;
use crate::LedgerError;
use crate::money::Verdict;
use crate::operation::{Operation, Received, Revoke};
use crate::sqlite::SqliteStore;

struct Noon;

impl farebox_core::Clock for Noon {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(1_800_000_000_000)
    }
}

/// Looks at a row that it does not name.
struct Nosy;

impl Operation for Nosy {
    type Answer = ();

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(account(1)));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<()> {
        book.change(&account(1))?;
        book.entry(&account(2))?;
        Ok(Err(LedgerError::Closed))
    }
}

/// Finds the disk full.
struct Last;

impl Operation for Last {
    type Answer = ();

    fn footprint(&self, _: &mut Vec<Name>) {}

    fn decide(&self, _: &mut Book<'_>) -> Verdict<()> {
        Err(StoreError::Unavailable("full".into()))
    }
}

const fn account(number: u8) -> AccountId {
    AccountId::from_bytes([number; 32])
}

fn engine(folder: &std::path::Path) -> (Engine, OpenOptions) {
    let options = OpenOptions::new(folder.join("ledger.db"), Arc::new(Noon));
    let store = SqliteStore::open(&options.path).unwrap();
    (Engine::new(Box::new(store), &options).unwrap(), options)
}

fn revoke(number: u8) -> Command {
    let at = UnixMillis::new(1);
    let account = account(number);
    Command::ask(Revoke { account, at }).0
}

/// Whether a payment without an account was revoked.
fn is_revoked(engine: &mut Engine, number: u8) -> bool {
    let payment = PaymentHash::from_bytes([number; 32]);
    let at = UnixMillis::new(1);
    let received = Msat::ZERO;
    let look = Command::ask(Received {
        payment,
        received,
        at,
    });
    engine.apply(&mut [look.0], Safe::FromDeath).unwrap();
    let entry = engine.rows.entry(&account(number)).unwrap();
    entry.revoked_at.is_some()
}

#[test]
fn a_command_may_not_look_at_what_it_did_not_name() {
    let folder = tempfile::tempdir().unwrap();
    let (mut engine, _) = engine(folder.path());
    let mut batch = [revoke(2), Command::ask(Nosy).0];
    let told = engine.apply(&mut batch, Safe::FromDeath).unwrap();
    let error = told[1].as_ref().unwrap_err();
    assert!(
        matches!(**error, StoreError::Unnamed("an account")),
        "{error}"
    );
}

/// Whoever asks about payments that nobody knows fills no memory.
#[test]
fn what_was_looked_at_in_vain_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = OpenOptions::new(folder.path().join("ledger.db"), Arc::new(Noon));
    options.max_cached_accounts = NonZeroUsize::new(4).unwrap();
    let store = SqliteStore::open(&options.path).unwrap();
    let mut engine = Engine::new(Box::new(store), &options).unwrap();
    for first in [0, 100] {
        let look = |number: u8| {
            Command::ask(Received {
                payment: PaymentHash::from_bytes([number; 32]),
                received: Msat::ZERO,
                at: UnixMillis::new(1),
            })
        };
        let mut batch: Vec<_> = (first..first + 100).map(|number| look(number).0).collect();
        engine.apply(&mut batch, Safe::FromDeath).unwrap();
    }
    let known = (0..200).filter(|number| engine.rows.entry(&account(*number)).is_some());
    assert_eq!(known.count(), 4);
}

#[test]
fn a_command_that_fails_does_not_spoil_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (mut engine, _) = engine(folder.path());
    let mut batch: Vec<_> = (10..30).map(revoke).collect();
    batch.insert(7, Command::ask(Nosy).0);
    let told = engine.apply(&mut batch, Safe::FromDeath).unwrap();
    let failed: Vec<_> = told.iter().map(Result::is_err).collect();
    assert_eq!(failed.iter().filter(|failed| **failed).count(), 1);
    assert!(failed[7]);
    assert!((10..30).all(|number| is_revoked(&mut engine, number)));
    assert!(!is_revoked(&mut engine, 1), "what failed changed nothing");
}

/// A hold that was written and told to have failed would be nobody's until the next start.
#[test]
fn what_a_batch_wrote_before_its_store_failed_is_told_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let (mut engine, _) = engine(folder.path());
    let (nosy, last) = (Command::ask(Nosy).0, Command::ask(Last).0);
    let mut batch = [revoke(2), revoke(3), nosy, last];
    let broken = engine.apply(&mut batch, Safe::FromDeath).unwrap_err();
    let written: Vec<_> = broken.told.iter().map(Result::is_ok).collect();
    assert_eq!(written, [true, true, false]);
    assert!(matches!(broken.error, StoreError::Unavailable(_)));
    assert!([2, 3].iter().all(|number| is_revoked(&mut engine, *number)));
}
