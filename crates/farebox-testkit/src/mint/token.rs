//! Coins that tests make out of nothing and take out of the world again, exactly counted.

use std::collections::BTreeMap;
use std::str::FromStr;

use cashu::nuts::nut10::SpendingConditions;
use cashu::nuts::{
    BlindedMessage, CurrencyUnit, Id, Proof, ProofDleq, SwapRequest, Token, TokenV3,
};
use cashu::secret::Secret;
use cashu::{Amount, MintUrl, dhke};

use super::Refusal;
use super::books::{Entry, sum};
use super::desk::Desk;
use super::keyset::unit;

/// Coins to be made.
#[derive(Clone, Debug)]
pub struct Coins {
    unit: String,
    /// What they are worth together, or each of them.
    amounts: Result<u64, Vec<u64>>,
    keyset: Option<Id>,
    has_dleq: bool,
    lock: Option<SpendingConditions>,
}

impl Coins {
    /// Coins worth `amount` together, as few as possible, of the active keyset of `unit`, with DLEQ.
    #[must_use]
    pub fn worth(unit: &str, amount: u64) -> Self {
        Self {
            unit: unit.to_owned(),
            amounts: Ok(amount),
            keyset: None,
            has_dleq: true,
            lock: None,
        }
    }

    /// Exactly these coins.
    #[must_use]
    pub fn of(unit: &str, amounts: &[u64]) -> Self {
        Self {
            amounts: Err(amounts.to_vec()),
            ..Self::worth(unit, 0)
        }
    }

    /// Of this keyset, be it inactive.
    #[must_use]
    pub const fn keyset(mut self, id: Id) -> Self {
        self.keyset = Some(id);
        self
    }

    /// Without DLEQ.
    #[must_use]
    pub const fn without_dleq(mut self) -> Self {
        self.has_dleq = false;
        self
    }

    /// Locked so.
    #[must_use]
    pub fn locked(mut self, conditions: SpendingConditions) -> Self {
        self.lock = Some(conditions);
        self
    }
}

impl Desk {
    pub(super) fn make(&mut self, coins: &Coins) -> Result<Vec<Proof>, Refusal> {
        let keyset = match &coins.keyset {
            Some(id) => self.books.keyset(id)?,
            None => self.books.active(&unit(&coins.unit))?,
        };
        let amounts = match &coins.amounts {
            Ok(sum) => keyset.split(*sum)?,
            Err(amounts) => amounts.clone(),
        };
        let (mut proofs, mut outputs, mut signatures) = (Vec::new(), Vec::new(), Vec::new());
        for amount in amounts.into_iter().map(Amount::from) {
            let secret = match &coins.lock {
                None => Secret::generate(),
                Some(lock) => lock.clone().try_into().map_err(|_| Refusal::CONDITIONS)?,
            };
            let blinded = dhke::blind_message(secret.as_bytes(), None);
            let (blinded, r) = blinded.map_err(|_| Refusal::UNREADABLE)?;
            let output = BlindedMessage::new(amount, keyset.id, blinded);
            let signature = keyset.sign(&output)?;
            let key = keyset.keys().amount_key(amount).ok_or(Refusal::AMOUNT)?;
            let c = dhke::unblind_message(&signature.c, &r, &key);
            let mut proof = Proof::new(
                amount,
                keyset.id,
                secret,
                c.map_err(|_| Refusal::UNREADABLE)?,
            );
            let dleq = signature.dleq.clone().filter(|_| coins.has_dleq);
            proof.dleq = dleq.map(|it| ProofDleq::new(it.e, it.s, r));
            proofs.push(proof);
            outputs.push(output);
            signatures.push(signature);
        }
        let entry = Entry {
            received: sum(outputs.iter().map(|it| it.amount.to_u64()))?,
            ..Entry::new(keyset.unit.clone())
        };
        self.books.enter(entry, &outputs, &signatures);
        Ok(proofs)
    }

    /// What a token is worth that can be spent, and its coins.
    pub(super) fn examine(&self, token: &str, now: u64) -> Result<(u64, SwapRequest), Refusal> {
        let token = Token::from_str(token).map_err(|_| Refusal::UNREADABLE)?;
        let proofs = token.proofs(&self.books.infos());
        let request = SwapRequest::new(proofs.map_err(|_| Refusal::NO_KEYSET)?, Vec::new());
        let inputs = self.books.check_inputs(&request, now)?;
        if token.unit().unwrap_or(CurrencyUnit::Sat) != inputs.unit {
            return Err(Refusal::OTHER_UNIT);
        }
        Ok((inputs.sum, request))
    }

    pub(super) fn take(&mut self, token: &str, now: u64) -> Result<u64, Refusal> {
        let (worth, request) = self.examine(token, now)?;
        let inputs = self.books.check_inputs(&request, now)?;
        let entry = Entry {
            spent: inputs.coins,
            paid_out: inputs.sum,
            ..Entry::new(inputs.unit)
        };
        self.books.enter(entry, &[], &[]);
        Ok(worth)
    }

    /// The unit of coins, for the text of a token.
    pub(super) fn unit_of(&self, proofs: &[Proof]) -> Result<CurrencyUnit, Refusal> {
        let first = proofs.first().ok_or(Refusal::UNREADABLE)?;
        Ok(self.books.keyset(&first.keyset_id)?.unit.clone())
    }
}

/// A token in its newer form.
pub(super) fn write_b(url: MintUrl, unit: CurrencyUnit, proofs: Vec<Proof>) -> String {
    let mut by_keyset: BTreeMap<Id, Vec<Proof>> = BTreeMap::new();
    for proof in proofs {
        by_keyset.entry(proof.keyset_id).or_default().push(proof);
    }
    let proofs = by_keyset.into_values().flatten().collect();
    Token::new(url, proofs, None, unit).to_string()
}

/// A token in its older form.
pub(super) fn write_a(
    url: MintUrl,
    unit: CurrencyUnit,
    proofs: Vec<Proof>,
) -> Result<String, Refusal> {
    let token = TokenV3::new(url, proofs, None, Some(unit));
    Ok(token.map_err(|_| Refusal::UNREADABLE)?.to_string())
}
