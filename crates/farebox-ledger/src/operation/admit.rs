//! A hold, after the claim where there was none.

use super::{Operation, swap};
use crate::book::{Book, Moment};
use crate::hold::Granted;
use crate::money::{self, Verdict};
use crate::name::Name;
use crate::passes::Passes;
use crate::rows::{HoldFacts, OnceRow, OnceState, OpenHold};
use crate::rules::{self, Earlier, Grant, OnDay};
use crate::store::{Safe, StoreError};
use crate::{Admitted, ClaimPolicy, Cost, Funding, HoldRequest, KeyRefusal, LedgerError, day};

impl Operation for HoldRequest {
    const SAFE: Safe = Safe::FromDeath;
    type Answer = Admitted<Granted>;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(match self.funding {
            Some(_) => Name::Account(self.account),
            None => Name::Asker(self.account, day::of(self.now)),
        });
        names.push(Name::Hold(self.hold));
        if let Some(swapped) = &self.swapped {
            swap::name_all(&swapped.facts, &swapped.coins, names);
        }
        if let Some(once) = self.once {
            names.push(Name::Once(self.account, once.key));
        }
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<Self::Answer> {
        if book.counts.open_holds >= book.counts.max_open_holds {
            return Ok(Err(LedgerError::TooManyHolds));
        }
        if book.is_hold(&self.hold)? {
            return Ok(Err(LedgerError::HoldExists));
        }
        let verdict = match &self.funding {
            Some(funding) => of_payment(self, funding, book)?,
            None => of_key(self, book)?,
        };
        if let Ok(Admitted::Held(_)) = verdict {
            book.notes.moment = Some(Moment::Hold);
        }
        Ok(verdict)
    }

    fn written(&self, answer: &Self::Answer, passes: &Passes) {
        if let (Admitted::Pass { expires_at }, Some(funding)) = (answer, &self.funding) {
            passes.remember(self.account, funding.terms.clone(), *expires_at);
        }
    }
}

fn of_payment(
    request: &HoldRequest,
    funding: &Funding,
    book: &mut Book<'_>,
) -> Verdict<Admitted<Granted>> {
    let id = &request.account;
    if let Some(swapped) = &request.swapped {
        let ended = swap::done(&swapped.facts, &swapped.coins, book, request.now)?;
        if let Err(error) = ended {
            return Ok(Err(error));
        }
    }
    let entry = book.entry(id)?;
    if entry.claimed().is_none() {
        if entry.is_of_key() || matches!(entry.is, crate::rows::Is::Spent) {
            return Ok(Ok(Admitted::Exhausted));
        }
        if entry.is_being_served() {
            return Ok(Ok(Admitted::InFlight));
        }
        if funding.claims == ClaimPolicy::ClaimedOnly {
            return Ok(Ok(Admitted::Unclaimed));
        }
        if let Err(error) = money::claim(book, id, funding, request.now)? {
            return Ok(Err(error));
        }
    }
    let earlier = earlier(request, book)?;
    let decision = rules::admit(request, book.account(id)?, earlier);
    let answer = match decision {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error)),
    };
    let facts = HoldFacts {
        payer: *id,
        asker: *id,
        day: None,
        once: request.once.map(|once| once.key),
    };
    let is_early = !book.entry(id)?.unsaved.new;
    granted(request, answer, facts, book).map(|answer| {
        book.notes.is_early = is_early && matches!(answer, Admitted::Held(_));
        Ok(answer)
    })
}

fn of_key(request: &HoldRequest, book: &mut Book<'_>) -> Verdict<Admitted<Granted>> {
    let Cost::Amount(amount) = request.cost else {
        return Ok(Err(LedgerError::CallOnBalance));
    };
    let (asker, today) = (request.account, day::of(request.now));
    let Some((asking, key)) = book.entry(&asker)?.key() else {
        return Ok(Ok(Admitted::Key(KeyRefusal::Unknown)));
    };
    let payer = key.parent.unwrap_or(asker);
    let paying = book.account(&payer)?;
    let purse = paying.key().ok_or(StoreError::Corrupt("a key's parent"))?;
    let parent = (payer != asker).then(|| OnDay::of(paying, purse, today));
    let (asking, parent) = (OnDay::of(asking, key, today)?, parent.transpose()?);
    let earlier = earlier(request, book)?;
    let decision = rules::key(request, amount, &asking, parent.as_ref(), earlier);
    let facts = HoldFacts {
        payer,
        asker,
        day: Some(today),
        once: request.once.map(|once| once.key),
    };
    granted(request, decision, facts, book).map(|answer| {
        book.notes.is_early = matches!(answer, Admitted::Held(_));
        Ok(answer)
    })
}

/// What is known of the key under which the request is sold at most once.
fn earlier(request: &HoldRequest, book: &Book<'_>) -> Result<Earlier, StoreError> {
    let Some(once) = request.once else {
        return Ok(Earlier::Nothing);
    };
    let Some(OnceRow { digest, state }) = book.once(&request.account, &once.key)? else {
        return Ok(Earlier::Nothing);
    };
    let same = *digest == once.digest;
    Ok(match state {
        OnceState::Open => Earlier::Open { same },
        OnceState::Settled(receipt) => Earlier::Settled {
            same,
            receipt: *receipt,
        },
        OnceState::Released => Earlier::Nothing,
    })
}

/// Opens the hold that was granted, if it was.
fn granted(
    request: &HoldRequest,
    answer: Admitted<Grant>,
    facts: HoldFacts,
    book: &mut Book<'_>,
) -> Result<Admitted<Granted>, StoreError> {
    if let Admitted::Held(grant) = &answer {
        let is_of_key = facts.day.is_some();
        let hold = OpenHold {
            facts,
            amount: grant.charge,
            progress: None,
            digest: request.once.map(|once| once.digest),
            route: is_of_key.then(|| request.route.clone()),
            epoch: book.counts.epoch,
            basis: request.basis.clone(),
            number: 0,
        };
        book.begin_hold(request.hold, hold)?;
    }
    Ok(answer.map_held(|grant| Granted {
        hold: request.hold,
        charge: grant.charge,
        remaining: grant.remaining,
        expires_at: grant.expires_at,
        facts,
        max_voids: request.max_voids,
    }))
}
