//! What keeps a batch whole: names, and commands that fail alone.

use farebox_core::{AccountId, Allowance, Clock, HoldId, KeyHash, PaymentHash, RouteName};

use super::*;
use crate::day::Day;
use crate::money::Verdict;
use crate::operation::{Desk, LimitKey, NewKey, Operation, Received, Revoke, TakeDeposit};
use crate::passes::Passes;
use crate::queue::Queue;
use crate::rows::HoldFacts;
use crate::sqlite::SqliteStore;
use crate::{
    Admitted, Cost, Deposit, HoldRequest, KeyLimits, KeyRefusal, LedgerError, OpenChild, OpenKey,
};

struct Noon;

const NOON: UnixMillis = UnixMillis::new(1_800_000_000_000);
/// Its day.
const TODAY: Day = 20_833;

impl Clock for Noon {
    fn now(&self) -> UnixMillis {
        NOON
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

/// Counts what was spent on a day that it does not name.
struct Blind;

impl Operation for Blind {
    type Answer = ();

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(key(1).account()));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<()> {
        book.spend_on(&key(1).account(), TODAY, msat(1))?;
        Ok(Ok(()))
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

const fn key(number: u8) -> KeyHash {
    KeyHash::from_bytes([number; 32])
}

fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

fn open_key(number: u8) -> Command {
    let open = OpenKey {
        key: key(number),
        public_id: format!("key {number}"),
        created_at: NOON,
        note: None,
    };
    Command::ask(NewKey::from(open)).0
}

fn open_child(number: u8, of: u8) -> Command {
    let open = OpenChild {
        parent: key(of),
        child: key(number),
        public_id: format!("key {number}"),
        limits: KeyLimits::default(),
        created_at: NOON,
        note: None,
    };
    Command::ask(NewKey::from(open)).0
}

fn deposit(number: u8, amount: u64) -> Command {
    let deposit = Deposit {
        payment_hash: PaymentHash::from_bytes([number + 100; 32]),
        amount: msat(amount),
        at: NOON,
    };
    let key = key(number);
    Command::ask(TakeDeposit { key, deposit }).0
}

fn limit(number: u8, per_day: u64) -> Command {
    let limits = KeyLimits {
        per_day: Some(msat(per_day)),
        ..KeyLimits::default()
    };
    let key = key(number);
    Command::ask(LimitKey { key, limits }).0
}

fn hold_id(number: u8) -> HoldId {
    HoldId::new(NOON, [number; 10])
}

/// A key asks for so much.
fn spend(number: u8, hold: u8, amount: u64) -> HoldRequest {
    HoldRequest {
        hold: hold_id(hold),
        account: key(number).account(),
        funding: None,
        swapped: None,
        allowance: Allowance::default(),
        route: RouteName::parse("chat").unwrap(),
        model: None,
        cost: Cost::Amount(msat(amount)),
        once: None,
        max_voids: 10,
        now: NOON,
        basis: None,
    }
}

/// Settles the whole of what a key, or a child of it, was given.
fn settle(payer: u8, asker: u8, hold: u8, used: u64) -> Command {
    let used = msat(used);
    let rest = Rest::Stays;
    Command::Resolve(Resolve {
        hold: hold_id(hold),
        facts: HoldFacts {
            payer: key(payer).account(),
            asker: key(asker).account(),
            day: Some(TODAY),
            once: None,
        },
        ended: Ended::of(Resolution::Settle { used, rest }, None),
        max_voids: 0,
        at: NOON,
    })
}

/// A key that has spent 60 of the 100 it may on this day, in a run that has not seen that day.
fn a_key_that_spent(folder: &std::path::Path) -> Engine {
    let (mut engine, options) = engine(folder);
    let mut batch = [
        open_key(1),
        deposit(1, 1_000),
        limit(1, 100),
        Command::ask(spend(1, 1, 60)).0,
        settle(1, 1, 1, 60),
    ];
    let told = engine.apply(&mut batch, Safe::FromDeath).unwrap();
    assert!(told.iter().all(Result::is_ok));
    drop(engine);
    let store = SqliteStore::open(&options.path).unwrap();
    Engine::new(Box::new(store), &options).unwrap()
}

fn answer(batch: impl IntoIterator<Item = Command>) {
    let holds = Arc::new(Queue::new(Arc::new(Noon), Arc::default(), 1));
    let passes = Arc::new(Passes::new(NonZeroUsize::MIN));
    let desk = Desk { holds, passes };
    for command in batch {
        if let Command::Asked(asked) = command {
            asked.answer(&desk);
        }
    }
}

fn spent_today(engine: &mut Engine) -> Msat {
    let reader = engine.store().readers();
    let view = reader.open().unwrap().key(key(1), TODAY).unwrap();
    view.unwrap().spent_today
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

#[test]
fn a_child_made_and_used_in_one_batch_counts_on_its_parents_day() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = a_key_that_spent(folder.path());
    let (above, mut refused) = Command::ask(spend(2, 2, 41));
    let (within, mut held) = Command::ask(spend(2, 3, 40));
    let mut batch = [open_child(2, 1), above, within];
    let in_one = engine.attempt(&mut batch, Safe::FromDeath, &mut Vec::new());
    in_one.unwrap();
    answer(batch);
    let refused = refused.try_recv().unwrap().unwrap();
    assert!(matches!(
        refused,
        Admitted::Key(KeyRefusal::DayLimit { .. })
    ));
    assert!(matches!(held.try_recv().unwrap(), Ok(Admitted::Held(_))));
    let told = engine.apply(&mut [settle(1, 2, 3, 30)], Safe::FromDeath);
    assert!(told.unwrap().iter().all(Result::is_ok));
    assert_eq!(spent_today(&mut engine), msat(90));
}

/// A day that nobody loaded is no empty one: written, it would wipe out what was spent.
#[test]
fn a_day_that_was_not_loaded_fails_the_one_command_that_counts_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = a_key_that_spent(folder.path());
    let mut batch = [revoke(2), Command::ask(Blind).0];
    let told = engine.apply(&mut batch, Safe::FromDeath).unwrap();
    assert!(told[0].is_ok());
    let error = told[1].as_ref().unwrap_err();
    assert!(matches!(**error, StoreError::Unloaded(_)), "{error}");
    assert_eq!(spent_today(&mut engine), msat(60));
}

#[test]
fn nothing_is_kept_in_memory_of_a_hold_that_ended() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = a_key_that_spent(folder.path());
    // Its end, its progress and itself once more, of which the store still has the transfer.
    for again in [settle(1, 1, 1, 60), Command::ask(spend(1, 1, 1)).0] {
        engine.apply(&mut [again], Safe::FromDeath).unwrap();
        assert!(engine.rows.holds.is_empty() && engine.rows.ended.is_empty());
    }
    let mut batch = [Command::ask(spend(1, 2, 1)).0, settle(1, 1, 2, 1)];
    engine.apply(&mut batch, Safe::FromDeath).unwrap();
    assert!(engine.rows.holds.is_empty() && engine.rows.ended.is_empty());
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
