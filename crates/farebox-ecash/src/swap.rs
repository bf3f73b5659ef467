//! A swap (NUT-03): coins that are given, and the new ones that are asked for. It is planned and written
//! down whole before anything leaves, so that whatever happens its coins can be found.

use std::collections::HashMap;
use std::fmt;

use cashu::dhke::unblind_message;
use cashu::nuts::{BlindSignature, BlindSignatureDleq, PublicKey, SecretKey};
use farebox_core::Secret;
use serde::{Deserialize, Serialize};

use crate::keyset::{KeysetId, KeysetKeys};
use crate::proof::{Dleq, Proof};
use crate::seed::Output;

/// A swap as it was planned.
#[derive(Clone)]
pub struct Swap {
    inputs: Vec<Proof>,
    outputs: Vec<Output>,
}

/// A plan that no mint would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// What is given, less the fee, is not what is asked for.
    #[error("a swap has to give what it asks for and the fee")]
    Unbalanced,
    /// Nothing is given, or nothing asked for.
    #[error("a swap gives and asks for at least one coin")]
    Empty,
    /// All new coins are of one keyset.
    #[error("a swap asks for coins of one keyset")]
    Keysets,
}

/// A blind signature as a mint sends it.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Which keys signed.
    pub keyset: KeysetId,
    /// How much.
    pub amount: u64,
    /// The signature on what was blinded (`C_`).
    pub c: PublicKey,
    /// The proof that it is good.
    pub dleq: Option<(SecretKey, SecretKey)>,
}

/// Why a mint's signatures are not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// More or fewer than outputs.
    #[error("{signatures} signatures for {outputs} outputs")]
    Count {
        /// How many came.
        signatures: usize,
        /// How many were asked for.
        outputs: usize,
    },
    /// Another amount or keyset than was asked for.
    #[error("the signature at place {0} is for another coin")]
    OtherCoin(usize),
    /// It shows no proof that it is good, or a wrong one.
    #[error("the signature at place {0} is not proven good")]
    Unproven(usize),
}

impl Swap {
    /// Plans a swap.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn plan(inputs: Vec<Proof>, fee: u64, outputs: Vec<Output>) -> Result<Self, PlanError> {
        let given = sum(inputs.iter().map(|proof| proof.amount))?;
        let asked = sum(outputs.iter().map(|output| output.amount))?;
        let Some(first) = outputs.first().filter(|_| !inputs.is_empty()) else {
            return Err(PlanError::Empty);
        };
        if outputs.iter().any(|output| output.keyset != first.keyset) {
            return Err(PlanError::Keysets);
        }
        if given.checked_sub(fee) != Some(asked) {
            return Err(PlanError::Unbalanced);
        }
        Ok(Self { inputs, outputs })
    }

    /// What is given.
    #[must_use]
    pub fn inputs(&self) -> &[Proof] {
        &self.inputs
    }

    /// What is asked for.
    #[must_use]
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The keyset of what is asked for.
    #[must_use]
    pub fn keyset(&self) -> Option<KeysetId> {
        self.outputs.first().map(|output| output.keyset)
    }

    /// The coins that these signatures make, in the order of the outputs.
    ///
    /// # Errors
    /// [`Misfit`].
    pub fn accept(
        &self,
        signatures: &[Signature],
        keys: &KeysetKeys,
    ) -> Result<Vec<Proof>, Misfit> {
        if signatures.len() != self.outputs.len() {
            return Err(Misfit::Count {
                signatures: signatures.len(),
                outputs: self.outputs.len(),
            });
        }
        let pairs = self.outputs.iter().zip(signatures).enumerate();
        pairs
            .map(|(place, (output, signature))| {
                if signature.keyset != output.keyset || signature.amount != output.amount {
                    return Err(Misfit::OtherCoin(place));
                }
                unblind(output, signature, keys).ok_or(Misfit::Unproven(place))
            })
            .collect()
    }

    /// Whatever coins these signatures make, by what each was made for: what a mint really signed is
    /// kept, even where it does not fit.
    #[must_use]
    pub fn salvage(&self, signed: &HashMap<PublicKey, Signature>, keys: &KeysetKeys) -> Vec<Proof> {
        let outputs = self.outputs.iter();
        outputs
            .filter_map(|output| unblind(output, signed.get(&output.blinded)?, keys))
            .collect()
    }
}

fn sum(mut amounts: impl Iterator<Item = u64>) -> Result<u64, PlanError> {
    let sum = amounts.try_fold(0_u64, u64::checked_add);
    sum.ok_or(PlanError::Unbalanced)
}

