//! The mints whose coins are taken.

use std::sync::Arc;

use farebox_core::{MintId, Msat};
use farebox_ecash::{Mint, MintUrl, Unit};

/// The mints whose coins are taken, under a plan.
#[derive(Clone, Default)]
pub struct Mints(Vec<TrustedMint>);

/// A mint whose coins are taken.
#[derive(Clone)]
pub struct TrustedMint {
    /// The mint.
    pub mint: Arc<Mint>,
    /// How much of each of its units may be ours at most.
    pub most: Msat,
}

impl Mints {
    /// These mints; those named first are offered first.
    #[must_use]
    pub const fn new(mints: Vec<TrustedMint>) -> Self {
        Self(mints)
    }

    /// The one that a token names.
    #[must_use]
    pub fn find(&self, url: &MintUrl) -> Option<&TrustedMint> {
        self.0.iter().find(|trusted| trusted.mint.url() == url)
    }

    /// The one that a unit of is called so.
    #[must_use]
    pub fn find_unit(&self, id: MintId) -> Option<(&TrustedMint, Unit)> {
        self.0.iter().find_map(|trusted| {
            let units = trusted.mint.units().iter().copied();
            let mut named = units.filter(|unit| mint_id(trusted.mint.url(), *unit) == id);
            Some((trusted, named.next()?))
        })
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &TrustedMint> {
        self.0.iter()
    }

    /// Every unit in which somebody can pay, with the mints that have it: the finest first.
    pub fn by_unit(&self) -> impl Iterator<Item = (Unit, Vec<&Mint>)> {
        Unit::ALL.into_iter().filter_map(|unit| {
            let with = self.0.iter().map(|trusted| &*trusted.mint);
            let mints: Vec<_> = with.filter(|mint| mint.units().contains(&unit)).collect();
            (!mints.is_empty()).then_some((unit, mints))
        })
    }
}

/// What the ledger calls a unit of a mint.
pub(crate) fn mint_id(url: &MintUrl, unit: Unit) -> MintId {
    MintId::of(url.as_str(), unit.as_str())
}
