//! What the mint has signed and what was given back to it. All of it follows from a journal of entries
//! that is only added to; the maps beside it are for look-ups.

use std::collections::{HashMap, HashSet};

use cashu::nuts::nut10::SpendingConditionVerification;
use cashu::nuts::{
    BlindSignature, BlindedMessage, CurrencyUnit, Id, KeySetInfo, Proof, PublicKey, State,
};

use super::Refusal;
use super::keyset::Keyset;

/// One change of the books. What comes in is what goes out: `spent` and `received` are `signed`, `fee`,
/// `kept` and `paid_out`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) unit: CurrencyUnit,
    /// Coins that came back, by Y.
    pub(super) spent: Vec<(PublicKey, u64)>,
    /// Coins that were signed, by B_.
    pub(super) signed: Vec<(PublicKey, u64)>,
    /// What came in from outside: payments of quotes, and what tests made out of nothing.
    pub(super) received: u64,
    /// What left: payments with their fees, and what tests took.
    pub(super) paid_out: u64,
    /// The fee of the keysets.
    pub(super) fee: u64,
    /// What was left of a melt for want of blanks.
    pub(super) kept: u64,
}

impl Entry {
    pub(super) const fn new(unit: CurrencyUnit) -> Self {
        Self {
            unit,
            spent: Vec::new(),
            signed: Vec::new(),
            received: 0,
            paid_out: 0,
            fee: 0,
            kept: 0,
        }
    }

    pub(super) fn spent_sum(&self) -> u64 {
        self.spent.iter().map(|(_, amount)| amount).sum()
    }

    pub(super) fn signed_sum(&self) -> u64 {
        self.signed.iter().map(|(_, amount)| amount).sum()
    }

    pub(super) fn balances(&self) -> bool {
        self.spent_sum() + self.received == self.signed_sum() + self.fee + self.kept + self.paid_out
    }
}

/// Inputs that may be spent.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) unit: CurrencyUnit,
    pub(super) coins: Vec<(PublicKey, u64)>,
    pub(super) sum: u64,
    pub(super) fee: u64,
}

#[derive(Debug)]
pub(super) struct Books {
    pub(super) keysets: Vec<Keyset>,
    pub(super) entries: Vec<Entry>,
    /// The code for an output that was signed before.
    signed_code: u32,
    /// Pending or spent, by Y.
    coins: HashMap<PublicKey, State>,
    signatures: HashMap<PublicKey, BlindSignature>,
    /// Outputs that a melt under way is to sign.
    promised: HashSet<PublicKey>,
}

impl Books {
    pub(super) fn new(keysets: Vec<Keyset>, signed_code: u32) -> Self {
        Self {
            keysets,
            entries: Vec::new(),
            signed_code,
            coins: HashMap::new(),
            signatures: HashMap::new(),
            promised: HashSet::new(),
        }
    }

    pub(super) fn keyset(&self, id: &Id) -> Result<&Keyset, Refusal> {
        let mut keysets = self.keysets.iter();
        keysets
            .find(|keyset| keyset.id == *id)
            .ok_or(Refusal::NO_KEYSET)
    }

    /// The newest that signs coins of this unit.
    pub(super) fn active(&self, unit: &CurrencyUnit) -> Result<&Keyset, Refusal> {
        let mut keysets = self.keysets.iter().rev();
        keysets
            .find(|keyset| keyset.is_active && keyset.unit == *unit)
            .ok_or(Refusal::NO_UNIT)
    }

    /// All keysets, in the form in which the `cashu` crate resolves the ids of a token.
    pub(super) fn infos(&self) -> Vec<KeySetInfo> {
        let keysets = self.keysets.iter().map(|keyset| KeySetInfo {
            id: keyset.id,
            unit: keyset.unit.clone(),
            active: keyset.is_active,
            input_fee_ppk: keyset.fee_ppk,
            final_expiry: None,
        });
        keysets.collect()
    }

    pub(super) fn check_inputs<R: SpendingConditionVerification>(
        &self,
        request: &R,
        now: u64,
    ) -> Result<Inputs, Refusal> {
        let proofs = request.inputs();
        if proofs.len() > super::MAX_COINS {
            return Err(Refusal::MANY_IN);
        }
        let inputs = self.add_up(proofs, now)?;
        for (y, _) in &inputs.coins {
            match self.state(y) {
                State::Unspent => {}
                State::Spent => return Err(Refusal::SPENT),
                _ => return Err(Refusal::PENDING),
            }
        }
        request
            .verify_spending_conditions()
            .map_err(|_| Refusal::CONDITIONS)?;
        Ok(inputs)
    }