/// The coin that a signature makes of an output, if it is proven good. The amount is the signature's.
fn unblind(output: &Output, signature: &Signature, keys: &KeysetKeys) -> Option<Proof> {
    if signature.keyset != keys.id {
        return None;
    }
    let key = keys.key(signature.amount)?;
    let (e, s) = signature.dleq.clone()?;
    let blind = BlindSignature {
        amount: signature.amount.into(),
        keyset_id: signature.keyset,
        c: signature.c,
        dleq: Some(BlindSignatureDleq {
            e: e.clone(),
            s: s.clone(),
        }),
    };
    blind.verify_dleq(key, output.blinded).ok()?;
    let c = unblind_message(&signature.c, &output.r, &key).ok()?;
    Some(Proof {
        keyset: signature.keyset,
        amount: signature.amount,
        secret: output.secret.clone(),
        c,
        dleq: Some(Dleq {
            e,
            s,
            r: output.r.clone(),
        }),
    })
}

/// A swap as it is written down: whoever reads it can spend its coins.
#[derive(Serialize, Deserialize)]
struct Written {
    inputs: Vec<WrittenProof>,
    outputs: Vec<WrittenOutput>,
}

#[derive(Serialize, Deserialize)]
struct WrittenProof {
    id: KeysetId,
    amount: u64,
    secret: String,
    c: PublicKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dleq: Option<[SecretKey; 3]>,
}

impl WrittenProof {
    fn of(proof: &Proof) -> Self {
        let dleq = proof.dleq.clone();
        Self {
            id: proof.keyset,
            amount: proof.amount,
            secret: proof.secret.reveal().clone(),
            c: proof.c,
            dleq: dleq.map(|Dleq { e, s, r }| [e, s, r]),
        }
    }

    fn read(self) -> Proof {
        Proof {
            keyset: self.id,
            amount: self.amount,
            secret: Secret::new(self.secret),
            c: self.c,
            dleq: self.dleq.map(|[e, s, r]| Dleq { e, s, r }),
        }
    }
}

/// A coin as it is written down: whoever reads it can spend it.
///
/// # Errors
/// [`BadWriting`], never for a coin.
pub fn proof_to_bytes(proof: &Proof) -> Result<Vec<u8>, BadWriting> {
    serde_json::to_vec(&WrittenProof::of(proof)).map_err(|_| BadWriting)
}

/// Reads a coin that was written down.
///
/// # Errors
/// [`BadWriting`].
pub fn proof_from_bytes(bytes: &[u8]) -> Result<Proof, BadWriting> {
    let written: WrittenProof = serde_json::from_slice(bytes).map_err(|_| BadWriting)?;
    Ok(written.read())
}

#[derive(Serialize, Deserialize)]
struct WrittenOutput {
    id: KeysetId,
    amount: u64,
    secret: String,
    r: SecretKey,
    blinded: PublicKey,
}

/// Bytes that are no swap that was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was written down of a swap cannot be read")]
pub struct BadWriting;

impl Swap {
    /// As it is written down.
    ///
    /// # Errors
    /// [`BadWriting`], never for a swap that was planned.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BadWriting> {
        let inputs = self.inputs.iter().map(WrittenProof::of);
        let outputs = self.outputs.iter().map(|output| WrittenOutput {
            id: output.keyset,
            amount: output.amount,
            secret: output.secret.reveal().clone(),
            r: output.r.clone(),
            blinded: output.blinded,
        });
        let written = Written {
            inputs: inputs.collect(),
            outputs: outputs.collect(),
        };
        serde_json::to_vec(&written).map_err(|_| BadWriting)
    }

    /// Reads what was written down.
    ///
    /// # Errors
    /// [`BadWriting`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadWriting> {
        let written: Written = serde_json::from_slice(bytes).map_err(|_| BadWriting)?;
        let inputs = written.inputs.into_iter().map(WrittenProof::read);
        let outputs = written.outputs.into_iter().map(|it| Output {
            keyset: it.id,
            amount: it.amount,
            secret: Secret::new(it.secret),
            r: it.r,
            blinded: it.blinded,
        });
        Ok(Self {
            inputs: inputs.collect(),
            outputs: outputs.collect(),
        })
    }
}

impl fmt::Debug for Swap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (inputs, outputs) = (self.inputs.len(), self.outputs.len());
        write!(f, "Swap({inputs} coins for {outputs})")
    }
}
