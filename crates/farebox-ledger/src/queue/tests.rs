//! What the writer waits for, and what it takes along when it stops waiting.

use std::time::{Duration, Instant};

use farebox_core::AccountId;

use super::*;
use crate::Remaining;
use crate::hold::{Ended, Resolution, Rest};
use crate::operation::{FinishPayout, Revoke};
use crate::rows::HoldFacts;

const LONG: Duration = Duration::from_secs(60);

struct Noon;

impl Clock for Noon {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(1_800_000_000_000)
    }
}

fn queue() -> Queue {
    Queue::new(Arc::new(Noon), Arc::default(), 8)
}

fn hold(number: u8) -> HoldId {
    HoldId::from_bytes([number; 16])
}

fn granted(number: u8) -> Granted {
    let account = AccountId::from_bytes([number; 32]);
    Granted {
        hold: hold(number),
        charge: msat(8),
        remaining: Remaining {
            calls: None,
            msat: Some(Msat::ZERO),
        },
        expires_at: UnixMillis::new(0),
        facts: HoldFacts {
            payer: account,
            asker: account,
            day: None,
            once: None,
        },
        max_voids: 3,
    }
}

fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

fn progress_in(batch: &Batch) -> Vec<(HoldId, u64)> {
    let progress = batch.commands.iter().filter_map(|command| match command {
        Command::Progress(Progress { hold, used }) => Some((*hold, used.get())),
        _ => None,
    });
    progress.collect()
}

#[test]
fn further_progress_waits_for_company_and_only_the_most_of_a_hold_is_taken() {
    let (queue, mut batch) = (queue(), Batch::default());
    queue.progress(hold(1), msat(5), false);
    queue.progress(hold(1), msat(9), false);
    queue.progress(hold(1), msat(7), false);
    let began_at = Instant::now();
    queue.take(&mut batch, 10, LONG);
    assert!(began_at.elapsed() >= PROGRESS_COMPANY);
    assert!(began_at.elapsed() < LONG);
    assert_eq!(progress_in(&batch), [(hold(1), 9)]);
    assert!(!queue.lock().has_work());
}

#[test]
fn the_first_progress_of_a_hold_is_in_haste_and_takes_the_others_along() {
    let (queue, mut batch) = (queue(), Batch::default());
    queue.progress(hold(1), msat(5), false);
    assert!(queue.lock().has_more_than_cursors() && !queue.lock().has_haste());
    queue.progress(hold(2), msat(1), true);
    assert!(queue.lock().has_haste() && !queue.lock().is_urgent());
    queue.take(&mut batch, 10, LONG);
    let mut taken = progress_in(&batch);
    taken.sort_unstable();
    assert_eq!(taken, [(hold(1), 5), (hold(2), 1)]);
    assert!(!queue.lock().has_haste());
}

#[test]
fn an_ending_takes_the_progress_of_others_along_and_makes_its_own_pointless() {
    let (queue, mut batch) = (queue(), Batch::default());
    queue.progress(hold(1), msat(5), false);
    queue.progress(hold(2), msat(6), false);
    let (used, rest) = (msat(8), Rest::Stays);
    let how = Resolution::Settle { used, rest };
    queue.resolve(&granted(2), Ended::of(how, None));
    queue.take(&mut batch, 10, LONG);
    assert_eq!(batch.commands.len(), 2);
    assert_eq!(progress_in(&batch), [(hold(1), 5)]);
}

#[test]
fn closing_and_flushing_wait_for_nobody() {
    let (queue, mut batch) = (queue(), Batch::default());
    queue.progress(hold(1), msat(5), false);
    let (reply, _answer) = oneshot::channel();
    queue.flush(reply).unwrap();
    assert!(queue.lock().is_urgent());
    queue.take(&mut batch, 10, LONG);
    assert_eq!((progress_in(&batch).len(), batch.flushes.len()), (1, 1));
    queue.close();
    queue.take(&mut batch, 10, LONG);
    assert!(batch.closing);
}

/// What counts against the limits of payouts is read once for each batch.
#[test]
fn a_batch_ends_before_its_second_payout() {
    let (queue, mut batch) = (queue(), Batch::default());
    let finish = |number: u8| {
        let finish = FinishPayout {
            id: farebox_core::PayoutId::from_bytes([number; 16]),
            account: AccountId::from_bytes([number; 32]),
            end: crate::PayoutEnd::Failed,
            at: UnixMillis::new(0),
        };
        Command::ask(finish).0
    };
    let revoke = |number: u8| {
        let account = AccountId::from_bytes([number; 32]);
        let at = UnixMillis::new(0);
        Command::ask(Revoke { account, at }).0
    };
    for command in [revoke(1), finish(2), revoke(3), finish(4), revoke(5)] {
        queue.request(command).unwrap();
    }
    queue.take(&mut batch, 10, LONG);
    assert_eq!(batch.commands.len(), 3);
    batch.commands.clear();
    queue.take(&mut batch, 10, LONG);
    assert_eq!(batch.commands.len(), 2);
}
