//! Cashu mints: tokens, keysets, swaps and their recovery, for both sides.
//!
//! What a swap sends is planned and written down first, by whoever keeps the books; this crate sends it,
//! reads what the mint says, and finds out what became of it where nobody knows. It decides no price.

mod address;
mod client;
mod fault;
mod keyset;
mod mint;
mod proof;
mod request;
mod seed;
mod split;
mod swap;
mod token;
mod unit;
mod wire;

pub use address::{BadMintUrl, MintUrl};
pub use fault::MintFault;
pub use keyset::{
    KeysetError, KeysetId, KeysetInfo, KeysetKeys, Keysets, Resolved, fee, fee_on_top,
};
pub use mint::{
    Attempt, Examined, KeysFault, Mint, MintOptions, Open, Outcome, TokenRefusal, digest,
};
pub use proof::{Dleq, NoPoint, Proof, Y};
pub use request::{RequestForm, payment_request};
pub use seed::{Branch, BranchSeed, NoSecret, Output, Seed};
pub use split::{MAX_COINS, choose, gives_any, keep, ladder, split};
pub use swap::{BadWriting, Misfit, PlanError, Signature, Swap, proof_from_bytes, proof_to_bytes};
pub use token::{KeysetName, Lock, MAX_PROOFS, MAX_TOKEN, Token, TokenError, TokenProof};
pub use token::{WithDleq, write as write_token};
pub use unit::Unit;
pub use wire::{CoinState, MintInfo};