    fn add_up(&self, proofs: &[Proof], now: u64) -> Result<Inputs, Refusal> {
        let first = proofs.first().ok_or(Refusal::UNREADABLE)?;
        let unit = self.keyset(&first.keyset_id)?.unit.clone();
        let (mut seen, mut coins, mut fee_ppk) = (HashSet::new(), Vec::new(), 0_u64);
        for proof in proofs {
            let keyset = self.keyset(&proof.keyset_id)?;
            if keyset.unit != unit {
                return Err(Refusal::UNITS);
            }
            if keyset.has_expired(now) {
                return Err(Refusal::KEYSET_EXPIRED);
            }
            keyset.check(proof)?;
            let y = proof.y().map_err(|_| Refusal::UNPROVEN)?;
            if !seen.insert(y) {
                return Err(Refusal::TWICE_IN);
            }
            fee_ppk += keyset.fee_ppk;
            coins.push((y, proof.amount.to_u64()));
        }
        Ok(Inputs {
            unit,
            sum: sum(coins.iter().map(|(_, amount)| *amount))?,
            coins,
            fee: fee_ppk.div_ceil(1000),
        })
    }

    /// What outputs are worth that may be signed: new, of one active keyset.
    pub(super) fn check_outputs(
        &self,
        outputs: &[BlindedMessage],
        unit: &CurrencyUnit,
        now: u64,
    ) -> Result<u64, Refusal> {
        if outputs.len() > super::MAX_COINS {
            return Err(Refusal::MANY_OUT);
        }
        let mut seen = HashSet::new();
        for output in outputs {
            let keyset = self.keyset(&output.keyset_id)?;
            if keyset.unit != *unit || output.keyset_id != outputs[0].keyset_id {
                return Err(Refusal::OTHER_UNIT);
            }
            if keyset.has_expired(now) {
                return Err(Refusal::KEYSET_EXPIRED);
            }
            if !keyset.is_active {
                return Err(Refusal::INACTIVE);
            }
            if !seen.insert(output.blinded_secret) {
                return Err(Refusal::TWICE_OUT);
            }
            if self.signatures.contains_key(&output.blinded_secret) {
                return Err(Refusal::new(
                    self.signed_code,
                    "an output was signed before",
                ));
            }
            if self.promised.contains(&output.blinded_secret) {
                return Err(Refusal::OUTPUT_PENDING);
            }
        }
        sum(outputs.iter().map(|output| output.amount.to_u64()))
    }

    /// Signs outputs that were checked, without an entry.
    pub(super) fn sign(&self, outputs: &[BlindedMessage]) -> Result<Vec<BlindSignature>, Refusal> {
        let signed = outputs
            .iter()
            .map(|output| self.keyset(&output.keyset_id)?.sign(output));
        signed.collect()
    }

    /// Writes an entry; `outputs` are what its signatures were made for. Nothing fails after this.
    pub(super) fn enter(
        &mut self,
        mut entry: Entry,
        outputs: &[BlindedMessage],
        signatures: &[BlindSignature],
    ) {
        for (output, signature) in outputs.iter().zip(signatures) {
            let amount = signature.amount.to_u64();
            entry.signed.push((output.blinded_secret, amount));
            self.signatures
                .insert(output.blinded_secret, signature.clone());
        }
        for (y, _) in &entry.spent {
            self.coins.insert(*y, State::Spent);
        }
        assert!(entry.balances(), "{entry:?}");
        self.entries.push(entry);
    }

    /// Sets coins and blanks of a melt aside while it is under way.
    pub(super) fn set_aside(&mut self, coins: &[(PublicKey, u64)], blanks: &[BlindedMessage]) {
        let pending = coins.iter().map(|(y, _)| (*y, State::Pending));
        self.coins.extend(pending);
        self.promised
            .extend(blanks.iter().map(|blank| blank.blinded_secret));
    }

    /// Ends that. The coins are unspent again, until an entry spends them.
    pub(super) fn let_go(&mut self, coins: &[(PublicKey, u64)], blanks: &[BlindedMessage]) {
        for (y, _) in coins {
            self.coins.remove(y);
        }
        for blank in blanks {
            self.promised.remove(&blank.blinded_secret);
        }
    }

    pub(super) fn state(&self, y: &PublicKey) -> State {
        self.coins.get(y).copied().unwrap_or(State::Unspent)
    }

    pub(super) fn signature(&self, blinded: &PublicKey) -> Option<&BlindSignature> {
        self.signatures.get(blinded)
    }
}

pub(super) fn sum(mut amounts: impl Iterator<Item = u64>) -> Result<u64, Refusal> {
    let sum = amounts.try_fold(0_u64, u64::checked_add);
    sum.ok_or(Refusal::AMOUNT)
}
